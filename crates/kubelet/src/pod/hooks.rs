//! Lifecycle hooks.
//!
//! <https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/>

use std::time::Duration;

use k8s_openapi::api::core::v1::LifecycleHandler;

use crate::context::Context;
use crate::probe::check::{Target, http_get};

/// How long an HTTP hook may take to answer; the reference has no limit of its own, the grace
/// period ends it.
const HTTP: Duration = Duration::from_secs(60);

/// Runs a hook. The error is what the event says.
pub(crate) async fn run(context: &Context, target: &Target, handler: &LifecycleHandler) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        let command = action.command.clone().unwrap_or_default();
        let answer = context.runtime.exec_sync(&target.id, &command, Duration::ZERO).await.map_err(|status| status.message().to_owned())?;
        if answer.exit_code == 0 {
            return Ok(());
        }
        return Err(format!(
            "command '{}' exited with {}: {}",
            command.join(" "),
            answer.exit_code,
            String::from_utf8_lossy(&answer.stderr)
        ));
    }
    if let Some(action) = &handler.http_get {
        return http_get(target, action, HTTP).await;
    }
    if let Some(action) = &handler.sleep {
        // The hook's purpose is to let time pass.
        let seconds = u64::try_from(action.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    Ok(())
}
