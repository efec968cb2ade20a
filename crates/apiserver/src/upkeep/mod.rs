//! What the server keeps in order by itself: that the addresses and node ports of Services agree with who is said to have
//! them, and that ServiceCIDRs are ready, or go when nobody needs them any more.
//!
//! Services take and give back in their own transactions, so that there is nothing to repair unless somebody changes
//! IPAddress objects by hand, or the store was restored. Everything is looked at once at start, before the server is
//! ready; then each change of a Service, an IPAddress or a ServiceCIDR is looked at when it happens.

mod addresses;
mod node_ports;
mod ranges;
mod report;

use std::sync::Arc;

use corten_schema::Value;

use crate::engine::{Creation, DeleteOptions, Kind, Part, Target, WriteOptions};
use crate::ledger::{Event, EventType, Expired, Filter, Snapshot, Watcher};
use crate::reads;
use crate::request::Context;
use crate::server::Server;
use crate::status::ApiError;
use crate::strategies::services::ranges::GROUP;

/// Looks at everything once, then keeps watching until the server ends.
pub(crate) async fn start(server: &Arc<Server>) {
    let keeper = Keeper { server: Arc::clone(server), context: Context::internal() };
    let watchers = keeper.watch();
    keeper.everything().await;
    tokio::spawn(keeper.run(watchers));
}

/// Watchers of all that is kept in order.
struct Watchers {
    services: Watcher,
    addresses: Watcher,
    ranges: Watcher,
}

struct Keeper {
    server: Arc<Server>,
    context: Context,
}

impl Keeper {
    fn snapshot(&self) -> Snapshot {
        self.server.ledger.snapshot()
    }

    /// Watchers from now on.
    fn watch(&self) -> Result<Watchers, Expired> {
        let from = self.snapshot().revision();
        let watch = |group, plural| self.server.ledger.watch(from, Filter::prefix(reads::prefix(group, plural, "")));
        Ok(Watchers { services: watch("", "services")?, addresses: watch(GROUP, "ipaddresses")?, ranges: watch(GROUP, "servicecidrs")? })
    }

    async fn run(self, mut watchers: Result<Watchers, Expired>) {
        let ending = self.server.ending.clone();
        loop {
            if let Ok(watchers) = &mut watchers {
                tokio::select! {
                    () = ending.cancelled() => return,
                    Expired { .. } = self.follow(watchers) => {}
                }
            }
            // The log has moved on without us.
            watchers = self.watch();
            tokio::select! {
                () = ending.cancelled() => return,
                () = self.everything() => {}
            }
        }
    }

    /// Looks at each change, until the log has moved on too far.
    async fn follow(&self, watchers: &mut Watchers) -> Expired {
        loop {
            let result = tokio::select! {
                event = watchers.services.next() => match event {
                    Ok(event) => self.service_changed(&event).await,
                    Err(expired) => return expired,
                },
                event = watchers.addresses.next() => match event {
                    Ok(event) => self.address_changed(&event).await,
                    Err(expired) => return expired,
                },
                event = watchers.ranges.next() => match event {
                    Ok(event) => self.range_changed(&event).await,
                    Err(expired) => return expired,
                },
            };
            done(result);
        }
    }

    /// Looks at all there is.
    async fn everything(&self) {
        let snapshot = self.snapshot();
        for range in reads::list(&snapshot, GROUP, "servicecidrs", "") {
            done(self.range(range.name()).await);
        }
        for service in reads::list(&snapshot, "", "services", "") {
            done(self.service(service.namespace(), service.name()).await);
        }
        for address in reads::list(&snapshot, GROUP, "ipaddresses", "") {
            done(self.address(address.name()).await);
        }
        done(self.leaked_node_ports().await);
    }

    async fn service_changed(&self, event: &Event) -> Result<(), ApiError> {
        let entry = event.entry();
        match event.kind() {
            EventType::Deleted => Ok(()),
            _ => self.service(entry.namespace().unwrap_or_default(), entry.name()).await,
        }
    }

    async fn address_changed(&self, event: &Event) -> Result<(), ApiError> {
        let entry = event.entry();
        if event.kind() == EventType::Deleted {
            if let Some(address) = reads::object(entry) {
                let parent = |field: &str| address.str_at(&["spec", "parentRef", field]);
                self.service(parent("namespace"), parent("name")).await?;
            }
        } else {
            self.address(entry.name()).await?;
        }
        self.ending_ranges().await
    }

    async fn range_changed(&self, event: &Event) -> Result<(), ApiError> {
        self.range(event.entry().name()).await?;
        self.ending_ranges().await
    }

    fn service_now(&self, namespace: &str, name: &str) -> Option<Value> {
        reads::get(&self.server.ledger, "", "services", namespace, name)
    }

    fn kind(&self, group: &str, plural: &str) -> Result<&Arc<Kind>, ApiError> {
        self.server.kinds.find(group, "v1", plural).ok_or_else(ApiError::no_such_resource)
    }

    async fn create(&self, group: &str, plural: &str, object: Value) -> Result<Value, ApiError> {
        let namespace = object.namespace().to_owned();
        let kind = self.kind(group, plural)?;
        let creation = Creation { context: &self.context, kind, namespace: &namespace, options: WriteOptions::default() };
        self.server.create(creation, object).await
    }

    async fn modify(&self, plural: &str, name: &str, part: Part, change: impl Fn(&mut Value)) -> Result<(), ApiError> {
        let kind = self.kind(GROUP, plural)?;
        let subresource = if part == Part::Status { "status" } else { "" };
        let options = WriteOptions::default();
        let target = Target { context: &self.context, kind, namespace: "", name, part, subresource, options };
        let apply = |object: &mut Value, _: &mut Vec<_>| {
            change(object);
            Ok(())
        };
        self.server.modify(&target, apply).await.map(drop)
    }

    async fn delete(&self, plural: &str, object: &Value) -> Result<(), ApiError> {
        let options = DeleteOptions { uid: Some(object.uid().to_owned()), ..DeleteOptions::default() };
        let deleted = self.server.delete(&self.context, self.kind(GROUP, plural)?, "", object.name(), &options).await;
        match deleted {
            Err(error) if error.reason == "NotFound" => Ok(()),
            result => result.map(drop),
        }
    }
}

/// What could not be put in order is tried again with the next change of it, and at the next start.
fn done(result: Result<(), ApiError>) {
    if let Err(error) = result
        && !matches!(error.reason, "NotFound" | "Conflict" | "AlreadyExists")
    {
        tracing::warn!(%error, "cannot put the addresses of Services in order");
    }
}
