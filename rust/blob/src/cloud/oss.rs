//! Alibaba OSS: requests made for S3, in OSS's words and with OSS's signature (version 4).
//!
//! The two protocols differ in the names of headers, in how a create is asked for, and in the
//! signature; paths, queries and answers are alike. Source: OSS API reference, "PutObject",
//! "CopyObject", "Include a V4 signature in the Authorization header".

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{AUTHORIZATION, HOST, HeaderName, IF_NONE_MATCH, RANGE};
use object_store::client::{HttpClient, HttpRequest};
use reqsign_aliyun_oss::{
    AssumeRoleWithOidcCredentialProvider, Credential, EcsRamRoleCredentialProvider,
    EnvCredentialProvider, RequestSigner, SigningVersion,
};
use reqsign_core::{
    Context, Error as SignError, FileRead, HttpSend, ProvideCredentialChain, Signer, StaticEnv,
};

use crate::{Error, Kind};

const FORBID_OVERWRITE: HeaderName = HeaderName::from_static("x-oss-forbid-overwrite");
const COPY_SOURCE: HeaderName = HeaderName::from_static("x-oss-copy-source");
const RANGE_BEHAVIOR: HeaderName = HeaderName::from_static("x-oss-range-behavior");
const S3_COPY_SOURCE: &str = "x-amz-copy-source";
const S3_HEADERS: &str = "x-amz-";

/// What is needed to speak OSS. The options are `region`, `endpoint` (with the bucket in front unless
/// `path_style` is true) and the names of the environment that say who we are
/// (`OSS_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ECS_METADATA`, ...). The process's own are not looked at.
#[derive(Clone)]
pub(super) struct Oss {
    pub bucket: String,
    pub region: String,
    pub endpoint: String,
    pub is_path_style: bool,
    environment: HashMap<String, String>,
}

/// Never shows the environment: there are secrets in it.
impl fmt::Debug for Oss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.bucket, self.endpoint)
    }
}

impl Oss {
    pub fn new(bucket: &str, options: &HashMap<String, String>) -> Result<Self, Error> {
        let needed = |name: &str| {
            let why = || Error::new(Kind::Invalid, format!("OSS needs the option {name}"));
            options.get(name).cloned().ok_or_else(why)
        };
        let environment = options.iter().filter(|(name, _)| name.starts_with(char::is_uppercase));
        Ok(Self {
            bucket: bucket.to_owned(),
            region: needed("region")?,
            endpoint: needed("endpoint")?,
            is_path_style: options.get("path_style").is_some_and(|it| it == "true"),
            environment: environment.map(|(k, v)| (k.clone(), v.clone())).collect(),
        })
    }

    /// Signs with static keys, else with a role by OIDC, else with the role of the ECS instance.
    pub fn signer(&self, http: HttpClient) -> OssSigner {
        let context = Context::new()
            .with_env(StaticEnv { home_dir: None, envs: self.environment.clone() })
            .with_file_read(TokenFile)
            .with_http_send(Http(http));
        let who = ProvideCredentialChain::new()
            .push(EnvCredentialProvider::new())
            .push(AssumeRoleWithOidcCredentialProvider::new())
            .push(EcsRamRoleCredentialProvider::new());
        let how = RequestSigner::new(&self.bucket)
            .with_region(&self.region)
            .with_signing_version(SigningVersion::V4);
        OssSigner { bucket: self.bucket.clone(), signer: Arc::new(Signer::new(context, who, how)) }
    }
}

/// Makes OSS's requests of S3's.
#[derive(Debug)]
pub(super) struct OssSigner {
    bucket: String,
    signer: Arc<Signer<Credential>>,
}

impl OssSigner {
    /// The request as OSS wants it. On failure: why there are no credentials, without secrets.
    pub async fn translated(&self, request: HttpRequest) -> Result<HttpRequest, String> {
        let (mut parts, body) = request.into_parts();
        let headers = &mut parts.headers;
        if headers.remove(IF_NONE_MATCH).is_some() {
            headers.insert(FORBID_OVERWRITE, HeaderValue::from_static("true"));
        }
        if let Some(source) = headers.remove(S3_COPY_SOURCE) {
            let source = [b"/", source.as_bytes()].concat();
            let source = HeaderValue::from_bytes(&source).map_err(|why| why.to_string())?;
            headers.insert(COPY_SOURCE, source);
        }
        if headers.contains_key(RANGE) {
            // Without it a range beyond the end is answered with the whole object.
            headers.insert(RANGE_BEHAVIOR, HeaderValue::from_static("standard"));
        }
        let foreign: Vec<HeaderName> =
            headers.keys().filter(|it| it.as_str().starts_with(S3_HEADERS)).cloned().collect();
        for name in foreign {
            headers.remove(name);
        }
        // A bucket is signed as "/bucket/", and so it is asked for.
        if parts.uri.path().len() == self.bucket.len() + 1
            && parts.uri.path().ends_with(&self.bucket)
        {
            let query = parts.uri.query().unwrap_or_default();
            let whole = format!("/{}/?{query}", self.bucket);
            let mut uri = parts.uri.into_parts();
            uri.path_and_query = Some(whole.parse().map_err(|_| "a query that is none")?);
            parts.uri = uri.try_into().map_err(|_| "a URL that is none")?;
        }
        let headers = &mut parts.headers;
        // Signed as well, so that the list of additional headers is never empty.
        if let Some(authority) = parts.uri.authority() {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|why| why.to_string())?;
            headers.insert(HOST, host);
        }
        // Only the message: the context of these errors holds answers of the credentials' server.
        self.signer.sign(&mut parts, None).await.map_err(|why| innermost(&why))?;
        if let Some(signed) = parts.headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()) {
            // As Alibaba's SDKs write it: without spaces.
            let mut compact =
                HeaderValue::from_str(&signed.replace(", ", ",")).map_err(|it| it.to_string())?;
            compact.set_sensitive(true);
            parts.headers.insert(AUTHORIZATION, compact);
        }
        Ok(HttpRequest::from_parts(parts, body))
    }
}

fn innermost(error: &SignError) -> String {
    match error.kind() {
        reqsign_core::ErrorKind::CredentialInvalid => {
            "set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or give the instance a RAM role"
                .into()
        }
        kind => format!("neither keys nor a RAM role could be used ({kind:?})"),
    }
}

/// The requests for credentials.
#[derive(Debug)]
struct Http(HttpClient);

impl HttpSend for Http {
    async fn http_send(
        &self,
        request: http::Request<Bytes>,
    ) -> reqsign_core::Result<http::Response<Bytes>> {
        let failed = |what: &str| SignError::unexpected(format!("credentials: {what}"));
        let answer = self.0.execute(request.map(Into::into)).await;
        let (parts, body) = answer.map_err(|_| failed("no answer"))?.into_parts();
        let body = body.bytes().await.map_err(|_| failed("no whole answer"))?;
        Ok(http::Response::from_parts(parts, body))
    }
}

/// The token that Kubernetes puts into a file: small, local, read once an hour.
#[derive(Debug)]
struct TokenFile;

impl FileRead for TokenFile {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        std::fs::read(path).map_err(|why| SignError::unexpected(format!("{path}: {why}")))
    }
}
