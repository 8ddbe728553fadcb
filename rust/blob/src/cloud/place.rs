//! Where a store is in the network: its URL, and which of its addresses is asked.

use std::net::IpAddr;

use object_store::client::{DnsFuture, DnsResolver};

use super::{Config, Provider};

/// The URL below which the store's objects are, by the rules of the clients (their own is private).
pub(super) fn url(config: &Config) -> String {
    let (bucket, options) = (&config.bucket, &config.options);
    let is = |name: &str| options.get(name).is_some_and(|it| it == "true");
    let named = |name: &str| options.get(name).map(String::as_str);
    match config.provider {
        Provider::S3 => {
            let region = named("aws_region").unwrap_or("us-east-1");
            match (named("aws_endpoint"), is("aws_virtual_hosted_style_request")) {
                (Some(endpoint), true) => endpoint.to_owned(),
                (Some(endpoint), false) => format!("{endpoint}/{bucket}"),
                (None, true) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
                (None, false) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
            }
        }
        Provider::Oss => {
            let endpoint = named("endpoint").unwrap_or_default();
            if is("path_style") { format!("{endpoint}/{bucket}") } else { endpoint.to_owned() }
        }
        Provider::Gcs => {
            named("google_base_url").unwrap_or("https://storage.googleapis.com").to_owned()
        }
        Provider::Azure => {
            let account = named("azure_storage_account_name").unwrap_or_default();
            let public = || format!("https://{account}.blob.core.windows.net");
            named("azure_storage_endpoint").map_or_else(public, str::to_owned)
        }
    }
}

/// Host of a URL, and port if it names one.
pub(super) fn authority(url: &str) -> String {
    let after = url.split_once("://").map_or(url, |(_, rest)| rest);
    after.split('/').next().unwrap_or_default().to_owned()
}

pub(super) fn host(url: &str) -> String {
    let authority = authority(url);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host.to_owned(),
        _ => authority,
    }
}

/// Finds the store's host at one address; all others (who gives credentials) where they are.
#[derive(Debug)]
pub(super) struct Pinned {
    pub host: String,
    pub address: IpAddr,
}

impl DnsResolver for Pinned {
    fn resolve(&self, host: &str) -> DnsFuture {
        if host.eq_ignore_ascii_case(&self.host) {
            let address = self.address;
            return Box::pin(async move { Ok(vec![address]) });
        }
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((&host[..], 0)).await?;
            Ok(found.map(|at| at.ip()).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_url_without_the_rest() {
        for (url, wanted) in [
            ("https://b.s3.eu-central-1.amazonaws.com", "b.s3.eu-central-1.amazonaws.com"),
            ("http://127.0.0.1:8333/bucket", "127.0.0.1"),
            ("https://[::1]:9000/bucket", "[::1]"),
            ("https://[::1]", "[::1]"),
        ] {
            assert_eq!(host(url), wanted);
        }
    }
}
