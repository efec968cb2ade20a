//! Which kinds count changes of their desired state.

/// Whether objects of this kind carry `metadata.generation`: 1 at birth, one more with every change outside of
/// `metadata` and `status`.
pub fn tracks_generation(group: &str, plural: &str) -> bool {
    match group {
        "" => matches!(plural, "pods" | "podtemplates" | "replicationcontrollers"),
        "apps" | "batch" | "admissionregistration.k8s.io" | "flowcontrol.apiserver.k8s.io" | "apiextensions.k8s.io" => {
            plural != "controllerrevisions"
        }
        "networking.k8s.io" => matches!(plural, "ingresses" | "networkpolicies" | "ingressclasses"),
        "policy" => plural == "poddisruptionbudgets",
        "discovery.k8s.io" => plural == "endpointslices",
        "scheduling.k8s.io" => plural == "priorityclasses",
        _ => false,
    }
}
