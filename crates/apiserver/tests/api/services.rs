//! What Services occupy: addresses, node ports, and what every change of type does to them.

use serde_json::{Value, json};

use crate::common::Api;

pub const SERVICES: &str = "/api/v1/namespaces/default/services";
pub const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

pub fn service(name: &str, spec: Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

fn spec(object: &Value, field: &str) -> Value {
    object["spec"].get(field).cloned().unwrap_or_default()
}

#[tokio::test]
async fn addresses_are_unique_and_given_back() {
    let api = Api::start().await;
    let one = api.created(SERVICES, service("one", json!({}))).await;
    let ip = one["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert_eq!(one["spec"]["clusterIPs"], json!([ip]));
    assert_eq!((&one["spec"]["ipFamilies"], &one["spec"]["ipFamilyPolicy"]), (&json!(["IPv4"]), &json!("SingleStack")));
    assert_eq!(one["spec"]["ports"][0]["targetPort"], 80);
    assert_eq!(one["status"], json!({"loadBalancer": {}}));
    let owner = api.get(&format!("{ADDRESSES}/{ip}")).ok().await;
    assert_eq!(owner["spec"]["parentRef"], json!({"resource": "services", "namespace": "default", "name": "one"}));
    assert_eq!(
        owner["metadata"]["labels"],
        json!({"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"})
    );

    let refused = |ip: &str, why: &str| {
        format!("Service \"two\" is invalid: spec.clusterIPs: Invalid value: [{ip:?}]: failed to allocate IP {ip}: {why}")
    };
    let taken = api.post(SERVICES, service("two", json!({"clusterIP": ip}))).fails(422).await;
    assert_eq!(taken["message"], refused(&ip, "provided IP is already allocated"));
    for outside in ["10.9.9.9", "10.43.0.0", "10.43.255.255"] {
        let answer = api.post(SERVICES, service("two", json!({"clusterIP": outside}))).fails(422).await;
        assert_eq!(answer["message"], refused(outside, "the provided network does not match the current range"));
    }

    // Without the address in it, an update keeps it; it cannot be changed.
    let kept = api.put(&format!("{SERVICES}/one"), service("one", json!({"selector": {"a": "b"}}))).ok().await;
    assert_eq!(kept["spec"]["clusterIP"], json!(ip));
    let changed = api.put(&format!("{SERVICES}/one"), service("one", json!({"clusterIP": "10.43.1.1"}))).fails(422).await;
    assert!(changed["message"].as_str().unwrap().contains("may not change once set"), "{changed}");
    api.get(&format!("{ADDRESSES}/10.43.1.1")).fails(404).await;

    let dry = json!({"clusterIP": "10.43.7.7", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30007}]});
    let dry = api.post(&format!("{SERVICES}?dryRun=All"), service("dry", dry)).send().await;
    assert_eq!(dry.code, 201, "{}", dry.text());
    api.get(&format!("{ADDRESSES}/10.43.7.7")).fails(404).await;
    api.created(SERVICES, service("wet", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30007}]}))).await;
    api.delete(&format!("{SERVICES}/one?dryRun=All")).ok().await;
    api.get(&format!("{ADDRESSES}/{ip}")).ok().await;

    api.delete(&format!("{SERVICES}/one")).ok().await;
    api.get(&format!("{ADDRESSES}/{ip}")).fails(404).await;
    api.created(SERVICES, service("two", json!({"clusterIP": ip}))).await;
}

