//! Node ports: each in use has a key of its own with the Service's name.

use std::ops::RangeInclusive;

use corten_schema::Value;

use crate::ledger::Snapshot;
use crate::status::{ApiError, FieldError};
use crate::strategy::{Effect, Expect, Scope};
use crate::view::{int, list};

/// The ports that Services may have on nodes.
const RANGE: RangeInclusive<i64> = 30_000..=32_767;

/// Random numbers tried before the range is searched from its start.
const TRIES: usize = 32;

fn key(port: i64) -> String {
    format!("/corten/node-ports/all/{port}")
}

/// Some free port that is not in `taken`.
pub(super) fn choose(snapshot: &Snapshot, taken: &[i64]) -> Result<i64, ApiError> {
    let free = |port: &i64| !taken.contains(port) && snapshot.get(&key(*port)).is_none();
    let count = RANGE.end() - RANGE.start() + 1;
    let random = || {
        let bytes = uuid::Uuid::new_v4().as_u128();
        RANGE.start() + i64::try_from(bytes % u128::from(count.unsigned_abs())).unwrap_or_default()
    };
    std::iter::repeat_with(random)
        .take(TRIES)
        .chain(RANGE)
        .find(free)
        .ok_or_else(|| ApiError::internal("failed to allocate a nodePort: range is full"))
}

/// The write that takes a port for a Service.
pub(super) fn take(scope: Scope<'_>, service: &Value, port: i64) -> Result<Effect, ApiError> {
    let index = list(service, "spec.ports").position(|item| int(item, "nodePort") == Some(port)).unwrap_or_default();
    let failed = |words: &str| {
        let field = format!("spec.ports[{index}].nodePort");
        Err(ApiError::invalid("", "Service", service.name(), vec![FieldError::invalid(field, port, words)]))
    };
    if !RANGE.contains(&port) {
        return failed("provided port is not in the valid range. The range of valid ports is 30000-32767");
    }
    if scope.server.ledger.snapshot().get(&key(port)).is_some() {
        return failed("provided port is already allocated");
    }
    let owner = format!("{:?}", format!("{}/{}", service.namespace(), service.name()));
    Ok(Effect::Raw { key: key(port), value: Some(owner.into_bytes()), expect: Expect::Absent })
}

/// The write that gives a port back.
pub(super) fn release(port: i64) -> Effect {
    Effect::Raw { key: key(port), value: None, expect: Expect::Any }
}
