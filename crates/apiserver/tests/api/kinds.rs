//! Every kind of the table: create, get, list, update, watch, delete, with the least object that its schema asks for.

use corten_schema::{
    Resource, Schema, Verb,
    model::{Type, TypeId},
    table,
};
use serde_json::{Map, Value, json};

use crate::common::{Api, deployment, pod};

/// The least value of a type: required fields only.
fn least(schema: &Schema, ty: &Type, depth: usize) -> Value {
    match ty {
        Type::Bool => json!(false),
        Type::Int32 | Type::Int64 => json!(1),
        Type::Double => json!(1.5),
        Type::String => json!("x"),
        Type::Bytes => json!("eA=="),
        Type::Time => json!("2026-01-01T00:00:00Z"),
        Type::MicroTime => json!("2026-01-01T00:00:00.000000Z"),
        Type::Quantity => json!("1"),
        Type::IntOrString => json!(1),
        Type::RawExtension | Type::Json | Type::FieldsV1 | Type::SchemaOr(..) | Type::Map(_) => json!({}),
        Type::Strings => json!(["x"]),
        Type::List(item) => json!([least(schema, item, depth + 1)]),
        Type::Struct(id) => Value::Object(least_struct(schema, *id, depth + 1)),
    }
}

fn least_struct(schema: &Schema, id: TypeId, depth: usize) -> Map<String, Value> {
    let fields = schema.types().get(id).fields.iter().filter(|field| field.required && depth < 8);
    fields
        .map(|field| {
            let value = field.values.first().map(|word| match &field.ty {
                Type::List(_) => json!([word.as_str()]),
                _ => json!(word.as_str()),
            });
            (field.name.to_string(), value.unwrap_or_else(|| least(schema, &field.ty, depth)))
        })
        .collect()
}

/// What a schema's required fields do not say.
fn overlay(row: &Resource) -> Value {
    let pod_spec = pod("x")["spec"].clone();
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": pod_spec.clone()});
    let selector = json!({"matchLabels": {"app": "x"}});
    let mut job_pod = pod_spec.clone();
    job_pod["restartPolicy"] = json!("Never");
    let job = json!({"template": {"spec": job_pod}});
    let spec = |spec: Value| json!({ "spec": spec });
    match (row.group.as_str(), row.plural.as_str()) {
        ("", "pods") => spec(pod_spec),
        ("", "podtemplates") => json!({ "template": template }),
        ("", "replicationcontrollers") => spec(json!({"selector": {"app": "x"}, "template": template})),
        ("", "services") => spec(json!({"ports": [{"port": 80}]})),
        ("", "persistentvolumes") => spec(json!({
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
        })),
        ("", "persistentvolumeclaims") => spec(json!({
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        })),
        ("", "events") => json!({"involvedObject": null, "eventTime": null, "type": "Normal", "reason": "x"}),
        ("events.k8s.io", "events") => json!({
            "regarding": null, "eventTime": "2025-01-01T00:00:00.000000Z", "type": "Normal", "reason": "x", "action": "x",
            "reportingController": "example.com/x", "reportingInstance": "x",
        }),
        ("apps", "controllerrevisions") => json!({"data": {"x": "y"}}),
        ("apps", "deployments") => spec(deployment("x")["spec"].clone()),
        ("apps", "replicasets" | "daemonsets") => spec(json!({"selector": selector, "template": template})),
        ("apps", "statefulsets") => spec(json!({"selector": selector, "template": template, "serviceName": "x"})),
        ("batch", "jobs") => spec(job),
        ("batch", "cronjobs") => spec(json!({"schedule": "* * * * *", "jobTemplate": {"spec": job}})),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}})
        }
        ("discovery.k8s.io", "endpointslices") => json!({"addressType": "IPv4"}),
        ("certificates.k8s.io", "certificatesigningrequests") => spec(json!({
            "request": signing_request(), "signerName": "example.com/signer", "usages": ["client auth"],
        })),
        ("networking.k8s.io", "ingresses") => spec(json!({"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}})),
        ("networking.k8s.io", "ingressclasses") => spec(json!({"controller": "example.com/x"})),
        ("networking.k8s.io", "ipaddresses") => spec(json!({"parentRef": {"resource": "gateways", "name": "x"}})),
        ("networking.k8s.io", "servicecidrs") => spec(json!({"cidrs": ["10.99.0.0/24"]})),
        ("autoscaling", "horizontalpodautoscalers") => {
            spec(json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "x"}}))
        }
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => spec(json!({
            "validations": [{"expression": "true"}],
            "matchConstraints": {
                "resourceRules": [{"apiGroups": ["x"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["x"]}],
            },
        })),
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") => {
            spec(json!({"policyName": "x", "validationActions": ["Deny"]}))
        }
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => {
            spec(json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}))
        }
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => spec(json!({"priorityLevelConfiguration": {"name": "x"}})),
        ("apiextensions.k8s.io", "customresourcedefinitions") => json!({
            "spec": {
                "group": "example.com", "scope": "Cluster", "names": {"plural": "xs", "kind": "X"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
            },
        }),
        ("apiregistration.k8s.io", "apiservices") => json!({
            "spec": {"group": "example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10},
        }),
        ("resource.k8s.io", "resourceslices") => spec(json!({
            "driver": "x", "nodeName": "x", "pool": {"name": "x", "generation": 1, "resourceSliceCount": 1},
        })),
        ("storage.k8s.io", "volumeattachments") => spec(json!({"attacher": "x", "nodeName": "x", "source": {"persistentVolumeName": "x"}})),
        ("storage.k8s.io", "volumeattributesclasses") => json!({"driverName": "x", "parameters": {"a": "b"}}),
        _ => json!({}),
    }
}

