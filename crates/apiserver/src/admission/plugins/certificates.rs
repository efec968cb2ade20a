//! Who may approve and sign certificate requests, and what they may not ask for.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use corten_pki::CertificateRequest;
use corten_schema::Value;

use super::super::{Attributes, Operation, Plugin};
use super::{forbidden, is};
use crate::authz;
use crate::status::ApiError;
use crate::view::text;

const GROUP: &str = "certificates.k8s.io";
const PLURAL: &str = "certificatesigningrequests";

/// Whether the user has a verb on a signer, by its name or by its domain.
fn may(attributes: &Attributes<'_>, verb: &str, signer: &str) -> bool {
    let user = &attributes.context.user;
    let allowed = |name: &str| {
        let request = authz::Attributes { name, ..authz::Attributes::resource(user, verb, GROUP, "signers") };
        attributes.server.authorizer.authorize(&request).allowed()
    };
    allowed(signer) || signer.split_once('/').is_some_and(|(domain, _)| allowed(&format!("{domain}/*")))
}

fn is_subresource(attributes: &Attributes<'_>, subresource: &str) -> bool {
    attributes.operation == Operation::Update
        && attributes.resource.group == GROUP
        && attributes.resource.plural == PLURAL
        && attributes.subresource == subresource
}

/// Approvers need the verb `approve` on the signer.
pub(super) struct CertificateApproval;

impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn validate(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        if !is_subresource(attributes, "approval") {
            return Ok(());
        }
        let signer = attributes.old.map_or("", |old| text(old, "spec.signerName"));
        if may(attributes, "approve", signer) {
            return Ok(());
        }
        Err(forbidden(attributes, format!("user not permitted to approve requests with signerName {signer:?}")))
    }
}

/// Signers need the verb `sign` on the signer.
pub(super) struct CertificateSigning;

impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn validate(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        if !is_subresource(attributes, "status") {
            return Ok(());
        }
        let certificate = |object: Option<&Value>| object.map_or("", |object| text(object, "status.certificate")).to_owned();
        if certificate(attributes.object.as_deref()) == certificate(attributes.old) {
            return Ok(());
        }
        let signer = attributes.old.map_or("", |old| text(old, "spec.signerName"));
        if may(attributes, "sign", signer) {
            return Ok(());
        }
        Err(forbidden(attributes, format!("user not permitted to sign requests with signerName {signer:?}")))
    }
}

/// Nobody becomes an administrator by asking for a client certificate.
pub(super) struct CertificateSubjectRestriction;

impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn validate(&self, attributes: &mut Attributes<'_>) -> Result<(), ApiError> {
        const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
        if attributes.operation != Operation::Create || !is(attributes, GROUP, PLURAL) {
            return Ok(());
        }
        let Some(object) = attributes.object.as_deref() else { return Ok(()) };
        if text(object, "spec.signerName") != SIGNER {
            return Ok(());
        }
        let pem = STANDARD.decode(text(object, "spec.request")).unwrap_or_default();
        let masters =
            CertificateRequest::parse(&pem).is_ok_and(|request| request.subject.groups.iter().any(|group| group == corten_pki::MASTERS));
        if masters {
            let why = format!("use of {SIGNER} signer with {} group is not allowed", corten_pki::MASTERS);
            return Err(forbidden(attributes, why));
        }
        Ok(())
    }
}
