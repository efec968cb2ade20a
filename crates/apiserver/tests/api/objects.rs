//! Kinds with rules of their own: configuration, certificates, events, jobs, nodes, bindings of roles at bootstrap.

use serde_json::{Value, json};

use crate::common::{Api, CONFIG_MAPS, config_map};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";

fn secret(name: &str, kind: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "stringData": data})
}

#[tokio::test]
async fn secrets_are_what_their_type_says() {
    let api = Api::start().await;
    let made = api.created(SECRETS, secret("plain", "", json!({"a": "b"}))).await;
    assert_eq!((&made["type"], &made["data"]), (&json!("Opaque"), &json!({"a": "Yg=="})));
    assert_eq!(made.get("stringData"), None);
    let cases = [
        (secret("tls", "kubernetes.io/tls", json!({"tls.crt": "x"})), "data[tls.key]: Required value"),
        (secret("auth", "kubernetes.io/basic-auth", json!({})), "data[username]: Required value"),
        (secret("docker", "kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "{"})), "<secret contents redacted>"),
        (secret("key", "Opaque", json!({"a b": "x"})), "data[a b]: Invalid value: \"a b\": a valid config key must consist of"),
        (secret("token", "kubernetes.io/service-account-token", json!({})), "metadata.annotations[kubernetes.io/service-account.name]"),
    ];
    for (object, expected) in cases {
        let refused = api.post(SECRETS, object).fails(422).await;
        assert!(refused["message"].as_str().unwrap().contains(expected), "{refused}");
    }
    let changed = api.patch(&format!("{SECRETS}/plain"), "merge", json!({"type": "other"})).fails(422).await;
    assert_eq!(changed["message"], "Secret \"plain\" is invalid: type: Invalid value: \"other\": field is immutable");
}

#[tokio::test]
async fn immutable_configuration_stays() {
    let api = Api::start().await;
    let mut fixed = config_map("fixed");
    fixed["immutable"] = json!(true);
    api.created(CONFIG_MAPS, fixed).await;
    let path = format!("{CONFIG_MAPS}/fixed");
    let refused = api.patch(&path, "merge", json!({"data": {"a": "c"}})).fails(422).await;
    assert_eq!(refused["message"], "ConfigMap \"fixed\" is invalid: data: Forbidden: field is immutable when `immutable` is set");
    api.patch(&path, "merge", json!({"immutable": false})).fails(422).await;
    api.patch(&path, "merge", json!({"metadata": {"labels": {"a": "b"}}})).ok().await;
    let mut twice = config_map("twice");
    twice["binaryData"] = json!({"a": "eA=="});
    let refused = api.post(CONFIG_MAPS, twice).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("duplicate of key present in binaryData"), "{refused}");
}

#[tokio::test]
async fn a_certificate_request_is_decided_once_and_by_those_who_may() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use corten_pki::Identity;

    let api = Api::start().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "system:node:n1");
    parameters.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    let pem = parameters.serialize_request(&key).unwrap().pem().unwrap();
    let request = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "n1"},
        "spec": {
            "request": STANDARD.encode(pem), "usages": ["client auth"], "username": "system:admin",
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
        },
    });
    let node = Identity::node("n1");
    let made = api.post(path, request.clone()).identity(node.clone()).send().await;
    assert_eq!(made.code, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(
        (&made["spec"]["username"], &made["spec"]["groups"]),
        (&json!("system:node:n1"), &json!(["system:nodes", "system:authenticated"]))
    );

    let mut approved = made.clone();
    approved["status"]["conditions"] = json!([{"type": "Approved", "status": "True", "reason": "Auto"}]);
    let certificate = json!(STANDARD.encode(api.authority.certificate()));
    approved["status"]["certificate"] = certificate.clone();
    let controller = Identity::service_account("kube-system", "certificate-controller");
    let approval = format!("{path}/n1/approval");
    api.put(&approval, approved.clone()).identity(node).fails(403).await;
    let done = api.put(&approval, approved.clone()).identity(controller.clone()).ok().await;
    assert_eq!(done["status"]["conditions"][0]["type"], "Approved");
    assert!(done["status"]["conditions"][0]["lastUpdateTime"].is_string(), "{done}");
    assert_eq!(done["status"].get("certificate"), None, "approvers do not issue: {done}");

    let mut issued = done.clone();
    issued["status"]["certificate"] = certificate.clone();
    let mut withdrawn = issued.clone();
    withdrawn["status"]["conditions"] = json!([]);
    api.put(&format!("{path}/n1/status"), withdrawn).identity(controller.clone()).fails(422).await;
    issued["status"]["conditions"][0]["reason"] = json!("Other");
    let issued = api.put(&format!("{path}/n1/status"), issued).identity(controller).ok().await;
    assert_eq!(issued["status"]["certificate"], certificate);
    assert_eq!(issued["status"]["conditions"][0]["reason"], "Auto", "signers do not decide: {issued}");

    let mut taken_back = issued.clone();
    taken_back["status"]["conditions"] = json!([]);
    let refused = api.put(&approval, taken_back).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("updates may not remove a condition of type \"Approved\""), "{refused}");
    let mut garbage = request;
    garbage["metadata"]["name"] = json!("garbage");
    garbage["spec"]["request"] = json!("eA==");
    api.post(path, garbage).fails(422).await;
}

