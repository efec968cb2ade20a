//! What a path asks for.

use http::{Method, StatusCode};

use super::answer::Refusal;
use super::reports::Report;

/// A pod; with its uid when only that incarnation of it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PodPath<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: Option<&'a str>,
}

/// A container of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContainerPath<'a> {
    pub(super) pod: PodPath<'a>,
    pub(super) container: &'a str,
}

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Health,
    Pods,
    Logs(ContainerPath<'a>),
    Exec(ContainerPath<'a>),
    Attach(ContainerPath<'a>),
    PortForward(PodPath<'a>),
    Run(ContainerPath<'a>),
    Report(Report),
    Checkpoint(ContainerPath<'a>),
    /// What follows `/logs`, as it was sent.
    NodeLogs(&'a str),
}

impl<'a> Route<'a> {
    /// Finds the route of a request.
    ///
    /// # Errors
    /// 404 for unknown paths, 405 for methods that a path does not have.
    pub(super) fn of(method: &Method, path: &'a str) -> Result<Self, Refusal> {
        let path = path.strip_prefix('/').unwrap_or(path);
        if let Some(rest) = path.strip_prefix("logs").filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            return if *method == Method::GET { Ok(Self::NodeLogs(rest)) } else { Err(wrong_method()) };
        }
        let parts: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        let (route, methods) = Self::find(&parts).ok_or_else(|| Refusal::not_found("404 page not found\n"))?;
        if !methods.contains(method) {
            return Err(wrong_method());
        }
        Ok(route)
    }

    /// Whether it is about what containers and the node's programs do, and not about the node itself.
    pub(super) fn is_debugging(self) -> bool {
        match self {
            Self::Logs(_) | Self::Exec(_) | Self::Attach(_) | Self::PortForward(_) | Self::Run(_) | Self::NodeLogs(_) => true,
            Self::Report(report) => report == Report::RunningPods,
            Self::Health | Self::Pods | Self::Checkpoint(_) => false,
        }
    }

    fn find(parts: &[&'a str]) -> Option<(Self, &'static [Method])> {
        const READ: &[Method] = &[Method::GET];
        const STREAM: &[Method] = &[Method::GET, Method::POST];
        const CALL: &[Method] = &[Method::POST];
        let (first, rest) = parts.split_first()?;
        if rest.iter().any(|part| part.is_empty()) {
            return None;
        }
        Some(match (*first, rest) {
            ("healthz", [] | ["ping"]) => (Self::Health, READ),
            ("pods", []) => (Self::Pods, READ),
            ("stats", [] | ["summary"]) => (Self::Report(Report::Summary), READ),
            ("metrics", []) => (Self::Report(Report::Metrics), READ),
            ("metrics", ["cadvisor"]) => (Self::Report(Report::Cadvisor), READ),
            ("metrics", ["resource"]) => (Self::Report(Report::Resource), READ),
            ("metrics", ["probes"]) => (Self::Report(Report::Probes), READ),
            ("configz", []) => (Self::Report(Report::Configuration), READ),
            ("runningpods", []) => (Self::Report(Report::RunningPods), READ),
            ("checkpoint", [_, _, _]) => (Self::Checkpoint(container(rest)?), CALL),
            ("containerLogs", [_, _, _]) => (Self::Logs(container(rest)?), READ),
            ("exec", _) => (Self::Exec(container(rest)?), STREAM),
            ("attach", _) => (Self::Attach(container(rest)?), STREAM),
            ("run", _) => (Self::Run(container(rest)?), CALL),
            ("portForward", [namespace, name]) => (Self::PortForward(PodPath { namespace, name, uid: None }), STREAM),
            ("portForward", [namespace, name, uid]) => (Self::PortForward(PodPath { namespace, name, uid: Some(uid) }), STREAM),
            _ => return None,
        })
    }
}

fn wrong_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed")
}

/// `namespace/pod/container` or `namespace/pod/uid/container`.
fn container<'a>(parts: &[&'a str]) -> Option<ContainerPath<'a>> {
    let (namespace, name, uid, container) = match parts {
        [namespace, name, container] => (namespace, name, None, container),
        [namespace, name, uid, container] => (namespace, name, Some(*uid), container),
        _ => return None,
    };
    Some(ContainerPath { pod: PodPath { namespace, name, uid }, container })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: PodPath<'static> = PodPath { namespace: "ns", name: "web", uid: None };
    const WITH_UID: PodPath<'static> = PodPath { uid: Some("u1"), ..POD };
    const NGINX: ContainerPath<'static> = ContainerPath { pod: POD, container: "nginx" };

    #[test]
    fn paths_are_understood() {
        let cases = [
            (Method::GET, "/healthz", Route::Health),
            (Method::GET, "/healthz/ping", Route::Health),
            (Method::GET, "/pods", Route::Pods),
            (Method::GET, "/pods/", Route::Pods),
            (Method::GET, "/stats/summary", Route::Report(Report::Summary)),
            (Method::GET, "/metrics", Route::Report(Report::Metrics)),
            (Method::GET, "/metrics/cadvisor", Route::Report(Report::Cadvisor)),
            (Method::GET, "/metrics/resource", Route::Report(Report::Resource)),
            (Method::GET, "/metrics/probes", Route::Report(Report::Probes)),
            (Method::GET, "/configz", Route::Report(Report::Configuration)),
            (Method::GET, "/runningpods/", Route::Report(Report::RunningPods)),
            (Method::POST, "/checkpoint/ns/web/nginx", Route::Checkpoint(NGINX)),
            (Method::GET, "/containerLogs/ns/web/nginx", Route::Logs(NGINX)),
            (Method::GET, "/exec/ns/web/nginx", Route::Exec(NGINX)),
            (Method::POST, "/exec/ns/web/u1/nginx", Route::Exec(ContainerPath { pod: WITH_UID, ..NGINX })),
            (Method::POST, "/attach/ns/web/nginx", Route::Attach(NGINX)),
            (Method::POST, "/portForward/ns/web", Route::PortForward(POD)),
            (Method::GET, "/portForward/ns/web/u1", Route::PortForward(WITH_UID)),
            (Method::POST, "/run/ns/web/nginx", Route::Run(NGINX)),
            (Method::GET, "/logs", Route::NodeLogs("")),
            (Method::GET, "/logs/a//b/", Route::NodeLogs("/a//b/")),
        ];
        for (method, path, expected) in cases {
            assert_eq!(Route::of(&method, path), Ok(expected), "{method} {path}");
        }
    }

    #[test]
    fn others_are_refused() {
        let missing = [
            "",
            "/",
            "/nothing",
            "/exec",
            "/exec/ns/web",
            "/exec/ns//nginx",
            "/exec/a/b/c/d/e",
            "/containerLogs/ns/web/u1/nginx",
            "//",
            "/logsome",
        ];
        for path in missing {
            assert_eq!(Route::of(&Method::GET, path).unwrap_err().code, StatusCode::NOT_FOUND, "{path}");
        }
        for (method, path) in [(Method::POST, "/pods"), (Method::GET, "/run/ns/web/nginx"), (Method::DELETE, "/exec/ns/web/nginx")] {
            assert_eq!(Route::of(&method, path).unwrap_err().code, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
}
