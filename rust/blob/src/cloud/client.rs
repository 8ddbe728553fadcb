//! Making the crate's clients.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{Certificate, ClientConfigKey};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientOptions, RetryConfig};

use super::oss::Oss;
use super::seen::{Mark, SeenConnector};
use super::{Client, Config, Provider, place};
use crate::{Error, Kind};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// On every request that the crate signs for S3, and on none for credentials.
const S3_MARK: &str = "x-amz-content-sha256";
/// A proxy that no host goes through: naming one is how the crate is told to ignore the
/// environment's.
const NO_PROXY: (&str, &str) = ("http://no.proxy.invalid", "*,0.0.0.0/0,::/0");

/// A client whose requests are repeated at most `retries_max` times.
pub(super) fn client(config: &Config, retries_max: usize) -> Result<Arc<dyn Client>, Error> {
    let retries = RetryConfig { max_retries: retries_max, ..Default::default() };
    match config.provider {
        Provider::S3 => Ok(Arc::new(s3(config, retries)?)),
        Provider::Oss => oss(config, retries),
        Provider::Gcs => gcs(config, retries),
        Provider::Azure => azure(config, retries),
    }
}

pub(super) fn s3(config: &Config, retries: RetryConfig) -> Result<AmazonS3, Error> {
    let mut options = client_options(config)?;
    let mut builder = s3_builder(config, retries).with_http_connector(seen_s3());
    for (name, value) in &config.options {
        match name.parse().map_err(bad)? {
            AmazonS3ConfigKey::Client(key) => options = options.with_config(key, value),
            key => builder = builder.with_config(key, value),
        }
    }
    builder.with_client_options(options).build().map_err(bad)
}

pub(super) fn seen_s3() -> SeenConnector {
    SeenConnector { mark: Mark::Header(S3_MARK), signs: None }
}

pub(super) fn seen_oss(oss: Oss) -> SeenConnector {
    SeenConnector { mark: Mark::Everything, signs: Some(oss) }
}

fn oss(config: &Config, retries: RetryConfig) -> Result<Arc<dyn Client>, Error> {
    let oss = Oss::new(&config.bucket, &config.options)?;
    let options = oss_client_options(config, &oss)?;
    let builder = s3_builder(config, retries)
        .with_endpoint(&oss.endpoint)
        .with_virtual_hosted_style_request(!oss.is_path_style)
        .with_region(&oss.region)
        .with_skip_signature(true)
        .with_http_connector(seen_oss(oss));
    Ok(Arc::new(builder.with_client_options(options).build().map_err(bad)?))
}

fn s3_builder(config: &Config, retries: RetryConfig) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_unsigned_payload(true)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_disable_tagging(true)
        .with_retry(retries)
}

fn gcs(config: &Config, retries: RetryConfig) -> Result<Arc<dyn Client>, Error> {
    let mut options = client_options(config)?;
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&config.bucket)
        .with_retry(retries)
        .with_http_connector(SeenConnector { mark: is_store(config), signs: None });
    for (name, value) in &config.options {
        match name.parse().map_err(bad)? {
            GoogleConfigKey::Client(key) => options = options.with_config(key, value),
            key => builder = builder.with_config(key, value),
        }
    }
    Ok(Arc::new(builder.with_client_options(options).build().map_err(bad)?))
}

fn azure(config: &Config, retries: RetryConfig) -> Result<Arc<dyn Client>, Error> {
    let mut options = client_options(config)?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_container_name(&config.bucket)
        .with_retry(retries)
        .with_http_connector(SeenConnector { mark: is_store(config), signs: None });
    for (name, value) in &config.options {
        match name.parse().map_err(bad)? {
            AzureConfigKey::Client(key) => options = options.with_config(key, value),
            key => builder = builder.with_config(key, value),
        }
    }
    Ok(Arc::new(builder.with_client_options(options).build().map_err(bad)?))
}

pub(super) fn oss_client_options(config: &Config, oss: &Oss) -> Result<ClientOptions, Error> {
    let allow_http = oss.endpoint.starts_with("http:").to_string();
    Ok(client_options(config)?.with_config(ClientConfigKey::AllowHttp, allow_http))
}

pub(super) fn client_options(config: &Config) -> Result<ClientOptions, Error> {
    let (proxy, excluded) = match &config.proxy {
        Some(proxy) => (&proxy[..], ""),
        None => NO_PROXY,
    };
    let mut options = ClientOptions::new()
        .with_timeout_disabled() // `patience` grows with the body; theirs does not.
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_proxy_url(proxy);
    if !excluded.is_empty() {
        options = options.with_proxy_excludes(excluded);
    }
    if let Some(address) = config.address {
        let host = place::host(&place::url(config));
        options = options.with_dns_resolver(Arc::new(place::Pinned { host, address }));
    }
    if let Some(pem) = &config.ca_pem {
        let trusted = Certificate::from_pem_bundle(pem).map_err(bad)?;
        if trusted.is_empty() {
            return Err(Error::new(Kind::Invalid, "the CA file holds no certificate in PEM"));
        }
        for certificate in trusted {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

/// By the host and port of its URL.
fn is_store(config: &Config) -> Mark {
    Mark::Authority(place::authority(&place::url(config)))
}

pub(super) fn bad(error: object_store::Error) -> Error {
    Error::new(Kind::Invalid, error.to_string())
}
