//! Services: addresses and node ports, taken and given back.

use serde_json::{Value, json};

use crate::common::Api;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

fn service(name: &str, spec: Value) -> Value {
    let mut all = json!({"ports": [{"port": 80}]});
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": all})
}

#[tokio::test]
async fn the_kubernetes_service_leads_to_the_server() {
    let api = Api::start().await;
    let own = api.get(&format!("{SERVICES}/kubernetes")).ok().await;
    assert_eq!(own["spec"]["clusterIP"], "10.43.0.1");
    assert_eq!(own["spec"]["ports"][0]["targetPort"], 6443);
    let slice = api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").ok().await;
    assert_eq!((&slice["endpoints"][0]["addresses"], &slice["ports"][0]["port"]), (&json!(["192.0.2.1"]), &json!(6443)));
    api.get(&format!("{ADDRESSES}/10.43.0.1")).ok().await;
    let version = own["metadata"]["resourceVersion"].clone();

    let api = api.restart().await;
    let same = api.get(&format!("{SERVICES}/kubernetes")).ok().await;
    assert_eq!(same["metadata"]["resourceVersion"], version, "a start that finds everything right writes nothing");
}

#[tokio::test]
async fn addresses_are_unique_and_given_back() {
    let api = Api::start().await;
    let one = api.created(SERVICES, service("one", json!({}))).await;
    let ip = one["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert_eq!(one["spec"]["clusterIPs"], json!([ip]));
    assert_eq!((&one["spec"]["ipFamilies"], &one["spec"]["ipFamilyPolicy"]), (&json!(["IPv4"]), &json!("SingleStack")));
    assert_eq!(one["spec"]["ports"][0]["targetPort"], 80);
    let owner = api.get(&format!("{ADDRESSES}/{ip}")).ok().await;
    assert_eq!(owner["spec"]["parentRef"]["name"], "one");

    let taken = api.post(SERVICES, service("two", json!({"clusterIP": ip}))).fails(422).await;
    assert_eq!(
        taken["message"],
        format!(
            "Service \"two\" is invalid: spec.clusterIPs[0]: Invalid value: \"{ip}\": failed to allocate IP {ip}: provided IP is already allocated"
        )
    );
    let outside = api.post(SERVICES, service("two", json!({"clusterIP": "10.9.9.9"}))).fails(422).await;
    assert!(outside["message"].as_str().unwrap().contains("The range of valid IPs is 10.43.0.0/16"), "{outside}");

    // Without the address in it, an update keeps it; it cannot be changed.
    let kept = api.put(&format!("{SERVICES}/one"), service("one", json!({"selector": {"a": "b"}}))).ok().await;
    assert_eq!(kept["spec"]["clusterIP"], json!(ip));
    let changed = api.put(&format!("{SERVICES}/one"), service("one", json!({"clusterIP": "10.43.1.1"}))).fails(422).await;
    assert!(changed["message"].as_str().unwrap().contains("may not change once set"), "{changed}");

    let dry = api.post(&format!("{SERVICES}?dryRun=All"), service("dry", json!({"clusterIP": "10.43.7.7"}))).send().await;
    assert_eq!(dry.code, 201, "{}", dry.text());
    api.get(&format!("{ADDRESSES}/10.43.7.7")).fails(404).await;

    api.delete(&format!("{SERVICES}/one")).ok().await;
    api.get(&format!("{ADDRESSES}/{ip}")).fails(404).await;
    api.created(SERVICES, service("two", json!({"clusterIP": ip}))).await;
}

#[tokio::test]
async fn types_change_what_a_service_occupies() {
    let api = Api::start().await;
    let path = format!("{SERVICES}/web");
    let made = api.created(SERVICES, service("web", json!({"type": "NodePort"}))).await;
    let port = made["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
    assert!((30_000..=32_767).contains(&port), "{made}");
    assert_eq!(made["spec"]["externalTrafficPolicy"], "Cluster");
    let taken = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    let refused = api.post(SERVICES, service("other", taken.clone())).fails(422).await;
    assert_eq!(
        refused["message"],
        format!("Service \"other\" is invalid: spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated")
    );
    let low = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]});
    api.post(SERVICES, service("low", low)).fails(422).await;

    let kept = api.put(&path, service("web", json!({"type": "NodePort"}))).ok().await;
    assert_eq!(kept["spec"]["ports"][0]["nodePort"], json!(port));
    let inner = api.patch(&path, "merge", json!({"spec": {"type": "ClusterIP"}})).ok().await;
    assert_eq!(inner["spec"]["ports"][0].get("nodePort"), None, "{inner}");
    assert_eq!(inner["spec"].get("externalTrafficPolicy"), None, "{inner}");
    api.created(SERVICES, service("other", taken)).await;

    let ip = inner["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let named = json!({"type": "ExternalName", "externalName": "example.com"});
    let named = api.put(&path, service("web", named)).ok().await;
    assert_eq!(named["spec"].get("clusterIP"), None, "{named}");
    api.get(&format!("{ADDRESSES}/{ip}")).fails(404).await;
    let again = api.put(&path, service("web", json!({"type": "ClusterIP"}))).ok().await;
    assert!(again["spec"]["clusterIP"].as_str().unwrap().starts_with("10.43."), "{again}");

    let headless = api.created(SERVICES, service("headless", json!({"clusterIP": "None"}))).await;
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
}

#[tokio::test]
async fn services_are_refused_in_known_words() {
    let api = Api::start().await;
    let cases = [
        (json!({"ports": []}), "spec.ports: Required value"),
        (json!({"ports": [{"port": 0}]}), "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        (json!({"ports": [{"port": 80}, {"port": 81}]}), "spec.ports[0].name: Required value"),
        (json!({"type": "ExternalName", "ports": []}), "spec.externalName: Required value"),
        (
            json!({"ports": [{"port": 80, "nodePort": 30000}]}),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
    ];
    for (spec, expected) in cases {
        let refused = api.post(SERVICES, service("x", spec)).fails(422).await;
        assert!(refused["message"].as_str().unwrap().contains(expected), "{refused}");
    }
    let mut upper = service("x", json!({}));
    upper["metadata"]["name"] = json!("1x");
    let refused = api.post(SERVICES, upper).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("a DNS-1035 label must consist of"), "{refused}");
}
