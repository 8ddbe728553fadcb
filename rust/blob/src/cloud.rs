//! Stores in the network, by the `object_store` crate: S3 and what is compatible, Alibaba OSS (the
//! crate's S3 client behind a connector that speaks OSS), Google Cloud Storage, Azure.
//!
//! Invariant: a create is one request, sent once: the crate's retries are off, and its connector is
//! wrapped (`seen`) so that the status of every refusal is known. The crate alone would report 409
//! (nobody won yet) as a lost race.
//!
//! Bodies are sent as UNSIGNED-PAYLOAD and in pieces: never joined, never hashed here.

mod client;
mod oss;
mod place;
mod seen;
mod settings;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod verdict;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    GetOptions, GetResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutPayload,
};
use tokio::time::timeout;

use crate::{Error, Info, Kind, Op, Reply};
use client::client;
use verdict::{create_failed, failed};

/// Above this an object is uploaded in parts (unless the configuration says otherwise), so that a
/// lost connection costs one part.
pub const MULTIPART_BYTES: u64 = 100 << 20;
pub const PART_BYTES: usize = 16 << 20;
const PARTS_INFLIGHT_MAX: usize = 4;
const PART_RETRIES_MAX: usize = 4;
/// Ranges that are no further apart are read by one request, and what is between is thrown away.
const NEAR_BYTES: u64 = 1 << 20;
const SPANS_INFLIGHT_MAX: usize = 10;
/// A body gets a second more for each of these.
const BYTES_PER_S_MIN: u64 = 1 << 20;
/// A copy is given the time of a body of this size: how large the object is nobody has said.
const COPY_BYTES: u64 = 256 << 20;

/// Whose protocol a store speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    S3,
    Oss,
    Gcs,
    Azure,
}

impl Provider {
    /// By the scheme of its URIs.
    pub fn of(scheme: &str) -> Option<Self> {
        match scheme {
            "s3" => Some(Self::S3),
            "oss" => Some(Self::Oss),
            "gs" => Some(Self::Gcs),
            "az" => Some(Self::Azure),
            _ => None,
        }
    }
}

/// What names a store and how to reach it.
#[derive(Clone)]
pub struct Config {
    pub provider: Provider,
    /// Azure calls it a container.
    pub bucket: String,
    /// In front of every key; "" or without a leading or trailing '/'.
    pub prefix: String,
    /// How long a request may take that moves no body.
    pub timeout: Duration,
    /// The crate's own keys (`aws_region`, `aws_endpoint`, `aws_secret_access_key`, ...); for OSS
    /// see `oss`.
    pub options: HashMap<String, String>,
    /// Certificates, in PEM, that are trusted besides those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// Where requests go through; None is straight, whatever the environment says.
    pub proxy: Option<String>,
    /// The one address at which the store is asked, of all that its name has.
    pub address: Option<IpAddr>,
    /// Above this an object is uploaded in parts.
    pub multipart_bytes: u64,
}

/// Never shows the options: there are secrets in them.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}/{}", self.provider, self.bucket, self.prefix)
    }
}

/// One of the crate's clients.
trait Client: ObjectStore + PaginatedListStore {}

impl<T: ObjectStore + PaginatedListStore> Client for T {}

/// The store in one bucket, below one prefix.
#[derive(Debug)]
pub struct Cloud {
    config: Config,
    store: Arc<dyn Client>,
    /// The same, but repeating the parts of an upload: the only requests repeated here.
    parts: Arc<dyn Client>,
}

impl Cloud {
    /// Makes the clients; nothing is sent yet.
    pub fn new(config: Config) -> Result<Self, Error> {
        let store = client(&config, 0)?;
        let parts = client(&config, PART_RETRIES_MAX)?;
        Ok(Self { config, store, parts })
    }

