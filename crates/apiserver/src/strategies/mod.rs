//! The strategies of the built-in kinds, a file per kind or family.

mod autoscaling;
mod batch;
mod certificates;
mod config;
mod devices;
mod events;
mod expressions;
mod extensions;
mod flowcontrol;
mod forms;
mod leases;
mod limits;
mod namespaces;
mod networking;
mod nodes;
mod pods;
mod policy;
mod rbac;
mod registration;
mod runtimes;
pub(crate) mod services;
mod storage;
pub(crate) mod validation;
mod workloads;

pub(crate) use pods::check as check_pod;
pub(crate) use policy::SYSTEM_CLASSES;

use corten_schema::Value;

use crate::strategy::{Plain, SelectableField, Strategy};

/// The strategy of a kind.
pub fn find(group: &str, plural: &str) -> &'static dyn Strategy {
    match (group, plural) {
        ("", "pods") => &pods::Pods,
        ("", "services") => &services::Services,
        ("", "namespaces") => &namespaces::Namespaces,
        ("", "nodes") => &nodes::Nodes,
        ("", "events") | ("events.k8s.io", "events") => &events::Events,
        ("", "configmaps") => &config::ConfigMaps,
        ("", "secrets") => &config::Secrets,
        ("", "serviceaccounts") => &config::ServiceAccounts,
        ("", "limitranges") => &limits::LimitRanges,
        ("", "resourcequotas") => &limits::ResourceQuotas,
        ("", "podtemplates") => &workloads::PodTemplates,
        ("", "endpoints") => &services::Endpoints,
        ("", "replicationcontrollers") => &workloads::ReplicationControllers,
        ("", "persistentvolumeclaims") => &storage::Claims,
        ("", "persistentvolumes") => &storage::Volumes,
        ("apps", "deployments") => &workloads::Deployments,
        ("apps", "replicasets") => &workloads::ReplicaSets,
        ("apps", "daemonsets") => &workloads::DaemonSets,
        ("apps", "statefulsets") => &workloads::StatefulSets,
        ("apps", "controllerrevisions") => &workloads::ControllerRevisions,
        ("batch", "jobs") => &batch::Jobs,
        ("batch", "cronjobs") => &batch::CronJobs,
        ("certificates.k8s.io", "certificatesigningrequests") => &certificates::Requests,
        ("coordination.k8s.io", "leases") => &leases::Leases,
        ("discovery.k8s.io", "endpointslices") => &services::EndpointSlices,
        ("networking.k8s.io", "ingresses") => &networking::Ingresses,
        ("networking.k8s.io", "ingressclasses") => &networking::Classes,
        ("networking.k8s.io", "networkpolicies") => &networking::Policies,
        ("networking.k8s.io", "ipaddresses") => &networking::Addresses,
        ("networking.k8s.io", "servicecidrs") => &networking::Ranges,
        ("policy", "poddisruptionbudgets") => &policy::Budgets,
        ("scheduling.k8s.io", "priorityclasses") => &policy::PriorityClasses,
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => &rbac::Roles,
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => &rbac::Bindings,
        ("resource.k8s.io", "resourceslices") => &devices::Slices,
        ("resource.k8s.io", "resourceclaims") => &devices::Claims,
        ("resource.k8s.io", "resourceclaimtemplates") => &devices::Templates,
        ("resource.k8s.io", "deviceclasses") => &devices::Classes,
        ("storage.k8s.io", "storageclasses") => &storage::Classes,
        ("storage.k8s.io", "volumeattributesclasses") => &storage::AttributesClasses,
        ("storage.k8s.io", "volumeattachments") => &storage::Attachments,
        ("storage.k8s.io", "csidrivers") => &storage::Drivers,
        ("storage.k8s.io", "csinodes") => &storage::Nodes,
        ("storage.k8s.io", "csistoragecapacities") => &storage::Capacities,
        ("autoscaling", "horizontalpodautoscalers") => &autoscaling::Autoscalers,
        ("node.k8s.io", "runtimeclasses") => &runtimes::Classes,
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => &flowcontrol::Schemas,
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => &flowcontrol::Levels,
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations" | "validatingwebhookconfigurations") => &registration::Webhooks,
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => &registration::Policies,
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") => &registration::Bindings,
        ("apiextensions.k8s.io", "customresourcedefinitions") => &extensions::Definitions,
        ("apiregistration.k8s.io", "apiservices") => &extensions::Services,
        _ => &Plain,
    }
}

/// The metadata that users write.
const EDITABLE_METADATA: &[&str] = &["labels", "annotations", "finalizers", "ownerReferences"];

/// Puts fields of an object's metadata back to what they were.
fn keep_metadata(object: &mut Value, old: &Value, fields: &[&str]) {
    let before = old.metadata();
    for field in fields {
        match before.and_then(|metadata| metadata.get(field)) {
            Some(value) => drop(object.metadata_mut().insert(*field, value.clone())),
            None => drop(object.metadata_mut().remove(field)),
        }
    }
}

/// A selectable field whose text is empty when it is absent.
const fn field(label: &'static str, path: &'static [&'static str]) -> SelectableField {
    SelectableField { label, path, absent: "" }
}
