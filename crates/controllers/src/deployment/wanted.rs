//! What a deployment's spec asks for, with the defaults of the API filled in.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::util::intstr::IntOrString};

/// The spec, resolved.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) replicas: i32,
    /// Whether pods are replaced gradually; else all old ones go before new ones come.
    pub(super) rolling: bool,
    pub(super) max_surge: i32,
    pub(super) max_unavailable: i32,
    pub(super) min_ready_seconds: i32,
    pub(super) deadline_seconds: Option<i32>,
    pub(super) history_limit: Option<usize>,
    pub(super) paused: bool,
}

impl Wanted {
    pub(super) fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.clone().unwrap_or_default();
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.unwrap_or_default();
        let rolling = strategy.type_.as_deref() != Some("Recreate");
        let (max_surge, max_unavailable) = if rolling {
            let update = strategy.rolling_update.unwrap_or_default();
            fenceposts(update.max_surge.as_ref(), update.max_unavailable.as_ref(), replicas)
        } else {
            (0, 0)
        };
        let limited = |limit: Option<i32>| limit.filter(|limit| *limit != i32::MAX);
        Self {
            replicas,
            rolling,
            max_surge,
            max_unavailable: max_unavailable.min(replicas),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            deadline_seconds: limited(spec.progress_deadline_seconds),
            history_limit: limited(spec.revision_history_limit).and_then(|limit| usize::try_from(limit).ok()),
            paused: spec.paused.unwrap_or(false),
        }
    }

    /// As many pods as there may be at once.
    pub(super) fn max_replicas(&self) -> i32 {
        self.replicas + self.max_surge
    }

    /// As many pods as must be available.
    pub(super) fn min_available(&self) -> i32 {
        self.replicas - self.max_unavailable
    }
}

/// Surge is rounded up and unavailability down; if both come out as nothing, one pod may be
/// unavailable, or nothing would ever move.
fn fenceposts(surge: Option<&IntOrString>, unavailable: Option<&IntOrString>, replicas: i32) -> (i32, i32) {
    let default = IntOrString::String("25%".into());
    let surge = resolve(surge.unwrap_or(&default), replicas, true);
    let unavailable = resolve(unavailable.unwrap_or(&default), replicas, false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

fn resolve(value: &IntOrString, total: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(count) => (*count).max(0),
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|text| text.parse().ok());
            let product = i64::from(total) * percent.unwrap_or(0_i64).max(0);
            let rounded = if up { (product + 99) / 100 } else { product / 100 };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}
