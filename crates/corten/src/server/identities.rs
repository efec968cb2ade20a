//! Which certificates and kubeconfigs a server makes for whom.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use corten_pki::{
    Authority, ClientVerification, Identity, Kubeconfig, KubeconfigUser, Leaf, TokenSigner, client_config, server_config, write_private,
};

use crate::cli::ServerOptions;
use crate::layout::Layout;

/// What the API server, the kubelet and the controllers need to prove who they are and to verify others.
pub(crate) struct Identities {
    pub(crate) authority: Arc<Authority>,
    pub(crate) signer: Arc<TokenSigner>,
    /// TLS of the API's listeners.
    pub(crate) api_tls: Arc<rustls::ServerConfig>,
    /// TLS of the kubelet's listener.
    pub(crate) kubelet_tls: Arc<rustls::ServerConfig>,
    /// How the API server speaks to kubelets.
    pub(crate) kubelet_client: Arc<rustls::ClientConfig>,
}

impl Identities {
    /// Opens or makes everything below the layout's directory; renews what is about to expire.
    pub(crate) fn open(layout: &Layout, server: &ServerOptions, node: &str, address: IpAddr) -> Result<Self> {
        let options = &server.cluster;
        let now = SystemTime::now();
        let directory = layout.pki();
        let failed = || format!("cannot prepare certificates in {}", directory.display());
        let authority = Authority::open(&directory, "ca", now).with_context(failed)?;
        let signer = TokenSigner::open(&directory).with_context(failed)?;

        let service = options.service_cidr.primary.hosts().next().map(IpAddr::V4);
        let mut names: Vec<String> = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(String::from).to_vec();
        names.push(format!("kubernetes.default.svc.{}", options.cluster_domain));
        names.push(node.to_owned());
        let mut addresses = vec![IpAddr::from([127, 0, 0, 1]), address];
        addresses.extend(service);
        if !server.bind_address.is_unspecified() {
            addresses.push(server.bind_address);
        }
        for name in &options.tls_san {
            match name.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => names.push(name.clone()),
            }
        }
        let mut api = authority.ensure("apiserver", &Leaf::server("kube-apiserver", names, addresses), now).with_context(failed)?;
        // The CA is part of the chain: a joining node knows it by its hash alone.
        api.certificate.push_str(authority.certificate());
        let kubelet_leaf = Leaf::server(format!("system:node:{node}"), [node], [IpAddr::from([127, 0, 0, 1]), address]);
        let kubelet = authority.ensure("kubelet", &kubelet_leaf, now).with_context(failed)?;
        let kubelet_client =
            authority.ensure("apiserver-kubelet-client", &Leaf::client(Identity::kubelet_client()), now).with_context(failed)?;
        authority.ensure("admin", &Leaf::client(Identity::admin()), now).with_context(failed)?;

        let ca = authority.certificate();
        let optional = ClientVerification::Optional(ca.to_owned());
        Ok(Self {
            api_tls: server_config(&api, &optional, &["h2", "http/1.1"]).with_context(failed)?,
            // Upgrades (exec, port-forward) are HTTP/1.1.
            kubelet_tls: server_config(&kubelet, &optional, &["http/1.1"]).with_context(failed)?,
            kubelet_client: client_config(ca, Some(&kubelet_client), &["http/1.1"]).with_context(failed)?,
            signer: Arc::new(signer),
            authority: Arc::new(authority),
        })
    }
}

/// The administrator's kubeconfig for a running or future server of this layout.
pub(crate) fn admin_kubeconfig(layout: &Layout, context: &str, server: &str) -> Result<Kubeconfig> {
    let now = SystemTime::now();
    let authority = Authority::open(&layout.pki(), "ca", now)?;
    let credential = authority.ensure("admin", &Leaf::client(Identity::admin()), now)?;
    Ok(Kubeconfig {
        name: context.to_owned(),
        server: server.to_owned(),
        authority: authority.certificate().to_owned(),
        user: KubeconfigUser::Certificate(credential),
    })
}

/// Writes `<data-dir>/kubeconfig`.
pub(crate) fn write_kubeconfig(layout: &Layout, server: &str) -> Result<()> {
    let path = layout.kubeconfig();
    let kubeconfig = admin_kubeconfig(layout, layout.name(), server)?;
    write_private(&path, kubeconfig.render().as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
