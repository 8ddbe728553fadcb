use super::*;

fn joined(parts: &[PutPayload]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.iter()).flatten().copied().collect()
}

#[test]
fn parts_are_of_one_size_but_the_last_and_keep_the_bytes() {
    for (sizes, part, wanted) in [
        (vec![10, 10, 10], 7, vec![7, 7, 7, 7, 2]),
        (vec![14], 7, vec![7, 7]),
        (vec![3, 4, 1], 7, vec![7, 1]),
        (vec![0, 7, 0], 7, vec![7]),
        (vec![], 7, vec![]),
    ] {
        let data: Vec<Bytes> = sizes.iter().map(|&n| Bytes::from(vec![n as u8; n])).collect();
        let whole: Vec<u8> = data.iter().flatten().copied().collect();
        let parts = cut(data, part);
        let lengths: Vec<usize> = parts.iter().map(PutPayload::content_length).collect();
        assert_eq!(lengths, wanted, "{sizes:?}");
        assert_eq!(joined(&parts), whole);
    }
}

#[test]
fn a_configuration_does_not_show_its_secrets() {
    let config = config(Provider::S3, &[("aws_secret_access_key", "hush")]);
    assert_eq!(format!("{config:?}"), "S3 b/p");
}

#[test]
fn an_option_that_the_client_does_not_know_is_refused() {
    for provider in [Provider::S3, Provider::Gcs, Provider::Azure] {
        let config = config(provider, &[("aws_regoin", "x")]);
        assert_eq!(Cloud::new(config).unwrap_err().kind, Kind::Invalid);
    }
}

#[test]
fn a_bundle_without_certificates_is_refused() {
    let mut config = config(Provider::S3, &[]);
    config.ca_pem = Some(b"no certificate".to_vec());
    assert_eq!(Cloud::new(config).unwrap_err().kind, Kind::Invalid);
}

fn config(provider: Provider, options: &[(&str, &str)]) -> Config {
    Config {
        provider,
        bucket: "b".into(),
        prefix: "p".into(),
        timeout: Duration::from_secs(1),
        options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ca_pem: None,
        proxy: None,
        address: None,
        multipart_bytes: MULTIPART_BYTES,
    }
}

#[test]
fn near_ranges_are_read_by_one_request_in_whatever_order_they_are_asked_for() {
    let far = NEAR_BYTES + 101;
    let asked = [(far, far + 5), (90, 100), (0, 10), (95, 99), (far + 5, far + 6)];
    let found: Vec<_> =
        spans(&asked).into_iter().map(|it| (it.start, it.end, it.numbers)).collect();
    assert_eq!(found, [(0, 100, vec![2, 1, 3]), (far, far + 6, vec![0, 4])]);
    assert!(spans(&[]).is_empty());
}