#[tokio::test]
async fn chosen_addresses_and_ports_leave_the_lower_band_alone() {
    let api = Api::start().await;
    for number in 0..40 {
        let made = api.created(SERVICES, service(&format!("s{number}"), json!({"type": "NodePort"}))).await;
        let ip: std::net::Ipv4Addr = made["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
        assert!(u32::from(ip) - u32::from(std::net::Ipv4Addr::new(10, 43, 0, 0)) > 256, "{ip}");
        assert!(made["spec"]["ports"][0]["nodePort"].as_i64().unwrap() >= 30_086, "{made}");
    }
}

#[tokio::test]
async fn a_full_range_says_so_and_further_ranges_help() {
    let api = Api::start_with_services(&["10.44.0.0/29"]).await;
    // Six addresses, one of which is the API's own.
    let calls = (0..5).map(|number| {
        let api = &api;
        async move { api.post(SERVICES, service(&format!("s{number}"), json!({}))).send().await }
    });
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.code, 201, "{}", answer.text());
    }
    let full = api.post(SERVICES, service("more", json!({}))).fails(500).await;
    assert_eq!(full["message"], "Internal error occurred: failed to allocate a serviceIP: range is full");

    let ranges = "/apis/networking.k8s.io/v1/servicecidrs";
    let range = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more"},
        "spec": {"cidrs": ["10.45.0.0/28"]}});
    api.created(ranges, range.clone()).await;
    let more = api.created(SERVICES, service("more", json!({}))).await;
    assert!(more["spec"]["clusterIP"].as_str().unwrap().starts_with("10.45.0."), "{more}");

    // It is ready, and goes only after its addresses.
    let mut watch = api.watch(&format!("{ranges}?watch=true&fieldSelector=metadata.name=more")).await;
    let ready = loop {
        let event = watch.next().await;
        if event["object"]["status"]["conditions"][0]["status"] == "True" {
            break event["object"].clone();
        }
    };
    assert_eq!(ready["status"]["conditions"][0]["message"], "Kubernetes Service CIDR is ready");
    assert_eq!(ready["metadata"]["finalizers"], json!(["networking.k8s.io/service-cidr-finalizer"]));
    api.delete(&format!("{ranges}/more")).ok().await;
    let held = loop {
        let event = watch.next().await;
        if event["object"]["status"]["conditions"][0]["status"] == "False" {
            break event["object"].clone();
        }
    };
    assert_eq!(held["status"]["conditions"][0]["reason"], "Terminating");
    api.post(SERVICES, service("late", json!({}))).fails(500).await;
    api.delete(&format!("{SERVICES}/more")).ok().await;
    loop {
        if watch.next().await["type"] == "DELETED" {
            break;
        }
    }
    api.get(&format!("{ranges}/more")).fails(404).await;
}

#[tokio::test]
async fn parallel_creates_share_nothing() {
    let api = Api::start_with_services(&["10.44.0.0/24"]).await;
    let calls = (0..120).map(|number| {
        let api = &api;
        async move { api.post(SERVICES, service(&format!("s{number}"), json!({"type": "NodePort"}))).send().await }
    });
    let (mut addresses, mut ports) = (Vec::new(), Vec::new());
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.code, 201, "{}", answer.text());
        let made = answer.json();
        addresses.push(made["spec"]["clusterIP"].as_str().unwrap().to_owned());
        ports.push(made["spec"]["ports"][0]["nodePort"].as_i64().unwrap());
    }
    addresses.sort();
    ports.sort_unstable();
    let (all, all_ports) = (addresses.len(), ports.len());
    addresses.dedup();
    ports.dedup();
    assert_eq!((addresses.len(), ports.len()), (all, all_ports));

    // The same address and port asked for by many: one gets it.
    let calls = (0..20).map(|number| {
        let (api, asked) = (&api, json!({"clusterIP": "10.44.0.9", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30009}]}));
        async move { api.post(SERVICES, service(&format!("t{number}"), asked)).send().await }
    });
    let answers = futures::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.code == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.code == 422).count(), 19);
}

