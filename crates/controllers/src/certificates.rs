//! Certificate requests of nodes: approved if they are what a kubelet may ask for, signed by the
//! cluster's authority, and removed when they are old
//! (<https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/>).

mod decide;

use std::{sync::Arc, time::SystemTime};

use corten_client::{
    ObjectKey,
    controller::{self, Outcome, ReconcileResult},
    informer::Informer,
    queue::WorkQueue,
};
use k8s_openapi::{
    ByteString,
    api::{
        certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
        core::v1::Node,
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, PostParams},
};

use crate::context::{Context, Signing};
use decide::{Decision, decide};

const NAME: &str = "certificate-controller";
const WORKERS: usize = 2;

struct Controller {
    client: Client,
    signing: Signing,
    requests: Informer<CertificateSigningRequest>,
    nodes: Informer<Node>,
}

pub(crate) async fn run(context: Context) {
    let Some(signing) = context.options.signing.clone() else {
        return;
    };
    let requests = context.informers.get::<CertificateSigningRequest>();
    let nodes = context.informers.get::<Node>();
    let controller = Arc::new(Controller {
        client: context.clients.writer(NAME),
        signing,
        requests: requests.clone(),
        nodes: nodes.clone(),
    });
    let queue = WorkQueue::new();
    let noting = queue.clone();
    requests.on_event(move |delta| noting.add(delta.key()));
    requests.has_synced().await;
    nodes.has_synced().await;
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
        let node = request
            .spec
            .username
            .as_deref()
            .and_then(|user| user.strip_prefix("system:node:"))
            .and_then(|name| self.nodes.store().get(&ObjectKey::cluster(name)));
        let now = Timestamp::now();
        match decide(&request, node.as_deref(), now) {
            Decision::Wait(delay) => Ok(Outcome::After(delay)),
            Decision::Approve => {
                self.condition(&request, "approval", "Approved", "AutoApproved", decide::APPROVED)
                    .await?;
                Ok(Outcome::Done)
            }
            Decision::Fail(message) => {
                self.condition(&request, "status", "Failed", "SignerValidationFailure", &message)
                    .await?;
                Ok(Outcome::Done)
            }
            Decision::Sign(signable) => {
                let certificate = self.signing.authority.sign_request(
                    &signable.request,
                    signable.usages,
                    Some(signable.validity.unwrap_or(self.signing.validity).min(self.signing.validity)),
                    SystemTime::now(),
                )?;
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
        status
            .conditions
            .get_or_insert_default()
            .push(CertificateSigningRequestCondition {
                type_: type_.into(),
                status: "True".into(),
                reason: Some(reason.into()),
                message: Some(message.into()),
                last_transition_time: Some(now.clone()),
                last_update_time: Some(now),
            });
        self.write(subresource, &changed).await
    }

    async fn write(
        &self,
        subresource: &str,
        request: &CertificateSigningRequest,
    ) -> Result<(), kube::Error> {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        let name = request.name_any();
        let params = PostParams::default();
        api.replace_subresource(subresource, &name, &params, request)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests;
