//! Getting the image of a container: pull policies, back-off, events.
//!
//! <https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy>

mod credentials;
pub(crate) mod garbage;
mod name;
mod pace;

use std::collections::HashMap;
use std::time::Instant;

use corten_client::events::EventType::{self, Normal, Warning};
use corten_cri::v1;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use parking_lot::Mutex;
use tonic::{Request, Status};

use crate::config::Configuration;
use crate::context::Context;
use crate::metrics::families;
use crate::objects::PodObjects;
use crate::pod::backoff::{Backoff, LONGEST};
use crate::pod::plan::{FailedStart, Waiting};
use crate::pod::security::ImageUser;
use crate::runtime::{Runtime, request};

/// How long `ErrImagePull` shows before it becomes `ImagePullBackOff`: people look at the first
/// for the error, so it must not flash by.
const SHOW_ERROR: SignedDuration = SignedDuration::from_secs(2);

/// An image that is there.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    /// What the runtime calls it.
    pub(crate) reference: String,
    pub(crate) user: ImageUser,
}

struct Failure {
    backoff: Backoff,
    at: Timestamp,
    message: String,
}

/// Failures of pulls, by pod and image; and how many there may be.
pub(crate) struct Images {
    failures: Mutex<HashMap<(String, String), Failure>>,
    pace: pace::Pace,
}

impl Images {
    /// As the configuration says.
    pub(crate) fn new(config: &Configuration) -> Self {
        Self { failures: Mutex::new(HashMap::new()), pace: pace::Pace::new(config.parallel_pulls, config.pull_rate) }
    }

    /// Forgets the failures of a pod.
    pub(crate) fn forget(&self, uid: &str) {
        self.failures.lock().retain(|(pod, _), _| pod != uid);
    }

    /// When pulling is allowed again, and what went wrong the last time.
    fn back_off(&self, key: &(String, String), now: Timestamp) -> Option<(Timestamp, String)> {
        let failures = self.failures.lock();
        let failure = failures.get(key)?;
        let until = failure.backoff.until(failure.at, now)?;
        Some((until, failure.message.clone()))
    }

    fn failed(&self, key: (String, String), message: String, now: Timestamp) {
        let mut failures = self.failures.lock();
        let previous = failures.get(&key).map(|f| f.backoff);
        let failure = Failure { backoff: Backoff::next(previous, now, now, LONGEST), at: now, message };
        failures.insert(key, failure);
    }
}

fn fail(reason: &str, message: String, retry_at: Timestamp) -> FailedStart {
    FailedStart { waiting: Waiting { reason: reason.to_owned(), message }, retry_at }
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(now)
}

/// An image that a pod needs.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) pod: &'a Pod,
    /// The container that is made from it; none for one that is mounted.
    pub(crate) container: Option<&'a Container>,
    pub(crate) image: &'a str,
    pub(crate) policy: Option<&'a str>,
}

impl Wanted<'_> {
    fn event(&self, context: &Context, kind: EventType, reason: &str, message: &str) {
        match self.container {
            Some(container) => context.container_event(self.pod, container, kind, reason, message),
            None => context.event(self.pod, kind, reason, message),
        }
    }
}

/// Makes sure that an image is there.
pub(crate) async fn ensure(
    context: &Context,
    wanted: &Wanted<'_>,
    objects: &PodObjects,
    sandbox: &v1::PodSandboxConfig,
) -> Result<Ready, FailedStart> {
    let now = Timestamp::now();
    let (pod, given) = (wanted.pod, wanted.image);
    let image = match name::normalise(given) {
        Ok(image) => image,
        Err(error) => {
            let message = error.to_string();
            wanted.event(context, Warning, "InspectFailed", &message);
            wanted.event(context, Warning, "Failed", "Error: InvalidImageName");
            // Only a change of the pod helps, and that wakes it; ten seconds as in the reference.
            let retry = later(now, SignedDuration::from_secs(10));
            return Err(fail("InvalidImageName", message, retry));
        }
    };
    let present = match inspect(&context.runtime, &image).await {
        Ok(present) => present,
        Err(status) => {
            let text = status.message();
            let message = format!("Failed to inspect image \"{image}\": {text}");
            wanted.event(context, Warning, "InspectFailed", &message);
            let retry = later(now, SignedDuration::from_secs(10));
            return Err(fail("ImageInspectError", message, retry));
        }
    };
    let policy = wanted.policy;
    match (policy, present) {
        (Some("Always"), _) | (_, None) if policy != Some("Never") => {}
        (_, Some(ready)) => {
            let message = format!("Container image \"{given}\" already present on machine");
            wanted.event(context, Normal, "Pulled", &message);
            return Ok(ready);
        }
        (_, None) => {
            let message = format!("Container image \"{given}\" is not present with pull policy of Never");
            wanted.event(context, Warning, "ErrImageNeverPull", &message);
            let error = "Error: ErrImageNeverPull";
            wanted.event(context, Warning, "Failed", error);
            let retry = later(now, SignedDuration::from_secs(10));
            return Err(fail("ErrImageNeverPull", message, retry));
        }
    }
    let key = (crate::pod::uid(pod).to_owned(), image.clone());
    if let Some((until, last)) = context.images.back_off(&key, now) {
        let message = format!("Back-off pulling image \"{given}\"");
        wanted.event(context, Normal, "BackOff", &message);
        wanted.event(context, Warning, "Failed", "Error: ImagePullBackOff");
        let message = format!("{message}: ErrImagePull: {last}");
        return Err(fail("ImagePullBackOff", message, until));
    }
    pull(context, wanted, objects, sandbox, &image, key).await
}

