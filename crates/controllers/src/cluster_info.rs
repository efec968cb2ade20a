//! `kube-public/cluster-info`: what a joining node may read before it has an identity, the
//! address of the API server and its certificate authority. The node knows the authority's hash
//! from its operator and so need not trust who answered.

use corten_client::{
    ObjectKey,
    controller::{self, Outcome},
    informer::Selection,
    queue::WorkQueue,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use serde_json::json;

use crate::context::Context;

const NAME: &str = "bootstrap-signer";
const MAP: &str = "cluster-info";
const NAMESPACE: &str = "kube-public";

pub(crate) async fn run(context: Context) {
    let Some(server) = context.options.public_server.clone() else {
        return;
    };
    let wanted = kubeconfig(&server, &context.options.root_ca);
    let selection = Selection::fields(format!(
        "metadata.name={MAP},metadata.namespace={NAMESPACE}"
    ));
    let maps = context.informers.select::<ConfigMap>(selection);
    let queue = WorkQueue::new();
    let noting = queue.clone();
    maps.on_event(move |delta| noting.add(delta.key()));
    maps.has_synced().await;
    queue.add(ObjectKey::new(NAMESPACE, MAP));

    let client = context.clients.writer(NAME);
    let store = maps.store().clone();
    controller::run(NAME, &queue, 1, &context.token, move |key| {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        let present = store.get(&key);
        let wanted = wanted.clone();
        async move {
            let params = PostParams::default();
            match present {
                None => {
                    let map = ConfigMap {
                        metadata: ObjectMeta {
                            name: Some(MAP.into()),
                            namespace: Some(NAMESPACE.into()),
                            ..ObjectMeta::default()
                        },
                        data: Some([("kubeconfig".to_owned(), wanted)].into()),
                        ..ConfigMap::default()
                    };
                    match api.create(&params, &map).await {
                        Err(error) if corten_client::is_already_exists(&error) => {}
                        result => {
                            result?;
                        }
                    }
                }
                Some(present) => {
                    let mut map = ConfigMap::clone(&present);
                    let data = map.data.get_or_insert_default();
                    if data.insert("kubeconfig".into(), wanted.clone()) != Some(wanted) {
                        api.replace(MAP, &params, &map).await?;
                    }
                }
            }
            Ok(Outcome::Done)
        }
    })
    .await;
}

/// A kubeconfig with a cluster and no user.
fn kubeconfig(server: &str, authority: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "", "cluster": {
            "certificate-authority-data": STANDARD.encode(authority),
            "server": server,
        }}],
        "contexts": [],
        "users": [],
        "current-context": "",
    });
    format!("{config:#}\n")
}
