//! Where a pod may run: node selectors, affinity, tolerations and taints, spreading.

use std::collections::{HashMap, HashSet};

use corten_schema::Value;

use super::{Errors, Path, invalid_all, labels, names, one_of, positive, values_of};
use crate::status::FieldError;
use crate::view::{at, int, list, text, texts};

/// `affinity` of a pod's specification.
pub fn affinity(errors: &mut Errors, path: Path<'_>, spec: &Value) {
    let Some(affinity) = at(spec, "affinity") else { return };
    let node = path.field("nodeAffinity");
    if let Some(selector) = at(affinity, "nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution") {
        node_selector(errors, node.field("requiredDuringSchedulingIgnoredDuringExecution"), selector);
    }
    let preferred = node.field("preferredDuringSchedulingIgnoredDuringExecution");
    for (number, item) in list(affinity, "nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution").enumerate() {
        let path = preferred.index(number);
        weight(errors, path, item);
        if let Some(term) = at(item, "preference") {
            // Whatever the values are: nodes that match nothing are only less preferred.
            node_term(errors, path.field("preference"), term, false);
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(rules) = at(affinity, kind) else { continue };
        let path = path.field(kind);
        let required = path.field("requiredDuringSchedulingIgnoredDuringExecution");
        for (number, term) in list(rules, "requiredDuringSchedulingIgnoredDuringExecution").enumerate() {
            pod_term(errors, required.index(number), term);
        }
        let preferred = path.field("preferredDuringSchedulingIgnoredDuringExecution");
        for (number, item) in list(rules, "preferredDuringSchedulingIgnoredDuringExecution").enumerate() {
            let path = preferred.index(number);
            weight(errors, path, item);
            pod_term(errors, path.field("podAffinityTerm"), at(item, "podAffinityTerm").unwrap_or(&Value::Null));
        }
    }
}

fn weight(errors: &mut Errors, path: Path<'_>, item: &Value) {
    let weight = int(item, "weight").unwrap_or_default();
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(path.field("weight"), weight, "must be in the range 1-100"));
    }
}

/// A NodeSelector: at least one term.
pub fn node_selector(errors: &mut Errors, path: Path<'_>, selector: &Value) {
    let terms = path.field("nodeSelectorTerms");
    if list(selector, "nodeSelectorTerms").len() == 0 {
        errors.push(FieldError::required(terms, "must have at least one node selector term"));
    }
    for (number, term) in list(selector, "nodeSelectorTerms").enumerate() {
        node_term(errors, terms.index(number), term, true);
    }
}

fn node_term(errors: &mut Errors, path: Path<'_>, term: &Value, check_values: bool) {
    let expressions = path.field("matchExpressions");
    for (number, requirement) in list(term, "matchExpressions").enumerate() {
        node_labels(errors, expressions.index(number), requirement, check_values);
    }
    let fields = path.field("matchFields");
    for (number, requirement) in list(term, "matchFields").enumerate() {
        node_fields(errors, fields.index(number), requirement);
    }
}

