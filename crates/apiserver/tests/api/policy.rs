//! Who may do what: identities, tokens, RBAC, node restriction, reviews.

use corten_pki::Identity;
use serde_json::{Value, json};

use crate::common::{Api, CONFIG_MAPS, DEPLOYMENTS, PODS, config_map, deployment, pod};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";

fn user(name: &str) -> Identity {
    Identity::new(name, Vec::<String>::new())
}

fn role(name: &str, verbs: &[&str], resources: &[&str]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": resources, "verbs": verbs}],
    })
}

fn binding(name: &str, role: &str, user: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"kind": "User", "name": user}],
    })
}

#[tokio::test]
async fn rights_come_with_bindings_and_go_with_them() {
    let api = Api::start().await;
    let ann = user("ann");
    let refused = api.get(PODS).identity(ann.clone()).fails(403).await;
    assert_eq!(
        refused["message"],
        "pods is forbidden: User \"ann\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    assert_eq!((&refused["reason"], &refused["details"]["kind"]), (&json!("Forbidden"), &json!("pods")));
    let nodes = api.get("/api/v1/nodes/x").identity(ann.clone()).fails(403).await;
    assert_eq!(
        nodes["message"],
        "nodes \"x\" is forbidden: User \"ann\" cannot get resource \"nodes\" in API group \"\" at the cluster scope"
    );

    api.created(ROLES, role("pod-reader", &["get", "list"], &["pods"])).await;
    api.created(BINDINGS, binding("ann", "pod-reader", "ann")).await;
    api.get(PODS).identity(ann.clone()).ok().await;
    api.post(PODS, pod("x")).identity(ann.clone()).fails(403).await;

    api.delete(&format!("{BINDINGS}/ann")).ok().await;
    api.get(PODS).identity(ann).fails(403).await;
}

#[tokio::test]
async fn nobody_grants_more_than_they_have() {
    let api = Api::start().await;
    let ann = user("ann");
    let rules = json!([
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["create", "get", "list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ]);
    let mut manager = role("manager", &[], &[]);
    manager["rules"] = rules;
    api.created(ROLES, manager).await;
    api.created(BINDINGS, binding("ann", "manager", "ann")).await;

    let fine = api.post(ROLES, role("fine", &["get"], &["pods"])).identity(ann.clone()).send().await;
    assert_eq!(fine.code, 201, "{}", fine.text());
    let refused = api.post(ROLES, role("more", &["get", "delete"], &["pods"])).identity(ann.clone()).fails(403).await;
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("user \"ann\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions"), "{message}");
    assert!(message.ends_with("{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\", \"delete\"]}"), "{message}");

    api.created(ROLES, role("strong", &["*"], &["secrets"])).await;
    let refused = api.post(BINDINGS, binding("me", "strong", "ann")).identity(ann.clone()).fails(403).await;
    assert!(refused["message"].as_str().unwrap().contains("is attempting to grant RBAC permissions not currently held"));
    let changed = api.put(&format!("{BINDINGS}/ann"), {
        let mut changed = binding("ann", "strong", "ann");
        changed["metadata"]["namespace"] = json!("default");
        changed
    });
    let changed = changed.fails(422).await;
    assert!(changed["message"].as_str().unwrap().contains("cannot change roleRef"), "{changed}");
}

#[tokio::test]
async fn anonymous_requests_see_only_what_is_public() {
    let api = Api::start().await;
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(api.get(path).anonymous().send().await.code, 200, "{path}");
    }
    let refused = api.get("/api").anonymous().fails(403).await;
    assert_eq!(refused["message"], "forbidden: User \"system:anonymous\" cannot get path \"/api\"");
    let refused = api.get("/healthz").anonymous().header("authorization", "Bearer nonsense").fails(401).await;
    assert_eq!((&refused["reason"], &refused["message"]), (&json!("Unauthorized"), &json!("Unauthorized")));
}

#[tokio::test]
async fn a_service_account_token_holds_as_long_as_its_pod() {
    let api = Api::start().await;
    let made = api.created(PODS, pod("web")).await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3607, "boundObjectRef": {
            "apiVersion": "v1", "kind": "Pod", "name": "web", "uid": made["metadata"]["uid"]}},
    });
    let answer = api.created(path, request.clone()).await;
    let token = answer["status"]["token"].as_str().unwrap();
    assert!(answer["status"]["expirationTimestamp"].is_string());

    let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = api.post(reviews, who.clone()).anonymous().header("authorization", &format!("Bearer {token}")).send().await;
    assert_eq!(answer.code, 201, "{}", answer.text());
    let info = answer.json()["status"]["userInfo"].clone();
    assert_eq!(info["username"], "system:serviceaccount:default:default");
    assert_eq!(info["groups"], json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]));
    assert_eq!(info["extra"]["authentication.kubernetes.io/pod-name"], json!(["web"]));

    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let reviewed = api.created("/apis/authentication.k8s.io/v1/tokenreviews", review.clone()).await;
    assert_eq!(reviewed["status"]["authenticated"], true, "{reviewed}");
    let mut elsewhere = review.clone();
    elsewhere["spec"]["audiences"] = json!(["vault"]);
    let reviewed = api.created("/apis/authentication.k8s.io/v1/tokenreviews", elsewhere).await;
    assert_eq!(reviewed["status"]["authenticated"], Value::Null, "{reviewed}");
    assert!(reviewed["status"]["error"].as_str().unwrap().contains("audiences"), "{reviewed}");

    let mut wrong = request.clone();
    wrong["spec"]["boundObjectRef"]["uid"] = json!("another");
    api.post(path, wrong).fails(409).await;
    let mut short = request;
    short["spec"]["expirationSeconds"] = json!(60);
    let short = api.post(path, short).fails(422).await;
    assert!(short["message"].as_str().unwrap().contains("may not specify a duration less than 10 minutes"));

    api.delete(&format!("{PODS}/web")).ok().await;
    api.post(reviews, who).anonymous().header("authorization", &format!("Bearer {token}")).fails(401).await;
}