async fn pull(
    context: &Context,
    wanted: &Wanted<'_>,
    objects: &PodObjects,
    sandbox: &v1::PodSandboxConfig,
    image: &str,
    key: (String, String),
) -> Result<Ready, FailedStart> {
    let given = wanted.image;
    let message = format!("Pulling image \"{given}\"");
    wanted.event(context, Normal, "Pulling", &message);
    let begun = Instant::now();
    let auth = credentials(wanted.pod, objects, image).await;
    let turn = context.images.pace.turn().await;
    let waited = begun.elapsed();
    let pulled = do_pull(context, image, auth, sandbox).await;
    drop(turn);
    match pulled {
        Ok((ready, size)) => {
            context.images.failures.lock().remove(&key);
            let all = begun.elapsed();
            context.metrics.time(&families::IMAGE_PULL, &[size_class(size)], all);
            let (took, all) = (go_seconds(all.saturating_sub(waited)), go_seconds(all));
            let message = format!("Successfully pulled image \"{given}\" in {took} ({all} including waiting). Image size: {size} bytes.");
            wanted.event(context, Normal, "Pulled", &message);
            Ok(ready)
        }
        Err(status) => {
            let now = Timestamp::now();
            let text = status.message().to_owned();
            let message = format!("Failed to pull image \"{given}\": {text}");
            wanted.event(context, Warning, "Failed", &message);
            wanted.event(context, Warning, "Failed", "Error: ErrImagePull");
            context.images.failed(key, text.clone(), now);
            Err(fail("ErrImagePull", text, later(now, SHOW_ERROR)))
        }
    }
}

async fn inspect(runtime: &Runtime, image: &str) -> Result<Option<Ready>, Status> {
    let message = v1::ImageStatusRequest { image: Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() }), verbose: false };
    let mut client = runtime.clients.image.clone();
    let found = client.image_status(request(message)).await?.into_inner();
    Ok(found.image.map(ready))
}

fn ready(image: v1::Image) -> Ready {
    Ready { reference: image.id, user: ImageUser { uid: image.uid.map(|u| u.value), name: image.username } }
}

async fn do_pull(
    context: &Context,
    image: &str,
    auth: Option<v1::AuthConfig>,
    sandbox: &v1::PodSandboxConfig,
) -> Result<(Ready, u64), Status> {
    let message = v1::PullImageRequest {
        image: Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() }),
        auth,
        sandbox_config: Some(sandbox.clone()),
    };
    let mut client = context.runtime.clients.image.clone();
    // However long it takes: the runtime gives up when nothing comes any more.
    let reference = client.pull_image(Request::new(message)).await?;
    let reference = reference.into_inner().image_ref;
    let message = v1::ImageStatusRequest { image: Some(v1::ImageSpec { image: reference.clone(), ..Default::default() }), verbose: false };
    let status = client.image_status(request(message)).await?.into_inner();
    let Some(image) = status.image else {
        let text = format!("image {reference} is gone after it was pulled");
        return Err(Status::not_found(text));
    };
    let size = image.size;
    Ok((ready(image), size))
}

/// Secrets that are missing are skipped, as in the reference: the registry may not need them.
async fn credentials(pod: &Pod, objects: &PodObjects, image: &str) -> Option<v1::AuthConfig> {
    let names = pod.spec.iter().flat_map(|s| s.image_pull_secrets.iter().flatten());
    let mut secrets = Vec::new();
    for reference in names {
        match objects.secret(&reference.name).await {
            Ok(Some(secret)) => secrets.push(secret),
            Ok(None) => tracing::warn!(secret = reference.name, "image pull secret not found"),
            Err(error) => tracing::warn!(%error, secret = reference.name, "image pull secret"),
        }
    }
    credentials::find(image, secrets.iter().map(AsRef::as_ref))
}

/// The class of sizes that an image is in, as metrics call it.
fn size_class(bytes: u64) -> &'static str {
    const MEGA: u64 = 1 << 20;
    const GIGA: u64 = 1 << 30;
    const CLASSES: [(u64, &str); 11] = [
        (10 * MEGA, "0-10MB"),
        (100 * MEGA, "10MB-100MB"),
        (500 * MEGA, "100MB-500MB"),
        (GIGA, "500MB-1GB"),
        (5 * GIGA, "1GB-5GB"),
        (10 * GIGA, "5GB-10GB"),
        (20 * GIGA, "10GB-20GB"),
        (30 * GIGA, "20GB-30GB"),
        (40 * GIGA, "30GB-40GB"),
        (60 * GIGA, "40GB-60GB"),
        (100 * GIGA, "60GB-100GB"),
    ];
    match bytes {
        0 => "N/A",
        bytes => CLASSES.iter().find(|(most, _)| bytes <= *most).map_or("GT100GB", |(_, name)| name),
    }
}

/// Seconds or milliseconds as Go prints them.
fn go_seconds(duration: std::time::Duration) -> String {
    if duration.as_secs() == 0 {
        return format!("{}ms", duration.as_millis());
    }
    let seconds = format!("{:.3}", duration.as_secs_f64());
    format!("{}s", seconds.trim_end_matches('0').trim_end_matches('.'))
}
