use std::{
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use serde_json::json;

use crate::{
    Authority, CertificateRequest, Claims, ClientVerification, CsrError, Identity, Kubeconfig, KubeconfigUser, Leaf, RequestedUsage,
    TokenError, TokenSigner, Usages, add_context, ca_public_key_hash, certificate_expiry, client_config, server_config,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

#[test]
fn an_authority_is_created_once_and_its_files_are_private() {
    let directory = tempfile::tempdir().unwrap();
    let first = Authority::open(directory.path(), "ca", now()).unwrap();
    let again = Authority::open(directory.path(), "ca", now() + DAY).unwrap();
    assert_eq!(first.certificate(), again.certificate());
    for name in ["ca.crt", "ca.key"] {
        let mode = fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let hash = ca_public_key_hash(first.certificate()).unwrap();
    assert!(hash.starts_with("sha256:") && hash.len() == 71, "{hash}");
    let (_, end) = certificate_expiry(first.certificate()).unwrap();
    assert!(end > now() + DAY * 3649);
}

#[test]
fn a_credential_is_kept_until_a_third_is_left_or_something_changes() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::open(directory.path(), "ca", now()).unwrap();
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    let leaf = Leaf::server("api", ["localhost"], [address]);
    let first = authority.ensure("api", &leaf, now()).unwrap();
    let kept = authority.ensure("api", &leaf, now() + DAY * 240).unwrap();
    assert_eq!(first.certificate, kept.certificate);
    let fewer = Leaf::server("api", ["localhost"], []);
    let kept = authority.ensure("api", &fewer, now()).unwrap();
    assert_eq!(first.certificate, kept.certificate, "more names do not hurt");
    let more = Leaf::server("api", ["localhost", "cluster"], [address]);
    let second = authority.ensure("api", &more, now()).unwrap();
    assert_ne!(first.certificate, second.certificate, "a new name");
    let third = authority.ensure("api", &more, now() + DAY * 250).unwrap();
    assert_ne!(second.certificate, third.certificate, "less than a third left");
    fs::remove_file(directory.path().join("ca.key")).unwrap();
    assert!(Authority::open(directory.path(), "ca", now()).is_err());
    fs::remove_file(directory.path().join("ca.crt")).unwrap();
    let other = Authority::open(directory.path(), "ca", now()).unwrap();
    let fourth = other.ensure("api", &more, now() + DAY * 250).unwrap();
    assert_ne!(third.certificate, fourth.certificate, "another authority");
}

#[test]
fn a_certificate_names_its_identity() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::open(directory.path(), "ca", now()).unwrap();
    for identity in [Identity::admin(), Identity::node("worker"), Identity::scheduler()] {
        let credential = authority.issue(&Leaf::client(identity.clone()), now()).unwrap();
        let chain = credential.chain().unwrap();
        assert_eq!(Identity::from_certificate(&chain[0]).unwrap(), identity);
        client_config(authority.certificate(), Some(&credential), &["h2"]).unwrap();
    }
    let server = authority.issue(&Leaf::server("a", ["a"], []), now()).unwrap();
    let clients = ClientVerification::Optional(authority.certificate().into());
    let config = server_config(&server, &clients, &["h2", "http/1.1"]).unwrap();
    assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
}

fn request(user: &str, organization: Option<&str>, names: Vec<SanType>) -> CertificateRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.subject_alt_names = names;
    let key = KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    CertificateRequest::parse(pem.as_bytes()).unwrap()
}

#[test]
fn requests_are_checked_by_the_signers_rules() {
    use RequestedUsage::{ClientAuth, DigitalSignature, KeyEncipherment, ServerAuth};
    let client = [DigitalSignature, ClientAuth, KeyEncipherment];
    let serving = [DigitalSignature, ServerAuth];
    let dns = || vec![SanType::DnsName("worker".try_into().unwrap())];
    let nodes = Some("system:nodes");

    let good = request("system:node:worker", nodes, vec![]);
    assert_eq!(good.check_kubelet_client(&client), Ok(()));
    assert_eq!(good.check_kubelet_client(&client[..2]), Ok(()));
    assert_eq!(good.check_kubelet_client(&serving), Err(CsrError::Usages));
    assert_eq!(good.check_kubelet_serving(&serving), Err(CsrError::NamesMissing));
    let named = request("system:node:worker", nodes, dns());
    assert_eq!(named.check_kubelet_client(&client), Err(CsrError::NamesNotAllowed));
    assert_eq!(named.check_kubelet_serving(&serving), Ok(()));
    let uri = vec![SanType::URI("spiffe://x".try_into().unwrap())];
    let uri = request("system:node:worker", nodes, uri);
    assert_eq!(uri.check_kubelet_serving(&serving), Err(CsrError::NamesNotAllowed));
    let nobody = request("worker", nodes, vec![]);
    assert_eq!(nobody.check_kubelet_client(&client), Err(CsrError::CommonName));
    let master = request("eve", Some("system:masters"), vec![]);
    assert_eq!(master.check_kubelet_client(&client), Err(CsrError::Organization));
    assert_eq!(master.check_client(&client), Err(CsrError::Masters));
    assert!(CertificateRequest::parse(b"garbage").is_err());
}