#[tokio::test]
async fn a_bootstrap_token_is_good_for_asking_for_a_certificate() {
    let api = Api::start().await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"},
    });
    api.created("/api/v1/namespaces/kube-system/secrets", secret).await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let with = |token: &str| api.get(requests).anonymous().header("authorization", &format!("Bearer {token}"));
    with("abcdef.0123456789abcdef").ok().await;
    with("abcdef.0123456789abcdeX").fails(401).await;
    with("fedcba.0123456789abcdef").fails(401).await;
    api.get(PODS).anonymous().header("authorization", "Bearer abcdef.0123456789abcdef").fails(403).await;
}

#[tokio::test]
async fn reviews_answer_what_authorization_would() {
    let api = Api::start().await;
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let review = |user: &str, groups: &[&str], resource: &str, verb: &str| {
        json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups, "resourceAttributes": {"namespace": "default", "verb": verb, "resource": resource}},
        })
    };
    let answer = api.created(path, review("system:kube-scheduler", &[], "pods", "list")).await;
    assert_eq!(answer["status"]["allowed"], true, "{answer}");
    assert_eq!(
        answer["status"]["reason"],
        "RBAC: allowed by ClusterRoleBinding \"system:kube-scheduler\" of ClusterRole \"system:kube-scheduler\" to \
         system:kube-scheduler"
    );
    let answer = api.created(path, review("system:kube-scheduler", &[], "secrets", "get")).await;
    assert_eq!(answer["status"]["allowed"], false, "{answer}");
    let answer = api.created(path, review("x", &["system:masters"], "secrets", "get")).await;
    assert_eq!(answer["status"]["allowed"], true, "{answer}");
    let refused = api.post(path, json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": "x"}}));
    refused.fails(422).await;

    let mine = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"path": "/version", "verb": "get"}},
    });
    let answer = api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", mine).identity(user("ann")).send().await;
    assert_eq!(answer.json()["status"]["allowed"], true, "{}", answer.text());
    let rules = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "default"}});
    let answer = api.created("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", rules).await;
    assert_eq!(answer["status"]["resourceRules"][0], json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
}

#[tokio::test]
async fn acting_as_somebody_else_needs_the_right() {
    let api = Api::start().await;
    let seen = api.get(PODS).header("impersonate-user", "ann").fails(403).await;
    assert!(seen["message"].as_str().unwrap().contains("User \"ann\" cannot list"), "{seen}");
    let refused = api.get(PODS).identity(user("bob")).header("impersonate-user", "ann").fails(403).await;
    assert_eq!(
        refused["message"],
        "users \"ann\" is forbidden: User \"bob\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    let masters = api.get(PODS).header("impersonate-user", "ann").header("impersonate-group", "system:masters");
    masters.ok().await;
    let named = api.get(PODS).header("impersonate-user", "zo\u{eb}").fails(403).await;
    assert!(named["message"].as_str().unwrap().contains("User \"zo\u{eb}\" cannot list"), "{named}");
    for name in ["impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-a"] {
        let broken = api.get(PODS).header_bytes(name, b"ann\xff").fails(400).await;
        assert!(broken["message"].as_str().unwrap().contains("is not UTF-8"), "{broken}");
    }
}

#[tokio::test]
async fn a_kubelet_keeps_to_its_node() {
    let api = Api::start().await;
    let (one, two) = (Identity::node("one"), Identity::node("two"));
    let node = |name: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    let made = api.post("/api/v1/nodes", node("one")).identity(one.clone()).send().await;
    assert_eq!(made.code, 201, "{}", made.text());
    assert_eq!(made.json()["spec"]["taints"], json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]));
    let refused = api.post("/api/v1/nodes", node("three")).identity(one.clone()).fails(403).await;
    assert_eq!(refused["message"], "nodes \"three\" is forbidden: node \"one\" is not allowed to modify node \"three\"");

    api.created("/api/v1/namespaces/default/secrets", json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "used"}})).await;
    let mut with_secret = pod("web");
    with_secret["spec"]["volumes"] = json!([{"name": "s", "secret": {"secretName": "used"}}]);
    with_secret["spec"]["nodeName"] = json!("one");
    api.created(PODS, with_secret).await;
    let secret = "/api/v1/namespaces/default/secrets/used";
    api.get(secret).identity(one.clone()).ok().await;
    let refused = api.get(secret).identity(two.clone()).fails(403).await;
    assert!(refused["message"].as_str().unwrap().ends_with("no relationship found between node 'two' and this object"), "{refused}");
    api.get("/api/v1/namespaces/default/secrets").identity(one.clone()).fails(403).await;

    let status = json!({"status": {"phase": "Running"}});
    api.patch(&format!("{PODS}/web/status"), "strategic", status.clone()).identity(one.clone()).ok().await;
    let refused = api.patch(&format!("{PODS}/web/status"), "strategic", status).identity(two.clone()).fails(403).await;
    assert_eq!(
        refused["message"],
        "pods \"web\" is forbidden: node \"two\" can only update pod status for pods with spec.nodeName set to itself"
    );
    api.delete(&format!("{PODS}/web")).identity(two).fails(403).await;
    api.delete(&format!("{PODS}/web")).identity(one).ok().await;
}

