//! Roles for people: `cluster-admin`, and `admin`, `edit`, `view` with the parts they are aggregated from.

use super::{ALL, READ, Role, Rule, WRITE, on, urls};

const WORKLOADS: &str = "deployments deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale daemonsets";

const VIEW: &[Rule] = &[
    on(
        READ,
        "core",
        "pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status endpoints \
         persistentvolumeclaims persistentvolumeclaims/status configmaps",
    ),
    on(
        READ,
        "core",
        "limitranges resourcequotas bindings events pods/status resourcequotas/status namespaces/status \
         replicationcontrollers/status pods/log",
    ),
    on(READ, "core", "namespaces"),
    on(READ, "discovery.k8s.io", "endpointslices"),
    on(
        READ,
        "apps",
        "controllerrevisions statefulsets statefulsets/status statefulsets/scale daemonsets daemonsets/status deployments \
         deployments/status deployments/scale replicasets replicasets/status replicasets/scale",
    ),
    on(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    on(READ, "batch", "jobs cronjobs cronjobs/status jobs/status"),
    on(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    on(READ, "networking.k8s.io", "networkpolicies ingresses ingresses/status"),
    on(READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
];

const EDIT: &[Rule] = &[
    on(READ, "core", "pods/attach pods/proxy pods/exec pods/portforward secrets services/proxy"),
    on("impersonate", "core", "serviceaccounts"),
    on(WRITE, "core", "pods pods/attach pods/proxy pods/exec pods/portforward"),
    on("create", "core", "pods/eviction"),
    on(
        WRITE,
        "core",
        "replicationcontrollers replicationcontrollers/scale serviceaccounts services services/proxy persistentvolumeclaims \
         configmaps secrets events",
    ),
    on("create", "core", "serviceaccounts/token"),
    on(WRITE, "apps", WORKLOADS),
    on(WRITE, "apps", "deployments/rollback"),
    on(WRITE, "autoscaling", "horizontalpodautoscalers"),
    on(WRITE, "batch", "jobs cronjobs"),
    on(WRITE, "policy", "poddisruptionbudgets"),
    on(WRITE, "networking.k8s.io", "networkpolicies ingresses"),
    on("create delete deletecollection get list patch update watch", "coordination.k8s.io", "leases"),
    on(WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
];

const ADMIN: &[Rule] = &[
    on("create", "authorization.k8s.io", "localsubjectaccessreviews"),
    on("create delete deletecollection get list patch update watch", "rbac.authorization.k8s.io", "roles rolebindings"),
];

const fn aggregated(name: &'static str, part_of: Option<&'static str>) -> Role {
    Role { name, namespace: None, rules: &[], aggregate_to: part_of, aggregates: Some(name) }
}

const fn part(name: &'static str, of: &'static str, rules: &'static [Rule]) -> Role {
    Role { name, namespace: None, rules, aggregate_to: Some(of), aggregates: None }
}

pub(super) const ROLES: &[Role] = &[
    Role::cluster("cluster-admin", &[on(ALL, ALL, ALL), urls(ALL, ALL)]),
    aggregated("admin", None),
    aggregated("edit", Some("admin")),
    aggregated("view", Some("edit")),
    part("system:aggregate-to-admin", "admin", ADMIN),
    part("system:aggregate-to-edit", "edit", EDIT),
    part("system:aggregate-to-view", "view", VIEW),
];
