//! Roles of nodes: the kubelet, its first steps with a bootstrap token, the proxy, and who may call the kubelet.

use super::{ALL, Binding, EVENTS, READ, Role, Rule, Subject, on};

/// What the Node authorizer grants to every kubelet; secrets, configmaps, claims and service account tokens only
/// after it has found a pod of that node that uses them (see `authz::node`).
const NODE: &[Rule] = &[
    on("create", "authentication.k8s.io", "tokenreviews"),
    on("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
    on(READ, "core", "services"),
    on("create get list watch", "core", "nodes"),
    on("patch update", "core", "nodes nodes/status"),
    EVENTS,
    on(READ, "core", "pods"),
    on("create delete", "core", "pods"),
    on("patch update", "core", "pods/status"),
    on("create", "core", "pods/eviction"),
    on(READ, "core", "configmaps secrets"),
    on("get", "core", "persistentvolumeclaims persistentvolumes"),
    on("get patch update", "core", "persistentvolumeclaims/status"),
    on("get", "core", "endpoints"),
    on("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
    on("create delete get patch update", "coordination.k8s.io", "leases"),
    on("get", "storage.k8s.io", "volumeattachments"),
    on("create", "core", "serviceaccounts/token"),
    on("get", "core", "serviceaccounts"),
    on(READ, "storage.k8s.io", "csidrivers"),
    on("create delete get patch update", "storage.k8s.io", "csinodes"),
    on(READ, "node.k8s.io", "runtimeclasses"),
    on("get", "resource.k8s.io", "resourceclaims"),
    on("create delete deletecollection get list patch update watch", "resource.k8s.io", "resourceslices"),
];

const PROXIER: &[Rule] = &[
    on("list watch", "core", "endpoints services"),
    on(READ, "core", "nodes"),
    EVENTS,
    on("list watch", "discovery.k8s.io", "endpointslices"),
    on("list watch", "networking.k8s.io", "servicecidrs"),
];

const KUBELET_API_ADMIN: &[Rule] = &[
    on(READ, "core", "nodes"),
    on("proxy", "core", "nodes"),
    on(ALL, "core", "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats"),
];

pub(crate) const ROLES: &[Role] = &[
    Role::cluster("system:node", NODE),
    Role::cluster("system:node-bootstrapper", &[on("create get list watch", "certificates.k8s.io", "certificatesigningrequests")]),
    Role::cluster("system:node-proxier", PROXIER),
    Role::cluster("system:kubelet-api-admin", KUBELET_API_ADMIN),
    Role::cluster(
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[on("create", "certificates.k8s.io", "certificatesigningrequests/nodeclient")],
    ),
    Role::cluster(
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[on("create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient")],
    ),
];

pub(super) const BINDINGS: &[Binding] = &[
    // Without subjects: kubelets get these rights from the Node authorizer.
    Binding::cluster("system:node", &[]),
    Binding::cluster("system:node-proxier", &[Subject::User("system:kube-proxy"), Subject::Group("system:nodes")]),
    Binding::cluster_role("corten:kubelet-api-admin", "system:kubelet-api-admin", &[Subject::User("kube-apiserver-kubelet-client")]),
    // A node that joins asks for its certificate with a bootstrap token, and renews it as itself.
    Binding::cluster_role("corten:kubelet-bootstrap", "system:node-bootstrapper", &[Subject::Group("system:bootstrappers")]),
    Binding::cluster_role(
        "corten:node-autoapprove-bootstrap",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[Subject::Group("system:bootstrappers")],
    ),
    Binding::cluster_role(
        "corten:node-autoapprove-certificate-rotation",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[Subject::Group("system:nodes")],
    ),
];
