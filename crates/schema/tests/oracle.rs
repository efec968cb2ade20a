//! Protobuf against other code that knows the public definitions: `k8s-pb`, generated from them.
//!
//! Random objects of every kind are written here, read and written there, and must be the same bytes; and what is read
//! here again is the object that was written.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::collections::BTreeSet;

use corten_schema::json::{self, Strictness};
use corten_schema::model::{SchemaOr, Type, TypeSet};
use corten_schema::{Map, Resource, Value, proto, table};
use prost::Message;

/// Objects of each kind.
const OBJECTS: u64 = 60;

/// Random numbers that are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % below
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.roll(choices.len() as u64)).unwrap()].clone()
    }

    fn text(&mut self) -> String {
        self.one_of(&["", "a", "web-0", "key.io/name", "\"é\"\n", "長い", "0"]).to_owned()
    }

    fn value(&mut self, types: &TypeSet, ty: &Type, depth: usize) -> Value {
        match ty {
            Type::Bool => (self.roll(2) == 0).into(),
            Type::Int32 => self.one_of(&[0_i64, 1, -1, 300, i64::from(i32::MAX), i64::from(i32::MIN)]).into(),
            Type::Int64 => self.one_of(&[0_i64, 1, -1, 1 << 40, i64::MAX, i64::MIN]).into(),
            Type::Double => self.one_of(&[0.0, 1.5, -2.25]).into(),
            Type::String => self.text().into(),
            Type::Bytes => self.one_of(&["", "AQL/", "eA=="]).into(),
            Type::Time => self.one_of(&["2024-02-29T12:00:00Z", "1969-12-31T23:59:59Z"]).into(),
            Type::MicroTime => self.one_of(&["2024-02-29T12:00:00.000123Z", "2024-02-29T12:00:00.000000Z"]).into(),
            Type::Quantity => self.one_of(&["0", "1536Mi", "100m", "1k"]).into(),
            Type::IntOrString => self.one_of(&[Value::from(80), Value::from(0), "25%".into(), "".into()]),
            Type::RawExtension | Type::Json | Type::FieldsV1 => corten_schema::value!({"f:a": {}, "list": [1, null, "x", false]}),
            Type::Strings => Value::List((0..self.roll(3)).map(|_| self.text().into()).collect()),
            Type::SchemaOr(SchemaOr::Bool, _) => (self.roll(2) == 0).into(),
            Type::SchemaOr(SchemaOr::Schemas, id) => Value::List(vec![self.structure(types, *id, depth + 1)]),
            Type::SchemaOr(SchemaOr::Strings, _) => Value::List(vec![self.text().into()]),
            Type::Struct(id) => self.structure(types, *id, depth + 1),
            Type::List(item) => Value::List((0..self.roll(3)).map(|_| self.value(types, item, depth)).collect()),
            Type::Map(item) => {
                let mut map = Map::new();
                for _ in 0..self.roll(4) {
                    // The other code leaves out empty keys and values of maps, which Go writes.
                    let (key, value) = (self.text(), self.value(types, item, depth));
                    if !key.is_empty() && !is_empty(&value) {
                        map.insert(key, value);
                    }
                }
                map.into()
            }
        }
    }

    /// Deeper structures have fewer fields, so that types within themselves come to an end.
    fn structure(&mut self, types: &TypeSet, id: corten_schema::model::TypeId, depth: usize) -> Value {
        let mut map = Map::new();
        for field in types.get(id).fields.iter().filter(|field| field.tag != 0) {
            if self.roll(2 + depth as u64) == 0 || depth == 1 {
                map.insert(field.name.clone(), self.value(types, &field.ty, depth));
            }
        }
        map.into()
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Map(map) => map.values().all(is_empty),
        Value::List(items) => items.is_empty(),
        value => value.as_str() == Some("") || value.as_i64() == Some(0) || value.as_bool() == Some(false),
    }
}

fn random(resource: &Resource, seed: u64) -> Value {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut value = dice.structure(resource.schema.types(), resource.schema.root(), 0);
    value.insert("kind", resource.kind.clone());
    value.insert("apiVersion", resource.api_version());
    json::canonicalize(&resource.schema, &value, Strictness::Strict).unwrap_or_else(|error| panic!("{}: {error}", resource.kind)).value
}

