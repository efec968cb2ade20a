//! The service account `default` of every namespace, which pods run as unless they say otherwise
//! (<https://kubernetes.io/docs/concepts/security/service-accounts/#default-service-accounts>).

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

use crate::{context::Context, namespaces};

const NAME: &str = "service-account-controller";

pub(crate) async fn run(context: Context) {
    let accounts = context.informers.get::<ServiceAccount>();
    let client = context.clients.writer(NAME);
    let ensure = move |namespace: String, present: Option<_>| {
        let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
        async move {
            if present.is_none() {
                let account = ServiceAccount {
                    metadata: ObjectMeta { name: Some("default".into()), namespace: Some(namespace), ..ObjectMeta::default() },
                    ..ServiceAccount::default()
                };
                api.create(&PostParams::default(), &account).await?;
            }
            Ok(())
        }
    };
    namespaces::run("serviceaccount", &context, &accounts, "default", ensure).await;
}
