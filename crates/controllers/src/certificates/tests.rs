use corten_client::now;
use k8s_openapi::{
    ByteString, api::certificates::v1::CertificateSigningRequest, jiff::Timestamp,
};
use serde_json::json;

use super::decide::{Decision, decide};

fn object(signer: &str, user: &str, groups: &[&str], conditions: &[&str]) -> CertificateSigningRequest {
    let conditions: Vec<_> = conditions
        .iter()
        .map(|type_| json!({"type": type_, "status": "True"}))
        .collect();
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
    let check = |object: &CertificateSigningRequest| decide(object, None, now);
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
    assert!(matches!(decide(&denied, None, later), Decision::Remove));
}
