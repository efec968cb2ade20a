//! Removing images that nobody uses when the disk fills up.
//!
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/#container-image-lifecycle>:
//! above the high threshold, those longest unused go first, until the low threshold is reached.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use corten_cri::v1;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::admit::Registry;
use crate::context::Context;
use crate::metrics::{Metrics, families};
use crate::runtime::{Runtime, request};

/// What the configuration says.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// Disk usage, in percent, that starts the collection, and at which it ends.
    high: u64,
    low: u64,
    /// How long an image stays at least: it may be about to be used.
    minimum_age: SignedDuration,
    /// How long it stays at most when nobody uses it.
    maximum_age: Option<SignedDuration>,
}

impl Rules {
    fn of(context: &Context) -> Self {
        let config = &context.config;
        let age = |duration: Duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        Self {
            high: config.image_gc_high,
            low: config.image_gc_low,
            minimum_age: age(config.image_minimum_age),
            maximum_age: Some(config.image_maximum_age).filter(|a| !a.is_zero()).map(age),
        }
    }
}

/// How often the disk is looked at: how full it is, is no event.
const PERIOD: Duration = Duration::from_secs(300);

/// Space of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Space {
    total: u64,
    available: u64,
}

/// An image that could be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    id: String,
    size: u64,
    last_used: Timestamp,
}

/// Collects until `token` is cancelled.
pub(crate) async fn keep(context: Arc<Context>, token: CancellationToken) {
    let work = async {
        let mut used = HashMap::new();
        loop {
            if let Err(status) = Collector::of(&context).round(&mut used).await {
                tracing::warn!(%status, "collecting images");
            }
            tokio::time::sleep(PERIOD).await;
        }
    };
    token.run_until_cancelled(work).await;
}

/// Removes every image that nobody uses, and gives their number: the node needs the space.
pub(crate) async fn collect_all(context: &Context) -> Result<u32, Status> {
    Collector::of(context).all().await
}

/// What a collection works on.
struct Collector<'a> {
    runtime: &'a Runtime,
    pods: &'a Registry,
    metrics: &'a Metrics,
    rules: Rules,
}

impl<'a> Collector<'a> {
    fn of(context: &'a Context) -> Self {
        Self { runtime: &context.runtime, pods: &context.admission, metrics: &context.metrics, rules: Rules::of(context) }
    }

    async fn all(&self) -> Result<u32, Status> {
        let mut removed = 0;
        for candidate in self.candidates(&mut HashMap::new(), Timestamp::now()).await? {
            removed += u32::from(self.remove(&candidate.id, "space").await);
        }
        Ok(removed)
    }

    async fn round(&self, used: &mut HashMap<String, Timestamp>) -> Result<(), Status> {
        let now = Timestamp::now();
        let candidates = self.candidates(used, now).await?;
        let Some(space) = self.space().await? else {
            return Ok(());
        };
        for (id, why) in condemned(self.rules, space, candidates, now) {
            tracing::info!(image = id, why, "removing an unused image");
            if self.remove(&id, why).await {
                used.remove(&id);
            }
        }
        Ok(())
    }

    /// Whether an image is gone; one that does not go keeps no other.
    async fn remove(&self, id: &str, why: &str) -> bool {
        let message = v1::RemoveImageRequest { image: Some(v1::ImageSpec { image: id.to_owned(), ..Default::default() }) };
        if let Err(status) = self.runtime.clients.image.clone().remove_image(request(message)).await {
            tracing::warn!(%status, image = id, "removing an unused image");
            return false;
        }
        self.metrics.count(&families::IMAGES_COLLECTED, &[why]);
        true
    }

