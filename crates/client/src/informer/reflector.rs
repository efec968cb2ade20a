//! List, watch, resume.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, pin_mut};
use kube::{
    Api, Client, Resource,
    api::{ListParams, ObjectList, Request, WatchEvent, WatchParams},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Item, Selection, Shared, Trim};
use crate::Backoff;

/// Objects a page of a list. Pages bound what the server encodes at once.
const PAGE: u32 = 500;

/// After an error the next try waits, longer each time up to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LAST_BACKOFF: Duration = Duration::from_secs(10);

/// A watch that ends sooner than this without having told anything is treated as an error.
const SUSPICIOUSLY_SHORT: Duration = Duration::from_secs(1);

/// Where the objects come from.
pub(super) struct Source {
    client: Client,
    request: Request,
    selection: Selection,
    /// Whether only metadata is asked for.
    metadata: bool,
}

impl Source {
    pub(super) fn new<R: Resource>(api: Api<R>, selection: Selection) -> Self {
        let request = Request::new(api.resource_url());
        Self { client: api.into_client(), request, selection, metadata: R::metadata_api() }
    }

    async fn list<K: Item>(&self, params: &ListParams) -> Result<ObjectList<K>, kube::Error> {
        let request = if self.metadata { self.request.list_metadata(params) } else { self.request.list(params) };
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }

    async fn watch<K: Item>(&self, revision: &str) -> Result<impl Stream<Item = Result<WatchEvent<K>, kube::Error>> + use<K>, kube::Error> {
        let Selection { labels, fields } = self.selection.clone();
        let params = WatchParams { label_selector: labels, field_selector: fields, ..WatchParams::default() };
        let request = if self.metadata { self.request.watch_metadata(&params, revision) } else { self.request.watch(&params, revision) };
        self.client.request_events(request.map_err(kube::Error::BuildRequest)?).await
    }
}

/// What to do next.
enum Step {
    List,
    /// Watch from this revision.
    Watch(String),
}

enum WatchEnd {
    /// The server ended it: resume from this revision.
    Resume(String),
    /// The revision is compacted.
    Expired,
    /// It broke after this revision.
    Broken(String, kube::Error),
}

pub(super) async fn run<K: Item>(source: Source, shared: Arc<Shared<K>>, token: CancellationToken) {
    let mut step = Step::List;
    let mut backoff = Backoff::new(FIRST_BACKOFF, LAST_BACKOFF);
    loop {
        let work = async {
            match &step {
                Step::List => list(&source, &shared).await.map(Step::Watch),
                Step::Watch(revision) => {
                    let started = Instant::now();
                    match watch(&source, &shared, revision.clone()).await {
                        WatchEnd::Resume(next) if next == *revision && started.elapsed() < SUSPICIOUSLY_SHORT => {
                            Err((Step::Watch(next), None))
                        }
                        WatchEnd::Resume(next) => Ok(Step::Watch(next)),
                        WatchEnd::Expired => Ok(Step::List),
                        WatchEnd::Broken(next, error) => Err((Step::Watch(next), Some(error))),
                    }
                }
            }
        };
        let result = tokio::select! {
            () = token.cancelled() => return,
            result = work => result,
        };
        match result {
            Ok(next) => {
                step = next;
                backoff.reset();
            }
            Err((next, error)) => {
                step = next;
                let kind = std::any::type_name::<K>();
                let path = source.request.url_path.as_str();
                let pause = backoff.pause();
                match error {
                    Some(error) => tracing::debug!(kind, path, %error, ?pause, "watch failed"),
                    None => tracing::debug!(kind, path, ?pause, "watch ended at once"),
                }
                // A server that is away tells nobody when it is back: try again in a while.
                tokio::select! {
                    () = token.cancelled() => return,
                    () = backoff.wait() => {}
                }
            }
        }
    }
}

/// Reads all pages and makes the store equal to them; gives the revision of the list.
async fn list<K: Item>(source: &Source, shared: &Shared<K>) -> Result<String, (Step, Option<kube::Error>)> {
    let mut params = source.selection.list_params().limit(PAGE);
    let mut objects = Vec::new();
    loop {
        // An expired continue token is an error like any other: it begins anew.
        let page: ObjectList<K> = source.list(&params).await.map_err(|error| (Step::List, Some(error)))?;
        objects.extend(page.items.into_iter().map(|object| strip(object, shared.trim)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => {
                shared.replace(objects);
                return Ok(page.metadata.resource_version.unwrap_or_default());
            }
        }
    }
}

async fn watch<K: Item>(source: &Source, shared: &Shared<K>, mut revision: String) -> WatchEnd {
    let events = match source.watch::<K>(&revision).await {
        Ok(events) => events,
        Err(error) if crate::is_gone(&error) => return WatchEnd::Expired,
        Err(error) => return WatchEnd::Broken(revision, error),
    };
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                advance(&mut revision, &object);
                shared.put(strip(object, shared.trim));
            }
            Ok(WatchEvent::Deleted(object)) => {
                advance(&mut revision, &object);
                shared.remove(strip(object, shared.trim));
            }
            Ok(WatchEvent::Bookmark(bookmark)) => {
                revision = bookmark.metadata.resource_version;
            }
            Ok(WatchEvent::Error(status)) if status.code == 410 => return WatchEnd::Expired,
            Ok(WatchEvent::Error(status)) => {
                return WatchEnd::Broken(revision, kube::Error::Api(status));
            }
            Err(error) if crate::is_gone(&error) => return WatchEnd::Expired,
            Err(error) => return WatchEnd::Broken(revision, error),
        }
    }
    WatchEnd::Resume(revision)
}

fn advance<K: Item>(revision: &mut String, object: &K) {
    if let Some(version) = object.item_version() {
        version.clone_into(revision);
    }
}

fn strip<K: Item>(mut object: K, trim: Option<Trim>) -> K {
    object.strip();
    if let Some(trim) = trim {
        trim(&mut object);
    }
    object
}
