//! What becomes of a certificate request: pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use corten_pki::{CertificateRequest, CsrError, RequestedUsage, Usages};
use ipnet::IpNet;
use k8s_openapi::{api::certificates::v1::CertificateSigningRequest, jiff::Timestamp};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";

/// Whoever proved a bootstrap token may ask for the certificate of a node.
const BOOTSTRAPPERS: &str = "system:bootstrappers";

pub(super) const APPROVED: &str = "Auto approving a kubelet's own certificate.";

const HOUR: i64 = 3600;

/// How long requests are kept: answered ones an hour, waiting ones a day.
const KEEP_ANSWERED: i64 = HOUR;
const KEEP_PENDING: i64 = 24 * HOUR;

/// The next step.
#[derive(Debug)]
pub(super) enum Decision {
    Approve,
    Sign(Box<Signable>),
    /// It was approved but breaks the signer's rules.
    Fail(String),
    Remove,
    /// Nothing, until it is old enough to be removed.
    Wait(Duration),
}

/// A request that keeps the rules of its signer.
#[derive(Debug)]
pub(super) struct Signable {
    pub(super) request: CertificateRequest,
    pub(super) usages: Usages,
    pub(super) validity: Option<Duration>,
}

/// Who may be called what.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The addresses and names that the status of each node lists, by node.
    pub(super) nodes: BTreeMap<String, BTreeSet<String>>,
    /// Ranges and addresses that are no node's: those of pods and of the API's Service.
    pub(super) reserved: Vec<IpNet>,
}

impl Known {
    fn reserves(&self, address: IpAddr) -> bool {
        self.reserved.iter().any(|range| range.contains(&address))
    }
}

/// Decides about a request.
pub(super) fn decide(object: &CertificateSigningRequest, known: &Known, now: Timestamp) -> Decision {
    let has = |type_: &str| {
        let conditions = object.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|list| list.iter().any(|condition| condition.type_ == type_))
    };
    let issued = object.status.as_ref().and_then(|status| status.certificate.as_ref()).is_some_and(|certificate| !certificate.0.is_empty());
    let answered = issued || has("Denied") || has("Failed");
    let created = object.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let keep = if answered { KEEP_ANSWERED } else { KEEP_PENDING };
    let left = created.as_second() + keep - now.as_second();
    if left <= 0 {
        return Decision::Remove;
    }
    let wait = Decision::Wait(Duration::from_secs(u64::try_from(left).unwrap_or(0)));
    if answered || !is_ours(object) {
        return wait;
    }
    let signable = signable(object);
    if has("Approved") {
        return match signable {
            Ok(signable) => Decision::Sign(Box::new(signable)),
            Err(error) => Decision::Fail(error.to_string()),
        };
    }
    match signable {
        Ok(signable) if may_approve(object, &signable.request, known) => Decision::Approve,
        _ => wait,
    }
}

fn is_ours(object: &CertificateSigningRequest) -> bool {
    [CLIENT, KUBELET_CLIENT, KUBELET_SERVING].contains(&object.spec.signer_name.as_str())
}

fn signable(object: &CertificateSigningRequest) -> Result<Signable, CsrError> {
    let spec = &object.spec;
    let request = CertificateRequest::parse(&spec.request.0)?;
    let usages = spec.usages.iter().flatten();
    let usages = usages.map(|usage| RequestedUsage::parse(usage).ok_or(CsrError::Usages)).collect::<Result<Vec<_>, _>>()?;
    let server = spec.signer_name == KUBELET_SERVING;
    match spec.signer_name.as_str() {
        KUBELET_CLIENT => request.check_kubelet_client(&usages)?,
        KUBELET_SERVING => request.check_kubelet_serving(&usages)?,
        _ => request.check_client(&usages)?,
    }
    let seconds = spec.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Ok(Signable { request, usages: Usages { client: !server, server }, validity: seconds.map(Duration::from_secs) })
}

/// A node may renew its own certificates, a bootstrapper may ask for a node's first. A serving
/// certificate may name only the node: its name, its addresses, and before its object exists
/// addresses that belong to nobody else, for it would be believed under them.
fn may_approve(object: &CertificateSigningRequest, request: &CertificateRequest, known: &Known) -> bool {
    let user = object.spec.username.as_deref().unwrap_or_default();
    let groups = object.spec.groups.as_deref().unwrap_or_default();
    let member = |group: &str| groups.iter().any(|name| name == group);
    let itself = user == request.subject.user && member(corten_pki::NODES);
    match object.spec.signer_name.as_str() {
        KUBELET_CLIENT => itself || member(BOOTSTRAPPERS),
        KUBELET_SERVING => {
            let name = user.strip_prefix("system:node:").unwrap_or_default();
            let own = known.nodes.get(name);
            let is_own = |wanted: &String| own.is_some_and(|own| own.contains(wanted));
            let dns = |wanted: &String| wanted == name || is_own(wanted);
            let address = |wanted: &IpAddr| {
                let text = wanted.to_string();
                let others = known.nodes.iter().any(|(_, addresses)| addresses.contains(&text));
                let usable = !wanted.is_loopback() && !wanted.is_unspecified();
                is_own(&text) || own.is_none() && usable && !others && !known.reserves(*wanted)
            };
            itself && request.dns_names.iter().all(dns) && request.addresses.iter().all(address)
        }
        _ => false,
    }
}
