//! The calls.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::v1;
use super::v1::pod_resources_lister_server::PodResourcesLister;
use crate::context::Context;
use crate::pod::{self, plan};

/// As in the reference: a hundred calls a second, ten of them at once.
const EVERY: Duration = Duration::from_millis(10);
const BURST: u32 = 10;

/// Where the pods come from that have a place on the node.
pub(super) trait Places: Send + Sync + 'static {
    fn pods(&self) -> Vec<Arc<Pod>>;
    /// Counts a call.
    fn count(&self, method: Method);
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    List,
    GetAllocatable,
    /// The only one that can fail.
    Get {
        failed: bool,
    },
}

impl Places for Context {
    fn pods(&self) -> Vec<Arc<Pod>> {
        self.admission.pods()
    }

    fn count(&self, method: Method) {
        use crate::metrics::families as f;
        let version = &["v1"];
        self.metrics.count(&f::POD_RESOURCES_REQUESTS, version);
        let requests = match method {
            Method::List => &f::POD_RESOURCES_LIST,
            Method::GetAllocatable => &f::POD_RESOURCES_ALLOCATABLE,
            Method::Get { .. } => &f::POD_RESOURCES_GET,
        };
        self.metrics.count(requests, version);
        if matches!(method, Method::Get { failed: true }) {
            self.metrics.count(&f::POD_RESOURCES_GET_ERRORS, version);
        }
    }
}

/// Answers, as long as not too many ask.
pub(super) struct Lister {
    places: Arc<dyn Places>,
    /// When as many calls may come at once as ever may.
    rested: Mutex<Instant>,
}

impl Lister {
    pub(super) fn new(places: Arc<dyn Places>) -> Self {
        Self { places, rested: Mutex::new(Instant::now()) }
    }

    fn may(&self, now: Instant) -> Result<(), Status> {
        let mut rested = self.rested.lock();
        let next = (*rested).max(now) + EVERY;
        if next > now + EVERY * BURST {
            return Err(Status::resource_exhausted("rejected by rate limit"));
        }
        *rested = next;
        Ok(())
    }

    fn find(&self, request: &v1::GetPodResourcesRequest) -> Result<v1::PodResources, Status> {
        let (name, namespace) = (request.pod_name.as_str(), request.pod_namespace.as_str());
        let found = self.places.pods().into_iter().find(|pod| pod::name(pod) == name && pod::namespace(pod) == namespace);
        let missing = || Status::unknown(format!("pod {name} in namespace {namespace} not found"));
        found.map(|pod| resources(&pod)).ok_or_else(missing)
    }
}

/// Of a pod: of the containers that stay, sidecars first.
fn resources(pod: &Pod) -> v1::PodResources {
    let spec = pod.spec.as_ref();
    let sidecars = spec.into_iter().flat_map(|s| s.init_containers.iter().flatten()).filter(|container| plan::is_sidecar(container));
    let containers = sidecars.chain(spec.into_iter().flat_map(|s| &s.containers));
    v1::PodResources {
        name: pod::name(pod).to_owned(),
        namespace: pod::namespace(pod).to_owned(),
        containers: containers.map(|c| v1::ContainerResources { name: c.name.clone(), ..Default::default() }).collect(),
    }
}

#[tonic::async_trait]
impl PodResourcesLister for Lister {
    async fn list(&self, _: Request<v1::ListPodResourcesRequest>) -> Result<Response<v1::ListPodResourcesResponse>, Status> {
        self.may(Instant::now())?;
        self.places.count(Method::List);
        let pod_resources = self.places.pods().iter().map(|pod| resources(pod)).collect();
        Ok(Response::new(v1::ListPodResourcesResponse { pod_resources }))
    }

    async fn get_allocatable_resources(
        &self,
        _: Request<v1::AllocatableResourcesRequest>,
    ) -> Result<Response<v1::AllocatableResourcesResponse>, Status> {
        self.may(Instant::now())?;
        self.places.count(Method::GetAllocatable);
        Ok(Response::new(v1::AllocatableResourcesResponse::default()))
    }

    async fn get(&self, request: Request<v1::GetPodResourcesRequest>) -> Result<Response<v1::GetPodResourcesResponse>, Status> {
        self.may(Instant::now())?;
        let found = self.find(request.get_ref());
        self.places.count(Method::Get { failed: found.is_err() });
        Ok(Response::new(v1::GetPodResourcesResponse { pod_resources: Some(found?) }))
    }
}
