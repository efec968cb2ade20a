//! Programs: kube-rs, and the Python client of PyPI.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use corten_testkit::{Cluster, Options, PATIENCE, python::python, run};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    discovery::Discovery,
};
use serde_json::json;

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

async fn client(cluster: &Cluster) -> Client {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn config_map(name: &str, data: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"app": "web"}}, "data": {"a": data}})).unwrap()
}

#[tokio::test]
async fn kube_rs_typed() {
    let cluster = Cluster::up(CORTEN, Options::default());
    let client = client(&cluster).await;
    assert_eq!(client.apiserver_version().await.unwrap().minor, "35");
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let made = maps.create(&PostParams::default(), &config_map("one", "1")).await.unwrap();
    let listed = maps.list(&ListParams::default().labels("app=web")).await.unwrap();
    assert_eq!(listed.items.len(), 1);

    // A watch from the list's revision sees each change once, in order.
    let from = listed.metadata.resource_version.unwrap();
    let mut events = maps.watch(&WatchParams::default().labels("app=web"), &from).await.unwrap().boxed();
    let mut changed = made.clone();
    changed.data.as_mut().unwrap().insert("b".to_owned(), "2".to_owned());
    let replaced = maps.replace("one", &PostParams::default(), &changed).await.unwrap();
    let stale = maps.replace("one", &PostParams::default(), &changed).await.unwrap_err();
    assert!(matches!(&stale, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"), "{stale}");
    maps.patch("one", &PatchParams::default(), &Patch::Merge(json!({"data": {"b": null}}))).await.unwrap();
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"c": "3"}});
    let applied = maps.patch("one", &PatchParams::apply("test"), &Patch::Apply(applied)).await.unwrap();
    assert_eq!(applied.data.unwrap().len(), 2);
    assert!(applied.metadata.managed_fields.unwrap().iter().any(|field| field.manager.as_deref() == Some("test")));
    let wrong = DeleteParams {
        preconditions: Some(Preconditions { uid: Some("other".to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    assert!(maps.delete("one", &wrong).await.is_err());
    maps.delete("one", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        match tokio::time::timeout(PATIENCE, events.try_next()).await.unwrap().unwrap().unwrap() {
            WatchEvent::Modified(object) => seen.push(("MODIFIED", object.metadata.resource_version)),
            WatchEvent::Deleted(object) => seen.push(("DELETED", object.metadata.resource_version)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen.first().unwrap().1, replaced.metadata.resource_version);
    assert_eq!(seen.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["MODIFIED", "MODIFIED", "MODIFIED", "DELETED"]);

    // A streaming list: the state, then a bookmark that says where it ends.
    maps.create(&PostParams::default(), &config_map("two", "1")).await.unwrap();
    let mut events = maps.watch(&WatchParams::default().labels("app=web").initial_events(), "").await.unwrap().boxed();
    let first = tokio::time::timeout(PATIENCE, events.try_next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(&first, WatchEvent::Added(object) if object.metadata.name.as_deref() == Some("two")), "{first:?}");
    let mark = tokio::time::timeout(PATIENCE, events.try_next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(&mark, WatchEvent::Bookmark(mark) if mark.metadata.annotations.contains_key("k8s.io/initial-events-end")), "{mark:?}");

    // Metadata alone, and pages.
    let partial = maps.list_metadata(&ListParams::default()).await.unwrap();
    assert!(partial.items.iter().any(|item| item.metadata.name.as_deref() == Some("two")));
    for index in 0..5 {
        maps.create(&PostParams::default(), &config_map(&format!("page-{index}"), "1")).await.unwrap();
    }
    let (mut names, mut token) = (Vec::new(), None::<String>);
    loop {
        let mut parameters = ListParams::default().labels("app=web").limit(2);
        parameters.continue_token.clone_from(&token);
        let page = maps.list(&parameters).await.unwrap();
        names.extend(page.items.into_iter().filter_map(|item| item.metadata.name));
        token = page.metadata.continue_.filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["page-0", "page-1", "page-2", "page-3", "page-4", "two"]);
    let gone = maps.delete_collection(&DeleteParams::default(), &ListParams::default().labels("app=web")).await.unwrap();
    assert_eq!(gone.left().unwrap().items.len(), 6);
}

#[tokio::test]
async fn kube_rs_dynamic() {
    let cluster = Cluster::up(CORTEN, Options::default());
    let client = client(&cluster).await;
    let discovery = Discovery::new(client.clone()).run().await.unwrap();
    let group = discovery.get("apps").unwrap();
    let (resource, capabilities) = group.recommended_kind("Deployment").unwrap();
    assert!(capabilities.subresources.iter().any(|(sub, _)| sub.plural == "scale"));
    let dynamic: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "corten.local/hello"}]}},
        },
    }))
    .unwrap();
    dynamic.create(&PostParams::default(), &object).await.unwrap();
    let typed: Api<Deployment> = Api::namespaced(client.clone(), "default");
    assert_eq!(typed.get_scale("web").await.unwrap().spec.unwrap().replicas, Some(2));
    typed.patch_scale("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 1}}))).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let selected = WatchParams::default().labels("app=web");
    let mut events = pods.watch(&selected, "0").await.unwrap().boxed();
    tokio::time::timeout(PATIENCE, async {
        while let Some(event) = events.try_next().await.unwrap() {
            let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else { continue };
            let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
            if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
                return;
            }
        }
        panic!("the watch ended before a pod was ready");
    })
    .await
    .unwrap();
    dynamic.delete("web", &DeleteParams::foreground()).await.unwrap();
    // What is no kind has no answer but a Status.
    let nothing = ApiResource::erase::<Pod>(&());
    let nothing = ApiResource { plural: "nothings".to_owned(), ..nothing };
    let error = Api::<DynamicObject>::all_with(client, &nothing).list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 404), "{error}");
}