#[tokio::test]
async fn events_are_found_by_what_they_are_about() {
    let api = Api::start().await;
    let event = |name: &str, pod: &str| {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "reason": "Pulled", "type": "Normal", "message": "m",
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": pod}, "source": {"component": "kubelet"},
        })
    };
    let path = "/api/v1/namespaces/default/events";
    api.created(path, event("one", "web")).await;
    api.created(path, event("two", "db")).await;
    let found = api.get(&format!("{path}?fieldSelector=involvedObject.name%3Dweb,source%3Dkubelet,type%3DNormal")).ok().await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    let mut astray = event("three", "web");
    astray["involvedObject"]["namespace"] = json!("other");
    let refused = api.post(path, astray).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("does not match event.namespace"), "{refused}");
}

#[tokio::test]
async fn jobs_select_their_own_pods() {
    let api = Api::start().await;
    let path = "/apis/batch/v1/namespaces/default/jobs";
    let job = |policy: &str| {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"},
            "spec": {"template": {"spec": {"restartPolicy": policy, "containers": [{"name": "c", "image": "x"}]}}},
        })
    };
    let refused = api.post(path, job("Always")).fails(422).await;
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""),
        "{refused}"
    );
    let made = api.created(path, job("Never")).await;
    let uid = &made["metadata"]["uid"];
    assert_eq!(made["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], *uid);
    assert_eq!(made["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/controller-uid"], *uid);
    assert_eq!(made["spec"]["template"]["metadata"]["labels"]["job-name"], "once");
    let changed = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "y"}]}}}});
    let refused = api.patch(&format!("{path}/once"), "strategic", changed).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("field is immutable"), "{refused}");
}

#[tokio::test]
async fn a_nodes_address_range_is_given_once() {
    let api = Api::start().await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {"phase": "Running"}});
    let made = api.created("/api/v1/nodes", node).await;
    assert_eq!(made["status"]["phase"], "Running", "a kubelet registers with a status");
    let path = "/api/v1/nodes/n1";
    let given = api.patch(path, "merge", json!({"spec": {"podCIDR": "10.42.0.0/24"}})).ok().await;
    assert_eq!(given["spec"]["podCIDRs"], json!(["10.42.0.0/24"]));
    let again = json!({"spec": {"podCIDR": "10.42.1.0/24", "podCIDRs": ["10.42.1.0/24"]}});
    let refused = api.patch(path, "merge", again).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("node updates may not change podCIDR except from"), "{refused}");
    let found = api.get("/api/v1/nodes?fieldSelector=spec.unschedulable%3Dfalse").ok().await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_start_repairs_roles_but_not_what_is_meant() {
    let api = Api::start().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let view = api.get(&format!("{roles}/view")).ok().await;
    assert_eq!(view["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"]["rbac.authorization.k8s.io/aggregate-to-view"], "true");
    assert!(view["rules"].as_array().unwrap().len() > 5);
    let role = format!("{roles}/system:basic-user");
    let own = json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]});
    api.patch(&role, "merge", json!({"rules": [own]})).ok().await;
    let left = format!("{roles}/system:discovery");
    let hands_off = json!({"rules": [], "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}});
    api.patch(&left, "merge", hands_off).ok().await;
    api.delete(&format!("{roles}/system:node-proxier")).ok().await;

    let api = api.restart().await;
    let repaired = api.get(&role).ok().await;
    let rules = repaired["rules"].as_array().unwrap();
    assert_eq!((rules.len(), &rules[0]), (3, &own), "{repaired}");
    assert_eq!(api.get(&left).ok().await["rules"].as_array().map_or(0, Vec::len), 0);
    api.get(&format!("{roles}/system:node-proxier")).ok().await;
}