#[tokio::test]
async fn node_ports_are_asked_for_shared_and_kept() {
    let api = Api::start().await;
    let path = format!("{SERVICES}/web");
    let made = api.created(SERVICES, service("web", json!({"type": "NodePort"}))).await;
    let port = made["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
    assert_eq!(made["spec"]["externalTrafficPolicy"], "Cluster");
    let taken = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    let refused = api.post(SERVICES, service("other", taken.clone())).fails(422).await;
    assert_eq!(
        refused["message"],
        format!("Service \"other\" is invalid: spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated")
    );
    let low = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]});
    let refused = api.post(SERVICES, service("low", low)).fails(422).await;
    assert_eq!(
        refused["message"],
        "Service \"low\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of \
         valid ports is 30000-32767"
    );

    let kept = api.put(&path, service("web", json!({"type": "NodePort"}))).ok().await;
    assert_eq!(kept["spec"]["ports"][0]["nodePort"], json!(port));
    // Ports are known by name: a renamed one gets another number, and the old one is free.
    let renamed = json!({"type": "NodePort", "ports": [{"name": "http", "port": 80}]});
    let renamed = api.put(&path, service("web", renamed)).ok().await;
    assert_ne!(renamed["spec"]["ports"][0]["nodePort"], json!(port));
    api.created(SERVICES, service("other", taken)).await;

    let dns = json!({"type": "NodePort", "ports": [{"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53}]});
    let dns = api.created(SERVICES, service("dns", dns)).await;
    assert_eq!(dns["spec"]["ports"][0]["nodePort"], dns["spec"]["ports"][1]["nodePort"]);
}

#[tokio::test]
async fn types_change_what_a_service_occupies() {
    let api = Api::start().await;
    let path = format!("{SERVICES}/web");
    let kind = async |kind: &str| api.patch(&path, "merge", json!({"spec": {"type": kind}})).ok().await;
    let made = api.created(SERVICES, service("web", json!({}))).await;
    let ip = made["spec"]["clusterIP"].clone();
    let at = format!("{ADDRESSES}/{}", ip.as_str().unwrap());

    let ported = kind("NodePort").await;
    let port = ported["spec"]["ports"][0]["nodePort"].clone();
    assert!(port.is_number(), "{ported}");
    assert_eq!(spec(&ported, "clusterIP"), ip);

    let balanced = kind("LoadBalancer").await;
    assert_eq!(balanced["spec"]["ports"][0]["nodePort"], port);
    assert_eq!(spec(&balanced, "allocateLoadBalancerNodePorts"), true);
    let point = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let status = api.patch(&format!("{path}/status"), "merge", point).ok().await;
    assert_eq!(status["status"]["loadBalancer"]["ingress"][0]["ipMode"], "VIP");

    let local = api.patch(&path, "merge", json!({"spec": {"externalTrafficPolicy": "Local"}})).ok().await;
    let health = spec(&local, "healthCheckNodePort");
    assert!(health.is_number(), "{local}");
    let asked = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": health});
    let refused = api.post(SERVICES, service("second", asked)).fails(500).await;
    assert_eq!(
        refused["message"],
        format!("Internal error occurred: failed to allocate requested HealthCheck NodePort {health}: provided port is already allocated")
    );
    let put = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"});
    assert_eq!(spec(&api.put(&path, service("web", put)).ok().await, "healthCheckNodePort"), health);
    let spread = api.patch(&path, "merge", json!({"spec": {"externalTrafficPolicy": "Cluster"}})).ok().await;
    assert_eq!(spec(&spread, "healthCheckNodePort"), Value::Null);

    let inner = kind("ClusterIP").await;
    assert_eq!(inner["spec"]["ports"][0].get("nodePort"), None, "{inner}");
    assert_eq!((spec(&inner, "externalTrafficPolicy"), spec(&inner, "allocateLoadBalancerNodePorts")), (Value::Null, Value::Null));
    assert_eq!(inner["status"]["loadBalancer"], json!({}));
    assert_eq!(spec(&inner, "clusterIP"), ip);
    let free =
        json!({"type": "NodePort", "ports": [{"name": "a", "port": 80, "nodePort": port}, {"name": "b", "port": 81, "nodePort": health}]});
    api.created(SERVICES, service("free", free)).await;

    let named = api.patch(&path, "merge", json!({"spec": {"type": "ExternalName", "externalName": "example.com"}})).ok().await;
    for gone in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        assert_eq!(spec(&named, gone), Value::Null, "{named}");
    }
    api.get(&at).fails(404).await;
    // With the address kept in the object, it must be asked for to go.
    let again = api.put(&path, service("web", json!({"type": "ClusterIP"}))).ok().await;
    assert!(again["spec"]["clusterIP"].as_str().unwrap().starts_with("10.43."), "{again}");

    let headless = api.created(SERVICES, service("headless", json!({"clusterIP": "None", "selector": {"a": "b"}}))).await;
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let path = format!("{SERVICES}/headless");
    let refused = api.patch(&path, "merge", json!({"spec": {"type": "NodePort"}})).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("may not be set to 'None' for NodePort services"), "{refused}");
    let refused = api.patch(&path, "merge", json!({"spec": {"clusterIP": "10.43.3.3", "clusterIPs": ["10.43.3.3"]}})).fails(422).await;
    assert!(refused["message"].as_str().unwrap().contains("may not change once set"), "{refused}");
    let named = json!({"type": "ExternalName", "externalName": "example.com", "ports": []});
    assert_eq!(spec(&api.put(&path, service("headless", named)).ok().await, "clusterIP"), Value::Null);
}

#[tokio::test]
async fn load_balancers_may_do_without_node_ports() {
    let api = Api::start().await;
    let path = format!("{SERVICES}/lb");
    let none = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "loadBalancerClass": "example.com/a"});
    let made = api.created(SERVICES, service("lb", none)).await;
    assert_eq!(made["spec"]["ports"][0].get("nodePort"), None, "{made}");
    let asked = api.patch(&path, "json", json!([{"op": "add", "path": "/spec/ports/0/nodePort", "value": 30010}])).ok().await;
    assert_eq!(asked["spec"]["ports"][0]["nodePort"], 30010);
    let refused = api.patch(&path, "merge", json!({"spec": {"loadBalancerClass": "example.com/b"}})).fails(422).await;
    assert!(
        refused["message"].as_str().unwrap().contains("spec.loadBalancerClass: Invalid value: \"example.com/b\": may not change once set")
    );
    let all = api.patch(&path, "merge", json!({"spec": {"allocateLoadBalancerNodePorts": true}})).ok().await;
    assert_eq!(all["spec"]["ports"][0]["nodePort"], 30010);
    let inner = api.patch(&path, "merge", json!({"spec": {"type": "ClusterIP"}})).ok().await;
    assert_eq!(spec(&inner, "loadBalancerClass"), Value::Null);
}

