//! Leader election: of several equal components, one works.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio_util::sync::CancellationToken;

use super::seconds;

/// The lease that candidates compete for.
#[derive(Clone, Debug)]
pub struct Election {
    /// The lease's namespace.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// This candidate, unique among all.
    pub identity: String,
    /// Others may take over when the lease was not renewed for this long.
    pub duration: Duration,
    /// The leader gives up when it cannot renew for this long; less than `duration`.
    pub deadline: Duration,
    /// Time between tries.
    pub retry: Duration,
}

impl Election {
    /// The election of a control plane component, with the reference's times.
    pub fn component(name: &str, identity: &str) -> Self {
        Self {
            namespace: "kube-system".into(),
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// What a candidate last saw of the lease, and when by its own clock: clocks of other machines are
/// not trusted.
#[derive(Debug)]
pub(super) struct Observed {
    holder: String,
    renewed: Option<MicroTime>,
    at: Instant,
}

/// What a candidate may do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It holds the lease: renew it.
    Renew,
    /// Nobody holds it: take it.
    Take,
    /// Somebody else holds it.
    Wait,
}

/// Waits until this candidate is the leader. The token given back is cancelled when it no longer
/// is; `None` if `token` was cancelled first. When `token` is cancelled the lease is released.
pub async fn elect(client: Client, election: Election, token: &CancellationToken) -> Option<CancellationToken> {
    let api: Api<Lease> = Api::namespaced(client, &election.namespace);
    let mut observed = None;
    loop {
        match try_once(&api, &election, &mut observed).await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => tracing::debug!(lease = election.name, %error, "not elected"),
        }
        // Time decides who leads, so it takes a timer.
        tokio::select! {
            () = token.cancelled() => return None,
            () = tokio::time::sleep(election.retry) => {}
        }
    }
    tracing::info!(lease = election.name, identity = election.identity, "elected");
    let leading = token.child_token();
    tokio::spawn(stay(api, election, observed, token.clone(), leading.clone()));
    Some(leading)
}

async fn stay(api: Api<Lease>, election: Election, mut observed: Option<Observed>, token: CancellationToken, leading: CancellationToken) {
    let mut renewed = Instant::now();
    loop {
        tokio::select! {
            () = token.cancelled() => break,
            () = tokio::time::sleep(election.retry) => {}
        }
        match try_once(&api, &election, &mut observed).await {
            Ok(true) => renewed = Instant::now(),
            Ok(false) => break,
            Err(error) => {
                tracing::warn!(lease = election.name, %error, "leadership not renewed");
                if renewed.elapsed() > election.deadline {
                    break;
                }
            }
        }
    }
    leading.cancel();
    if token.is_cancelled() {
        release(&api, &election).await;
    }
}

/// Lets the next candidate in without waiting for the lease to run out.
async fn release(api: &Api<Lease>, election: &Election) {
    let result = async {
        let mut lease = api.get(&election.name).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(election.identity.as_str()) {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            let params = PostParams::default();
            api.replace(&election.name, &params, &lease).await?;
        }
        Ok::<_, kube::Error>(())
    };
    if let Err(error) = result.await {
        tracing::debug!(lease = election.name, %error, "lease not released");
    }
}

/// One look and perhaps one write; true if this candidate holds the lease afterwards.
async fn try_once(api: &Api<Lease>, election: &Election, observed: &mut Option<Observed>) -> Result<bool, kube::Error> {
    let params = PostParams::default();
    let Some(current) = api.get_opt(&election.name).await? else {
        let lease = claimed(Lease::default(), election, &Claim::Take, Timestamp::now());
        return match api.create(&params, &lease).await {
            Ok(_) => Ok(true),
            Err(error) if crate::is_already_exists(&error) => Ok(false),
            Err(error) => Err(error),
        };
    };
    let spec = current.spec.clone().unwrap_or_default();
    let claim = judge(&spec, election, observed, Instant::now());
    if claim == Claim::Wait {
        return Ok(false);
    }
    let lease = claimed(current, election, &claim, Timestamp::now());
    match api.replace(&election.name, &params, &lease).await {
        Ok(_) => Ok(true),
        // Another candidate was faster; whether it won shows at the next look.
        Err(error) if crate::is_conflict(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the state of the lease allows: pure but for the memory of what was seen when.
pub(super) fn judge(spec: &LeaseSpec, election: &Election, observed: &mut Option<Observed>, now: Instant) -> Claim {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder == election.identity {
        return Claim::Renew;
    }
    if holder.is_empty() {
        return Claim::Take;
    }
    let seen = match observed {
        Some(seen) if seen.holder == holder && seen.renewed == spec.renew_time => seen,
        other => other.insert(Observed { holder: holder.to_owned(), renewed: spec.renew_time.clone(), at: now }),
    };
    if now.duration_since(seen.at) > election.duration { Claim::Take } else { Claim::Wait }
}

fn claimed(lease: Lease, election: &Election, claim: &Claim, now: Timestamp) -> Lease {
    let mut spec = lease.spec.unwrap_or_default();
    spec.holder_identity = Some(election.identity.clone());
    spec.lease_duration_seconds = Some(seconds(election.duration));
    spec.renew_time = Some(MicroTime(now));
    if *claim == Claim::Take {
        spec.acquire_time = Some(MicroTime(now));
        spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count + 1));
    }
    let mut metadata = lease.metadata;
    metadata.name.get_or_insert_with(|| election.name.clone());
    Lease { metadata: ObjectMeta { managed_fields: None, ..metadata }, spec: Some(spec) }
}
