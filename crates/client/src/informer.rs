//! A local copy of all objects of one kind, kept by one watch.
//!
//! An [`Informer`] lists once, then watches from that revision; when the watch ends it resumes from
//! the last revision it has seen (bookmarks included), and only if that is compacted it lists
//! again and works out what was deleted meanwhile. Handlers see every change after the [`Store`]
//! has it, in order, with the last known state of what was deleted.

mod factory;
mod item;
mod reflector;
mod store;

use std::{any::Any, sync::Arc};

use kube::{Api, Resource, api::ListParams};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use factory::Informers;
pub use item::{Item, Object, Outline};
pub use store::{Index, Store};

use crate::ObjectKey;
use reflector::Source;

/// A change of one object.
#[derive(Debug)]
pub enum Delta<K> {
    /// It is new to the store.
    Added(Arc<K>),
    /// It changed.
    Updated {
        /// Its last known state.
        old: Arc<K>,
        /// Its state now.
        new: Arc<K>,
    },
    /// It is gone; this is its last known state, possibly an old one if the watch was interrupted.
    Deleted(Arc<K>),
}

impl<K: Item> Delta<K> {
    /// The newest known state.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Deleted(object) => object,
            Self::Updated { new, .. } => new,
        }
    }

    /// The state before, if there was one.
    pub fn old(&self) -> Option<&Arc<K>> {
        match self {
            Self::Added(_) => None,
            Self::Updated { old, .. } => Some(old),
            Self::Deleted(object) => Some(object),
        }
    }

    /// The object's key.
    pub fn key(&self) -> ObjectKey {
        self.object().item_key()
    }

    /// Whether the object is gone.
    pub fn is_deleted(&self) -> bool {
        matches!(self, Self::Deleted(_))
    }
}

/// Which objects of a kind an informer holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// A label selector, as in a list request.
    pub labels: Option<String>,
    /// A field selector, such as `spec.nodeName=worker`.
    pub fields: Option<String>,
}

impl Selection {
    /// Those that a field selector takes.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { fields: Some(selector.into()), ..Self::default() }
    }

    /// Those that a label selector takes.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { labels: Some(selector.into()), ..Self::default() }
    }

    fn list_params(&self) -> ListParams {
        ListParams { label_selector: self.labels.clone(), field_selector: self.fields.clone(), ..ListParams::default() }
    }
}

/// Takes out of an object what nobody who shares the informer looks at.
pub type Trim = fn(&mut dyn Any);

type Handler<K> = Box<dyn Fn(&Delta<K>) + Send + Sync>;

/// A handle of a running informer; cheap to clone. It runs until its token is cancelled.
pub struct Informer<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<K> {
    store: Store<K>,
    trim: Option<Trim>,
    /// Held while a change is applied and told, so that a new handler misses and repeats nothing.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

impl<K: Item> Informer<K> {
    /// Starts to list and watch what `api` reaches, within `selection`. What is kept may be another type than what `api` is
    /// of: one that reads the same JSON and holds less of it, such as an [`Outline`].
    pub fn start_as<R: Resource>(api: Api<R>, selection: Selection, token: CancellationToken) -> Self {
        Self::start_trimmed(api, selection, token, None)
    }

    fn start_trimmed<R: Resource>(api: Api<R>, selection: Selection, token: CancellationToken, trim: Option<Trim>) -> Self {
        let shared =
            Arc::new(Shared { store: Store::default(), trim, handlers: Mutex::new(Vec::new()), synced: watch::Sender::new(false) });
        let source = Source::new(api, selection);
        tokio::spawn(reflector::run(source, Arc::clone(&shared), token));
        Self { shared }
    }

    /// The local copy.
    pub fn store(&self) -> &Store<K> {
        &self.shared.store
    }

    /// Registers a handler. What is in the store already is told to it at once as added. Handlers
    /// run in the informer's task: they must only take note, and must not register handlers.
    pub fn on_event(&self, handler: impl Fn(&Delta<K>) + Send + Sync + 'static) {
        let mut handlers = self.shared.handlers.lock();
        for object in self.shared.store.list() {
            handler(&Delta::Added(object));
        }
        handlers.push(Box::new(handler));
    }

    /// An index over the store by what `keys` gives for an object. Indexes have names, so that
    /// components can share them: the first to ask for a name decides what it means.
    pub fn index(&self, name: &'static str, keys: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) -> Index<K> {
        self.shared.store.index(name, keys)
    }

    /// Waits for the first complete list.
    pub async fn has_synced(&self) {
        // The sender lives as long as this handle: it cannot fail.
        let _ = self.shared.synced.subscribe().wait_for(|done| *done).await;
    }

    /// Whether the first list is complete.
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }
}

impl<K: Object> Informer<K> {
    /// Starts to list and watch what `api` reaches, within `selection`. Components that share an
    /// identity share informers through [`Informers`] instead.
    pub fn start(api: Api<K>, selection: Selection, token: CancellationToken) -> Self {
        Self::start_as(api, selection, token)
    }
}

impl<K: Item> Shared<K> {
    /// Puts one object into the store and tells it. An old state never replaces a newer one of
    /// the same list or watch, since both come in order.
    fn put(&self, object: K) {
        let handlers = self.handlers.lock();
        let new = Arc::new(object);
        let delta = match self.store.insert(Arc::clone(&new)) {
            Some(old) if old.item_version() == new.item_version() => return,
            // Deleted and made anew under the same name while nobody watched.
            Some(old) if old.item_uid() != new.item_uid() => {
                tell(&handlers, &Delta::Deleted(old));
                Delta::Added(new)
            }
            Some(old) => Delta::Updated { old, new },
            None => Delta::Added(new),
        };
        tell(&handlers, &delta);
    }

    /// Removes one object and tells it with its final state.
    fn remove(&self, object: K) {
        let handlers = self.handlers.lock();
        if self.store.remove(&object.item_key()).is_some() {
            tell(&handlers, &Delta::Deleted(Arc::new(object)));
        }
    }

    /// Makes the store equal to a complete list.
    fn replace(&self, objects: Vec<K>) {
        let listed = objects.iter().map(Item::item_key).collect();
        for gone in self.store.keys_without(&listed) {
            let handlers = self.handlers.lock();
            if let Some(last) = self.store.remove(&gone) {
                tell(&handlers, &Delta::Deleted(last));
            }
        }
        for object in objects {
            self.put(object);
        }
        self.synced.send_replace(true);
    }
}

fn tell<K>(handlers: &[Handler<K>], delta: &Delta<K>) {
    for handler in handlers {
        handler(delta);
    }
}

#[cfg(test)]
mod tests;
