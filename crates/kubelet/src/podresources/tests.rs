//! Through a real client over a unix socket.

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::UnixStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Uri};

use super::service::{Method, Places};
use super::v1::pod_resources_lister_client::PodResourcesListerClient;
use super::*;

struct Fake {
    pods: Vec<Arc<Pod>>,
    counted: Mutex<Vec<Method>>,
}

impl Places for Fake {
    fn pods(&self) -> Vec<Arc<Pod>> {
        self.pods.clone()
    }

    fn count(&self, method: Method) {
        self.counted.lock().push(method);
    }
}

async fn client(path: &Path) -> PodResourcesListerClient<Channel> {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap();
    PodResourcesListerClient::new(channel)
}

#[tokio::test]
async fn agents_see_the_pods_that_have_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SOCKET);
    let pod = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "u1"},
        "spec": {
            "initContainers": [{"name": "first"}, {"name": "beside", "restartPolicy": "Always"}],
            "containers": [{"name": "a"}, {"name": "b"}],
        },
    });
    let fake = Arc::new(Fake { pods: vec![Arc::new(serde_json::from_value(pod).unwrap())], counted: Mutex::default() });
    // What a kubelet before has left there.
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "").unwrap();
    let (listener, token) = (listen(&path).unwrap(), CancellationToken::new());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let places: Arc<dyn Places> = Arc::<Fake>::clone(&fake);
    let served = tokio::spawn(accept(Lister::new(places), listener, token.clone()));

    let mut client = client(&path).await;
    let list = client.list(v1::ListPodResourcesRequest {}).await.unwrap().into_inner().pod_resources;
    assert_eq!(list.len(), 1);
    let names: Vec<&str> = list[0].containers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!((list[0].name.as_str(), list[0].namespace.as_str(), names), ("web", "ns", vec!["beside", "a", "b"]));

    let about = |name: &str| v1::GetPodResourcesRequest { pod_name: name.to_owned(), pod_namespace: "ns".to_owned() };
    assert_eq!(client.get(about("web")).await.unwrap().into_inner().pod_resources.as_ref(), list.first());
    let refused = client.get(about("other")).await.unwrap_err();
    assert_eq!(refused.message(), "pod other in namespace ns not found");
    let all = client.get_allocatable_resources(v1::AllocatableResourcesRequest {}).await.unwrap().into_inner();
    assert_eq!(all, v1::AllocatableResourcesResponse::default());
    let counted = [Method::List, Method::Get { failed: false }, Method::Get { failed: true }, Method::GetAllocatable];
    assert_eq!(*fake.counted.lock(), counted);

    // Too many at once are told so, and later ones are served.
    let calls = (0..200).map(|_| {
        let mut client = client.clone();
        async move { client.list(v1::ListPodResourcesRequest {}).await.map_err(|status| status.code()) }
    });
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().any(|answer| answer.as_ref().is_err_and(|code| *code == Code::ResourceExhausted)));
    assert!(answers.iter().any(Result::is_ok));
    token.cancel();
    served.await.unwrap();
}
