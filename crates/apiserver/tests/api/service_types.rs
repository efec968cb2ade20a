//! Every change of a Service from one type to another: accepted or refused, and what it occupies afterwards.

use serde_json::{Value, json};

use crate::common::Api;
use crate::services::{ADDRESSES, SERVICES, service};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Headless,
    Ported,
    Balanced,
    Named,
}

use Form::{Balanced, Headless, Named, Plain, Ported};

impl Form {
    /// What somebody writes who wants it.
    fn asked(self) -> Value {
        match self {
            Plain => json!({"type": "ClusterIP", "selector": {"a": "b"}}),
            Headless => json!({"type": "ClusterIP", "clusterIP": "None", "selector": {"a": "b"}}),
            Ported => json!({"type": "NodePort", "selector": {"a": "b"}}),
            Balanced => json!({"type": "LoadBalancer", "selector": {"a": "b"}}),
            Named => json!({"type": "ExternalName", "externalName": "example.com", "selector": {"a": "b"}}),
        }
    }

    fn has_address(self) -> bool {
        matches!(self, Plain | Ported | Balanced)
    }

    fn has_port(self) -> bool {
        matches!(self, Ported | Balanced)
    }

    /// What comes of asking for another form: that form, or the words.
    fn changed(self, to: Self) -> Result<Self, &'static str> {
        match (self, to) {
            (Plain | Ported | Balanced, Headless) => Err("spec.clusterIPs[0]: Invalid value: [\"None\"]: may not change once set"),
            (Headless, Ported) => Err("may not be set to 'None' for NodePort services"),
            (Headless, Balanced) => Err("may not be set to 'None' for LoadBalancer services"),
            // Who says nothing of an address keeps what there is: none.
            (Headless, Plain) => Ok(Headless),
            (_, to) => Ok(to),
        }
    }
}

/// The address and the port that a Service has, after a look at whether it has what its form has.
fn occupied(object: &Value, form: Form) -> (Option<String>, Option<i64>) {
    let (ip, port) = (object["spec"]["clusterIP"].as_str(), object["spec"]["ports"][0]["nodePort"].as_i64());
    assert_eq!(object["spec"]["type"], form.asked()["type"]);
    assert_eq!(ip.is_some_and(|ip| ip != "None"), form.has_address(), "{object}");
    assert_eq!(ip == Some("None"), form == Headless, "{object}");
    assert_eq!(port.is_some(), form.has_port(), "{object}");
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        assert_eq!(object["spec"].get(field).is_none(), form == Named, "{object}");
    }
    (ip.filter(|ip| *ip != "None").map(str::to_owned), port)
}

/// Whether others can take an address and a port now.
async fn are_free(api: &Api, name: &str, ip: Option<&str>, port: Option<i64>) -> (bool, bool) {
    let taken = async |spec: Value| {
        let answer = api.post(SERVICES, service(name, spec)).send().await;
        assert!(answer.code == 201 || (answer.code == 422 && answer.text().contains("already allocated")), "{}", answer.text());
        if answer.code == 201 {
            api.delete(&format!("{SERVICES}/{name}")).ok().await;
        }
        answer.code == 201
    };
    let address = match ip {
        Some(ip) => taken(json!({"clusterIP": ip})).await,
        None => true,
    };
    let number = match port {
        Some(port) => taken(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]})).await,
        None => true,
    };
    (address, number)
}

#[tokio::test]
async fn every_change_of_type_leaves_what_the_new_one_occupies() {
    let api = Api::start().await;
    let forms = [Plain, Headless, Ported, Balanced, Named];
    for (from, to) in forms.into_iter().flat_map(|from| forms.map(|to| (from, to))).filter(|(from, to)| from != to) {
        println!("{from:?} to {to:?}");
        let name = format!("{from:?}-{to:?}").to_lowercase();
        let path = format!("{SERVICES}/{name}");
        let (ip, port) = occupied(&api.created(SERVICES, service(&name, from.asked())).await, from);

        let changed = from.changed(to);
        let dry = api.put(&format!("{path}?dryRun=All"), service(&name, to.asked())).send().await;
        assert_eq!(dry.code.is_success(), changed.is_ok(), "{}", dry.text());
        assert_eq!(occupied(&api.get(&path).ok().await, from), (ip.clone(), port), "a dry run changes nothing");
        let answer = api.put(&path, service(&name, to.asked())).send().await;
        match changed {
            Ok(_) => assert_eq!(answer.code, 200, "{}", answer.text()),
            Err(words) => {
                let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
                assert!(answer.code == 422 && message.contains(words), "{message}");
            }
        }
        let is = changed.unwrap_or(from);
        let (ip_now, port_now) = occupied(&api.get(&path).ok().await, is);
        if from.has_address() && is.has_address() {
            assert_eq!(ip_now, ip, "it keeps its address");
        }
        if from.has_port() && is.has_port() {
            assert_eq!(port_now, port, "it keeps its port");
        }

        // What it had is taken or free, and so is what it has got.
        let (ip, port) = (ip.or_else(|| ip_now.clone()), port.or(port_now));
        if let Some(ip) = &ip {
            let object = api.get(&format!("{ADDRESSES}/{ip}")).send().await;
            assert_eq!(object.code == 200, is.has_address(), "{}", object.text());
        }
        let free = are_free(&api, "other", ip.as_deref(), port).await;
        assert_eq!(free, (!is.has_address(), !is.has_port() || port.is_none()));

        api.delete(&path).ok().await;
        if let Some(ip) = &ip {
            api.get(&format!("{ADDRESSES}/{ip}")).fails(404).await;
        }
        assert_eq!(are_free(&api, "other", ip.as_deref(), port).await, (true, true));
    }
}