/// Keys in order: protobuf keeps none.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Map(map) => {
            let ordered: std::collections::BTreeMap<_, _> = map.iter().map(|(key, value)| (key.to_string(), sorted(value))).collect();
            let mut result = Map::new();
            for (key, value) in ordered {
                result.insert(key, value);
            }
            result.into()
        }
        Value::List(items) => Value::List(items.iter().map(sorted).collect()),
        Value::Json(text) => sorted(&json::decode_untyped(text.text().as_bytes()).unwrap()),
        other => other.clone(),
    }
}

fn agrees<M: Message + Default + k8s_pb::Resource>(done: &mut BTreeSet<(String, String)>) {
    let resource =
        table().kind(M::GROUP, M::VERSION, M::KIND).unwrap_or_else(|| panic!("{} {} is not in the table", M::API_VERSION, M::KIND));
    for seed in 1..=OBJECTS {
        let object = random(resource, seed);
        let mut ours = Vec::new();
        proto::encode_message(&resource.schema, &object, &mut ours);
        let read = M::decode(ours.as_slice()).unwrap_or_else(|error| panic!("{} {seed}: {error}", M::KIND));
        let theirs = read.encode_to_vec();
        assert!(ours == theirs, "{} {seed}: the bytes differ for {}", M::KIND, String::from_utf8_lossy(&json::encode(&object)));
        let again = proto::decode(&resource.schema, &proto::encode(&resource.schema, &object)).unwrap().value;
        let text = |value: &Value| String::from_utf8_lossy(&json::encode(&sorted(value))).into_owned();
        assert_eq!(text(&again), text(&object), "{} {seed}", M::KIND);
        let again = json::decode(&resource.schema, &json::encode(&object), Strictness::Strict).unwrap().value;
        assert_eq!(again, object, "{} {seed}", M::KIND);
    }
    done.insert((M::API_VERSION.to_owned(), M::KIND.to_owned()));
}

macro_rules! kinds {
    ($done:ident: $($module:path => {$($kind:ident),+};)+) => {
        $({
            use $module as module;
            $(agrees::<module::$kind>(&mut $done);)+
        })+
    };
}

#[test]
fn random_objects_are_the_same_bytes_elsewhere() {
    let mut done = BTreeSet::new();
    kinds! { done:
    k8s_pb::api::admissionregistration::v1 => {MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration};
    k8s_pb::api::apps::v1 => {ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
    k8s_pb::api::authentication::v1 => {SelfSubjectReview, TokenReview};
    k8s_pb::api::authorization::v1 => {LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview};
    k8s_pb::api::autoscaling::v1 => {HorizontalPodAutoscaler};
    k8s_pb::api::autoscaling::v2 => {HorizontalPodAutoscaler};
    k8s_pb::api::batch::v1 => {CronJob, Job};
    k8s_pb::api::certificates::v1 => {CertificateSigningRequest};
    k8s_pb::api::coordination::v1 => {Lease};
    k8s_pb::api::core::v1 => {Binding, ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount};
    k8s_pb::api::discovery::v1 => {EndpointSlice};
    k8s_pb::api::events::v1 => {Event};
    k8s_pb::api::flowcontrol::v1 => {FlowSchema, PriorityLevelConfiguration};
    k8s_pb::api::networking::v1 => {IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR};
    k8s_pb::api::node::v1 => {RuntimeClass};
    k8s_pb::api::policy::v1 => {PodDisruptionBudget};
    k8s_pb::api::rbac::v1 => {ClusterRole, ClusterRoleBinding, Role, RoleBinding};
    k8s_pb::api::resource::v1 => {DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice};
    k8s_pb::api::scheduling::v1 => {PriorityClass};
    k8s_pb::api::storage::v1 => {CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass};
    k8s_pb::apiextensions_apiserver::pkg::apis::apiextensions::v1 => {CustomResourceDefinition};
    k8s_pb::kube_aggregator::pkg::apis::apiregistration::v1 => {APIService};
    }
    let missing: Vec<String> = table()
        .resources()
        .iter()
        .filter(|resource| !done.contains(&(resource.api_version(), resource.kind.to_string())))
        .map(|resource| format!("{} {}", resource.api_version(), resource.kind))
        .collect();
    assert_eq!(missing, Vec::<String>::new(), "kinds that nobody else was asked about");
}
