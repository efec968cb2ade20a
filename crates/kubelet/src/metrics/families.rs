//! All families, under the reference's names and with its labels.
//!
//! <https://kubernetes.io/docs/reference/instrumentation/metrics/>

use super::Family;
use super::Kind::{self, Counter, Gauge};

/// The usual bounds of Prometheus, in seconds.
pub(crate) const DEFAULT: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Of starting pods.
const STARTS: [f64; 25] = [
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0, 1200.0,
    1800.0, 2700.0, 3600.0,
];
/// Of pulling images.
const PULLS: [f64; 14] = [1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 180.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0];
/// Of posting statuses.
const POSTS: [f64; 11] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0];
/// Of calls to the runtime: from 5 ms on, each 2.5 times the one before.
const CALLS: [f64; 14] = {
    let mut bounds = [0.005; 14];
    let mut at = 1;
    while at < bounds.len() {
        bounds[at] = bounds[at - 1] * 2.5;
        at += 1;
    }
    bounds
};

const fn family(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, help, labels, kind }
}

pub(crate) static CONTAINER_CPU: Family = family(
    "container_cpu_usage_seconds_total",
    Counter,
    &["container", "namespace", "pod"],
    "Processor time of the container, in seconds.",
);
pub(crate) static CONTAINER_MEMORY: Family =
    family("container_memory_working_set_bytes", Gauge, &["container", "namespace", "pod"], "Working set of the container, in bytes.");
pub(crate) static CONTAINER_START: Family =
    family("container_start_time_seconds", Gauge, &["container", "namespace", "pod"], "Start of the container, in seconds since 1970.");
pub(crate) static CONTAINER_SWAP_LIMIT: Family =
    family("container_swap_limit_bytes", Gauge, &["container", "namespace", "pod"], "Swap that the container may use, in bytes.");
pub(crate) static CONTAINER_SWAP: Family =
    family("container_swap_usage_bytes", Gauge, &["container", "namespace", "pod"], "Swap that the container uses, in bytes.");
pub(crate) static ACTIVE_PODS: Family = family("kubelet_active_pods", Gauge, &["static"], "Pods that have a place on the node.");
pub(crate) static ADMISSION_REJECTIONS: Family =
    family("kubelet_admission_rejections_total", Counter, &["reason"], "Pods that the node has not admitted.");
pub(crate) static CGROUP_DURATION: Family = family(
    "kubelet_cgroup_manager_duration_seconds",
    Kind::Histogram(&DEFAULT),
    &["operation_type"],
    "How long changes of pods' cgroups took, in seconds.",
);
pub(crate) static CGROUP_VERSION: Family = family("kubelet_cgroup_version", Gauge, &[], "The version of cgroups that limits are set on.");
pub(crate) static LOG_BYTES: Family = family(
    "kubelet_container_log_filesystem_used_bytes",
    Gauge,
    &["uid", "namespace", "pod", "container"],
    "Bytes on disk of a container's logs.",
);
pub(crate) static DESIRED_PODS: Family = family("kubelet_desired_pods", Gauge, &["static"], "Pods that the node is to run.");
pub(crate) static EVENTS_ERRORS: Family = family(
    "kubelet_evented_pleg_connection_error_count",
    Counter,
    &[],
    "Streams of events that the container runtime has not opened, or has broken off.",
);
pub(crate) static EVENTS_LATENCY: Family = family(
    "kubelet_evented_pleg_connection_latency_seconds",
    Kind::Histogram(&DEFAULT),
    &[],
    "How long opening a stream of events took, in seconds.",
);
pub(crate) static EVENTS_SUCCESS: Family =
    family("kubelet_evented_pleg_connection_success_count", Counter, &[], "Streams of events that the container runtime has opened.");
pub(crate) static EVICTION_AGE: Family = family(
    "kubelet_eviction_stats_age_seconds",
    Kind::Histogram(&DEFAULT),
    &["eviction_signal"],
    "How old the measurement was that a pod was evicted for, in seconds.",
);
pub(crate) static EVICTIONS: Family = family("kubelet_evictions", Counter, &["eviction_signal"], "Pods evicted, by what ran short.");
pub(crate) static SHUTDOWN_END: Family =
    family("kubelet_graceful_shutdown_end_time_seconds", Gauge, &[], "When they had ended, in seconds since 1970.");
pub(crate) static SHUTDOWN_START: Family = family(
    "kubelet_graceful_shutdown_start_time_seconds",
    Gauge,
    &[],
    "When pods began to end because the machine goes down, in seconds since 1970.",
);
pub(crate) static HTTP_INFLIGHT: Family = family(
    "kubelet_http_inflight_requests",
    Gauge,
    &["method", "path", "server_type", "long_running"],
    "Requests to the node API that are under way.",
);
pub(crate) static HTTP_DURATION: Family = family(
    "kubelet_http_requests_duration_seconds",
    Kind::Histogram(&DEFAULT),
    &["method", "path", "server_type", "long_running"],
    "How long requests to the node API took, in seconds.",
);
pub(crate) static HTTP_REQUESTS: Family =
    family("kubelet_http_requests_total", Counter, &["method", "path", "server_type", "long_running"], "Requests to the node API.");