    /// The images that nobody uses; `used` remembers since when.
    async fn candidates(&self, used: &mut HashMap<String, Timestamp>, now: Timestamp) -> Result<Vec<Candidate>, Status> {
        let message = v1::ListImagesRequest { filter: None };
        let images = self.runtime.clients.image.clone().list_images(request(message)).await?.into_inner().images;
        let containers = self.runtime.list_containers(HashMap::new()).await?;
        let named = self.named().await?;
        let made = containers.iter().flat_map(|c| [c.image_id.as_str(), c.image_ref.as_str()]);
        let in_use: HashSet<&str> = made.chain(named.iter().map(String::as_str)).collect();
        let is_used = |image: &v1::Image| {
            let digests = image.repo_digests.iter().map(String::as_str);
            std::iter::once(image.id.as_str()).chain(digests).any(|name| in_use.contains(name))
        };
        let mut candidates = Vec::new();
        for image in images {
            let last_used = used.entry(image.id.clone()).or_insert(now);
            if is_used(&image) {
                *last_used = now;
            } else if !image.pinned {
                candidates.push(Candidate { last_used: *last_used, size: image.size, id: image.id });
            }
        }
        Ok(candidates)
    }

    /// The images that no container is made of and that are used all the same: pods have them as volumes, or sandboxes are
    /// made of them.
    async fn named(&self) -> Result<HashSet<String>, Status> {
        let pods = self.pods.pods();
        let volumes = pods.iter().filter_map(|pod| pod.spec.as_ref()).flat_map(|spec| spec.volumes.iter().flatten());
        let names = volumes.filter_map(|volume| volume.image.as_ref()?.reference.as_deref());
        let mut names: HashSet<String> = names.filter_map(|name| super::name::normalise(name).ok()).collect();
        names.extend(self.of_sandboxes().await?);
        let mut ids = HashSet::new();
        for name in names {
            match super::inspect(self.runtime, &name).await {
                Ok(image) => ids.extend(image.map(|image| image.reference)),
                // What the runtime does not know by this name cannot be there.
                Err(status) if matches!(status.code(), Code::InvalidArgument | Code::NotFound) => {
                    tracing::warn!(%status, image = name, "looking at an image that is in use");
                }
                // It may be there all the same, and in use.
                Err(status) => return Err(status),
            }
        }
        Ok(ids)
    }

    /// The image of sandboxes, where the runtime has one and says so: containerd before 1.7.3 does not pin it.
    async fn of_sandboxes(&self) -> Result<Option<String>, Status> {
        let status = self.runtime.clients.runtime.clone().status(request(v1::StatusRequest { verbose: true })).await?.into_inner();
        let configuration = status.info.get("config").and_then(|text| serde_json::from_str::<Value>(text).ok());
        let name = configuration.as_ref().and_then(|config| config.get("sandboxImage")?.as_str());
        Ok(name.and_then(|name| super::name::normalise(name).ok()))
    }

    async fn space(&self) -> Result<Option<Space>, Status> {
        let message = v1::ImageFsInfoRequest {};
        let info = self.runtime.clients.image.clone().image_fs_info(request(message)).await?.into_inner();
        let path = info.image_filesystems.into_iter().find_map(|f| f.fs_id).map(|id| PathBuf::from(id.mountpoint));
        let stat = path.and_then(|p| rustix::fs::statvfs(p).ok());
        Ok(stat.map(|s| Space { total: s.f_blocks.saturating_mul(s.f_frsize), available: s.f_bavail.saturating_mul(s.f_frsize) }))
    }
}

/// The images to remove, longest unused first, and why: `age` or `space`.
fn condemned(rules: Rules, space: Space, mut candidates: Vec<Candidate>, now: Timestamp) -> Vec<(String, &'static str)> {
    let Space { total, available } = space;
    let used = total.saturating_sub(available);
    let full = total > 0 && used >= total / 100 * rules.high;
    let mut to_free = if full { used.saturating_sub(total / 100 * rules.low) } else { 0 };
    candidates.sort_by_key(|c| c.last_used);
    let too_old = |c: &Candidate| rules.maximum_age.is_some_and(|age| now.duration_since(c.last_used) > age);
    let (old, mut candidates): (Vec<_>, Vec<_>) = candidates.into_iter().partition(too_old);
    candidates.retain(|c| now.duration_since(c.last_used) >= rules.minimum_age);
    let mut ids = Vec::new();
    for candidate in old {
        to_free = to_free.saturating_sub(candidate.size);
        ids.push((candidate.id, "age"));
    }
    for candidate in candidates {
        if to_free == 0 {
            break;
        }
        to_free = to_free.saturating_sub(candidate.size);
        ids.push((candidate.id, "space"));
    }
    ids
}

#[cfg(test)]
mod tests;
