//! An HTTP client that lets us see what the store answered.
//!
//! The crate turns answers into its own errors and forgets the status on the way (409 and 412 become
//! the same). Here each refusal and each lost request becomes an error of ours first, which travels
//! inside the crate's error and is found again by `verdict`.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

/// On every request that the crate signs for S3, and on none for credentials.
const S3_MARK: &str = "x-amz-content-sha256";
const REASON_BYTES_MAX: usize = 300;

/// How a request to the store failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Answered, and not with success. `code` and `message` are the store's own, if it gave any.
    Refused { status: u16, code: String, message: String },
    /// Never sent: no connection.
    Unsent(String),
    /// Sent, in part at least, and not answered.
    Unanswered(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, code, message } => {
                match (code.is_empty(), message.is_empty()) {
                    (true, _) => write!(f, "{status}"),
                    (false, true) => write!(f, "{status} {code}"),
                    (false, false) => write!(f, "{status} {code}: {message}"),
                }
            }
            Self::Unsent(why) => write!(f, "no connection: {why}"),
            Self::Unanswered(why) => write!(f, "no answer: {why}"),
        }
    }
}

impl Error for Fault {}

#[derive(Debug)]
pub(super) struct SeenConnector;

impl HttpConnector for SeenConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(SeenService { inner }))
    }
}

#[derive(Debug)]
struct SeenService {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for SeenService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_s3 = request.headers().contains_key(S3_MARK);
        let answer = self.inner.execute(request).await;
        if !is_s3 {
            return answer;
        }
        match answer {
            Ok(answer) if answer.status().is_success() => Ok(answer),
            Ok(answer) => Err(refused(answer).await),
            Err(e) => Err(lost(&e)),
        }
    }
}

async fn refused(answer: HttpResponse) -> HttpError {
    let status = answer.status().as_u16();
    let body = answer.into_body().bytes().await.unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let (code, message) = (element(&text, "Code"), element(&text, "Message"));
    // What the crate repeats when it may repeat (the parts of an upload).
    let kind = match status {
        408 | 429 | 500.. => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, Fault::Refused { status, code, message })
}

fn lost(error: &HttpError) -> HttpError {
    let why = innermost(error);
    let fault = match error.kind() {
        HttpErrorKind::Connect => Fault::Unsent(why),
        _ => Fault::Unanswered(why),
    };
    HttpError::new(error.kind(), fault)
}

fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(inner) = error.source() {
        error = inner;
    }
    error.to_string()
}

/// The text of the first `<name>` in the answer. Nothing else of it is repeated: some stores show
/// parts of credentials there.
fn element(text: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let found = text.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    found.map_or_else(String::new, |(inner, _)| {
        inner.chars().filter(|ch| !ch.is_control()).take(REASON_BYTES_MAX).collect()
    })
}
