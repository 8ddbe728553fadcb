//! What is set for a bucket as a whole: questions that the `object_store` crate does not ask.
//!
//! Sources: S3 API reference, GetBucketVersioning, GetBucketLifecycleConfiguration,
//! GetObjectLockConfiguration; OSS API reference, GetBucketVersioning, GetBucketLifecycle,
//! GetBucketWorm. Google and Azure are not asked: theirs are on the account or another protocol.

use http::Method;
use object_store::RetryConfig;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody};

use super::client::{bad, client_options, oss_client_options, s3, seen_oss, seen_s3};
use super::oss::Oss;
use super::verdict::failed;
use super::{Config, Provider, in_time, place};
use crate::{Error, Kind, Settings};

const S3_QUESTIONS: [&str; 3] = ["versioning", "lifecycle", "object-lock"];
const OSS_QUESTIONS: [&str; 3] = ["versioning", "lifecycle", "worm"];

/// Asks once for each. A client of its own: it is asked when a store is new, not while one works.
pub(super) async fn ask(config: &Config) -> Result<Settings, Error> {
    let mut answers = Vec::new();
    let (questions, http) = match config.provider {
        Provider::S3 => (S3_QUESTIONS, seen_s3().connect(&s3_options(config)?).map_err(bad)?),
        Provider::Oss => {
            let oss = Oss::new(&config.bucket, &config.options)?;
            let options = oss_client_options(config, &oss)?;
            (OSS_QUESTIONS, seen_oss(oss).connect(&options).map_err(bad)?)
        }
        _ => return Ok(Settings { prefix: config.prefix.clone(), answers }),
    };
    for question in questions {
        let asking = ask_one(config, &http, question);
        let asked = in_time(Kind::Unavailable, config.timeout, asking).await;
        answers.push((question, asked.and_then(|answer| answer)));
    }
    Ok(Settings { prefix: config.prefix.clone(), answers })
}

fn s3_options(config: &Config) -> Result<object_store::ClientOptions, Error> {
    let allow_http = config.options.get("aws_allow_http").is_some_and(|it| it == "true");
    Ok(client_options(config)?.with_allow_http(allow_http))
}

async fn ask_one(config: &Config, http: &HttpClient, question: &str) -> Result<String, Error> {
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = Method::GET;
    let uri = format!("{}/?{question}", place::url(config));
    *request.uri_mut() =
        uri.parse().map_err(|why| Error::new(Kind::Invalid, format!("{uri}: {why}")))?;
    if config.provider == Provider::S3 {
        sign(config, &mut request).await?;
    }
    let lost = |e| failed(&object_store::Error::Generic { store: "S3", source: Box::new(e) });
    let answer = http.execute(request).await.map_err(lost)?;
    let body = answer.into_body().bytes().await.map_err(lost)?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

async fn sign(config: &Config, request: &mut HttpRequest) -> Result<(), Error> {
    // Made as for the objects, so that its credentials are found in the same places.
    let client = s3(config, RetryConfig { max_retries: 0, ..Default::default() })?;
    let credential = client.credentials().get_credential().await.map_err(|e| failed(&e))?;
    let region = config.options.get("aws_region").map_or("us-east-1", |it| it);
    AwsAuthorizer::new(&credential, "s3", region)
        .with_sign_payload(false)
        .try_authorize(request, None)
        .map_err(bad)
}