fn node_labels(errors: &mut Errors, path: Path<'_>, requirement: &Value, check_values: bool) {
    let (operator, values) = (text(requirement, "operator"), list(requirement, "values").len());
    let at_values = path.field("values");
    match operator {
        "In" | "NotIn" if values == 0 => {
            errors.push(FieldError::required(at_values, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if values > 0 => {
            errors.push(FieldError::forbidden(at_values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
        }
        "Gt" | "Lt" if values != 1 => {
            errors.push(FieldError::required(at_values, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        _ => errors.push(FieldError::invalid(path.field("operator"), operator, "not a valid selector operator")),
    }
    let key = text(requirement, "key");
    invalid_all(errors, path.field("key"), key, names::qualified_name(key));
    if check_values {
        for (number, value) in texts(requirement, "values").enumerate() {
            invalid_all(errors, at_values.index(number), value, names::label_value(value));
        }
    }
}

fn node_fields(errors: &mut Errors, path: Path<'_>, requirement: &Value) {
    let operator = text(requirement, "operator");
    let at_values = path.field("values");
    match operator {
        "In" | "NotIn" if list(requirement, "values").len() != 1 => {
            let words = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(FieldError::required(at_values, words));
        }
        "In" | "NotIn" => {}
        _ => errors.push(FieldError::invalid(path.field("operator"), operator, "not a valid selector operator")),
    }
    match text(requirement, "key") {
        "metadata.name" => {
            for (number, value) in texts(requirement, "values").enumerate() {
                invalid_all(errors, at_values.index(number), value, names::subdomain(value));
            }
        }
        key => errors.push(FieldError::invalid(path.field("key"), key, "not a valid field selector key")),
    }
}

fn pod_term(errors: &mut Errors, path: Path<'_>, term: &Value) {
    for field in ["labelSelector", "namespaceSelector"] {
        if let Some(selector) = at(term, field) {
            labels::selector(errors, path.field(field), selector);
        }
    }
    for name in texts(term, "namespaces") {
        invalid_all(errors, path.field("namespace"), name, names::label(name));
    }
    label_keys(errors, path, term);
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(path.field("topologyKey"), "can not be empty"));
    }
    invalid_all(errors, path.field("topologyKey"), key, names::qualified_name(key));
}

/// `matchLabelKeys` and `mismatchLabelKeys`: keys of the pod's own labels that a selector is completed with.
fn label_keys(errors: &mut Errors, path: Path<'_>, term: &Value) {
    let selector = at(term, "labelSelector");
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let path = path.field(field);
        if list(term, field).len() > 0 && selector.is_none() {
            errors.push(FieldError::forbidden(path, "must not be specified when labelSelector is not set"));
            continue;
        }
        for (number, key) in texts(term, field).enumerate() {
            invalid_all(errors, path.index(number), key, names::qualified_name(key));
        }
    }
    let mut wanted: HashMap<&str, usize> = HashMap::new();
    for (number, key) in texts(term, "matchLabelKeys").enumerate() {
        wanted.entry(key).or_insert(number);
    }
    if let Some(selector) = selector {
        let mut seen = HashSet::new();
        for expression in list(selector, "matchExpressions") {
            let key = text(expression, "key");
            // The key of its own that the server has added comes last.
            let said = at(selector, "matchLabels").and_then(|labels| labels.get(key)).is_some() || seen.contains(key);
            seen.insert(key);
            if let Some(&index) = wanted.get(key).filter(|_| said) {
                errors.push(FieldError::invalid(path.index(index), key, "exists in both matchLabelKeys and labelSelector"));
            }
        }
    }
    let matched = path.field("matchLabelKeys");
    for (number, key) in texts(term, "matchLabelKeys").enumerate() {
        if texts(term, "mismatchLabelKeys").any(|other| other == key) {
            errors.push(FieldError::invalid(matched.index(number), key, "exists in both matchLabelKeys and mismatchLabelKeys"));
        }
    }
}

/// `topologySpreadConstraints` of a pod's specification.
pub fn spreading(errors: &mut Errors, all: Path<'_>, spec: &Value) {
    let constraints = || list(spec, "topologySpreadConstraints");
    for (number, constraint) in constraints().enumerate() {
        let path = all.index(number);
        positive(errors, path.field("maxSkew"), int(constraint, "maxSkew").unwrap_or_default());
        let (key, action) = (text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"));
        if key.is_empty() {
            errors.push(FieldError::required(path.field("topologyKey"), "can not be empty"));
        }
        one_of(errors, path.field("whenUnsatisfiable"), action, values_of("core.v1.TopologySpreadConstraint", "whenUnsatisfiable"));
        let same = |other: &Value| text(other, "topologyKey") == key && text(other, "whenUnsatisfiable") == action;
        if constraints().skip(number + 1).any(same) {
            let path = path.field("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(path, format!("{{{key}, {action}}}")));
        }
        if let Some(domains) = int(constraint, "minDomains") {
            let path = path.field("minDomains");
            positive(errors, path, domains);
            if action != "DoNotSchedule" {
                let words = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.push(FieldError::invalid(path, domains, words));
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if at(constraint, policy).is_some() {
                one_of(errors, path.field(policy), text(constraint, policy), values_of("core.v1.TopologySpreadConstraint", policy));
            }
        }
        label_keys(errors, path, constraint);
        if let Some(selector) = at(constraint, "labelSelector") {
            labels::selector(errors, path.field("labelSelector"), selector);
        }
    }
}

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

fn effect(errors: &mut Errors, path: Path<'_>, effect: &str) {
    if !EFFECTS.contains(&effect) {
        errors.push(FieldError::not_supported_as_given(path, effect, &EFFECTS));
    }
}

/// A list of tolerations.
pub fn tolerations<'a>(errors: &mut Errors, all: Path<'_>, tolerations: impl Iterator<Item = &'a Value>) {
    for (number, toleration) in tolerations.enumerate() {
        let path = all.index(number);
        let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
        let (wanted, value) = (text(toleration, "effect"), text(toleration, "value"));
        if !key.is_empty() {
            invalid_all(errors, path.field("key"), key, names::qualified_name(key));
        } else if operator != "Exists" {
            let words = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(path.field("operator"), operator, words));
        }
        if int(toleration, "tolerationSeconds").is_some() && wanted != "NoExecute" {
            let words = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(path.field("effect"), wanted, words));
        }
        match operator {
            "Equal" | "" => joined(errors, path.field("operator"), value),
            "Exists" if !value.is_empty() => {
                errors.push(FieldError::invalid(path.field("operator"), value, "value must be empty when `operator` is 'Exists'"));
            }
            "Exists" => {}
            _ => errors.push(FieldError::not_supported_as_given(path.field("operator"), operator, &["Equal", "Exists"])),
        }
        if !wanted.is_empty() {
            effect(errors, path.field("effect"), wanted);
        }
    }
}

/// A label's value, all that is wrong with it in one error.
fn joined(errors: &mut Errors, path: Path<'_>, value: &str) {
    let findings = names::label_value(value);
    if !findings.is_empty() {
        errors.push(FieldError::invalid(path, value, findings.join(";")));
    }
}

/// The taints of a node.
pub fn taints(errors: &mut Errors, all: Path<'_>, node: &Value) {
    let mut seen = HashSet::new();
    for (number, taint) in list(node, "spec.taints").enumerate() {
        let path = all.index(number);
        let (key, wanted) = (text(taint, "key"), text(taint, "effect"));
        invalid_all(errors, path.field("key"), key, names::qualified_name(key));
        joined(errors, path.field("value"), text(taint, "value"));
        if wanted.is_empty() {
            errors.push(FieldError::required(path.field("effect"), ""));
        } else {
            effect(errors, path.field("effect"), wanted);
        }
        if !seen.insert((key, wanted)) {
            errors.push(FieldError::duplicate_because(path, taint, "taints must be unique by key and effect pair"));
        }
    }
}
