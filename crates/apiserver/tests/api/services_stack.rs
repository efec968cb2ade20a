//! Services with one and two address families.

use serde_json::{Value, json};

use crate::{
    common::Api,
    services::{ADDRESSES, SERVICES, service},
};

const RANGES: [&str; 2] = ["10.43.0.0/16", "fd00:43::/112"];

fn stack(object: &Value) -> (String, String, usize) {
    let words = |field: &str| object["spec"][field].to_string();
    (object["spec"]["ipFamilyPolicy"].as_str().unwrap_or_default().to_owned(), words("ipFamilies"), {
        object["spec"]["clusterIPs"].as_array().map_or(0, Vec::len)
    })
}

fn expected(policy: &str, families: Value, count: usize) -> (String, String, usize) {
    (policy.to_owned(), families.to_string(), count)
}

#[tokio::test]
async fn what_is_left_out_is_inferred() {
    let api = Api::start_with_services(&RANGES).await;
    let own = api.get("/api/v1/namespaces/default/services/kubernetes").ok().await;
    assert_eq!(stack(&own), expected("SingleStack", json!(["IPv4"]), 1));
    let ranges = api.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").ok().await;
    assert_eq!(ranges["spec"]["cidrs"], json!(RANGES));
    assert_eq!(ranges["status"]["conditions"][0]["type"], "Ready");

    let (four, six, both, turned) = (json!(["IPv4"]), json!(["IPv6"]), json!(["IPv4", "IPv6"]), json!(["IPv6", "IPv4"]));
    let cases = [
        (json!({}), expected("SingleStack", four.clone(), 1)),
        (json!({"ipFamilyPolicy": "PreferDualStack"}), expected("PreferDualStack", both.clone(), 2)),
        (json!({"ipFamilyPolicy": "RequireDualStack"}), expected("RequireDualStack", both.clone(), 2)),
        (json!({"ipFamilies": ["IPv6"]}), expected("SingleStack", six.clone(), 1)),
        (json!({"ipFamilies": ["IPv6"], "ipFamilyPolicy": "PreferDualStack"}), expected("PreferDualStack", turned.clone(), 2)),
        (json!({"clusterIP": "fd00:43::77"}), expected("SingleStack", six, 1)),
        (
            json!({"clusterIP": "fd00:43::78", "clusterIPs": ["fd00:43::78", "10.43.1.78"], "ipFamilyPolicy": "RequireDualStack"}),
            expected("RequireDualStack", turned, 2),
        ),
        (json!({"clusterIP": "None"}), expected("RequireDualStack", both.clone(), 1)),
        (json!({"clusterIP": "None", "selector": {"a": "b"}}), expected("SingleStack", four, 1)),
        (json!({"clusterIP": "None", "selector": {"a": "b"}, "ipFamilyPolicy": "PreferDualStack"}), expected("PreferDualStack", both, 1)),
    ];
    for (number, (spec, wanted)) in cases.into_iter().enumerate() {
        let made = api.created(SERVICES, service(&format!("s{number}"), spec.clone())).await;
        assert_eq!(stack(&made), wanted, "{spec}");
        for address in made["spec"]["clusterIPs"].as_array().unwrap().iter().filter(|address| **address != "None") {
            api.get(&format!("{ADDRESSES}/{}", address.as_str().unwrap())).ok().await;
        }
    }
    let refused = [
        (
            json!({"clusterIP": "10.43.2.2", "clusterIPs": ["10.43.2.2", "fd00:43::2"]}),
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be RequireDualStack or PreferDualStack when multiple cluster IPs are \
             specified",
        ),
        (
            json!({"ipFamilies": ["IPv4", "IPv6"]}),
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be RequireDualStack or PreferDualStack when multiple IP families \
             are specified",
        ),
        (
            json!({"clusterIP": "10.43.2.2", "ipFamilies": ["IPv6"]}),
            "spec.clusterIPs[0]: Invalid value: \"10.43.2.2\": expected an IPv6 value as indicated by `ipFamilies[0]`",
        ),
        (
            json!({"clusterIP": "10.43.2.2", "clusterIPs": ["10.43.2.2", "10.43.2.3"], "ipFamilyPolicy": "RequireDualStack"}),
            "spec.clusterIPs: Invalid value: [\"10.43.2.2\",\"10.43.2.3\"]: may specify no more than one IP for each IP family",
        ),
        (json!({"ipFamilies": ["IPv4", "IPv4"]}), "spec.ipFamilies[1]: Duplicate value: \"IPv4\""),
        (json!({"ipFamilies": ["IPv5"]}), "spec.ipFamilies[0]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \"IPv6\""),
        (
            json!({"clusterIPs": ["10.43.2.2"]}),
            "spec.clusterIPs: Invalid value: [\"10.43.2.2\"]: must be empty when `clusterIP` is not specified",
        ),
        (
            json!({"clusterIP": "10.43.2.1", "clusterIPs": ["10.43.2.2"]}),
            "spec.clusterIPs: Invalid value: [\"10.43.2.2\"]: first value must match `clusterIP`",
        ),
        (
            json!({"clusterIP": "None", "clusterIPs": ["None", "fd00:43::2"]}),
            "spec.clusterIPs: Invalid value: [\"None\",\"fd00:43::2\"]: 'None' must be the first and only value",
        ),
        (
            json!({"clusterIP": "x"}),
            "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
    ];
    for (spec, words) in refused {
        let answer = api.post(SERVICES, service("bad", spec)).fails(422).await;
        assert_eq!(answer["message"], format!("Service \"bad\" is invalid: {words}"));
    }
}

#[tokio::test]
async fn a_cluster_with_one_family_gives_one() {
    let api = Api::start().await;
    let prefer = api.created(SERVICES, service("prefer", json!({"ipFamilyPolicy": "PreferDualStack"}))).await;
    assert_eq!(stack(&prefer), expected("PreferDualStack", json!(["IPv4"]), 1));
    let require = api.post(SERVICES, service("x", json!({"ipFamilyPolicy": "RequireDualStack"}))).fails(422).await;
    assert_eq!(
        require["message"],
        "Service \"x\" is invalid: spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack \
         services"
    );
    let six = api.post(SERVICES, service("x", json!({"ipFamilies": ["IPv6"]}))).fails(422).await;
    assert_eq!(six["message"], "Service \"x\" is invalid: spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster");
    // Without a selector only its maker knows where its endpoints are.
    let headless = api.created(SERVICES, service("h", json!({"clusterIP": "None"}))).await;
    assert_eq!(stack(&headless), expected("RequireDualStack", json!(["IPv4", "IPv6"]), 1));
}

#[tokio::test]
async fn families_come_and_go() {
    let api = Api::start_with_services(&RANGES).await;
    let path = format!("{SERVICES}/web");
    let made = api.created(SERVICES, service("web", json!({}))).await;
    let first = made["spec"]["clusterIP"].clone();
    let policy = async |policy: &str| api.patch(&path, "merge", json!({"spec": {"ipFamilyPolicy": policy}})).ok().await;

    let two = policy("PreferDualStack").await;
    assert_eq!(stack(&two), expected("PreferDualStack", json!(["IPv4", "IPv6"]), 2));
    assert_eq!(two["spec"]["clusterIPs"][0], first);
    let second = format!("{ADDRESSES}/{}", two["spec"]["clusterIPs"][1].as_str().unwrap());
    api.get(&second).ok().await;

    let released = json!({"spec": {"clusterIPs": [first]}});
    let refused = api.patch(&path, "merge", released).fails(422).await;
    assert_eq!(
        refused["message"],
        "Service \"web\" is invalid: spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be 'SingleStack' to release the \
         secondary cluster IP"
    );
    let one = policy("SingleStack").await;
    assert_eq!(stack(&one), expected("SingleStack", json!(["IPv4"]), 1));
    assert_eq!(one["spec"]["clusterIP"], first);
    api.get(&second).fails(404).await;

    let asked = json!({"spec": {"ipFamilyPolicy": "RequireDualStack", "clusterIPs": [first, "fd00:43::99"]}});
    let again = api.patch(&path, "merge", asked).ok().await;
    assert_eq!(again["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    api.get(&format!("{ADDRESSES}/fd00:43::99")).ok().await;
    let turned = api.patch(&path, "merge", json!({"spec": {"ipFamilies": ["IPv6", "IPv4"]}})).fails(422).await;
    assert!(turned["message"].as_str().unwrap().contains("expected an IPv6 value"), "{turned}");
    api.delete(&path).ok().await;
    api.get(&format!("{ADDRESSES}/fd00:43::99")).fails(404).await;
}
