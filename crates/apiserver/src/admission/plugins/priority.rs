//! Priority: from a pod's priority class to its priority.

use corten_schema::Value;

use super::super::{Attributes, Operation, Plugin};
use super::{forbidden, is};
use crate::reads;
use crate::status::ApiError;
use crate::view::{at, flag, int, text};

/// The plugin.
pub(super) struct Priority;

const GROUP: &str = "scheduling.k8s.io";
const PLURAL: &str = "priorityclasses";

impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        if !is(attributes, "", "pods") {
            return Ok(());
        }
        match attributes.operation {
            Operation::Create => resolve(attributes),
            Operation::Update => {
                keep(attributes);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn validate(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        let relevant = matches!(attributes.operation, Operation::Create | Operation::Update);
        if !relevant || !is(attributes, GROUP, PLURAL) {
            return Ok(());
        }
        let Some(class) = attributes.object.as_deref() else { return Ok(()) };
        if !flag(class, "globalDefault") {
            return Ok(());
        }
        let others = reads::list(&attributes.server.ledger.snapshot(), GROUP, PLURAL, "");
        match others.iter().find(|other| flag(other, "globalDefault") && other.name() != class.name()) {
            Some(other) => Err(forbidden(
                attributes,
                format!("PriorityClass {} is already marked as default. Only one default can exist", other.name()),
            )),
            None => Ok(()),
        }
    }
}

/// Writers who leave the priority out do not mean to change it.
fn keep(attributes: &mut Attributes<'_>) {
    let (Some(pod), Some(old)) = (attributes.object.as_deref_mut(), attributes.old) else { return };
    for field in ["priority", "preemptionPolicy"] {
        if pod.at(&["spec", field]).is_none()
            && let Some(value) = old.at(&["spec", field])
        {
            pod.set_at(&["spec", field], value.clone());
        }
    }
}

/// How a default class says so, in the encoding that is stored.
const DEFAULT: &[u8] = b"\"globalDefault\":true";

fn resolve(attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
    let Some(pod) = attributes.object.as_deref() else { return Ok(()) };
    let ledger = &attributes.server.ledger;
    let class = match text(pod, "spec.priorityClassName") {
        "" => ledger
            .snapshot()
            .list(&reads::prefix(GROUP, PLURAL, ""))
            // Hardly any class is a default: the others need not be decoded for every pod.
            .filter(|entry| entry.stored_json().windows(DEFAULT.len()).any(|bytes| bytes == DEFAULT))
            .filter_map(|entry| reads::object(entry))
            .filter(|class| flag(class, "globalDefault"))
            .min_by_key(|class| int(class, "value").unwrap_or_default()),
        name => match reads::get(ledger, GROUP, PLURAL, "", name) {
            Some(class) => Some(class),
            None => return Err(forbidden(attributes, format!("no PriorityClass with name {name} was found"))),
        },
    };
    let priority = class.as_ref().and_then(|class| int(class, "value")).unwrap_or_default();
    let policy = class.as_ref().map(|class| text(class, "preemptionPolicy")).filter(|policy| !policy.is_empty());
    let policy = policy.unwrap_or("PreemptLowerPriority").to_owned();
    if let Some(given) = int(pod, "spec.priority")
        && given != priority
    {
        return Err(forbidden(
            attributes,
            format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
                 computed {priority} from the given PriorityClass name"
            ),
        ));
    }
    if let Some(given) = at(pod, "spec.preemptionPolicy").and_then(Value::as_str)
        && given != policy
    {
        return Err(forbidden(
            attributes,
            format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
                 controller computed {policy} from the given PriorityClass name"
            ),
        ));
    }
    let Some(pod) = attributes.object.as_deref_mut() else { return Ok(()) };
    if let Some(class) = class {
        pod.set_at(&["spec", "priorityClassName"], class.name());
    }
    pod.set_at(&["spec", "priority"], priority);
    pod.set_at(&["spec", "preemptionPolicy"], policy);
    Ok(())
}
