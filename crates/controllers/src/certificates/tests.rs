use corten_client::now;
use k8s_openapi::{ByteString, api::certificates::v1::CertificateSigningRequest, jiff::Timestamp};
use serde_json::json;

use corten_pki::{CertificateRequest, Identity};

use super::decide::{Decision, Known, decide};

fn object(signer: &str, user: &str, groups: &[&str], conditions: &[&str]) -> CertificateSigningRequest {
    let conditions: Vec<_> = conditions.iter().map(|type_| json!({"type": type_, "status": "True"})).collect();
    let mut object: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": "csr"},
        "spec": {"signerName": signer, "username": user, "groups": groups, "request": "",
            "usages": ["digital signature", "client auth"]},
        "status": {"conditions": conditions},
    }))
    .unwrap();
    object.metadata.creation_timestamp = Some(now());
    object
}

const KUBELET: &str = "kubernetes.io/kube-apiserver-client-kubelet";

#[test]
fn requests_of_others_wait_and_broken_ones_fail() {
    let now = Timestamp::now();
    let check = |object: &CertificateSigningRequest| decide(object, &Known::default(), now);
    let foreign = object("example.com/x", "u", &["system:bootstrappers"], &["Approved"]);
    assert!(matches!(check(&foreign), Decision::Wait(_)));
    let broken = object(KUBELET, "u", &["system:bootstrappers"], &[]);
    assert!(matches!(check(&broken), Decision::Wait(_)), "not approved");
    let mut broken = object(KUBELET, "u", &["system:bootstrappers"], &["Approved"]);
    broken.spec.request = ByteString(b"garbage".to_vec());
    assert!(matches!(check(&broken), Decision::Fail(_)));
    let denied = object(KUBELET, "u", &[], &["Denied"]);
    assert!(matches!(check(&denied), Decision::Wait(_)));
    let later = Timestamp::from_second(now.as_second() + 7200).unwrap();
    assert!(matches!(decide(&denied, &Known::default(), later), Decision::Remove));
}

#[test]
fn a_serving_certificate_may_name_only_the_node() {
    let now = Timestamp::now();
    let known = Known {
        nodes: [
            ("old".to_owned(), ["10.0.0.1".to_owned(), "old.example".to_owned()].into()),
            ("other".to_owned(), ["10.0.0.2".to_owned()].into()),
        ]
        .into(),
        reserved: vec!["10.42.0.0/16".parse().unwrap(), "10.43.0.1/32".parse().unwrap()],
    };
    let check = |node: &str, names: &[&str], addresses: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let identity = Identity::node(node);
        let made = CertificateRequest::create(&identity, &names, &addresses).unwrap();
        let signer = "kubernetes.io/kubelet-serving";
        let mut object = object(signer, &identity.user, &["system:nodes"], &[]);
        object.spec.usages = Some(vec!["digital signature".into(), "server auth".into()]);
        object.spec.request = ByteString(made.request.into_bytes());
        let approved = matches!(decide(&object, &known, now), Decision::Approve);
        object.spec.username = Some("system:node:eve".into());
        assert!(!matches!(decide(&object, &known, now), Decision::Approve), "another's request");
        approved
    };
    assert!(check("old", &["old", "old.example"], &["10.0.0.1"]));
    assert!(!check("old", &["kubernetes.default"], &["10.0.0.1"]));
    assert!(!check("old", &["old"], &["10.0.0.3"]), "an address that it does not report");
    assert!(check("new", &["new"], &["10.0.0.3"]));
    for taken in ["10.0.0.2", "10.42.3.4", "10.43.0.1", "127.0.0.1", "0.0.0.0"] {
        assert!(!check("new", &["new"], &[taken]), "{taken}");
    }
}

#[test]
fn a_bootstrapper_gets_the_certificate_of_a_node() {
    let now = Timestamp::now();
    let made = CertificateRequest::create(&Identity::node("new"), &[], &[]).unwrap();
    let check = |groups: &[&str], conditions: &[&str]| {
        let mut object = object(KUBELET, "system:bootstrap:abc", groups, conditions);
        object.spec.request = ByteString(made.request.clone().into_bytes());
        decide(&object, &Known::default(), now)
    };
    assert!(matches!(check(&["system:bootstrappers"], &[]), Decision::Approve));
    assert!(matches!(check(&["system:nodes"], &[]), Decision::Wait(_)), "another node's");
    assert!(matches!(check(&[], &["Approved"]), Decision::Sign(_)));
}