pub(crate) static IMAGES_COLLECTED: Family =
    family("kubelet_image_garbage_collected_total", Counter, &["reason"], "Unused images removed, by age or for space.");
pub(crate) static IMAGE_PULL: Family = family(
    "kubelet_image_pull_duration_seconds",
    Kind::Histogram(&PULLS),
    &["image_size_in_bytes"],
    "How long pulls of images took, in seconds, by size.",
);
pub(crate) static EPHEMERAL: Family =
    family("kubelet_managed_ephemeral_containers", Gauge, &[], "Ephemeral containers of the node's pods.");
pub(crate) static MIRROR_PODS: Family =
    family("kubelet_mirror_pods", Gauge, &[], "Mirrors that the API is to have: one for each static pod that runs.");
pub(crate) static NODE_NAME: Family = family("kubelet_node_name", Gauge, &["node"], "The node's name; always 1.");
pub(crate) static ORPHANED_PODS: Family =
    family("kubelet_orphaned_runtime_pods_total", Counter, &[], "Pods found in the container runtime that nobody knows.");
pub(crate) static RELIST_SEEN: Family =
    family("kubelet_pleg_last_seen_seconds", Gauge, &[], "When the runtime was last heard of, in seconds since 1970.");
pub(crate) static RELIST_DURATION: Family = family(
    "kubelet_pleg_relist_duration_seconds",
    Kind::Histogram(&DEFAULT),
    &[],
    "How long listing the runtime's pods took, in seconds, where it has no events.",
);
pub(crate) static RELIST_INTERVAL: Family =
    family("kubelet_pleg_relist_interval_seconds", Kind::Histogram(&DEFAULT), &[], "Time between two such lists, in seconds.");
pub(crate) static POD_RESOURCES_GET_ERRORS: Family = family(
    "kubelet_pod_resources_endpoint_errors_get",
    Counter,
    &["server_api_version"],
    "Calls of the pod resources API: Get that failed.",
);
pub(crate) static POD_RESOURCES_GET: Family =
    family("kubelet_pod_resources_endpoint_requests_get", Counter, &["server_api_version"], "Calls of the pod resources API: Get.");
pub(crate) static POD_RESOURCES_ALLOCATABLE: Family = family(
    "kubelet_pod_resources_endpoint_requests_get_allocatable",
    Counter,
    &["server_api_version"],
    "Calls of the pod resources API: GetAllocatableResources.",
);
pub(crate) static POD_RESOURCES_LIST: Family =
    family("kubelet_pod_resources_endpoint_requests_list", Counter, &["server_api_version"], "Calls of the pod resources API: List.");
pub(crate) static POD_RESOURCES_REQUESTS: Family =
    family("kubelet_pod_resources_endpoint_requests_total", Counter, &["server_api_version"], "Calls of the pod resources API.");
pub(crate) static POD_START: Family = family(
    "kubelet_pod_start_duration_seconds",
    Kind::Histogram(&STARTS),
    &[],
    "From first seeing a pod until all its containers run, in seconds.",
);
pub(crate) static POD_START_SLI: Family = family(
    "kubelet_pod_start_sli_duration_seconds",
    Kind::Histogram(&STARTS),
    &[],
    "From a pod's creation until all its containers run, without pulling images and init containers, in seconds.",
);
pub(crate) static POD_START_TOTAL: Family = family(
    "kubelet_pod_start_total_duration_seconds",
    Kind::Histogram(&STARTS),
    &[],
    "From a pod's creation until all its containers run, in seconds.",
);
pub(crate) static POD_STATUS_SYNC: Family = family(
    "kubelet_pod_status_sync_duration_seconds",
    Kind::Histogram(&POSTS),
    &[],
    "From a change of a pod's status until the API has it, in seconds.",
);
pub(crate) static POD_WORKER: Family = family(
    "kubelet_pod_worker_duration_seconds",
    Kind::Histogram(&DEFAULT),
    &["operation_type"],
    "How long one look at a pod took, in seconds.",
);
pub(crate) static POD_WORKER_START: Family = family(
    "kubelet_pod_worker_start_duration_seconds",
    Kind::Histogram(&DEFAULT),
    &[],
    "From first seeing a pod until it is looked at, in seconds.",
);
pub(crate) static PREEMPTIONS: Family =
    family("kubelet_preemptions", Counter, &["preemption_signal"], "Pods ended to make room for critical ones, by what was missing.");
