//! The authorizer of the server: the policy in force, taken from the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::rbac::{self, Index, Objects};
use super::rules::PolicyRule;
use super::{Attributes, Decision, node};
use crate::authn::UserInfo;
use crate::ledger::{Event, EventType, Expired, Filter, Ledger, Watcher};
use crate::reads;

/// The plurals of the RBAC kinds.
const PLURALS: [&str; 4] = ["clusterroles", "clusterrolebindings", "roles", "rolebindings"];

/// Decides requests.
///
/// The policy is kept parsed and indexed. Before a decision it is brought up to the ledger's revision by cursors that cost nothing
/// when no RBAC object has changed: so a right that a client has been told is granted or withdrawn counts at once, and no task runs.
pub struct Authorizer {
    ledger: Ledger,
    index: ArcSwap<Index>,
    /// The revision that the index is made from.
    seen: AtomicU64,
    mirror: Mutex<Mirror>,
}

impl Authorizer {
    /// Reads the policy of the ledger.
    pub fn start(ledger: &Ledger) -> Self {
        let seen = ledger.reached();
        let mirror = Mirror::load(ledger);
        Self {
            ledger: ledger.clone(),
            index: ArcSwap::from_pointee(mirror.objects.index()),
            seen: AtomicU64::new(seen.get()),
            mirror: Mutex::new(mirror),
        }
    }

    /// The policy as of now.
    fn current(&self) -> Arc<Index> {
        let reached = self.ledger.reached().get();
        if self.seen.load(Ordering::Acquire) < reached {
            let mut mirror = self.mirror.lock();
            // Whoever held the lock before may have done it.
            if self.seen.load(Ordering::Acquire) < reached {
                let changed = mirror.follow().unwrap_or_else(|_expired| {
                    *mirror = Mirror::load(&self.ledger);
                    true
                });
                if changed {
                    self.index.store(Arc::new(mirror.objects.index()));
                }
                self.seen.store(reached, Ordering::Release);
            }
        }
        self.index.load_full()
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
        match self.current().allows(request) {
            Some(why) => Decision::Allow(why),
            None => Decision::NoOpinion(reason),
        }
    }

    /// The RBAC rules that a user has in a namespace; everything for `system:masters`.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Vec<PolicyRule> {
        let mut rules = self.current().rules_for(user, namespace);
        if user.in_group(corten_pki::MASTERS) {
            let all = || vec!["*".to_owned()];
            let everything = PolicyRule { verbs: all(), api_groups: all(), resources: all(), ..PolicyRule::default() };
            let every_path = PolicyRule { verbs: all(), non_resource_urls: all(), ..PolicyRule::default() };
            rules.retain(|rule| *rule != everything && *rule != every_path);
            rules.splice(0..0, [everything, every_path]);
        }
        rules
    }

    /// The rules of a role that a binding in `namespace` refers to.
    pub fn role(&self, namespace: &str, role: &rbac::RoleRef) -> Option<Arc<[PolicyRule]>> {
        self.current().role(namespace, role)
    }
}

/// A copy of the RBAC objects of the ledger, and cursors over what has changed since.
struct Mirror {
    objects: Objects,
    watchers: Vec<Watcher>,
}

impl Mirror {
    /// Reads everything.
    fn load(ledger: &Ledger) -> Self {
        loop {
            let snapshot = ledger.snapshot();
            let mut objects = Objects::default();
            for plural in PLURALS {
                for entry in snapshot.list(&reads::prefix(rbac::GROUP, plural, "")) {
                    let namespace = entry.namespace().unwrap_or_default();
                    objects.set(plural, namespace, entry.name(), Some(entry.stored_json()));
                }
            }
            let watch = |plural| ledger.watch(snapshot.revision(), Filter::prefix(reads::prefix(rbac::GROUP, plural, "")));
            // History is trimmed only while a lot is written: the next attempt starts from a newer revision.
            if let Ok(watchers) = PLURALS.into_iter().map(watch).collect() {
                return Self { objects, watchers };
            }
        }
    }

    fn apply(&mut self, plural: &str, event: &Event) {
        let entry = event.entry();
        let json = (event.kind() != EventType::Deleted).then(|| entry.stored_json().as_ref());
        self.objects.set(plural, entry.namespace().unwrap_or_default(), entry.name(), json);
    }

    /// Takes in what has changed; whether anything has.
    fn follow(&mut self) -> Result<bool, Expired> {
        let mut events = Vec::new();
        for (watcher, plural) in self.watchers.iter_mut().zip(PLURALS) {
            while let Some(event) = watcher.try_next()? {
                events.push((plural, event));
            }
        }
        for (plural, event) in &events {
            self.apply(plural, event);
        }
        Ok(!events.is_empty())
    }
}
