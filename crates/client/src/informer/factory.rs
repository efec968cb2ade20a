//! One informer a kind for all who share an identity.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::Arc,
};

use kube::{Api, Client};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Informer, Object, Selection, Trim};

type Running = HashMap<(TypeId, Selection), Box<dyn Any + Send>>;

/// Informers under one client; cheap to clone. They are started when first asked for and run
/// until the token is cancelled.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    token: CancellationToken,
    running: Arc<Mutex<Running>>,
    trim: Option<Trim>,
}

impl Informers {
    /// No informers yet.
    pub fn new(client: Client, token: CancellationToken) -> Self {
        Self { client, token, running: Arc::default(), trim: None }
    }

    /// The same, with `trim` applied to every object before it is kept: typed objects are many times as large as their
    /// JSON, and most of that are parts that a component never looks at. Such objects must not be written back whole.
    #[must_use]
    pub fn trimmed(mut self, trim: Trim) -> Self {
        self.trim = Some(trim);
        self
    }

    /// The informer of all objects of a kind, in all namespaces.
    pub fn get<K>(&self) -> Informer<K>
    where
        K: Object<DynamicType = ()>,
    {
        self.select(Selection::default())
    }

    /// The informer of some objects of a kind, in all namespaces. Informers with different
    /// selections are different watches.
    pub fn select<K>(&self, selection: Selection) -> Informer<K>
    where
        K: Object<DynamicType = ()>,
    {
        let mut running = self.running.lock();
        let known = (TypeId::of::<K>(), selection.clone());
        if let Some(informer) = running.get(&known).and_then(|any| any.downcast_ref::<Informer<K>>()) {
            return informer.clone();
        }
        let api = Api::<K>::all(self.client.clone());
        let informer = Informer::start_trimmed(api, selection, self.token.clone(), self.trim);
        running.insert(known, Box::new(informer.clone()));
        informer
    }
}
