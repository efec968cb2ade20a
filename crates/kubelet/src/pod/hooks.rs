//! Lifecycle hooks.
//!
//! <https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/>

use std::time::Duration;

use corten_client::events::EventType::Warning;
use k8s_openapi::api::core::v1::{HTTPGetAction, LifecycleHandler, Pod};

use crate::context::Context;
use crate::metrics::families;
use crate::probe::check::{Target, request};
use crate::probe::http::{Get, GetError, get};

/// Runs a hook, however long it takes: whoever asks for it ends it. The error is what the event says.
pub(crate) async fn run(context: &Context, pod: &Pod, target: &Target, handler: &LifecycleHandler) -> Result<(), String> {
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
        let plain = call(target, action).await?;
        if let Some(host) = plain {
            context.metrics.count(&families::HOOKS_WITHOUT_TLS, &[]);
            let text = format!("request to HTTPS lifecycle hook {host} got HTTP response, retry with HTTP succeeded");
            context.event(pod, Warning, "LifecycleHTTPFallback", &text);
        }
        return Ok(());
    }
    if let Some(action) = &handler.sleep {
        // The hook's purpose is to let time pass.
        let seconds = u64::try_from(action.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    Ok(())
}

/// Sends a hook's request. Any answer will do; it is given who answered without TLS although TLS was asked for, and was asked
/// again: the reference did not use TLS here for years.
async fn call(target: &Target, action: &HTTPGetAction) -> Result<Option<String>, String> {
    let asked = request(target, action, "kube-lifecycle")?;
    let failed = |error: GetError| format!("Get \"{}\": {error}", asked.url());
    match get(&asked).await {
        Ok(_) => Ok(None),
        Err(error @ GetError::Plain) => {
            let mut plain = Get { https: false, ..asked.clone() };
            // It was meant for nobody else to see.
            plain.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
            get(&plain).await.map(|_| Some(plain.authority())).map_err(|_| failed(error))
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests;
