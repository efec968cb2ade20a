//! What the node's conditions are made from.

use corten_cri::v1::{RuntimeCondition, StatusRequest};
use corten_cri::{NETWORK_READY, RUNTIME_READY};

use crate::context::Context;
use crate::runtime::request;

/// Why the node is not ready; empty if it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) problems: Vec<String>,
    pub(super) handlers: Vec<corten_cri::v1::RuntimeHandler>,
    pub(super) supplemental_groups_policy: Option<bool>,
}

impl Findings {
    pub(super) fn ready(&self) -> bool {
        self.problems.is_empty()
    }

    /// The message of the Ready condition.
    pub(super) fn message(&self) -> String {
        if self.ready() { "kubelet is posting ready status".to_owned() } else { self.problems.join(", ") }
    }
}

/// Asks the runtime.
pub(super) async fn observe(context: &Context) -> Findings {
    let mut client = context.runtime.clients.runtime.clone();
    match client.status(request(StatusRequest { verbose: false })).await {
        Ok(response) => {
            let response = response.into_inner();
            let conditions = response.status.unwrap_or_default().conditions;
            Findings {
                problems: problems(&conditions),
                handlers: response.runtime_handlers,
                supplemental_groups_policy: response.features.map(|f| f.supplemental_groups_policy),
            }
        }
        Err(status) => Findings { problems: vec![format!("container runtime is down: {}", status.message())], ..Findings::default() },
    }
}

/// In the reference's words.
fn problems(conditions: &[RuntimeCondition]) -> Vec<String> {
    let mut problems = Vec::new();
    let unmet = |kind: &str| {
        let condition = conditions.iter().find(|c| c.r#type == kind);
        match condition {
            Some(condition) if condition.status => None,
            Some(condition) => Some((condition.reason.clone(), condition.message.clone())),
            None => Some((String::new(), "the runtime does not say".to_owned())),
        }
    };
    if let Some((reason, message)) = unmet(NETWORK_READY) {
        problems.push(format!("container runtime network not ready: {NETWORK_READY}=false reason:{reason} message:{message}"));
    }
    if let Some((reason, message)) = unmet(RUNTIME_READY) {
        problems.push(format!("container runtime not ready: {RUNTIME_READY}=false reason:{reason} message:{message}"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_is_not_ready_is_the_reason() {
        let condition = |kind: &str, status| RuntimeCondition {
            r#type: kind.to_owned(),
            status,
            reason: "NetworkPluginNotReady".to_owned(),
            message: "no pod range yet".to_owned(),
        };
        assert!(problems(&[condition(RUNTIME_READY, true), condition(NETWORK_READY, true)]).is_empty());
        assert_eq!(
            problems(&[condition(RUNTIME_READY, true), condition(NETWORK_READY, false)]),
            ["container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:no pod range yet"]
        );
        assert_eq!(problems(&[]).len(), 2);
    }
}
