//! Service account tokens, bound to their pod and renewed before they expire.
//!
//! <https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken>

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::Api;
use kube::api::PostParams;
use parking_lot::Mutex;

use super::atomic::File;
use super::{Context, VolumeError, ownership};

/// A token is renewed after this part of its life, and at the latest after a day.
const RENEW_AFTER_PERCENT: i32 = 80;
const LONGEST_USE: SignedDuration = SignedDuration::from_hours(24);
/// Pause before a renewal that failed is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(10);
const DEFAULT_SECONDS: i64 = 3600;

/// One token in a volume.
pub(super) struct Token {
    path: String,
    audience: Option<String>,
    seconds: i64,
    mode: u32,
    uid: Option<u32>,
    held: Mutex<Option<Held>>,
}

#[derive(Clone)]
struct Held {
    token: String,
    renew_at: Timestamp,
    expires_at: Timestamp,
}

impl Token {
    pub(super) fn new(source: &ServiceAccountTokenProjection, pod: &Pod, fs_group: Option<super::ownership::FsGroup>) -> Self {
        let uid = ownership::common_user(pod);
        // Readable by whoever the containers run as, and by nobody else if that is known.
        let mode = match (fs_group, uid) {
            (Some(_), _) => 0o640,
            (None, Some(_)) => 0o600,
            (None, None) => 0o644,
        };
        Self {
            path: source.path.clone(),
            audience: source.audience.clone().filter(|a| !a.is_empty()),
            seconds: source.expiration_seconds.unwrap_or(DEFAULT_SECONDS),
            mode,
            uid: uid.filter(|_| fs_group.is_none()),
            held: Mutex::new(None),
        }
    }

    /// The file with a valid token, and when it has to be renewed.
    pub(super) async fn file(&self, context: &Context<'_>) -> Result<(String, File, Timestamp), VolumeError> {
        let held = self.held.lock().clone();
        let held = match held {
            Some(held) if held.renew_at > context.now => held,
            held => {
                let fresh = match (self.request(context).await, held) {
                    (Ok(fresh), _) => fresh,
                    // One that still counts serves on while the API server is away; it is asked again soon.
                    (Err(error), Some(held)) if held.expires_at > context.now => {
                        tracing::warn!(%error, "renewing a service account's token");
                        Held { renew_at: context.now.saturating_add(RETRY).unwrap_or(context.now), ..held }
                    }
                    (Err(error), _) => return Err(error),
                };
                *self.held.lock() = Some(fresh.clone());
                fresh
            }
        };
        let file = File { data: held.token.into_bytes(), mode: self.mode, uid: self.uid };
        Ok((self.path.clone(), file, held.renew_at))
    }

    async fn request(&self, context: &Context<'_>) -> Result<Held, VolumeError> {
        let pod = context.pod;
        let account =
            pod.spec.as_ref().and_then(|s| s.service_account_name.as_deref()).filter(|name| !name.is_empty()).unwrap_or("default");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: self.audience.iter().cloned().collect(),
                expiration_seconds: Some(self.seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
            },
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(context.client.clone(), crate::pod::namespace(pod));
        let made = api
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .map_err(|error| VolumeError::Token(error.to_string()))?;
        let status = made.status.ok_or_else(|| VolumeError::Token("the answer has no token".to_owned()))?;
        let expires_at = status.expiration_timestamp.0;
        let renew_at = context.now.saturating_add(renew_after(expires_at.duration_since(context.now))).unwrap_or(context.now);
        Ok(Held { token: status.token, renew_at, expires_at })
    }
}

fn renew_after(life: SignedDuration) -> SignedDuration {
    (life / 100 * RENEW_AFTER_PERCENT).clamp(SignedDuration::from_secs(1), LONGEST_USE)
}

#[cfg(test)]
mod tests;
