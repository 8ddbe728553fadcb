//! An HTTP client that lets us see what the store answered.
//!
//! The crate turns answers into its own errors and forgets the status on the way (409 and 412 become
//! the same). Here each refusal and each lost request becomes an error of ours first, which travels
//! inside the crate's error and is found again by `verdict`.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::oss::{Oss, OssSigner};
use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

/// What tells a request to the store from one for credentials, which is the crate's own affair.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    /// Only requests to the store have this header.
    Header(&'static str),
    /// The store's host, with the port if the URI names one.
    Authority(String),
    Everything,
}

impl Mark {
    fn is_on(&self, request: &HttpRequest) -> bool {
        match self {
            Self::Header(name) => request.headers().contains_key(*name),
            Self::Authority(host) => request.uri().authority().is_some_and(|it| it == host),
            Self::Everything => true,
        }
    }
}

const REASON_BYTES_MAX: usize = 300;

/// How a request to the store failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Answered, and not with success. `code` and `message` are the store's own, if it gave any.
    Refused { status: u16, code: String, message: String },
    /// Never sent: no credentials to sign it with.
    Unsigned(String),
    /// Never sent: the service that gives credentials does not, at the moment.
    Unidentified(String),
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
            Self::Unsigned(why) | Self::Unidentified(why) => write!(f, "no credentials: {why}"),
            Self::Unsent(why) => write!(f, "no connection: {why}"),
            Self::Unanswered(why) => write!(f, "no answer: {why}"),
        }
    }
}

impl Error for Fault {}

/// Connects as the crate does, and sees what comes back. `signs` changes each request before.
#[derive(Debug, Clone)]
pub(super) struct SeenConnector {
    pub mark: Mark,
    pub signs: Option<Oss>,
}

impl HttpConnector for SeenConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        let signer = match &self.signs {
            Some(oss) => Some(oss.signer(ReqwestConnector::default().connect(&machine(options))?)),
            None => None,
        };
        Ok(HttpClient::new(SeenService { inner, mark: self.mark.clone(), signer }))
    }
}

/// For the machine's own service, which is near and has no certificate.
fn machine(options: &ClientOptions) -> ClientOptions {
    options.clone().with_allow_http(true).with_connect_timeout(Duration::from_secs(1))
}

#[derive(Debug)]
struct SeenService {
    inner: HttpClient,
    mark: Mark,
    signer: Option<OssSigner>,
}

#[async_trait]
impl HttpService for SeenService {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if !self.mark.is_on(&request) {
            return match self.inner.execute(request).await {
                Ok(answer) if answer.status().is_success() => Ok(answer),
                Ok(answer) => Err(unidentified(HttpErrorKind::Unknown, answer.status())),
                Err(e) => Err(unidentified(e.kind(), innermost(&e))),
            };
        }
        if let Some(signer) = &self.signer {
            request = signer.translated(request).await.map_err(unsigned)?;
        }
        match self.inner.execute(request).await {
            Ok(answer) if answer.status().is_success() => Ok(answer),
            Ok(answer) => Err(refused(answer).await),
            Err(e) => Err(lost(&e)),
        }
    }
}

fn unidentified(kind: HttpErrorKind, why: impl fmt::Display) -> HttpError {
    HttpError::new(kind, Fault::Unidentified(format!("who gives them says: {why}")))
}

fn unsigned(why: String) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, Fault::Unsigned(why))
}

async fn refused(answer: HttpResponse) -> HttpError {
    let status = answer.status().as_u16();
    // Azure says it here as well, also where there is no body (HEAD).
    let named = answer.headers().get("x-ms-error-code").and_then(|code| code.to_str().ok());
    let named = named.unwrap_or_default().to_owned();
    let body = answer.into_body().bytes().await.unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let (mut code, message) = (element(&text, "Code"), element(&text, "Message"));
    if code.is_empty() {
        code = named;
    }
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
