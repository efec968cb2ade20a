//! The certificates of a member: requested from the cluster, kept, and renewed before they expire.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use corten_client::Backoff;
use corten_client::informer::{Delta, Informer, Selection};
use corten_pki::{
    CertificateRequest, ClientVerification, Credential, Identity, certificate_expiry, certificate_names, server_config, write_private,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{connect, serving_config};
use crate::layout::Layout;

/// Pauses after a renewal that failed: there is time, and nothing tells when it would succeed.
const RETRY: Duration = Duration::from_secs(10);
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// How long an answer is waited for before it is asked again: somebody may have to approve by hand.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How often the clock is looked at: it may be set, and the machine may sleep.
const LOOK: Duration = Duration::from_secs(600);

/// What is renewed.
pub(super) struct Member {
    pub(super) layout: Layout,
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) server: String,
    pub(super) authority: String,
    pub(super) client: watch::Sender<Client>,
    pub(super) serving: watch::Sender<Arc<rustls::ServerConfig>>,
}

/// When a certificate is to be renewed: after four fifths of its validity.
fn due(certificate: &str) -> Result<SystemTime> {
    let (start, end) = certificate_expiry(certificate)?;
    let validity = end.duration_since(start).unwrap_or_default();
    Ok(start + validity * 4 / 5)
}

/// Whether a serving certificate does not name the node's address, because it has another one than before.
fn misnamed(certificate: &str, address: IpAddr) -> Result<bool> {
    Ok(!certificate_names(certificate)?.1.contains(&address))
}

impl Member {
    /// Renews both certificates in time, until `token` is cancelled.
    pub(super) async fn keep(self, token: CancellationToken) {
        let work = async {
            let mut backoff = Backoff::new(RETRY, LONGEST_RETRY);
            loop {
                match self.round().await {
                    Ok(next) => {
                        backoff.reset();
                        let left = next.duration_since(SystemTime::now()).unwrap_or_default();
                        // Nothing happens before that but the passing of time.
                        tokio::time::sleep(left.min(LOOK)).await;
                    }
                    Err(error) => {
                        tracing::warn!(error = format!("{error:#}"), "renewing the node's certificates");
                        backoff.wait().await;
                    }
                }
            }
        };
        token.run_until_cancelled(work).await;
    }

    /// Renews what is due; gives the time at which the next one is.
    async fn round(&self) -> Result<SystemTime> {
        let now = SystemTime::now();
        let mut next = now + LOOK;
        for signer in [Signer::Client, Signer::Serving] {
            let path = self.layout.pki().join(format!("{}.crt", signer.file()));
            let certificate = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let wrong = matches!(signer, Signer::Serving) && misnamed(&certificate, self.address)?;
            let at = due(&certificate)?;
            if at > now && !wrong {
                next = next.min(at);
                continue;
            }
            self.renew(signer).await?;
            tracing::info!(certificate = signer.file(), "renewed a certificate of the node");
        }
        Ok(next)
    }

    async fn renew(&self, signer: Signer) -> Result<()> {
        let (names, addresses) = match signer {
            Signer::Client => (Vec::new(), Vec::new()),
            Signer::Serving => (vec![self.name.clone()], vec![self.address]),
        };
        let client = self.client.borrow().clone();
        let asked = request(&client, &self.name, signer, &names, &addresses);
        let credential = tokio::time::timeout(PATIENCE, asked).await.context("the certificate request is not answered")??;
        // Stored last: what is stored counts as done, and is not tried again.
        match signer {
            Signer::Client => {
                let user = corten_pki::KubeconfigUser::Certificate(credential.clone());
                let client = connect(&self.layout, "node", &self.authority, &self.server, user).await?;
                store(&self.layout, signer.file(), &credential)?;
                self.client.send_replace(client);
            }
            Signer::Serving => {
                let config = serving_config(&credential, &self.authority)?;
                store(&self.layout, signer.file(), &credential)?;
                self.serving.send_replace(config);
            }
        }
        Ok(())
    }
}