pub(crate) static SANDBOX_DURATION: Family = family(
    "kubelet_run_podsandbox_duration_seconds",
    Kind::Histogram(&DEFAULT),
    &["runtime_handler"],
    "How long making sandboxes took, in seconds, by runtime handler.",
);
pub(crate) static SANDBOX_ERRORS: Family =
    family("kubelet_run_podsandbox_errors_total", Counter, &["runtime_handler"], "Sandboxes that could not be made, by runtime handler.");
pub(crate) static RUNNING_CONTAINERS: Family =
    family("kubelet_running_containers", Gauge, &["container_state"], "Containers in the runtime, by state.");
pub(crate) static RUNNING_PODS: Family = family("kubelet_running_pods", Gauge, &[], "Pods of which a container runs.");
pub(crate) static RUNTIME_DURATION: Family = family(
    "kubelet_runtime_operations_duration_seconds",
    Kind::Histogram(&CALLS),
    &["operation_type"],
    "How long calls to the container runtime took, in seconds.",
);
pub(crate) static RUNTIME_ERRORS: Family =
    family("kubelet_runtime_operations_errors_total", Counter, &["operation_type"], "Calls to the container runtime that failed.");
pub(crate) static RUNTIME_OPERATIONS: Family =
    family("kubelet_runtime_operations_total", Counter, &["operation_type"], "Calls to the container runtime.");
pub(crate) static HOOKS_WITHOUT_TLS: Family = family(
    "kubelet_lifecycle_handler_http_fallbacks_total",
    Counter,
    &[],
    "Hooks that were to be called with TLS and were answered without it.",
);
pub(crate) static SLEEPS_CUT: Family =
    family("kubelet_sleep_action_terminated_early_total", Counter, &[], "Hooks that sleep and were cut short.");
pub(crate) static STARTED_CONTAINERS_ERRORS: Family = family(
    "kubelet_started_containers_errors_total",
    Counter,
    &["container_type", "code"],
    "Containers that could not be started, by reason.",
);
pub(crate) static STARTED_CONTAINERS: Family =
    family("kubelet_started_containers_total", Counter, &["container_type"], "Starts of containers, those that failed too.");
pub(crate) static STARTED_PODS_ERRORS: Family =
    family("kubelet_started_pods_errors_total", Counter, &[], "Sandboxes that could not be made.");
pub(crate) static STARTED_PODS: Family =
    family("kubelet_started_pods_total", Counter, &[], "Sandboxes that were begun, those that failed too.");
pub(crate) static NODE_CPU: Family = family("node_cpu_usage_seconds_total", Counter, &[], "Processor time of the node, in seconds.");
pub(crate) static NODE_MEMORY: Family = family("node_memory_working_set_bytes", Gauge, &[], "Working set of the node, in bytes.");
pub(crate) static NODE_SWAP: Family = family("node_swap_usage_bytes", Gauge, &[], "Swap in use on the node, in bytes.");
pub(crate) static POD_CPU: Family =
    family("pod_cpu_usage_seconds_total", Counter, &["namespace", "pod"], "Processor time of the pod, in seconds.");
pub(crate) static POD_MEMORY: Family =
    family("pod_memory_working_set_bytes", Gauge, &["namespace", "pod"], "Working set of the pod, in bytes.");
pub(crate) static POD_SWAP: Family = family("pod_swap_usage_bytes", Gauge, &["namespace", "pod"], "Swap that the pod uses, in bytes.");
pub(crate) static PROBE_DURATION: Family = family(
    "prober_probe_duration_seconds",
    Kind::Histogram(&DEFAULT),
    &["container", "namespace", "pod", "probe_type"],
    "How long probes took, in seconds.",
);
pub(crate) static PROBES: Family = family(
    "prober_probe_total",
    Counter,
    &["container", "namespace", "pod", "pod_uid", "probe_type", "result"],
    "Probes of a container, by kind and result.",
);
pub(crate) static PROCESS_CPU: Family = family("process_cpu_seconds_total", Counter, &[], "Processor time of user and system, in seconds.");
pub(crate) static PROCESS_MAX_FDS: Family = family("process_max_fds", Gauge, &[], "File descriptors that may be open.");
pub(crate) static PROCESS_FDS: Family = family("process_open_fds", Gauge, &[], "Open file descriptors.");
pub(crate) static PROCESS_RESIDENT: Family = family("process_resident_memory_bytes", Gauge, &[], "Resident memory, in bytes.");
pub(crate) static PROCESS_START: Family = family("process_start_time_seconds", Gauge, &[], "Start of the process, in seconds since 1970.");
pub(crate) static PROCESS_VIRTUAL: Family = family("process_virtual_memory_bytes", Gauge, &[], "Virtual memory, in bytes.");
pub(crate) static RESOURCE_ERROR: Family = family("resource_scrape_error", Gauge, &[], "1 if measuring failed, else 0.");
