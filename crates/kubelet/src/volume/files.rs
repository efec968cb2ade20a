//! Volumes made of small files: `configMap`, `secret`, `downwardAPI` and `projected`, which is any
//! number of them and service account tokens in one directory.
//!
//! <https://kubernetes.io/docs/concepts/storage/projected-volumes/>

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMapProjection, DownwardAPIProjection, SecretProjection};
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume as Definition, VolumeProjection};
use parking_lot::Mutex;

use super::atomic::{self, File, Payload};
use super::ownership::FsGroup;
use super::token::Token;
use super::{Context, Volume, VolumeError, io_error, mounts, trust};
use crate::pod::downward;

/// Mode of files whose volume says nothing.
const DEFAULT_MODE: i32 = 0o644;

pub(super) struct Files {
    path: PathBuf,
    sources: Vec<Source>,
    mode: u32,
    fs_group: Option<FsGroup>,
    /// Content that must not reach a disk.
    in_memory: bool,
    refresh: Mutex<Option<Timestamp>>,
}

enum Source {
    Plain(Box<VolumeProjection>),
    Token(Token),
}

impl Files {
    /// `None` if the definition is of another kind.
    pub(super) fn new(pod: &Pod, definition: &Definition, directory: impl Fn(&str) -> PathBuf, fs_group: Option<FsGroup>) -> Option<Self> {
        let (kind, default_mode, projections) = projections(definition)?;
        let secret = definition.secret.is_some() || projections.iter().any(|p| p.secret.is_some() || p.service_account_token.is_some());
        let sources = projections
            .into_iter()
            .map(|p| match &p.service_account_token {
                Some(token) => Source::Token(Token::new(token, pod, fs_group)),
                None => Source::Plain(Box::new(p)),
            })
            .collect();
        let mode = default_mode.unwrap_or(DEFAULT_MODE);
        Some(Self {
            path: directory(kind),
            sources,
            mode: u32::try_from(mode).unwrap_or(0o644) & 0o777,
            fs_group,
            in_memory: secret,
            refresh: Mutex::new(None),
        })
    }

    async fn make(&self, context: &Context<'_>) -> Result<(), VolumeError> {
        let mut payload = Payload::new();
        let mut refresh = None;
        for source in &self.sources {
            match source {
                Source::Plain(projection) => self.collect(projection, context, &mut payload).await?,
                Source::Token(token) => {
                    let (path, file, until) = token.file(context).await?;
                    refresh = Some(refresh.map_or(until, |r: Timestamp| r.min(until)));
                    payload.insert(path, file);
                }
            }
        }
        if self.fs_group.is_some() {
            for file in payload.values_mut() {
                file.mode |= 0o440;
            }
        }
        *self.refresh.lock() = refresh;
        fs::create_dir_all(&self.path).map_err(io_error(&self.path))?;
        let fresh = self.in_memory && mounts::ensure_tmpfs(&self.path, None)?;
        if fresh || !self.path.join("..data").exists() {
            let mode = fs::Permissions::from_mode(0o777);
            fs::set_permissions(&self.path, mode).map_err(io_error(&self.path))?;
            if let Some(group) = &self.fs_group {
                group.apply(&self.path, false)?;
            }
        }
        atomic::write(&self.path, &payload, self.fs_group.map(|g| g.group))?;
        Ok(())
    }

    async fn collect(&self, projection: &VolumeProjection, context: &Context<'_>, payload: &mut Payload) -> Result<(), VolumeError> {
        if let Some(source) = &projection.config_map {
            self.config_map(source, context, payload).await?;
        }
        if let Some(source) = &projection.secret {
            self.secret(source, context, payload).await?;
        }
        if let Some(source) = &projection.cluster_trust_bundle {
            let data = trust::file(source, context).await?;
            payload.insert(source.path.clone(), self.file(data, None));
        }
        if let Some(source) = &projection.downward_api {
            for item in source.items.iter().flatten() {
                let file = self.file(downward_value(item, context)?.into_bytes(), item.mode);
                payload.insert(item.path.clone(), file);
            }
        }
        Ok(())
    }

    async fn config_map(&self, source: &ConfigMapProjection, context: &Context<'_>, payload: &mut Payload) -> Result<(), VolumeError> {
        let optional = source.optional == Some(true);
        let Some(map) = context.objects.config_map(&source.name).await? else {
            return if optional { Ok(()) } else { Err(VolumeError::NoConfigMap(source.name.clone())) };
        };
        let text = map.data.iter().flatten();
        let binary = map.binary_data.iter().flatten();
        let entries = text.map(|(k, v)| (k.as_str(), v.as_bytes())).chain(binary.map(|(k, v)| (k.as_str(), v.0.as_slice())));
        let items = source.items.as_deref();
        self.select("configmap", entries.collect(), items, optional, payload)
    }

