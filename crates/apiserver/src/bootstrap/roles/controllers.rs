//! One role for each controller's service account in kube-system: `system:controller:<name>`.

use super::{ALL, Binding, EVENTS, READ, Role, Rule, Subject, named, on};

/// The role `system:controller:<name>` for the service account `<name>`.
struct Controller {
    role: &'static str,
    account: [Subject; 1],
    rules: &'static [Rule],
}

const fn controller(role: &'static str, account: &'static str, rules: &'static [Rule]) -> Controller {
    Controller { role, account: [Subject::ServiceAccount(account)], rules }
}

/// Pods of a workload: made, adopted, deleted.
const PODS: Rule = on("create delete get list patch update watch", "core", "pods");

static CONTROLLERS: &[Controller] = &[
    controller(
        "system:controller:certificate-controller",
        "certificate-controller",
        &[
            on("delete get list watch", "certificates.k8s.io", "certificatesigningrequests"),
            on("update patch", "certificates.k8s.io", "certificatesigningrequests/approval certificatesigningrequests/status"),
            named("approve", "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving"),
            named(
                "sign",
                "certificates.k8s.io",
                "signers",
                "kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet \
                 kubernetes.io/kubelet-serving kubernetes.io/legacy-unknown",
            ),
            on("create", "authorization.k8s.io", "subjectaccessreviews"),
            EVENTS,
        ],
    ),
    controller(
        "system:controller:clusterrole-aggregation-controller",
        "clusterrole-aggregation-controller",
        &[on("escalate get list patch update watch", "rbac.authorization.k8s.io", "clusterroles")],
    ),
    controller(
        "system:controller:cronjob-controller",
        "cronjob-controller",
        &[
            on("get list patch update watch", "batch", "cronjobs"),
            on("create delete get list patch update watch", "batch", "jobs"),
            on("patch update", "batch", "cronjobs/status cronjobs/finalizers"),
            on("delete list", "core", "pods"),
            EVENTS,
        ],
    ),
    controller(
        "system:controller:daemon-set-controller",
        "daemon-set-controller",
        &[
            on(READ, "apps", "daemonsets"),
            on("patch update", "apps", "daemonsets/status daemonsets/finalizers"),
            on("list watch", "core", "nodes"),
            PODS,
            on("create", "core", "pods/binding"),
            on("create delete get list patch update watch", "apps", "controllerrevisions"),
            EVENTS,
        ],
    ),
    controller(
        "system:controller:deployment-controller",
        "deployment-controller",
        &[
            on("get list patch update watch", "apps", "deployments"),
            on("patch update", "apps", "deployments/status deployments/finalizers"),
            on("create delete get list patch update watch", "apps", "replicasets"),
            on("get list update watch patch", "core", "pods"),
            EVENTS,
        ],
    ),
    controller(
        "system:controller:disruption-controller",
        "disruption-controller",
        &[
            on(READ, "apps", "deployments replicasets statefulsets"),
            on(READ, "core", "replicationcontrollers"),
            on(READ, "policy", "poddisruptionbudgets"),
            on("patch update", "policy", "poddisruptionbudgets/status"),
            on("get list watch", "core", "pods"),
            on("patch update", "core", "pods/status"),
            on("get", ALL, "*/scale"),
            EVENTS,
        ],
    ),
    controller(
        "system:controller:endpoint-controller",
        "endpoint-controller",
        &[
            on(READ, "core", "pods services"),
            on("create delete get list patch update watch", "core", "endpoints"),
            on("create", "core", "endpoints/restricted"),
            EVENTS,
        ],
    ),
    controller(
        "system:controller:endpointslice-controller",
        "endpointslice-controller",
        &[
            on(READ, "core", "nodes pods services"),
            on("patch update", "core", "services/finalizers"),
            on("create delete get list patch update watch", "discovery.k8s.io", "endpointslices"),
            EVENTS,
        ],
    ),
    controller(
        "system:controller:generic-garbage-collector",
        "generic-garbage-collector",
        &[on("delete get list patch update watch", ALL, ALL), EVENTS],
    ),
    controller(
        "system:controller:job-controller",
        "job-controller",
        &[on("get list patch update watch", "batch", "jobs"), on("patch update", "batch", "jobs/status jobs/finalizers"), PODS, EVENTS],
    ),
    controller(
        "system:controller:namespace-controller",
        "namespace-controller",
        &[
            on("delete get list watch", "core", "namespaces"),
            on("update patch", "core", "namespaces/finalize namespaces/status"),
            on("delete deletecollection get list", ALL, ALL),
        ],
    ),
    controller(
        "system:controller:node-controller",
        "node-controller",
        &[
            on("delete get list patch update watch", "core", "nodes"),
            on("patch update", "core", "nodes/status"),
            on("patch update", "core", "pods/status"),
            on("delete get list watch", "core", "pods"),
            on("get list watch create update patch delete", "coordination.k8s.io", "leases"),
            EVENTS,
        ],
    ),
    controller(
        "system:controller:node-ipam-controller",
        "node-ipam-controller",
        &[on("get list patch update watch", "core", "nodes"), on("patch update", "core", "nodes/status"), EVENTS],
    ),
    controller(
        "system:controller:pod-garbage-collector",
        "pod-garbage-collector",
        &[on("delete get list watch", "core", "pods"), on(READ, "core", "nodes"), on("patch update", "core", "pods/status"), EVENTS],
    ),
    controller(
        "system:controller:replicaset-controller",
        "replicaset-controller",
        &[
            on("get list patch update watch", "apps", "replicasets"),
            on("patch update", "apps", "replicasets/status replicasets/finalizers"),
            PODS,
            EVENTS,
        ],
    ),
    controller(
        "system:controller:replication-controller",
        "replication-controller",
        &[
            on("get list patch update watch", "core", "replicationcontrollers"),
            on("patch update", "core", "replicationcontrollers/status replicationcontrollers/finalizers"),
            PODS,
            EVENTS,
        ],
    ),
    controller(
        "system:controller:resourcequota-controller",
        "resourcequota-controller",
        &[on("list watch", ALL, ALL), on("patch update", "core", "resourcequotas/status"), EVENTS],
    ),
    controller(
        "system:controller:root-ca-cert-publisher",
        "root-ca-cert-publisher",
        &[on("create get list patch update watch", "core", "configmaps"), EVENTS],
    ),
    controller(
        "system:controller:service-account-controller",
        "service-account-controller",
        &[on("create get list watch", "core", "serviceaccounts"), EVENTS],
    ),
    controller(
        "system:controller:statefulset-controller",
        "statefulset-controller",
        &[
            on("get list patch update watch", "apps", "statefulsets"),
            on("patch update", "apps", "statefulsets/status statefulsets/finalizers"),
            PODS,
            on("create delete get list patch update watch", "apps", "controllerrevisions"),
            on("create delete get list patch update watch", "core", "persistentvolumeclaims"),
            EVENTS,
        ],
    ),
    controller(
        "system:controller:ttl-after-finished-controller",
        "ttl-after-finished-controller",
        &[on("delete get list watch", "batch", "jobs"), EVENTS],
    ),
    controller("system:controller:ttl-controller", "ttl-controller", &[on("list patch update watch", "core", "nodes"), EVENTS]),
    controller("system:controller:token-cleaner", "token-cleaner", &[on("delete get list watch", "core", "secrets"), EVENTS]),
];

pub(super) fn roles() -> impl Iterator<Item = Role> {
    CONTROLLERS.iter().map(|controller| Role::cluster(controller.role, controller.rules))
}

pub(super) fn bindings() -> impl Iterator<Item = Binding> {
    CONTROLLERS.iter().map(|controller| Binding::cluster(controller.role, &controller.account))
}
