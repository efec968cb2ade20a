//! Certificate requests of nodes: approved if they are what a kubelet may ask for, signed by the
//! cluster's authority, and removed when they are old
//! (<https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/>).

mod decide;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use corten_client::{
    ObjectKey,
    controller::{self, Outcome, ReconcileResult},
    informer::{Informer, Selection},
    queue::WorkQueue,
};
use corten_pki::Authority;
use ipnet::IpNet;
use k8s_openapi::{
    ByteString,
    api::{
        certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
        core::v1::{Node, Service},
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, PostParams},
};

use crate::context::Context;
use decide::{Decision, Known, decide};

const NAME: &str = "certificate-controller";
const WORKERS: usize = 2;

struct Controller {
    client: Client,
    authority: Arc<Authority>,
    requests: Informer<CertificateSigningRequest>,
    nodes: Informer<Node>,
    /// The Service of the API.
    services: Informer<Service>,
    pods: IpNet,
    /// How long certificates hold at most.
    longest: Option<Duration>,
}

pub(crate) async fn run(context: Context) {
    let requests = context.informers.get::<CertificateSigningRequest>();
    let nodes = context.informers.get::<Node>();
    let selection = Selection::fields("metadata.namespace=default,metadata.name=kubernetes");
    let services = context.informers.select::<Service>(selection);
    let controller = Arc::new(Controller {
        client: context.clients.writer(NAME),
        authority: Arc::clone(&context.options.authority),
        requests: requests.clone(),
        nodes: nodes.clone(),
        services: services.clone(),
        pods: context.options.cluster_cidr,
        longest: context.options.signing_duration,
    });
    let queue = WorkQueue::new("certificate");
    let noting = queue.clone();
    requests.on_event(move |delta| noting.add(delta.key()));
    requests.has_synced().await;
    nodes.has_synced().await;
    services.has_synced().await;
    controller::run(NAME, &queue, WORKERS, &context.token, move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    })
    .await;
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> ReconcileResult {
        let Some(request) = self.requests.store().get(key) else {
            return Ok(Outcome::Done);
        };
        let now = Timestamp::now();
        match decide(&request, &self.known(), now) {
            Decision::Wait(delay) => Ok(Outcome::After(delay)),
            Decision::Approve => {
                self.condition(&request, "approval", "Approved", "AutoApproved", decide::APPROVED).await?;
                Ok(Outcome::Done)
            }
            Decision::Fail(message) => {
                self.condition(&request, "status", "Failed", "SignerValidationFailure", &message).await?;
                Ok(Outcome::Done)
            }
            Decision::Sign(signable) => {
                // Whoever asks for less gets less.
                let validity = signable.validity.into_iter().chain(self.longest).min();
                let certificate = self.authority.sign_request(&signable.request, signable.usages, validity, SystemTime::now())?;
                let mut signed = CertificateSigningRequest::clone(&request);
                let status = signed.status.get_or_insert_default();
                status.certificate = Some(ByteString(certificate.into_bytes()));
                self.write("status", &signed).await?;
                Ok(Outcome::Done)
            }
            Decision::Remove => {
                let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
                match api.delete(&key.name, &DeleteParams::default()).await {
                    Err(error) if corten_client::is_not_found(&error) => {}
                    result => {
                        result?;
                    }
                }
                Ok(Outcome::Done)
            }
        }
    }

    fn known(&self) -> Known {
        let addresses = |node: &Node| {
            let status = node.status.as_ref();
            let listed = status.and_then(|status| status.addresses.as_ref());
            listed.into_iter().flatten().map(|address| address.address.clone()).collect()
        };
        let nodes = self.nodes.store().list();
        let services = self.services.store().list();
        let service_addresses = services.iter().filter_map(|service| {
            let spec = service.spec.as_ref()?;
            spec.cluster_ip.as_ref()?.parse::<IpAddr>().ok()
        });
        Known {
            nodes: nodes.iter().map(|node| (node.name_any(), addresses(node))).collect(),
            reserved: service_addresses.map(IpNet::from).chain([self.pods]).collect(),
        }
    }

    async fn condition(
        &self,
        request: &CertificateSigningRequest,
        subresource: &str,
        type_: &str,
        reason: &str,
        message: &str,
    ) -> Result<(), kube::Error> {
        let now = corten_client::now();
        let mut changed = request.clone();
        let status = changed.status.get_or_insert_default();
        status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
            type_: type_.into(),
            status: "True".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_transition_time: Some(now.clone()),
            last_update_time: Some(now),
        });
        self.write(subresource, &changed).await
    }

    async fn write(&self, subresource: &str, request: &CertificateSigningRequest) -> Result<(), kube::Error> {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        let name = request.name_any();
        let params = PostParams::default();
        api.replace_subresource(subresource, &name, &params, request).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