    async fn secret(&self, source: &SecretProjection, context: &Context<'_>, payload: &mut Payload) -> Result<(), VolumeError> {
        let optional = source.optional == Some(true);
        let Some(secret) = context.objects.secret(&source.name).await? else {
            return if optional { Ok(()) } else { Err(VolumeError::NoSecret(source.name.clone())) };
        };
        let entries = secret.data.iter().flatten();
        let entries = entries.map(|(k, v)| (k.as_str(), v.0.as_slice())).collect();
        let items = source.items.as_deref();
        self.select("secret", entries, items, optional, payload)
    }

    /// Puts all entries into the payload, or those that `items` names.
    fn select(
        &self,
        kind: &'static str,
        entries: Vec<(&str, &[u8])>,
        items: Option<&[KeyToPath]>,
        optional: bool,
        payload: &mut Payload,
    ) -> Result<(), VolumeError> {
        let Some(items) = items.filter(|i| !i.is_empty()) else {
            for (key, data) in entries {
                payload.insert(key.to_owned(), self.file(data.to_vec(), None));
            }
            return Ok(());
        };
        for item in items {
            match entries.iter().find(|(key, _)| *key == item.key) {
                Some((_, data)) => {
                    let file = self.file(data.to_vec(), item.mode);
                    payload.insert(item.path.clone(), file);
                }
                None if optional => {}
                None => {
                    let key = item.key.clone();
                    return Err(VolumeError::NoKey { kind, key });
                }
            }
        }
        Ok(())
    }

    fn file(&self, data: Vec<u8>, mode: Option<i32>) -> File {
        let mode = mode.and_then(|m| u32::try_from(m).ok()).map(|m| m & 0o777);
        File { data, mode: mode.unwrap_or(self.mode), uid: None }
    }
}

/// The directory's kind, its default mode, and what is in it: all four kinds of volumes in the
/// form of the most general.
fn projections(definition: &Definition) -> Option<(&'static str, Option<i32>, Vec<VolumeProjection>)> {
    if let Some(source) = &definition.projected {
        let sources = source.sources.clone().unwrap_or_default();
        return Some(("projected", source.default_mode, sources));
    }
    if let Some(source) = &definition.config_map {
        let projection = VolumeProjection {
            config_map: Some(ConfigMapProjection { name: source.name.clone(), items: source.items.clone(), optional: source.optional }),
            ..VolumeProjection::default()
        };
        return Some(("configmap", source.default_mode, vec![projection]));
    }
    if let Some(source) = &definition.secret {
        let projection = VolumeProjection {
            secret: Some(SecretProjection {
                name: source.secret_name.clone().unwrap_or_default(),
                items: source.items.clone(),
                optional: source.optional,
            }),
            ..VolumeProjection::default()
        };
        return Some(("secret", source.default_mode, vec![projection]));
    }
    if let Some(source) = &definition.downward_api {
        let projection =
            VolumeProjection { downward_api: Some(DownwardAPIProjection { items: source.items.clone() }), ..VolumeProjection::default() };
        return Some(("downward-api", source.default_mode, vec![projection]));
    }
    None
}

fn downward_value(item: &DownwardAPIVolumeFile, context: &Context<'_>) -> Result<String, VolumeError> {
    if let Some(field) = &item.field_ref {
        return Ok(downward::field(context.pod, context.around, &field.field_path)?);
    }
    if let Some(selector) = &item.resource_field_ref {
        return Ok(downward::resource(context.pod, None, selector, context.around)?);
    }
    Ok(String::new())
}

impl Volume for Files {
    fn path(&self) -> &Path {
        &self.path
    }

    fn mount<'a>(&'a self, context: &'a Context<'a>) -> BoxFuture<'a, Result<(), VolumeError>> {
        self.make(context).boxed()
    }

    fn updates(&self) -> bool {
        true
    }

    fn refresh_at(&self) -> Option<Timestamp> {
        *self.refresh.lock()
    }

    fn read_only(&self) -> bool {
        true
    }

    fn unmount(&self) -> Result<(), VolumeError> {
        mounts::clear(&self.path)
    }
}
