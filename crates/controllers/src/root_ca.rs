//! `kube-root-ca.crt` in every namespace: how pods verify the API server
//! (<https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>).

use std::{collections::BTreeMap, sync::Arc};

use corten_client::informer::Selection;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

use crate::{context::Context, namespaces};

const NAME: &str = "root-ca-cert-publisher";
const MAP: &str = "kube-root-ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
     endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
     guaranteed across distributions of Kubernetes clusters.",
);

pub(crate) async fn run(context: Context) {
    let selection = Selection::fields(format!("metadata.name={MAP}"));
    let maps = context.informers.select::<ConfigMap>(selection);
    let client = context.clients.writer(NAME);
    let data = BTreeMap::from([("ca.crt".to_owned(), context.options.authority.certificate().to_owned())]);
    let ensure = move |namespace: String, present: Option<Arc<ConfigMap>>| {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
        let data = data.clone();
        async move {
            match present {
                None => {
                    let map = wanted(namespace, data);
                    api.create(&PostParams::default(), &map).await?;
                }
                Some(present) if present.data.as_ref() != Some(&data) => {
                    let mut map = ConfigMap::clone(&present);
                    map.data = Some(data);
                    api.replace(MAP, &PostParams::default(), &map).await?;
                }
                Some(_) => {}
            }
            Ok(())
        }
    };
    namespaces::run("root_ca_cert_publisher", &context, &maps, MAP, ensure).await;
}

fn wanted(namespace: String, data: BTreeMap<String, String>) -> ConfigMap {
    let (key, value) = DESCRIPTION;
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(MAP.into()),
            namespace: Some(namespace),
            annotations: Some([(key.to_owned(), value.to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}
