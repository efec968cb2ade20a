//! `ImageService`.

use std::collections::HashMap;

use corten_cri::v1::{self, image_service_server::ImageService};
use corten_image::{Credentials, Image, ImageUser, PullErrorKind, PullOptions};
use tonic::{Code, Request, Response, Status, async_trait};

use super::Service;
use crate::error::Error;
use crate::files;

/// An image as CRI has it.
fn cri(image: &Image) -> v1::Image {
    let (uid, username) = match image.user() {
        ImageUser::Uid(value) => (Some(v1::Int64Value { value }), String::new()),
        ImageUser::Name(name) => (None, name),
    };
    v1::Image {
        id: image.id.to_string(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        size: image.size,
        uid,
        username,
        spec: None,
        pinned: image.pinned,
    }
}

fn name(spec: Option<v1::ImageSpec>) -> Result<String, Error> {
    spec.map(|spec| spec.image).filter(|name| !name.is_empty()).ok_or_else(|| Error::invalid("image name is missing"))
}

fn credentials(auth: v1::AuthConfig) -> Option<Credentials> {
    let given = Credentials {
        username: auth.username,
        password: auth.password,
        auth: auth.auth,
        identity_token: auth.identity_token,
        registry_token: auth.registry_token,
    };
    let any = [&given.username, &given.auth, &given.identity_token, &given.registry_token].iter().any(|field| !field.is_empty());
    any.then_some(given)
}

#[async_trait]
impl ImageService for Service {
    async fn list_images(&self, request: Request<v1::ListImagesRequest>) -> Result<Response<v1::ListImagesResponse>, Status> {
        let wanted = request.into_inner().filter.and_then(|filter| filter.image).map(|image| image.image).filter(|name| !name.is_empty());
        let images = match wanted {
            Some(name) => self.engine.images.get(&name).await.map_err(Error::from)?.into_iter().collect(),
            None => self.engine.images.list().await.map_err(Error::from)?,
        };
        Ok(Response::new(v1::ListImagesResponse { images: images.iter().map(cri).collect() }))
    }

    async fn image_status(&self, request: Request<v1::ImageStatusRequest>) -> Result<Response<v1::ImageStatusResponse>, Status> {
        let request = request.into_inner();
        let image = self.engine.images.get(&name(request.image)?).await.map_err(Error::from)?;
        let mut info = HashMap::new();
        if let Some(image) = image.as_ref().filter(|_| request.verbose) {
            let details = serde_json::json!({ "chainID": image.chain.last(), "imageSpec": *image.config });
            info.insert("info".to_owned(), details.to_string());
        }
        Ok(Response::new(v1::ImageStatusResponse { image: image.as_ref().map(cri), info }))
    }

    async fn pull_image(&self, request: Request<v1::PullImageRequest>) -> Result<Response<v1::PullImageResponse>, Status> {
        let request = request.into_inner();
        let options = PullOptions { credentials: request.auth.and_then(credentials), ..PullOptions::default() };
        let image = self.engine.images.pull(&name(request.image)?, options).await.map_err(|error| {
            let code = match error.kind() {
                PullErrorKind::InvalidReference => Code::InvalidArgument,
                PullErrorKind::NotFound => Code::NotFound,
                PullErrorKind::Denied => Code::PermissionDenied,
                PullErrorKind::Unavailable => Code::Unavailable,
                _ => Code::Unknown,
            };
            Status::new(code, error.to_string())
        })?;
        Ok(Response::new(v1::PullImageResponse { image_ref: image.id.to_string() }))
    }

    async fn remove_image(&self, request: Request<v1::RemoveImageRequest>) -> Result<Response<v1::RemoveImageResponse>, Status> {
        self.engine.images.remove(&name(request.into_inner().image)?).await.map_err(Error::from)?;
        Ok(Response::new(v1::RemoveImageResponse {}))
    }

    async fn image_fs_info(&self, _: Request<v1::ImageFsInfoRequest>) -> Result<Response<v1::ImageFsInfoResponse>, Status> {
        let info = self.engine.images.fs_info().await.map_err(Error::from)?;
        let usage = v1::FilesystemUsage {
            timestamp: files::now(),
            fs_id: Some(v1::FilesystemIdentifier { mountpoint: info.path.display().to_string() }),
            used_bytes: Some(v1::UInt64Value { value: info.used_bytes }),
            inodes_used: Some(v1::UInt64Value { value: info.inodes_used }),
        };
        Ok(Response::new(v1::ImageFsInfoResponse { image_filesystems: vec![usage.clone()], container_filesystems: vec![usage] }))
    }
}
