//! `pods/eviction`: deletes a pod if its disruption budget allows it. What it takes from the budget is written together
//! with the deletion.

use std::sync::Arc;

use corten_schema::{Value, json};
use http::HeaderMap;

use super::exchange::Exchange;
use crate::body::Response;
use crate::engine::DeleteOptions;
use crate::ledger::Snapshot;
use crate::reads;
use crate::request::{Call, Query};
use crate::status::{ApiError, GroupResource};
use crate::strategies::validation::labels;
use crate::strategy::{Effect, Expect};
use crate::time::now;
use crate::view::{at, condition_true, entries, int, text};

const GROUP: &str = "policy";
const PLURAL: &str = "poddisruptionbudgets";

/// The most pods that a budget may wait for at a time.
const MOST_DISRUPTED: usize = 2000;

/// Handles `pods/eviction`.
pub(super) async fn serve(call: Call) -> Result<Response, ApiError> {
    let exchange = Exchange::new(call)?;
    exchange.must_create()?;
    let options = exchange.options("CreateOptions")?;
    let eviction = exchange.object(options).await?;
    let name = exchange.name().to_owned();
    if !eviction.name().is_empty() && eviction.name() != name {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut deletion = match at(&eviction, "deleteOptions") {
        Some(sent) => {
            let body = json::encode(sent);
            DeleteOptions::parse(&Query::default(), &HeaderMap::new(), &body)?
        }
        None => DeleteOptions::default(),
    };
    deletion.dry_run |= options.dry_run;
    let (server, context) = (&exchange.server, &exchange.context);
    // The budget's share is added by the PodDisruption admission plugin, which sees the state that is committed on.
    server.delete(context, &exchange.kind, exchange.namespace(), &name, &deletion).await?;
    exchange.done()
}

/// Whether evicting a pod disrupts nothing: it has ended, never began, or is on its way out.
fn is_free(pod: &Value) -> bool {
    matches!(text(pod, "status.phase"), "Succeeded" | "Failed" | "Pending") || pod.deletion_timestamp().is_some()
}

/// The write to the disruption budget that an eviction of a pod comes with, if it has one.
///
/// # Errors
///
/// 429 when the budget forbids the eviction now.
pub(crate) fn budget_effect(snapshot: &Snapshot, pod: &Value) -> Result<Option<Effect>, ApiError> {
    if is_free(pod) {
        return Ok(None);
    }
    let prefix = reads::prefix(GROUP, PLURAL, pod.namespace());
    let mut covering = snapshot
        .list(&prefix)
        .filter_map(|entry| Some((entry.revision(), reads::object(entry)?)))
        .filter(|(_, budget)| at(budget, "spec.selector").is_some_and(|selector| labels::matches(selector, at(pod, "metadata.labels"))));
    let Some((revision, mut budget)) = covering.next() else { return Ok(None) };
    if covering.next().is_some() {
        return Err(ApiError::internal("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."));
    }
    if !condition_true(pod, "Ready") && spares_unhealthy(&budget) {
        return Ok(None);
    }
    take(&mut budget, pod)?;
    let resource = reads::resource(GROUP, "v1", PLURAL).ok_or_else(ApiError::no_such_resource)?;
    Ok(Some(Effect::Put {
        resource: Arc::clone(resource),
        namespace: pod.namespace().to_owned(),
        name: budget.name().to_owned(),
        object: budget,
        expect: Expect::Revision(revision),
    }))
}

/// Whether a pod that is not ready may go without counting.
fn spares_unhealthy(budget: &Value) -> bool {
    if text(budget, "spec.unhealthyPodEvictionPolicy") == "AlwaysAllow" {
        return true;
    }
    let healthy = int(budget, "status.currentHealthy").unwrap_or_default();
    let desired = int(budget, "status.desiredHealthy").unwrap_or_default();
    desired > 0 && healthy >= desired
}

/// Takes one disruption from a budget.
fn take(budget: &mut Value, pod: &Value) -> Result<(), ApiError> {
    const WORDS: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
    let name = budget.name().to_owned();
    let observed = int(budget, "status.observedGeneration").unwrap_or_default();
    if observed < budget.generation() {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return Err(ApiError::too_many_requests(WORDS, 10).cause("DisruptionBudget", cause, ""));
    }
    let allowed = int(budget, "status.disruptionsAllowed").unwrap_or_default();
    let of = GroupResource::new(GROUP, PLURAL);
    if allowed < 0 {
        return Err(ApiError::forbidden(&of, &name, "pdb disruptions allowed is negative"));
    }
    if entries(budget, "status.disruptedPods").count() > MOST_DISRUPTED {
        return Err(ApiError::forbidden(&of, &name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller"));
    }
    if allowed == 0 {
        let cause = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            int(budget, "status.desiredHealthy").unwrap_or_default(),
            int(budget, "status.currentHealthy").unwrap_or_default()
        );
        let mut error = ApiError::too_many_requests(WORDS, 0).cause("DisruptionBudget", cause, "");
        error.details.name.clear();
        return Err(error);
    }
    budget.set_at(&["status", "disruptionsAllowed"], allowed - 1);
    budget.set_at(&["status", "disruptedPods", pod.name()], now());
    Ok(())
}
