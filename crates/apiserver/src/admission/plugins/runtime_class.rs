//! RuntimeClass: a pod gets the overhead and the scheduling of its class.
//!
//! <https://kubernetes.io/docs/concepts/containers/runtime-class/>

use corten_schema::Value;

use super::super::{Attributes, Operation, Plugin};
use super::{forbidden, is};
use crate::reads;
use crate::status::ApiError;
use crate::view::{at, entries, list, text};

/// The plugin.
pub(super) struct RuntimeClass;

const GROUP: &str = "node.k8s.io";
const PLURAL: &str = "runtimeclasses";
const OTHER_OVERHEAD: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        if attributes.operation != Operation::Create || !is(attributes, "", "pods") {
            return Ok(());
        }
        let Some(class) = class(attributes)? else { return Ok(()) };
        if let Err(why) = attributes.object.as_deref_mut().map_or(Ok(()), |pod| apply(pod, &class)) {
            return Err(forbidden(attributes, why));
        }
        Ok(())
    }

    fn validate(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        if attributes.operation != Operation::Create || !is(attributes, "", "pods") {
            return Ok(());
        }
        let class = class(attributes)?;
        let defined = class.as_ref().and_then(|class| at(class, "overhead.podFixed"));
        let given = attributes.object.as_deref().and_then(overhead);
        match (given, defined) {
            (Some(_), None) => {
                Err(forbidden(attributes, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"))
            }
            (Some(given), Some(defined)) if given != defined => Err(forbidden(attributes, OTHER_OVERHEAD)),
            _ => Ok(()),
        }
    }
}

/// What a pod says that its sandbox costs.
fn overhead(pod: &Value) -> Option<&Value> {
    at(pod, "spec.overhead").filter(|given| given.as_map().is_some_and(|map| !map.is_empty()))
}

/// The class that a pod names.
fn class(attributes: &Attributes<'_>) -> Result<Option<Value>, ApiError> {
    let name = attributes.object.as_deref().map(|pod| text(pod, "spec.runtimeClassName")).unwrap_or_default();
    if name.is_empty() {
        return Ok(None);
    }
    match reads::get(&attributes.server.ledger, GROUP, PLURAL, "", name) {
        Some(class) => Ok(Some(class)),
        None => Err(forbidden(attributes, format!("pod rejected: RuntimeClass \"{name}\" not found"))),
    }
}

/// Puts into a pod what its class says.
fn apply(pod: &mut Value, class: &Value) -> Result<(), String> {
    if let Some(defined) = at(class, "overhead.podFixed") {
        if overhead(pod).is_some_and(|given| given != defined) {
            return Err(OTHER_OVERHEAD.to_owned());
        }
        pod.set_at(&["spec", "overhead"], defined.clone());
    }
    for (key, wanted) in entries(class, "scheduling.nodeSelector") {
        let wanted = wanted.as_str().unwrap_or_default();
        let given = at(pod, "spec.nodeSelector").and_then(|selector| selector.get(key)).and_then(Value::as_str);
        if let Some(given) = given.filter(|given| *given != wanted) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {given}"
            ));
        }
        pod.set_at(&["spec", "nodeSelector", key], wanted);
    }
    for toleration in list(class, "scheduling.tolerations") {
        if !list(pod, "spec.tolerations").any(|given| given == toleration) {
            let spec = pod.make_map().get_or_insert_with("spec", Value::map).make_map();
            spec.get_or_insert_with("tolerations", || Value::List(Vec::new())).make_list().push(toleration.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use corten_schema::value;

    use super::*;

    #[test]
    fn a_pod_gets_what_its_class_says() {
        let toleration = value!({"key": "sandboxed", "operator": "Exists"});
        let class = value!({
            "overhead": {"podFixed": {"memory": "64Mi"}},
            "scheduling": {"nodeSelector": {"sandboxed": "yes"}, "tolerations": [(toleration.clone())]},
        });
        let mut pod = value!({"spec": {"nodeSelector": {"disk": "ssd"}, "tolerations": [(toleration)]}});
        apply(&mut pod, &class).unwrap();
        assert_eq!(at(&pod, "spec.overhead"), at(&class, "overhead.podFixed"));
        assert_eq!(at(&pod, "spec.nodeSelector"), Some(&value!({"disk": "ssd", "sandboxed": "yes"})));
        assert_eq!(list(&pod, "spec.tolerations").len(), 1);
        // What is there already is no conflict.
        apply(&mut pod, &class).unwrap();

        let mut other = value!({"spec": {"nodeSelector": {"sandboxed": "no"}}});
        assert_eq!(
            apply(&mut other, &class).unwrap_err(),
            "conflict: runtimeClass.scheduling.nodeSelector[sandboxed] = yes; pod.spec.nodeSelector[sandboxed] = no"
        );
        let mut other = value!({"spec": {"overhead": {"memory": "1Mi"}}});
        assert!(apply(&mut other, &class).unwrap_err().contains("doesn't match"));
    }
}
