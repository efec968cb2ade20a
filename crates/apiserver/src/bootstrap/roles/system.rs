//! Roles of the system at large: discovery, the scheduler, the controller manager, access to the kubelet.

use super::{ALL, Binding, EVENTS, READ, Role, Rule, Subject, named, on, urls};

const DISCOVERY: &str = "/healthz /livez /readyz /version /version/ /openapi /openapi/* /api /api/* /apis /apis/*";

const SCHEDULER: &[Rule] = &[
    EVENTS,
    on("create", "coordination.k8s.io", "leases"),
    named("get update", "coordination.k8s.io", "leases", "kube-scheduler"),
    on(READ, "core", "nodes"),
    on("delete get list watch", "core", "pods"),
    on("create", "core", "bindings pods/binding"),
    on("patch update", "core", "pods/status"),
    on(READ, "core", "replicationcontrollers services"),
    on(READ, "apps", "replicasets statefulsets"),
    on(READ, "policy", "poddisruptionbudgets"),
    on(READ, "core", "persistentvolumeclaims persistentvolumes namespaces"),
    on("patch update", "core", "persistentvolumeclaims persistentvolumes"),
    on("create", "authentication.k8s.io", "tokenreviews"),
    on("create", "authorization.k8s.io", "subjectaccessreviews"),
    on(READ, "storage.k8s.io", "csinodes csidrivers csistoragecapacities storageclasses volumeattachments"),
    on(READ, "resource.k8s.io", "deviceclasses resourceclaims resourceslices"),
    on("update patch", "resource.k8s.io", "resourceclaims resourceclaims/status"),
];

const CONTROLLER_MANAGER: &[Rule] = &[
    EVENTS,
    on("create", "coordination.k8s.io", "leases"),
    named("get update", "coordination.k8s.io", "leases", "kube-controller-manager"),
    on("create", "core", "secrets serviceaccounts"),
    on("delete", "core", "secrets"),
    on("get", "core", "namespaces secrets serviceaccounts configmaps"),
    on("update", "core", "secrets serviceaccounts"),
    on("create", "authentication.k8s.io", "tokenreviews"),
    on("create", "authorization.k8s.io", "subjectaccessreviews"),
    on("list watch", ALL, ALL),
    on("create", "core", "serviceaccounts/token"),
];

const VOLUME_SCHEDULER: &[Rule] = &[
    on("get list patch update watch", "core", "persistentvolumes"),
    on(READ, "storage.k8s.io", "storageclasses"),
    on("get list patch update watch", "core", "persistentvolumeclaims"),
];

pub(super) const ROLES: &[Role] = &[
    Role::cluster("system:discovery", &[urls("get", DISCOVERY)]),
    Role::cluster("system:public-info-viewer", &[urls("get", "/healthz /livez /readyz /version /version/")]),
    Role::cluster("system:monitoring", &[urls("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")]),
    Role::cluster(
        "system:basic-user",
        &[
            on("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
            on("create", "authentication.k8s.io", "selfsubjectreviews"),
        ],
    ),
    Role::cluster(
        "system:service-account-issuer-discovery",
        &[urls("get", "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/")],
    ),
    Role::cluster(
        "system:auth-delegator",
        &[on("create", "authentication.k8s.io", "tokenreviews"), on("create", "authorization.k8s.io", "subjectaccessreviews")],
    ),
    Role::cluster("system:kube-scheduler", SCHEDULER),
    Role::cluster("system:volume-scheduler", VOLUME_SCHEDULER),
    Role::cluster("system:kube-controller-manager", CONTROLLER_MANAGER),
    Role::cluster("system:kube-dns", &[on("list watch", "core", "endpoints services")]),
    Role::namespaced(
        "kube-system",
        "extension-apiserver-authentication-reader",
        &[named(READ, "core", "configmaps", "extension-apiserver-authentication")],
    ),
];

pub(super) const BINDINGS: &[Binding] = &[
    Binding::cluster("cluster-admin", &[Subject::Group("system:masters")]),
    Binding::cluster("system:discovery", &[Subject::Group("system:authenticated")]),
    Binding::cluster("system:basic-user", &[Subject::Group("system:authenticated")]),
    Binding::cluster("system:public-info-viewer", &[Subject::Group("system:authenticated"), Subject::Group("system:unauthenticated")]),
    Binding::cluster("system:monitoring", &[Subject::Group("system:monitoring")]),
    Binding::cluster("system:service-account-issuer-discovery", &[Subject::Group("system:serviceaccounts")]),
    Binding::cluster("system:kube-scheduler", &[Subject::User("system:kube-scheduler")]),
    Binding::cluster("system:volume-scheduler", &[Subject::User("system:kube-scheduler")]),
    Binding::cluster("system:kube-controller-manager", &[Subject::User("system:kube-controller-manager")]),
    Binding::cluster("system:kube-dns", &[Subject::ServiceAccount("kube-dns")]),
    Binding::namespaced(
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        &[Subject::User("system:kube-controller-manager"), Subject::User("system:kube-scheduler")],
    ),
];