#[tokio::test]
async fn a_kubelet_follows_secrets_only_where_its_pods_are() {
    let api = Api::start().await;
    let one = Identity::node("one");
    api.created("/api/v1/namespaces/default/secrets", json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "used"}})).await;
    let mut with_secret = pod("web");
    with_secret["spec"]["volumes"] = json!([{"name": "s", "secret": {"secretName": "used"}}]);
    with_secret["spec"]["nodeName"] = json!("one");
    api.created(PODS, with_secret).await;
    let selector = "fieldSelector=metadata.name%3Dused";
    api.get(&format!("/api/v1/namespaces/default/secrets?{selector}")).identity(one.clone()).ok().await;
    let everywhere = api.get(&format!("/api/v1/secrets?{selector}")).identity(one.clone()).fails(403).await;
    assert!(everywhere["message"].as_str().unwrap().ends_with("can only read namespaced object of this type"), "{everywhere}");
    let escaped = "fieldSelector=metadata.namespace!%3Dx%5C,metadata.name%3Dused";
    api.get(&format!("/api/v1/namespaces/default/secrets?{escaped}")).identity(one).fails(403).await;
}

#[tokio::test]
async fn mirror_pods_refer_to_nothing() {
    let api = Api::start().await;
    let one = Identity::node("one");
    let mirror = |name: &str, volume: Value| {
        let mut pod = pod(name);
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        pod["spec"]["nodeName"] = json!("one");
        pod["spec"]["volumes"] = json!([volume]);
        pod
    };
    for (volume, what) in [
        (json!({"name": "v", "secret": {"secretName": "a"}}), "secrets"),
        (json!({"name": "v", "configMap": {"name": "a"}}), "configmaps"),
        (json!({"name": "v", "persistentVolumeClaim": {"claimName": "a"}}), "persistentvolumeclaims"),
        (json!({"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}), "service account tokens"),
    ] {
        let refused = api.post(PODS, mirror("bad", volume)).identity(one.clone()).fails(403).await;
        let words = format!("node \"one\" can not create pods that reference {what}");
        assert!(refused["message"].as_str().unwrap().ends_with(&words), "{refused}");
    }
    let made = api.post(PODS, mirror("good", json!({"name": "v", "emptyDir": {}}))).identity(one).send().await;
    assert_eq!(made.code, 201, "{}", made.text());
}

#[tokio::test]
async fn a_kubelet_keeps_the_labels_that_restrict_it() {
    let api = Api::start().await;
    let label = "node-restriction.kubernetes.io/zone";
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one", "labels": {label: "a", "own": "b"}}});
    api.created("/api/v1/nodes", node).await;
    let without = |label: &str| {
        let patch = json!({"metadata": {"labels": {label: null}}});
        api.patch("/api/v1/nodes/one", "merge", patch).identity(Identity::node("one"))
    };
    let refused = without(label).fails(403).await;
    assert!(refused["message"].as_str().unwrap().ends_with(&format!("is not allowed to modify labels: {label}")), "{refused}");
    without("own").ok().await;
}

#[tokio::test]
async fn controllers_have_the_rights_they_need_and_no_more() {
    let api = Api::start().await;
    let account = |name: &str| Identity::service_account("kube-system", name);
    api.created(DEPLOYMENTS, deployment("web")).await;
    api.get(DEPLOYMENTS).identity(account("deployment-controller")).ok().await;
    api.post(CONFIG_MAPS, config_map("x")).identity(account("deployment-controller")).fails(403).await;
    let made = api.post(CONFIG_MAPS, config_map("x")).identity(account("root-ca-cert-publisher")).send().await;
    assert_eq!(made.code, 201, "{}", made.text());
    let manager = Identity::controller_manager();
    api.get("/api/v1/pods").identity(manager.clone()).ok().await;
    api.post(CONFIG_MAPS, config_map("y")).identity(manager).fails(403).await;
}
