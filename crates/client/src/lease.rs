//! Leases: proof that somebody is alive, and the right to be the only one
//! (<https://kubernetes.io/docs/concepts/architecture/leases/>).

mod election;

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio_util::sync::CancellationToken;

pub use election::{Election, elect};

/// The namespace of node leases.
pub const NODE_NAMESPACE: &str = "kube-node-lease";

/// A lease that one holder keeps renewing, such as that of a node.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The lease's namespace.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// Who holds it.
    pub identity: String,
    /// How long it counts after a renewal.
    pub duration: Duration,
    /// The object that it is deleted with.
    pub owner: Option<OwnerReference>,
}

impl Holder {
    /// The lease of a node: 40 seconds, as the reference has it.
    pub fn node(name: &str, owner: Option<OwnerReference>) -> Self {
        Self { namespace: NODE_NAMESPACE.into(), name: name.into(), identity: name.into(), duration: Duration::from_secs(40), owner }
    }

    /// Creates or renews the lease once. `known` is what the last call gave: with it, a renewal is
    /// a single write.
    pub async fn renew(&self, client: &Client, known: Option<Lease>) -> Result<Lease, kube::Error> {
        let api: Api<Lease> = Api::namespaced(client.clone(), &self.namespace);
        if let Some(known) = known {
            match self.write(&api, known).await {
                // Somebody else wrote or deleted it: look again.
                Err(error) if crate::is_conflict(&error) || crate::is_not_found(&error) => {}
                result => return result,
            }
        }
        match api.get_opt(&self.name).await? {
            Some(current) => self.write(&api, current).await,
            None => {
                let lease = self.renewed(Lease::default(), Timestamp::now());
                api.create(&PostParams::default(), &lease).await
            }
        }
    }

    /// Renews at every quarter of the duration, and sooner after a failure, until the token is
    /// cancelled.
    pub async fn keep(&self, client: &Client, token: &CancellationToken) {
        let mut known = None;
        loop {
            let pause = match self.renew(client, known.take()).await {
                Ok(lease) => {
                    known = Some(lease);
                    self.duration / 4
                }
                Err(error) => {
                    tracing::warn!(lease = self.name, %error, "lease not renewed");
                    self.duration / 40
                }
            };
            // A lease is about time: it takes a timer.
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn write(&self, api: &Api<Lease>, lease: Lease) -> Result<Lease, kube::Error> {
        let lease = self.renewed(lease, Timestamp::now());
        api.replace(&self.name, &PostParams::default(), &lease).await
    }

    /// The lease as it is after a renewal: pure.
    fn renewed(&self, lease: Lease, now: Timestamp) -> Lease {
        let old = lease.spec.unwrap_or_default();
        let mut metadata = lease.metadata;
        metadata.name.get_or_insert_with(|| self.name.clone());
        metadata.namespace.get_or_insert_with(|| self.namespace.clone());
        if let Some(owner) = &self.owner {
            metadata.owner_references = Some(vec![owner.clone()]);
        }
        Lease {
            metadata: ObjectMeta { managed_fields: None, ..metadata },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(seconds(self.duration)),
                renew_time: Some(MicroTime(now)),
                ..old
            }),
        }
    }
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