    pub(crate) async fn run(&self, op: Op) -> Result<Reply, Error> {
        match op {
            Op::Put { key, data } => self.put(&key, data).await.map(|()| Reply::Done),
            Op::Create { key, data } => self.create(&key, data).await.map(|()| Reply::Done),
            Op::Get { key } => self.get(&key).await.map(Reply::Data),
            Op::GetRanges { key, ranges } => {
                self.get_ranges(&key, &ranges).await.map(Reply::ranges)
            }
            Op::Head { key } => self.head(&key).await.map(Reply::Info),
            Op::List { prefix, after, page } => self.list(&prefix, after, page).await,
            Op::Delete { keys } => self.delete(keys).await,
            Op::Copy { source, target } => self.copy(&source, &target).await.map(|()| Reply::Done),
            Op::Settings => settings::ask(&self.config).await.map(Reply::Settings),
        }
    }

    pub(crate) fn authority(&self) -> String {
        place::authority(&place::url(&self.config))
    }

    async fn create(&self, key: &str, data: Vec<Bytes>) -> Result<(), Error> {
        let path = self.path(key)?;
        let body = PutPayload::from_iter(data);
        let patience = self.patience(body.content_length() as u64);
        let put = self.store.put_opts(&path, body, PutMode::Create.into());
        let put = in_time(Kind::OutcomeUnknown, patience, put).await?;
        put.map(|_| ()).map_err(|e| create_failed(&e))
    }

    async fn put(&self, key: &str, data: Vec<Bytes>) -> Result<(), Error> {
        let path = self.path(key)?;
        let size: u64 = data.iter().map(|piece| piece.len() as u64).sum();
        if size > self.config.multipart_bytes {
            return self.put_in_parts(&path, data).await;
        }
        let body = PutPayload::from_iter(data);
        self.within_write(size, self.store.put(&path, body)).await.map(|_| ())
    }

    async fn put_in_parts(&self, path: &Path, data: Vec<Bytes>) -> Result<(), Error> {
        let mut upload = self.within(0, self.parts.put_multipart(path)).await?;
        let sent = self.send_parts(&mut upload, data).await;
        if sent.is_err() {
            // Best effort: what stays is removed by the bucket's rule for incomplete uploads.
            let _ = timeout(self.config.timeout, upload.abort()).await;
        }
        sent
    }

    async fn send_parts(
        &self,
        upload: &mut Box<dyn MultipartUpload>,
        data: Vec<Bytes>,
    ) -> Result<(), Error> {
        let patience = (PART_RETRIES_MAX * PARTS_INFLIGHT_MAX * PART_BYTES) as u64;
        let mut parts = Vec::new();
        for part in cut(data, PART_BYTES) {
            parts.push(self.within(patience, upload.put_part(part)));
        }
        let mut sending = stream::iter(parts).buffer_unordered(PARTS_INFLIGHT_MAX);
        while let Some(sent) = sending.next().await {
            sent?;
        }
        drop(sending);
        // After a lost answer the upload is unknown (404) and the object there: a put is repeated.
        self.within(0, upload.complete()).await.map(|_| ()).map_err(|e| match e.kind {
            Kind::NotFound => Error::new(Kind::OutcomeUnknown, e.message),
            _ => e,
        })
    }

    async fn get(&self, key: &str) -> Result<Bytes, Error> {
        let path = self.path(key)?;
        let answer = self.within(0, self.store.get(&path)).await?;
        let whole = (answer.range.start, answer.range.end);
        let mut parts = self.read_body(answer, &[whole]).await?;
        Ok(parts.swap_remove(0))
    }

    /// What the ranges of the object hold that are in an answer, as long as something comes. Each
    /// byte is copied once, to where it stays.
    async fn read_body(
        &self,
        answer: GetResult,
        ranges: &[(u64, u64)],
    ) -> Result<Vec<Bytes>, Error> {
        let (first, end) = (answer.range.start, answer.range.end);
        let sizes = ranges.iter().map(|(start, end)| (end - start) as usize);
        let mut parts: Vec<Vec<u8>> = sizes.map(Vec::with_capacity).collect();
        let mut at = first;
        let mut body = answer.into_stream();
        while let Some(piece) = self.within_chunk(body.next()).await? {
            let piece = piece.map_err(|e| failed(&e))?;
            let next = at + piece.len() as u64;
            for (part, &(start, end)) in parts.iter_mut().zip(ranges) {
                let (from, to) = (start.max(at), end.min(next));
                if from < to {
                    part.extend_from_slice(&piece[(from - at) as usize..(to - at) as usize]);
                }
            }
            at = next;
        }
        if at != end {
            let why = format!("the answer ended after {} of {} bytes", at - first, end - first);
            return Err(Error::new(Kind::Unavailable, why));
        }
        Ok(parts.into_iter().map(Bytes::from).collect())
    }

