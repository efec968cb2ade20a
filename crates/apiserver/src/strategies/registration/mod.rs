//! Webhooks and policies that admission asks.

mod policies;
mod rules;
mod webhooks;

pub(super) use policies::{Bindings, Policies};
pub(super) use webhooks::{Webhooks, client};
