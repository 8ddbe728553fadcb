//! The headers before each request and response, whose version follows from the API's.

use crate::error::Malformed;
use crate::schema::{self, Message};
use crate::wire::Reader;

use std::sync::LazyLock;

const API_VERSIONS: i16 = 18;
const CONTROLLED_SHUTDOWN: i16 = 7;

/// What stands before a request. An unknown API has one too, so that it can be refused by name.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestHead<'a> {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<&'a str>,
    /// Where the request itself begins.
    pub body_at: usize,
}

/// Reads the header at the start of a frame. Tagged fields in it are skipped: Kafka defines none.
pub fn read_request_header(frame: &[u8]) -> Result<RequestHead<'_>, Malformed> {
    read(frame).map_err(|error| error.within("RequestHeader"))
}

fn read(frame: &[u8]) -> Result<RequestHead<'_>, Malformed> {
    let mut reader = Reader::new(frame, 0)?;
    let (api_key, api_version) = (reader.i16()?, reader.i16()?);
    let correlation_id = reader.i32()?;
    let mut client_id = None;
    // Header version 0: only this one request ever had it.
    if (api_key, api_version) != (CONTROLLED_SHUTDOWN, 0) {
        // Never compact, so that the header of any ApiVersions request can be read.
        if let Some(length) = reader.length(false, false)? {
            let bytes = reader.take(length)?;
            let text = std::str::from_utf8(bytes);
            client_id = Some(text.map_err(|_| Malformed::new("is not UTF-8").within("client_id"))?);
        }
    }
    if flexible_from(api_key).is_some_and(|first| api_version >= first) {
        for _ in 0..reader.unsigned_varint()? {
            reader.unsigned_varint()?;
            let size = reader.unsigned_varint()?;
            reader.take(size as usize)?;
        }
    }
    Ok(RequestHead { api_key, api_version, correlation_id, client_id, body_at: reader.at() })
}

/// The version of the header before a response of `message`'s kind in `version`.
///
/// ApiVersions always answers with version 0: its client does not know yet what the broker speaks.
pub fn response_header_version(message: &Message, version: i16) -> i16 {
    let flexible = message.flexible.contain(version) && message.api_key != Some(API_VERSIONS);
    i16::from(flexible)
}

fn flexible_from(api_key: i16) -> Option<i16> {
    static FIRST: LazyLock<Vec<Option<i16>>> = LazyLock::new(|| {
        let mut table = Vec::new();
        let requests = schema::names().filter(|name| name.ends_with("Request"));
        for request in requests.filter_map(schema::message) {
            let Some(key) = request.api_key.and_then(|key| usize::try_from(key).ok()) else {
                continue;
            };
            if table.len() <= key {
                table.resize(key + 1, None);
            }
            table[key] = request.can_be_flexible().then_some(request.flexible.first);
        }
        table
    });
    *FIRST.get(usize::try_from(api_key).ok()?)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flexible_request_has_tagged_fields_in_its_header() {
        let head = read_request_header(b"\0\0\0\x09\0\0\0\x07\0\x02me\x01\x05\x01xBODY");
        let expected = RequestHead {
            api_key: 0,
            api_version: 9,
            correlation_id: 7,
            client_id: Some("me"),
            body_at: 16,
        };
        assert_eq!(head, Ok(expected));
    }

    #[test]
    fn an_unknown_api_still_has_a_head() {
        let head = read_request_header(b"\x7f\0\0\x09\0\0\0\x07\xff\xffBODY").expect("a head");
        assert_eq!((head.api_key, head.client_id, head.body_at), (0x7f00, None, 10));
    }

    #[test]
    fn the_oldest_controlled_shutdown_names_no_client() {
        let head = read_request_header(b"\0\x07\0\0\0\0\0\x07BODY").expect("a head");
        assert_eq!((head.client_id, head.body_at), (None, 8));
    }

    #[test]
    fn a_cut_header_says_where() {
        let error = read_request_header(b"\0\0\0\x09\0").expect_err("too short");
        assert_eq!(error.path().to_string(), "RequestHeader");
    }

    #[test]
    fn only_api_versions_answers_with_an_old_header() {
        let header = |name: &str, version| {
            response_header_version(schema::message(name).expect(name), version)
        };
        assert_eq!(header("ApiVersionsResponse", 4), 0);
        assert_eq!(header("MetadataResponse", 8), 0);
        assert_eq!(header("MetadataResponse", 9), 1);
    }
}