    /// Near ranges come by one request; a slice of its whole answer would keep all of that.
    async fn get_ranges(&self, key: &str, ranges: &[(u64, u64)]) -> Result<Vec<Bytes>, Error> {
        let path = self.path(key)?;
        let spans = spans(ranges);
        let patience = self.patience(spans.iter().map(|span| span.end - span.start).sum());
        let reading = stream::iter(spans)
            .map(|span| self.read_span(&path, ranges, span))
            .buffer_unordered(SPANS_INFLIGHT_MAX)
            .try_collect::<Vec<_>>();
        let read = in_time(Kind::Unavailable, patience, reading).await??;
        let mut bodies = vec![Bytes::new(); ranges.len()];
        for (number, body) in read.into_iter().flatten() {
            bodies[number] = body;
        }
        Ok(bodies)
    }

    /// What `span` holds of the ranges in it, with their numbers.
    async fn read_span(
        &self,
        path: &Path,
        ranges: &[(u64, u64)],
        span: Span,
    ) -> Result<Vec<(usize, Bytes)>, Error> {
        let Span { start, end, numbers } = span;
        let options = GetOptions::new().with_range(Some(start..end));
        // Azure answers a range that begins at the end with the whole object.
        let answer = self.store.get_opts(path, options).await.map_err(|e| match failed(&e) {
            e if e.message.starts_with("Wanted range starting at") => {
                Error::new(Kind::Corrupt, e.message)
            }
            e => e,
        })?;
        if answer.range != (start..end) {
            let got = answer.range.end.saturating_sub(answer.range.start);
            let why = format!("asked for [{start}, {end}), got {got} bytes");
            return Err(Error::new(Kind::Corrupt, why));
        }
        let asked: Vec<_> = numbers.iter().map(|&number| ranges[number]).collect();
        let parts = self.read_body(answer, &asked).await?;
        Ok(numbers.into_iter().zip(parts).collect())
    }

    async fn head(&self, key: &str) -> Result<Info, Error> {
        let path = self.path(key)?;
        let meta = self.within(0, self.store.head(&path)).await?;
        Ok(self.info(&meta))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<String>,
        page: Option<String>,
    ) -> Result<Reply, Error> {
        let whole = self.full(prefix);
        let first = match (self.config.provider, &page) {
            (Provider::Azure, None) => self.named_as(prefix, after.as_deref()).await?,
            _ => None,
        };
        let options = PaginatedListOptions {
            offset: after.filter(|_| page.is_none()).map(|key| self.full(&key)),
            page_token: page,
            ..Default::default()
        };
        let listing = self.store.list_paginated(Some(&whole), options);
        let listed = self.within(0, listing).await?;
        let mut objects: Vec<_> =
            listed.result.objects.iter().map(|meta| self.info(meta)).collect();
        objects.splice(0..0, first);
        Ok(Reply::Page { objects, next: listed.page_token })
    }