/// A certificate request as users put it into CSR objects: PEM in base64.
pub fn signing_request() -> String {
    use base64::Engine;
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::new(Vec::new()).unwrap().serialize_request(&key).unwrap();
    base64::prelude::BASE64_STANDARD.encode(request.pem().unwrap())
}

fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(below) if below.is_object() && value.is_object() && !value.as_object().unwrap().contains_key("containers") => {
                        merge(below, value);
                    }
                    _ if value.is_null() => {
                        base.remove(&key);
                    }
                    _ => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

fn object(row: &Resource) -> Value {
    let mut object = Value::Object(least_struct(&row.schema, row.schema.root(), 0));
    merge(&mut object, overlay(row));
    let name = match row.plural.as_str() {
        "ipaddresses" => "10.43.9.9",
        "customresourcedefinitions" => "xs.example.com",
        "apiservices" => "v1.example.com",
        _ => "x",
    };
    object["apiVersion"] = json!(row.api_version());
    object["kind"] = json!(row.kind.as_str());
    object["metadata"] = json!({"name": name, "labels": {"app": "x"}});
    object
}

#[tokio::test]
async fn every_kind_is_created_read_changed_and_deleted() {
    let api = Api::start().await;
    let mut failures = Vec::new();
    let mut count = 0;
    for row in table().resources().iter().filter(|row| row.is_stored() && row.allows(Verb::Create)) {
        count += 1;
        if let Err(why) = lifecycle(&api, row).await {
            failures.push(format!("{}/{}: {why}", row.api_version(), row.plural));
        }
    }
    assert!(count > 50, "only {count} kinds in the table");
    assert!(failures.is_empty(), "{} of {count} kinds:\n{}", failures.len(), failures.join("\n"));
}

async fn lifecycle(api: &Api, row: &Resource) -> Result<(), String> {
    let prefix = match row.group.as_str() {
        "" => format!("/api/{}", row.version),
        group => format!("/apis/{group}/{}", row.version),
    };
    let collection = match row.namespaced {
        true => format!("{prefix}/namespaces/default/{}", row.plural),
        false => format!("{prefix}/{}", row.plural),
    };
    let sent = object(row);
    let path = format!("{collection}/{}", sent["metadata"]["name"].as_str().unwrap());
    let expect = |answer: crate::common::Answer, code: u16| match answer.code.as_u16() == code {
        true => Ok(answer.json()),
        false => Err(format!("{} instead of {code}: {}\nsent {sent}", answer.code, answer.text())),
    };
    let made = expect(api.post(&collection, sent.clone()).send().await, 201)?;
    for (field, value) in [("kind", row.kind.to_string()), ("apiVersion", row.api_version())] {
        if made[field] != value.as_str() {
            return Err(format!("{field} is {}", made[field]));
        }
    }
    let made = if row.plural == "servicecidrs" { taken_up(api, &path).await } else { made };
    let read = expect(api.get(&path).send().await, 200)?;
    if read != made {
        return Err(format!("created {made}\nread {read}"));
    }
    let list = expect(api.get(&collection).send().await, 200)?;
    let mut item = made.clone();
    item.as_object_mut().unwrap().retain(|field, _| field != "kind" && field != "apiVersion");
    if list["kind"] != row.list_kind.as_str() || !list["items"].as_array().unwrap().contains(&item) {
        return Err(format!("not in its list: {}", list["kind"]));
    }
    let mut changed = made.clone();
    changed["metadata"]["annotations"] = json!({"example.com/x": "y"});
    let updated = expect(api.put(&path, changed).send().await, 200)?;
    changed_only_annotations(&made, &updated)?;
    let gone = api.delete(&format!("{path}?gracePeriodSeconds=0")).send().await;
    expect(gone, 200)?;
    Ok(())
}

/// A range of Services' addresses, which the server itself writes to soon after it is made.
async fn taken_up(api: &Api, path: &str) -> Value {
    let ready = async {
        loop {
            let range = api.get(path).ok().await;
            if range["metadata"]["finalizers"].is_array() && range["status"]["conditions"].is_array() {
                return range;
            }
            // Nothing tells when the server has written.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::common::DEADLINE, ready).await.expect("a range that is in use")
}

fn changed_only_annotations(before: &Value, after: &Value) -> Result<(), String> {
    let strip = |object: &Value| {
        let mut object = object.clone();
        let meta = object["metadata"].as_object_mut().unwrap();
        meta.remove("annotations");
        meta.remove("managedFields");
        meta.remove("resourceVersion");
        object
    };
    if strip(before) == strip(after) { Ok(()) } else { Err(format!("an annotation changed more:\n{before}\n{after}")) }
}