/// A credential of an earlier run that is still valid; it is renewed in time by itself.
pub(super) fn stored(layout: &Layout, name: &str) -> Result<Option<Credential>> {
    const MARGIN: Duration = Duration::from_secs(60);
    let (certificate, key) = (layout.pki().join(format!("{name}.crt")), layout.pki().join(format!("{name}.key")));
    if !certificate.exists() || !key.exists() {
        return Ok(None);
    }
    let read = |path: &std::path::Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let credential = Credential { certificate: read(&certificate)?, key: read(&key)? };
    // A crash while they were written leaves the key of one beside the certificate of another.
    if let Err(error) = server_config(&credential, &ClientVerification::None, &[]) {
        tracing::warn!(%error, path = %certificate.display(), "a stored certificate is of no use");
        return Ok(None);
    }
    let (_, expires) = certificate_expiry(&credential.certificate)?;
    Ok((SystemTime::now() + MARGIN < expires).then_some(credential))
}

pub(super) fn store(layout: &Layout, name: &str, credential: &Credential) -> Result<()> {
    let directory = layout.pki();
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    for (extension, text) in [("key", &credential.key), ("crt", &credential.certificate)] {
        let path = directory.join(format!("{name}.{extension}"));
        write_private(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Signer {
    Client,
    Serving,
}

impl Signer {
    /// The name of the files that the certificate and its key are kept in.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Client => "node",
            Self::Serving => "kubelet",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Client => "kubernetes.io/kube-apiserver-client-kubelet",
            Self::Serving => "kubernetes.io/kubelet-serving",
        }
    }

    fn usages(self) -> Vec<String> {
        let purpose = match self {
            Self::Client => "client auth",
            Self::Serving => "server auth",
        };
        vec!["digital signature".to_owned(), purpose.to_owned()]
    }
}

/// Asks the cluster for a certificate and waits until it is signed or denied.
pub(super) async fn request(client: &Client, node: &str, signer: Signer, names: &[String], addresses: &[IpAddr]) -> Result<Credential> {
    let made = CertificateRequest::create(&Identity::node(node), names, addresses)?;
    let requests = Api::<CertificateSigningRequest>::all(client.clone());
    let object = CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some("csr-".to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(made.request.into_bytes()),
            signer_name: signer.name().to_owned(),
            usages: Some(signer.usages()),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let created = requests.create(&PostParams::default(), &object).await.context("the server refuses the certificate request")?;

    let token = CancellationToken::new();
    let _ended = token.clone().drop_guard();
    let (answer, mut answers) = tokio::sync::mpsc::channel(16);
    let watch =
        Informer::<CertificateSigningRequest>::start(requests, Selection::fields(format!("metadata.name={}", created.name_any())), token);
    watch.on_event(move |delta: &Delta<CertificateSigningRequest>| {
        // Only the newest state counts; when the channel is full, one that will be looked at is in it.
        let _ = answer.try_send(delta.object().clone());
    });
    while let Some(object) = answers.recv().await {
        let Some(status) = &object.status else { continue };
        if let Some(condition) =
            status.conditions.iter().flatten().find(|condition| condition.type_ == "Denied" || condition.type_ == "Failed")
        {
            bail!(
                "the certificate request {} was not granted: {}",
                created.name_any(),
                condition.message.as_deref().unwrap_or(&condition.type_)
            );
        }
        if let Some(ByteString(certificate)) = &status.certificate {
            return Ok(Credential { certificate: String::from_utf8(certificate.clone())?, key: made.key });
        }
    }
    bail!("the watch on certificate request {} ended", created.name_any())
}

#[cfg(test)]
mod tests {
    use corten_pki::{Authority, Leaf};

    use super::*;

    #[test]
    fn a_certificate_is_renewed_in_time_and_for_another_address() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let authority = Authority::open(dir.path(), "ca", now).unwrap();
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        let leaf = Leaf::server("system:node:n", ["n"], [address]);
        let certificate = authority.issue(&leaf, now).unwrap().certificate;
        let (start, end) = certificate_expiry(&certificate).unwrap();
        let due = due(&certificate).unwrap();
        assert!(start < due && due < end && end.duration_since(due).unwrap() <= end.duration_since(start).unwrap() / 4, "{due:?}");
        assert!(!misnamed(&certificate, address).unwrap());
        assert!(misnamed(&certificate, "192.0.2.8".parse().unwrap()).unwrap());
        assert!(super::due("nonsense").is_err());
    }
}
