//! How many families a Service has, and which: `ipFamilyPolicy`, `ipFamilies` and `clusterIPs` must tell one story, and what
//! the user left out is filled in from the rest.

use corten_schema::Value;

use super::cluster_ips;
use super::family::Family;
use super::{HEADLESS, SPEC, is_external_name, is_headless};
use crate::status::FieldError;
use crate::strategies::validation::Errors;
use crate::view::{at, list, text, texts};

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

/// Settles the families of a Service on a cluster with these families, the default one first.
pub(super) fn settle(service: &mut Value, old: Option<&Value>, cluster: &[Family]) -> Result<(), Errors> {
    if is_external_name(service) || old.is_some_and(|old| is_left_alone(service, old)) {
        return Ok(());
    }
    infer_policy(service, old);
    let errors = cluster_ips::errors(service);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut errors = Errors::new();
    if let Some(old) = old {
        reduce(service, old, &mut errors);
    }
    let policy = text(service, "spec.ipFamilyPolicy").to_owned();
    if policy == SINGLE {
        for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
            if list(service, &format!("spec.{field}")).len() == 2 {
                let words = format!("must be RequireDualStack or PreferDualStack when multiple {what} are specified");
                errors.push(FieldError::invalid(SPEC.field("ipFamilyPolicy"), SINGLE, words));
            }
        }
    }
    let mut families: Vec<String> = texts(service, "spec.ipFamilies").map(str::to_owned).collect();
    let given: Vec<Family> =
        texts(service, "spec.clusterIPs").take_while(|address| *address != HEADLESS).filter_map(Family::of_text).collect();
    families.extend(given.iter().skip(families.len()).map(|family| family.as_str().to_owned()));
    if !errors.is_empty() {
        return Err(errors);
    }
    let default = cluster.first().copied().unwrap_or(Family::V4);
    // Without a selector nobody but the user knows where the endpoints are: both families, whatever the cluster has.
    let free = text(service, "spec.clusterIP") == HEADLESS && at(service, "spec.selector").is_none_or(is_empty);
    if !free {
        if policy == REQUIRE && cluster.len() < 2 {
            let words = "this cluster is not configured for dual-stack services";
            errors.push(FieldError::invalid(SPEC.field("ipFamilyPolicy"), policy.as_str(), words));
        }
        let path = SPEC.field("ipFamilies");
        for (number, family) in families.iter().enumerate() {
            if !cluster.iter().any(|known| known.as_str() == family) {
                errors.push(FieldError::invalid(path.index(number), family.as_str(), "not configured on this cluster"));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
    }
    if families.is_empty() {
        families.push(default.as_str().to_owned());
    }
    if let [only] = families.as_slice()
        && policy != SINGLE
        && (free || cluster.len() == 2)
        && let Some(family) = Family::parse(only)
    {
        families.push(family.other().as_str().to_owned());
    }
    service.set_at(&["spec", "ipFamilies"], families);
    Ok(())
}

fn is_empty(map: &Value) -> bool {
    map.as_map().is_none_or(|map| map.is_empty())
}

/// Whether a Service that prefers two families was not touched in this respect: then a cluster that has changed meanwhile
/// neither gives it a second family nor takes it.
fn is_left_alone(service: &Value, old: &Value) -> bool {
    let same = |path: &str| at(service, path) == at(old, path);
    text(old, "spec.ipFamilyPolicy") == PREFER
        && same("spec.type")
        && same("spec.ipFamilyPolicy")
        && same("spec.clusterIP")
        && same("spec.clusterIPs")
        && same("spec.ipFamilies")
}

fn infer_policy(service: &mut Value, old: Option<&Value>) {
    if !text(service, "spec.ipFamilyPolicy").is_empty() {
        return;
    }
    let before = old.map(|old| text(old, "spec.ipFamilyPolicy")).filter(|policy| !policy.is_empty());
    let headless = text(service, "spec.clusterIP") == HEADLESS && at(service, "spec.selector").is_none_or(is_empty);
    let policy = before.unwrap_or(if headless { REQUIRE } else { SINGLE }).to_owned();
    service.set_at(&["spec", "ipFamilyPolicy"], policy);
}

/// `SingleStack` alone is clear enough to give up the second family; giving it up without saying so is not.
fn reduce(service: &mut Value, old: &Value, errors: &mut Errors) {
    let single = text(service, "spec.ipFamilyPolicy") == SINGLE;
    for (field, what) in [("clusterIPs", "secondary cluster IP"), ("ipFamilies", "secondary IP family")] {
        let path = format!("spec.{field}");
        let (before, now) = (list(old, &path).len(), list(service, &path).len());
        if single {
            if now > 1
                && at(service, &path) == at(old, &path)
                && let Some(items) = service.at_mut(&["spec", field]).and_then(Value::as_list_mut)
            {
                items.truncate(1);
            }
        } else if now == 1 && before == 2 && list(service, &path).next() == list(old, &path).next() {
            let policy = text(service, "spec.ipFamilyPolicy");
            let words = format!("must be 'SingleStack' to release the {what}");
            errors.push(FieldError::invalid(SPEC.field("ipFamilyPolicy"), policy, words));
        }
    }
}

/// What may not change about families and addresses.
pub(super) fn update(errors: &mut Errors, service: &Value, old: &Value) {
    if is_external_name(service) || is_external_name(old) {
        return;
    }
    let headless = (is_headless(old), is_headless(service));
    if headless != (true, true) {
        fixed(errors, service, old, "clusterIPs", "clusterIP");
    }
    if headless == (false, false) {
        fixed(errors, service, old, "ipFamilies", "ipFamily");
    }
}

/// The first item stays; a second may come, and go when the policy says so.
fn fixed(errors: &mut Errors, service: &Value, old: &Value, field: &str, name: &str) {
    let path = format!("spec.{field}");
    let field = SPEC.field(field);
    let now = at(service, &path).cloned().unwrap_or_else(|| Value::List(Vec::new()));
    let (before, after): (Vec<&str>, Vec<&str>) = (texts(old, &path).collect(), texts(service, &path).collect());
    let changed = |number: usize| matches!((before.get(number), after.get(number)), (Some(before), Some(after)) if before != after);
    let compared = if before.len() == after.len() { before.len() } else { 1 };
    if before.len() > after.len() && after.is_empty() {
        errors.push(FieldError::invalid(field.index(0), &now, format!("primary {name} can not be unset")));
    }
    for number in (0..compared).filter(|number| changed(*number)) {
        errors.push(FieldError::invalid(field.index(number), &now, "may not change once set"));
    }
    let policy = text(service, "spec.ipFamilyPolicy");
    if before.len() > after.len() && after.len() == 1 && policy != SINGLE {
        let words = format!("must be set to 'SingleStack' when releasing the secondary {name}");
        errors.push(FieldError::invalid(SPEC.field("ipFamilyPolicy"), policy, words));
    }
}