    /// The object whose key is the prefix itself: the crate leaves it out of Azure's lists, because
    /// there it may be a folder.
    async fn named_as(&self, prefix: &str, after: Option<&str>) -> Result<Option<Info>, Error> {
        if prefix.is_empty() || prefix.ends_with('/') || after.is_some_and(|key| prefix <= key) {
            return Ok(None);
        }
        match self.head(prefix).await {
            Ok(info) => Ok(Some(info)),
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn delete(&self, keys: Vec<String>) -> Result<Reply, Error> {
        let paths: Vec<Path> = keys.iter().map(|key| self.path(key)).collect::<Result<_, _>>()?;
        let mut ends = Vec::with_capacity(keys.len());
        if let [path] = &paths[..] {
            ends.push(self.within_write(0, self.store.delete(path)).await);
        } else {
            let mut deleted = self.store.delete_stream(stream::iter(paths).map(Ok).boxed());
            while let Some(one) = self.within_chunk(deleted.next()).await? {
                ends.push(one.map(|_| ()).map_err(|e| failed(&e)));
            }
            // A request that failed as a whole gives one error, not one for each key.
            if ends.len() != keys.len() {
                let whole = ends.into_iter().find_map(Result::err);
                let cut = || Error::new(Kind::OutcomeUnknown, "the answer names too few keys");
                return Err(whole.unwrap_or_else(cut));
            }
        }
        let end = |(key, end): (String, Result<(), Error>)| match end {
            Err(e) if e.kind != Kind::NotFound => Some((key, e)),
            _ => None,
        };
        Ok(Reply::Deleted { failed: keys.into_iter().zip(ends).filter_map(end).collect() })
    }

    async fn copy(&self, source: &str, target: &str) -> Result<(), Error> {
        let (source, target) = (self.path(source)?, self.path(target)?);
        self.within_write(COPY_BYTES, self.store.copy(&source, &target)).await
    }

    async fn within<T>(
        &self,
        body_bytes: u64,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        self.within_or(Kind::Unavailable, body_bytes, request).await
    }

    /// As `within`; a write that was not answered in time may have been applied, or will be.
    async fn within_write<T>(
        &self,
        body_bytes: u64,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        self.within_or(Kind::OutcomeUnknown, body_bytes, request).await
    }

    /// The answer, or `late` when there is none in time.
    async fn within_or<T>(
        &self,
        late: Kind,
        body_bytes: u64,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        in_time(late, self.patience(body_bytes), request).await?.map_err(|e| failed(&e))
    }

    async fn within_chunk<T>(&self, chunk: impl Future<Output = T>) -> Result<T, Error> {
        in_time(Kind::Unavailable, self.config.timeout, chunk).await
    }

    fn patience(&self, body_bytes: u64) -> Duration {
        self.config.timeout + Duration::from_secs(body_bytes / BYTES_PER_S_MIN)
    }

    fn full(&self, key: &str) -> String {
        if self.config.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.config.prefix)
        }
    }

    fn path(&self, key: &str) -> Result<Path, Error> {
        if self.config.provider == Provider::Azure && key.contains('\\') {
            let why = format!("key {key:?}: Azure takes a backslash for a slash");
            return Err(Error::new(Kind::Invalid, why));
        }
        Path::parse(self.full(key)).map_err(|e| Error::new(Kind::Invalid, e.to_string()))
    }

    fn info(&self, meta: &ObjectMeta) -> Info {
        let path = meta.location.as_ref();
        let key = path.strip_prefix(&self.full("")).unwrap_or(path).to_owned();
        let modified_ms = meta.last_modified.timestamp_millis();
        Info { key, size_bytes: meta.size, modified_ms }
    }
}

/// What comes of `work`, or `late` when that takes too long.
async fn in_time<T>(
    late: Kind,
    patience: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let why = || format!("no answer within {} ms", patience.as_millis());
    timeout(patience, work).await.map_err(|_| Error::new(late, why()))
}

/// Ranges that are read by one request, by their numbers.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    start: u64,
    end: u64,
    numbers: Vec<usize>,
}

/// All ranges, those together that are near each other.
fn spans(ranges: &[(u64, u64)]) -> Vec<Span> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|&number| ranges[number]);
    let mut spans: Vec<Span> = Vec::new();
    for number in order {
        let (start, end) = ranges[number];
        match spans.last_mut() {
            Some(span) if start <= span.end.saturating_add(NEAR_BYTES) => {
                span.end = span.end.max(end);
                span.numbers.push(number);
            }
            _ => spans.push(Span { start, end, numbers: vec![number] }),
        }
    }
    spans
}

/// The same bytes in parts of `size` (the last is smaller), without copying any.
fn cut(data: Vec<Bytes>, size: usize) -> Vec<PutPayload> {
    let (mut parts, mut part, mut room) = (Vec::new(), Vec::new(), size);
    for mut piece in data {
        while piece.len() >= room {
            part.push(piece.split_to(room));
            parts.push(PutPayload::from_iter(std::mem::take(&mut part)));
            room = size;
        }
        room -= piece.len();
        part.push(piece);
    }
    if room < size {
        parts.push(PutPayload::from_iter(part));
    }
    parts
}
