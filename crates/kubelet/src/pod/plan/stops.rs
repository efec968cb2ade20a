//! Stopping containers and sandboxes: once, and after a failure not too soon again.

use jiff::Timestamp;

use super::{Action, Facts, Plan, Why};
use crate::runtime::view::ContainerView;

impl Plan {
    /// Stops a container, unless that is under way with the same or an earlier deadline.
    pub(super) fn stop(&mut self, facts: &Facts<'_>, container: &ContainerView, why: Why, deadline: Option<Timestamp>) {
        if let Some(current) = facts.memory.stopping.get(&container.id)
            && deadline.is_none_or(|d| d >= *current)
        {
            return;
        }
        if self.too_early(facts, &container.id) {
            return;
        }
        self.actions.push(Action::Stop { id: container.id.clone(), name: container.name.clone(), why, deadline });
    }

    /// Stops all sandboxes; true if there is none left to stop.
    pub(super) fn stop_sandboxes(&mut self, facts: &Facts<'_>) -> bool {
        let mut none = true;
        for sandbox in &facts.view.sandboxes {
            if facts.memory.stopped_sandboxes.contains(&sandbox.id) {
                continue;
            }
            none = false;
            if !self.too_early(facts, &sandbox.id) {
                self.actions.push(Action::StopSandbox { id: sandbox.id.clone() });
            }
        }
        none
    }

    /// Whether a stop failed so lately that it has to wait.
    fn too_early(&mut self, facts: &Facts<'_>, id: &str) -> bool {
        let Some(retry) = facts.memory.retries.get(id).filter(|retry| retry.at > facts.now) else {
            return false;
        };
        self.wake(retry.at);
        true
    }
}
