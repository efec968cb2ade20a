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
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::context::Context;
use crate::metrics::families;
use crate::runtime::request;

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
            if let Err(status) = round(&context, &mut used).await {
                tracing::warn!(%status, "collecting images");
            }
            tokio::time::sleep(PERIOD).await;
        }
    };
    token.run_until_cancelled(work).await;
}

/// Removes every image that nobody uses, and gives their number: the node needs the space.
pub(crate) async fn collect_all(context: &Context) -> Result<u32, Status> {
    let candidates = candidates(context, &mut HashMap::new(), Timestamp::now()).await?;
    let mut client = context.runtime.clients.image.clone();
    let mut removed = 0_u32;
    for candidate in &candidates {
        let message = v1::RemoveImageRequest { image: Some(v1::ImageSpec { image: candidate.id.clone(), ..Default::default() }) };
        match client.remove_image(request(message)).await {
            Ok(_) => removed += 1,
            Err(status) => tracing::warn!(%status, image = candidate.id, "removing an unused image"),
        }
    }
    context.metrics.add(&families::IMAGES_COLLECTED, &["space"], f64::from(removed));
    Ok(removed)
}

async fn round(context: &Context, used: &mut HashMap<String, Timestamp>) -> Result<(), Status> {
    let now = Timestamp::now();
    let candidates = candidates(context, used, now).await?;
    let Some(space) = space(context).await? else {
        return Ok(());
    };
    let mut client = context.runtime.clients.image.clone();
    for (id, why) in condemned(Rules::of(context), space, candidates, now) {
        tracing::info!(image = id, why, "removing an unused image");
        let message = v1::RemoveImageRequest { image: Some(v1::ImageSpec { image: id.clone(), ..Default::default() }) };
        // One that does not go keeps no other.
        if let Err(status) = client.remove_image(request(message)).await {
            tracing::warn!(%status, image = id, "removing an unused image");
            continue;
        }
        context.metrics.count(&families::IMAGES_COLLECTED, &[why]);
        used.remove(&id);
    }
    Ok(())
}

/// The images that nobody uses; `used` remembers since when.
async fn candidates(context: &Context, used: &mut HashMap<String, Timestamp>, now: Timestamp) -> Result<Vec<Candidate>, Status> {
    let mut client = context.runtime.clients.image.clone();
    let message = v1::ListImagesRequest { filter: None };
    let images = client.list_images(request(message)).await?.into_inner().images;
    let containers = context.runtime.list_containers(HashMap::new()).await?;
    let mounted = mounted(context).await;
    let made = containers.iter().flat_map(|c| [c.image_id.as_str(), c.image_ref.as_str()]);
    let in_use: HashSet<&str> = made.chain(mounted.iter().map(String::as_str)).collect();
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

/// The images that pods have as volumes.
async fn mounted(context: &Context) -> Vec<String> {
    let pods = context.admission.pods();
    let volumes = pods.iter().filter_map(|pod| pod.spec.as_ref()).flat_map(|spec| spec.volumes.iter().flatten());
    let names: HashSet<&str> = volumes.filter_map(|volume| volume.image.as_ref()?.reference.as_deref()).collect();
    let mut ids = Vec::new();
    for name in names.into_iter().filter_map(|name| super::name::normalise(name).ok()) {
        match super::inspect(context, &name).await {
            Ok(image) => ids.extend(image.map(|image| image.reference)),
            // What the runtime does not know cannot be removed by its name either; it is asked for the others.
            Err(status) => tracing::warn!(%status, image = name, "looking at the image of a volume"),
        }
    }
    ids
}

async fn space(context: &Context) -> Result<Option<Space>, Status> {
    let mut client = context.runtime.clients.image.clone();
    let message = v1::ImageFsInfoRequest {};
    let info = client.image_fs_info(request(message)).await?.into_inner();
    let path = info.image_filesystems.into_iter().find_map(|f| f.fs_id).map(|id| PathBuf::from(id.mountpoint));
    let stat = path.and_then(|p| rustix::fs::statvfs(p).ok());
    Ok(stat.map(|s| Space { total: s.f_blocks.saturating_mul(s.f_frsize), available: s.f_bavail.saturating_mul(s.f_frsize) }))
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
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_emptied_of_what_is_longest_unused() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let candidate = |id: &str, last_used| Candidate { id: id.into(), size: 40, last_used: at(last_used) };
        let candidates = vec![candidate("b", 2), candidate("new", 990), candidate("a", 1), candidate("c", 3)];
        let full = |available| Space { total: 1000, available };
        let rules = Rules { high: 85, low: 80, minimum_age: SignedDuration::from_mins(2), maximum_age: None };
        let ids = |found: Vec<(String, &str)>| -> Vec<String> { found.into_iter().map(|(id, _)| id).collect() };
        let names = |space| ids(condemned(rules, space, candidates.clone(), at(1000)));
        assert!(names(full(200)).is_empty());
        assert_eq!(names(full(140)), ["a", "b"]);
        assert_eq!(names(full(0)), ["a", "b", "c"]);
        let rules = Rules { maximum_age: Some(SignedDuration::from_secs(997)), ..rules };
        let found = condemned(rules, full(900), candidates.clone(), at(1000));
        assert!(found.iter().all(|(_, why)| *why == "age"));
        assert_eq!(ids(found), ["a", "b"], "too old, whatever the disk");
    }
}
