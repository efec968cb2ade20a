//! The quality of service class of a pod.

use corten_schema::Value;

use super::quantity;
use crate::view::{at, entries, entry, list};

/// The quality of service class, from requests and limits of cpu and memory (and of the pod as a whole, if it has them).
pub fn class(spec: &Value) -> &'static str {
    let amount = |resources: Option<&Value>, kind: &str, name: &str| {
        let text = entry(resources?, kind, name)?;
        quantity::parse(text).filter(|amount| *amount != 0)
    };
    let (mut any, mut guaranteed) = (false, true);
    let mut count = |resources: Option<&Value>| {
        for name in ["cpu", "memory"] {
            let (request, limit) = (amount(resources, "requests", name), amount(resources, "limits", name));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    };
    match at(spec, "resources").filter(|resources| is_set(resources)) {
        Some(resources) => count(Some(resources)),
        None => {
            for field in ["containers", "initContainers"] {
                list(spec, field).for_each(|container| count(at(container, "resources")));
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Whether `resources` name any amount.
pub fn is_set(resources: &Value) -> bool {
    entries(resources, "requests").next().is_some() || entries(resources, "limits").next().is_some()
}
