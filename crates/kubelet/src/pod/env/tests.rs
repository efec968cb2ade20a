use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::*;

fn pod() -> Pod {
    let pod = json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": []}});
    serde_json::from_value(pod).unwrap()
}

fn looked() -> Looked {
    let map = json!({"metadata": {"name": "m"}, "data": {"k": "v", "other": "o"}});
    let secret = json!({"metadata": {"name": "s"}, "data": {"password": "c2VzYW1l"}});
    Looked {
        config_maps: HashMap::from([("m".into(), Some(Arc::new(serde_json::from_value(map).unwrap())))]),
        secrets: HashMap::from([("s".into(), Some(Arc::new(serde_json::from_value(secret).unwrap())))]),
    }
}

fn make(container: Value) -> Result<Vec<(String, String)>, EnvError> {
    let mut container = container;
    container["name"] = json!("c");
    let container: Container = serde_json::from_value(container).unwrap();
    let services = BTreeMap::from([("SVC_HOST".to_owned(), "10.43.0.1".to_owned())]);
    let made = environment(&pod(), &container, &looked(), &services, &Surroundings::default())?;
    Ok(made.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn values_come_from_everywhere_and_refer_back() {
    let made = make(json!({
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}],
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$(P_k)-$(SVC_HOST)-$(C)"},
            {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
            {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "A", "value": "2"},
        ],
    }));
    let expected = pairs(&[
        ("P_k", "v"),
        ("P_other", "o"),
        ("A", "2"),
        ("B", "1-v-10.43.0.1-$(C)"),
        ("C", "sesame"),
        ("D", "p"),
        ("SVC_HOST", "10.43.0.1"),
    ]);
    assert_eq!(made, Ok(expected));
}

#[test]
fn what_is_missing_is_named_unless_it_is_optional() {
    let key = |name: &str, key: &str, optional: bool| {
        json!({"env": [{"name": "A", "valueFrom": {
            "configMapKeyRef": {"name": name, "key": key, "optional": optional}}}]})
    };
    let message = |container| make(container).unwrap_err().to_string();
    assert_eq!(message(key("x", "k", false)), "configmap \"x\" not found");
    assert_eq!(message(key("m", "nope", false)), "couldn't find key nope in ConfigMap ns/m");
    let only_services = Ok(pairs(&[("SVC_HOST", "10.43.0.1")]));
    assert_eq!(make(key("x", "k", true)), only_services);
    assert_eq!(make(key("m", "nope", true)), only_services);
    let from = json!({"envFrom": [{"secretRef": {"name": "x"}}]});
    assert_eq!(message(from), "secret \"x\" not found");
}

#[test]
fn services_are_described_as_links() {
    let service = |namespace: &str, name: &str, ip: &str| -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": ip, "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]},
        }))
        .unwrap()
    };
    let all = [
        service("default", "kubernetes", "10.43.0.1"),
        service("ns", "my-db", "10.43.0.2"),
        service("ns", "headless", "None"),
        service("other", "far", "10.43.0.3"),
    ];
    let variables = services::variables(&pod(), all.iter());
    assert_eq!(variables["KUBERNETES_SERVICE_HOST"], "10.43.0.1");
    assert_eq!(variables["KUBERNETES_SERVICE_PORT_HTTPS"], "443");
    assert_eq!(variables["KUBERNETES_PORT"], "tcp://10.43.0.1:443");
    assert_eq!(variables["KUBERNETES_PORT_443_TCP_ADDR"], "10.43.0.1");
    assert_eq!(variables["MY_DB_SERVICE_PORT"], "443");
    assert!(!variables.keys().any(|k| k.starts_with("HEADLESS") || k.starts_with("FAR")));

    let mut quiet = pod();
    quiet.spec.as_mut().unwrap().enable_service_links = Some(false);
    let variables = services::variables(&quiet, all.iter());
    assert!(variables.contains_key("KUBERNETES_SERVICE_HOST"));
    assert!(!variables.contains_key("MY_DB_SERVICE_HOST"));
}