#[tokio::test]
async fn leftovers_are_repaired() {
    let api = Api::start().await;
    let made = api.created(SERVICES, service("web", json!({"type": "NodePort"}))).await;
    let (ip, port) = (made["spec"]["clusterIP"].as_str().unwrap().to_owned(), made["spec"]["ports"][0]["nodePort"].clone());
    let at = format!("{ADDRESSES}/{ip}");

    // Taken away by hand: it comes back, and an event says so.
    let mut watch = api.watch(&format!("{ADDRESSES}?watch=true&fieldSelector=metadata.name={ip}")).await;
    let mut events = api.watch("/apis/events.k8s.io/v1/events?watch=true").await;
    assert_eq!(watch.summary().await.0, "ADDED");
    api.delete(&at).ok().await;
    assert_eq!(watch.summary().await.0, "DELETED");
    assert_eq!(watch.summary().await.0, "ADDED");
    let event = events.next().await["object"].clone();
    assert_eq!((&event["reason"], &event["regarding"]["name"]), (&json!("ClusterIPNotAllocated"), &json!("web")));
    assert_eq!(event["note"], format!("Cluster IP [IPv4]: {ip} is not allocated; repairing"));
    assert_eq!(event["reportingController"], "ipallocator-repair-controller");

    // An address for a Service that is not there goes; one of another owner stays.
    let stray = |name: &str, labels: Value, parent: Value| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": name, "labels": labels},
               "spec": {"parentRef": parent}})
    };
    let labels = json!({"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"});
    let mut watch = api.watch(&format!("{ADDRESSES}?watch=true&fieldSelector=metadata.name=10.43.9.9")).await;
    let gone = json!({"resource": "services", "namespace": "default", "name": "gone"});
    api.created(ADDRESSES, stray("10.43.9.9", labels.clone(), gone.clone())).await;
    assert_eq!((watch.summary().await.0, watch.summary().await.0), ("ADDED".to_owned(), "DELETED".to_owned()));
    let event = events.next().await["object"].clone();
    assert_eq!(event["note"], "IPAddress: 10.43.9.9 for Service default/gone appears to have leaked: cleaning up");
    let wrong = json!({"resource": "services", "namespace": "default", "name": "web"});
    api.created(ADDRESSES, stray("10.43.9.9", labels, wrong)).await;
    assert_eq!((watch.summary().await.0, watch.summary().await.0), ("ADDED".to_owned(), "DELETED".to_owned()));
    assert_eq!(events.next().await["object"]["reason"], "IPAddressWrongReference");
    api.created(ADDRESSES, stray("10.43.9.9", json!({}), gone)).await;
    let refused = api.post(SERVICES, service("x", json!({"clusterIP": "10.43.9.9"}))).fails(422).await;
    assert!(refused["message"].as_str().unwrap().ends_with("provided IP is already allocated"), "{refused}");

    // What a crash or an older server could have left in the store: put in order before the server is ready.
    let key = |port: &str| corten_store::Key::from(format!("/corten/node-ports/all/{port}"));
    let api = api
        .restart_after(|txn| {
            let put = |key, text: &'static str| corten_store::Op {
                key,
                expect: corten_store::Expect::Absent,
                write: corten_store::Write::Put { value: text.into(), aside: bytes::Bytes::new(), ttl: None, note: None },
            };
            txn.ops.push(put(key("31000"), "\"default/gone\""));
            txn.ops.push(put(key("31001"), "\"default/web\""));
            txn.ops.push(corten_store::Op {
                key: key(&port.to_string()),
                expect: corten_store::Expect::Any,
                write: corten_store::Write::Delete,
            });
            txn.ops.push(corten_store::Op {
                key: format!("/registry/networking.k8s.io/ipaddresses/{ip}").into(),
                expect: corten_store::Expect::Any,
                write: corten_store::Write::Delete,
            });
        })
        .await;
    assert_eq!(api.get(&at).ok().await["spec"]["parentRef"]["name"], "web");
    let asked =
        json!({"type": "NodePort", "ports": [{"name": "a", "port": 1, "nodePort": 31000}, {"name": "b", "port": 2, "nodePort": 31001}]});
    api.created(SERVICES, service("both", asked)).await;
    let taken = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    api.post(SERVICES, service("other", taken)).fails(422).await;
}
