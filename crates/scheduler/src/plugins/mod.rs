//! The plugins, in the order in which the reference asks them.

mod affinity;
mod balance;
mod fit;
mod images;
mod interpod;
mod node;
mod ports;
mod spread;
mod taints;

#[cfg(test)]
mod tests;

use crate::framework::{Filter, Score};

/// A node that one of these rejects is not looked at any further.
pub(crate) const FILTERS: &[&dyn Filter] = &[
    &node::Unschedulable,
    &node::Name,
    &taints::Taints,
    &affinity::NodeAffinity,
    &ports::Ports,
    &fit::Fit,
    &spread::Spread,
    &interpod::InterPodAffinity,
];

/// The scores are weighted and added.
pub(crate) const SCORES: &[&dyn Score] = &[
    &taints::Taints,
    &affinity::NodeAffinity,
    &fit::Fit,
    &spread::Spread,
    &interpod::InterPodAffinity,
    &balance::Balance,
    &images::Images,
];