const PYTHON: &str = r#"
import sys, threading
from kubernetes import client, config, watch, dynamic
from kubernetes.client.rest import ApiException
config.load_kube_config(config_file=sys.argv[1])
core, apps = client.CoreV1Api(), client.AppsV1Api()
assert client.VersionApi().get_code().minor == "35"
assert "v1" in client.CoreApi().get_api_versions().versions
assert any(group.name == "apps" for group in client.ApisApi().get_api_versions().groups)

body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="one", labels={"app": "py"}), data={"a": "1"})
made = core.create_namespaced_config_map("default", body)
seen, started = [], threading.Event()
def follow():
    watcher = watch.Watch()
    started.set()
    for event in watcher.stream(core.list_namespaced_config_map, "default", label_selector="app=py",
                                resource_version=made.metadata.resource_version, timeout_seconds=60):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            watcher.stop()
thread = threading.Thread(target=follow)
thread.start()
started.wait()
patched = core.patch_namespaced_config_map("one", "default", {"data": {"b": "2"}})
assert patched.data == {"a": "1", "b": "2"}, patched
patched.data["c"] = "3"
replaced = core.replace_namespaced_config_map("one", "default", patched)
try:
    core.replace_namespaced_config_map("one", "default", patched)
    raise SystemExit("a stale writer was not told")
except ApiException as error:
    assert error.status == 409, error
status = core.delete_namespaced_config_map("one", "default", body=client.V1DeleteOptions(propagation_policy="Background"))
assert status.status == "Success", status
thread.join(60)
assert seen == [("MODIFIED", "one"), ("MODIFIED", "one"), ("DELETED", "one")], seen

for index in range(5):
    core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=client.V1ObjectMeta(generate_name="page-", labels={"app": "page"})))
names, token = [], None
while True:
    page = core.list_namespaced_config_map("default", label_selector="app=page", limit=2, _continue=token)
    names += [item.metadata.name for item in page.items]
    token = page.metadata._continue
    if not token:
        break
assert len(set(names)) == 5, names
core.delete_collection_namespaced_config_map("default", label_selector="app=page")
assert not core.list_namespaced_config_map("default", label_selector="app=page").items

dyn = dynamic.DynamicClient(client.ApiClient())
deployments = dyn.resources.get(api_version="apps/v1", kind="Deployment")
manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
    "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
    "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "corten.local/hello"}]}}}}
deployments.create(body=manifest, namespace="default")
for event in watch.Watch().stream(apps.list_namespaced_deployment, "default", timeout_seconds=60):
    if event["object"].status.available_replicas == 1:
        break
else:
    raise SystemExit("the deployment did not become available")
manifest["spec"]["replicas"] = 2
applied = deployments.server_side_apply(body=manifest, namespace="default", name="web", field_manager="py", force_conflicts=True)
assert applied.spec.replicas == 2, applied
apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 0}})
assert deployments.get(name="web", namespace="default").spec.replicas == 0
deployments.delete(name="web", namespace="default")
try:
    core.read_namespaced_pod("none", "default")
    raise SystemExit("found what is not there")
except ApiException as error:
    assert error.status == 404 and "pods \\\"none\\\" not found" in error.body, error.body
print("done")
"#;

#[test]
fn the_python_client() {
    let cluster = Cluster::up(CORTEN, Options::default());
    let mut program = python("kubernetes", "35.0.0", PYTHON).unwrap();
    program.arg(cluster.kubeconfig());
    let said = run(program).unwrap().check().unwrap();
    assert!(said.trim_end().ends_with("done"), "{said}");
}
