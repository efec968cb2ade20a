//! Ingresses, network policies, and the objects behind the addresses of Services.

mod addresses;
mod classes;
mod ingresses;
mod policies;

pub(super) use addresses::{Addresses, Ranges};
pub(super) use classes::Classes;
pub(super) use ingresses::Ingresses;
pub(super) use policies::Policies;
