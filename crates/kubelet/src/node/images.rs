//! The node's list of images: the largest, for the scheduler's locality.

use corten_cri::v1::{Image, ListImagesRequest};
use k8s_openapi::api::core::v1::ContainerImage;

use crate::context::Context;
use crate::runtime::request;

/// Names of one image in the status.
const NAMES: usize = 5;

/// Asks the runtime; nothing if it does not answer.
pub(super) async fn list(context: &Context) -> Option<Vec<ContainerImage>> {
    let mut client = context.runtime.clients.image.clone();
    let message = ListImagesRequest { filter: None };
    match client.list_images(request(message)).await {
        Ok(response) => Some(largest(response.into_inner().images, context.config.status_max_images)),
        Err(status) => {
            tracing::warn!(%status, "listing images");
            None
        }
    }
}

fn largest(mut images: Vec<Image>, most: Option<usize>) -> Vec<ContainerImage> {
    images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    images
        .into_iter()
        .take(most.unwrap_or(usize::MAX))
        .map(|image| {
            let names = image.repo_digests.into_iter().chain(image.repo_tags);
            ContainerImage { names: Some(names.take(NAMES).collect()), size_bytes: i64::try_from(image.size).ok() }
        })
        .collect()
}