#[test]
fn a_created_request_asks_for_what_was_said() {
    let names = ["worker".to_owned()];
    let addresses = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    let identity = Identity::node("worker");
    let made = CertificateRequest::create(&identity, &names, &addresses).unwrap();
    let parsed = CertificateRequest::parse(made.request.as_bytes()).unwrap();
    assert_eq!(parsed.subject, identity);
    assert_eq!(parsed.dns_names, names);
    assert_eq!(parsed.addresses, addresses);
    assert!(KeyPair::from_pem(&made.key).is_ok());
}

#[test]
fn a_signed_request_is_a_certificate_of_the_authority() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::open(directory.path(), "ca", now()).unwrap();
    let request = request("system:node:worker", Some("system:nodes"), vec![]);
    let usages = Usages { client: true, server: false };
    let pem = authority.sign_request(&request, usages, Some(DAY), now()).unwrap();
    let (_, end) = certificate_expiry(&pem).unwrap();
    assert_eq!(end, now() + DAY);
    let der = crate::certificate::parse_certificates(&pem).unwrap();
    assert_eq!(Identity::from_certificate(&der[0]).unwrap(), Identity::node("worker"));
}

fn claims() -> Claims {
    Claims {
        aud: vec!["https://kubernetes".into()],
        exp: 1_800_003_600,
        iat: 1_800_000_000,
        iss: "https://kubernetes".into(),
        jti: Some("id".into()),
        kubernetes: None,
        nbf: 1_800_000_000,
        sub: "system:serviceaccount:default:default".into(),
    }
}

#[test]
fn tokens_are_verified() {
    let directory = tempfile::tempdir().unwrap();
    let signer = TokenSigner::open(directory.path()).unwrap();
    let token = signer.sign(&claims()).unwrap();
    let verifier = TokenSigner::open(directory.path()).unwrap().verifier("https://kubernetes");
    assert_eq!(verifier.verify(&token, now()), Ok(claims()));
    assert_eq!(verifier.verify(&token, now() + DAY), Err(TokenError::Expired));
    assert_eq!(verifier.verify(&token, now() - DAY), Err(TokenError::NotYetValid));
    let other = signer.verifier("https://elsewhere");
    assert!(matches!(other.verify(&token, now()), Err(TokenError::Issuer(_))));
    let stranger = TokenSigner::open(&directory.path().join("other")).unwrap();
    let stranger = stranger.verifier("https://kubernetes");
    assert_eq!(stranger.verify(&token, now()), Err(TokenError::UnknownKey));

    let (rest, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = rest.split_once('.').unwrap();
    let admin = Claims { sub: "admin".into(), ..claims() };
    let forged = signer.sign(&admin).unwrap();
    let forged = forged.split('.').nth(1).unwrap();
    let forged = format!("{header}.{forged}.{signature}");
    assert_eq!(verifier.verify(&forged, now()), Err(TokenError::Signature));
    for garbage in ["", ".", "..", "a.b.c", "é.é.é", &token[..20]] {
        assert_eq!(verifier.verify(garbage, now()), Err(TokenError::Malformed));
    }
    assert_eq!(signer.key_set()["keys"][0]["x"].as_str().unwrap().len(), 43);
}

#[test]
fn an_audience_may_be_a_single_string() {
    let mut value = serde_json::to_value(claims()).unwrap();
    value["aud"] = json!("https://kubernetes");
    let parsed: Claims = serde_json::from_value(value).unwrap();
    assert_eq!(parsed, claims());
    let accepted = ["x".to_owned(), "https://kubernetes".to_owned()];
    assert_eq!(parsed.audiences_in(&accepted), ["https://kubernetes"]);
}

#[test]
fn a_context_is_added_without_touching_the_others() {
    let added = Kubeconfig {
        name: "corten".into(),
        server: "https://127.0.0.1:6443".into(),
        authority: "pem".into(),
        user: KubeconfigUser::Token("secret".into()),
    };
    let fresh = added.to_value();
    assert_eq!(fresh["current-context"], "corten");
    assert_eq!(fresh["kind"], "Config");
    assert_eq!(fresh["clusters"][0]["cluster"]["certificate-authority-data"], "cGVt");

    let existing = json!({"apiVersion": "v1", "kind": "Config", "current-context": "prod",
        "preferences": {"colors": true}, "clusters": null,
        "contexts": [{"name": "prod", "context": {}}, {"name": "corten", "context": {"old": 1}}],
        "users": [{"name": "prod", "user": {"token": "x"}}]});
    let merged = add_context(Some(existing), &added);
    assert_eq!(merged["current-context"], "prod");
    assert_eq!(merged["preferences"]["colors"], true);
    assert_eq!(merged["contexts"].as_array().unwrap().len(), 2);
    assert_eq!(merged["contexts"][1]["context"]["cluster"], "corten");
    assert_eq!(merged["users"][0]["user"]["token"], "x");
    assert_eq!(merged["clusters"][0]["cluster"]["server"], added.server);
    assert_eq!(add_context(Some(merged.clone()), &added), merged, "twice is once");
}
