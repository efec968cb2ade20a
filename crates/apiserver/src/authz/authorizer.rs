//! The authorizer of the server: the policy in force, kept up to date from the ledger.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::task::AbortHandle;

use super::rbac::{self, Index, Objects};
use super::rules::PolicyRule;
use super::{Attributes, Decision, node};
use crate::authn::UserInfo;
use crate::ledger::{Event, EventType, Expired, Filter, Ledger, Watcher};
use crate::reads;

/// The plurals of the RBAC kinds.
const PLURALS: [&str; 4] = ["clusterroles", "clusterrolebindings", "roles", "rolebindings"];

/// Decides requests.
pub struct Authorizer {
    ledger: Ledger,
    index: Arc<ArcSwap<Index>>,
    follower: AbortHandle,
}

impl Authorizer {
    /// Reads the policy of the ledger and follows its changes.
    pub fn start(ledger: &Ledger) -> Self {
        let mut mirror = Mirror::new(ledger.clone());
        let watchers = mirror.load();
        let index = Arc::new(ArcSwap::from_pointee(mirror.objects.index()));
        let follower = tokio::spawn(mirror.follow(watchers, Arc::clone(&index))).abort_handle();
        Self { ledger: ledger.clone(), index, follower }
    }

    /// Whether a request is allowed.
    pub fn authorize(&self, request: &Attributes<'_>) -> Decision {
        if request.user.in_group(corten_pki::MASTERS) {
            return Decision::Allow(String::new());
        }
        let mut reason = String::new();
        if let Some(node) = request.user.node_name() {
            match node::authorize(&self.ledger, node, request) {
                allow @ Decision::Allow(_) => return allow,
                Decision::NoOpinion(why) => reason = why,
            }
        }
        match self.index.load().allows(request) {
            Some(why) => Decision::Allow(why),
            None => Decision::NoOpinion(reason),
        }
    }

    /// The RBAC rules that a user has in a namespace; everything for `system:masters`.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Vec<PolicyRule> {
        let mut rules = self.index.load().rules_for(user, namespace);
        if user.in_group(corten_pki::MASTERS) {
            let all = || vec!["*".to_owned()];
            rules.insert(
                0,
                PolicyRule { verbs: all(), api_groups: all(), resources: all(), ..PolicyRule::default() },
            );
            rules.insert(1, PolicyRule { verbs: all(), non_resource_urls: all(), ..PolicyRule::default() });
        }
        rules
    }

    /// The rules of a role that a binding in `namespace` refers to.
    pub fn role(&self, namespace: &str, role: &rbac::RoleRef) -> Option<Arc<[PolicyRule]>> {
        self.index.load().role(namespace, role)
    }
}

impl Drop for Authorizer {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// A copy of the RBAC objects of the ledger.
struct Mirror {
    ledger: Ledger,
    objects: Objects,
}

impl Mirror {
    fn new(ledger: Ledger) -> Self {
        Self { ledger, objects: Objects::default() }
    }

    /// Reads everything anew; the watchers go on from there.
    fn load(&mut self) -> Vec<Watcher> {
        loop {
            let snapshot = self.ledger.snapshot();
            self.objects = Objects::default();
            for plural in PLURALS {
                for entry in snapshot.list(&reads::prefix(rbac::GROUP, plural, "")) {
                    let namespace = entry.namespace().unwrap_or_default();
                    self.objects.set(plural, namespace, entry.name(), Some(entry.stored_json()));
                }
            }
            let watch =
                |plural| self.ledger.watch(snapshot.revision(), Filter::prefix(reads::prefix(rbac::GROUP, plural, "")));
            // History is trimmed only while a lot is written: the next attempt starts from a newer revision.
            if let Ok(watchers) = PLURALS.into_iter().map(watch).collect() {
                return watchers;
            }
        }
    }

    fn apply(&mut self, plural: &str, event: &Event) {
        let entry = event.entry();
        let json = (event.kind() != EventType::Deleted).then(|| entry.stored_json().as_ref());
        self.objects.set(plural, entry.namespace().unwrap_or_default(), entry.name(), json);
    }

    /// Takes in what is there without waiting; whether there was anything.
    fn drain(&mut self, watchers: &mut [Watcher]) -> Result<bool, Expired> {
        let mut any = false;
        for (watcher, plural) in watchers.iter_mut().zip(PLURALS) {
            while let Some(event) = watcher.try_next()? {
                self.apply(plural, &event);
                any = true;
            }
        }
        Ok(any)
    }

    async fn follow(mut self, mut watchers: Vec<Watcher>, index: Arc<ArcSwap<Index>>) {
        loop {
            let next = futures::future::select_all(
                watchers.iter_mut().zip(PLURALS).map(|(watcher, plural)| {
                    Box::pin(async move { watcher.next().await.map(|event| (plural, event)) })
                }),
            );
            let (result, _, _) = next.await;
            let state = match result {
                Ok((plural, event)) => {
                    self.apply(plural, &event);
                    self.drain(&mut watchers)
                }
                Err(expired) => Err(expired),
            };
            if state.is_err() {
                watchers = self.load();
            }
            index.store(Arc::new(self.objects.index()));
        }
    }
}
