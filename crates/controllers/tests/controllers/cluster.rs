//! Namespaces, service accounts, nodes and certificates against the real API server.

use crate::support::{Cluster, object};
use corten_client::lease::{Holder, NODE_NAMESPACE};
use corten_pki::{CertificateRequest, Identity};
use k8s_openapi::{
    ByteString,
    api::{
        certificates::v1::CertificateSigningRequest,
        coordination::v1::Lease,
        core::v1::{ConfigMap, Event, Namespace, Node, Pod, ServiceAccount},
    },
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_gets_what_pods_need_and_goes_with_everything_in_it() {
    let cluster = Cluster::start().await;
    let namespaces: Api<Namespace> = Api::all(cluster.admin.clone());
    namespaces.create(&PostParams::default(), &object(json!({"metadata": {"name": "shop"}}))).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.admin.clone(), "shop");
    let maps: Api<ConfigMap> = Api::namespaced(cluster.admin.clone(), "shop");
    let root = cluster.authority.certificate();
    let has_default =
        |accounts: &corten_client::informer::Store<ServiceAccount>| accounts.list().iter().any(|account| account.name_any() == "default");
    cluster.wait(accounts.clone(), "a default service account", has_default).await;
    let has_root = |maps: &corten_client::informer::Store<ConfigMap>| {
        maps.list().iter().any(|map| map.data.as_ref().is_some_and(|data| data.get("ca.crt").is_some_and(|own| own == root)))
    };
    cluster.wait(maps.clone(), "the cluster's root certificate", has_root).await;

    accounts.delete("default", &DeleteParams::default()).await.unwrap();
    cluster.wait(accounts.clone(), "a new default service account", has_default).await;
    let spoilt = json!({"data": {"ca.crt": "spoilt"}});
    maps.patch("kube-root-ca.crt", &PatchParams::default(), &Patch::Merge(spoilt)).await.unwrap();
    cluster.wait(maps.clone(), "the root certificate again", has_root).await;

    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    maps.create(&PostParams::default(), &object(held)).await.unwrap();
    let events: Api<Event> = Api::namespaced(cluster.admin.clone(), "shop");
    let event =
        json!({"metadata": {"name": "told"}, "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "x"}, "reason": "Told"});
    events.create(&PostParams::default(), &object(event)).await.unwrap();
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    cluster
        .wait(namespaces.clone(), "the namespace says what holds it up", |namespaces| {
            let shop = namespaces.list().into_iter().find(|namespace| namespace.name_any() == "shop");
            let status = shop.and_then(|shop| shop.status.clone()).unwrap_or_default();
            status.conditions.iter().flatten().any(|condition| {
                condition.type_ == "NamespaceFinalizersRemaining"
                    && condition.status == "True"
                    && condition.message.as_deref().is_some_and(|message| message.contains("example.com/hold in 1 resource instances"))
            })
        })
        .await;
    let released = json!({"metadata": {"finalizers": null}});
    maps.patch("held", &PatchParams::default(), &Patch::Merge(released)).await.unwrap();
    cluster.wait(namespaces, "the namespace is gone", |all| all.list().iter().all(|namespace| namespace.name_any() != "shop")).await;
    assert!(events.list(&ListParams::default()).await.unwrap().items.is_empty(), "events go with their namespace");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_gets_a_pod_range_and_its_pods_and_lease_go_with_it() {
    let cluster = Cluster::start().await;
    cluster.add_node("one").await;
    cluster.add_node("two").await;
    let nodes: Api<Node> = Api::all(cluster.admin.clone());
    cluster
        .wait(nodes.clone(), "two ranges and no taints", |nodes| {
            let mut ranges: Vec<_> = nodes.list().iter().filter_map(|node| node.spec.as_ref()?.pod_cidr.clone()).collect();
            ranges.sort();
            let tainted = nodes.list().iter().any(|node| node.spec.as_ref().is_some_and(|spec| spec.taints.is_some()));
            ranges == ["10.42.0.0/24", "10.42.1.0/24"] && !tainted
        })
        .await;
    let down = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}]}});
    nodes.patch_status("one", &PatchParams::default(), &Patch::Strategic(down)).await.unwrap();
    cluster
        .wait(nodes.clone(), "the node that is not ready is tainted", |nodes| {
            nodes.list().iter().any(|node| {
                let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
                let effects: Vec<_> = taints.iter().map(|taint| taint.effect.as_str()).collect();
                taints.iter().all(|taint| taint.key == "node.kubernetes.io/not-ready") && effects == ["NoSchedule", "NoExecute"]
            })
        })
        .await;

    let owner = kube::Resource::owner_ref(&nodes.get("one").await.unwrap(), &());
    Holder::node("one", owner).renew(&cluster.admin, None).await.unwrap();
    let pod = json!({"metadata": {"name": "lonely"}, "spec": {"nodeName": "one", "containers": [{"name": "c", "image": "i"}],
        "tolerations": [{"operator": "Exists"}]}});
    let _: Pod = cluster.create(pod).await;
    nodes.delete("one", &DeleteParams::default()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.admin.clone(), "default");
    cluster.wait(pods, "the pod of a node that is gone is gone", |pods| pods.is_empty()).await;
    let leases: Api<Lease> = Api::namespaced(cluster.admin.clone(), NODE_NAMESPACE);
    cluster.wait(leases, "its lease too", |leases| leases.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joining_node_gets_its_certificates() {
    let cluster = Cluster::start().await;
    let node = Identity::node("new");
    let bootstrap = Identity::new("system:bootstrap:abcdef", ["system:bootstrappers"]);
    let steps = [
        (bootstrap, "kubernetes.io/kube-apiserver-client-kubelet", "client auth", vec![]),
        (node.clone(), "kubernetes.io/kubelet-serving", "server auth", vec!["new".to_owned()]),
    ];
    for (requester, signer, usage, names) in steps {
        let made = CertificateRequest::create(&node, &names, &[]).unwrap();
        let mut request: CertificateSigningRequest = object(json!({
            "metadata": {"generateName": "csr-"},
            "spec": {"signerName": signer, "request": "", "usages": ["digital signature", usage]},
        }));
        request.spec.request = ByteString(made.request.into_bytes());
        let requests: Api<CertificateSigningRequest> = Api::all(cluster.client(requester));
        let created = requests.create(&PostParams::default(), &request).await.unwrap();
        let all: Api<CertificateSigningRequest> = Api::all(cluster.admin.clone());
        cluster
            .wait(all, &format!("{signer} signs"), |requests| {
                requests.list().iter().any(|request| {
                    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
                    request.uid() == created.uid() && certificate.is_some_and(|bytes| bytes.0.starts_with(b"-----BEGIN CERTIFICATE"))
                })
            })
            .await;
    }
}
