//! `/exec`, `/attach`, `/portForward`: asks the runtime for a session's address.

use corten_cri::v1;

use super::Node;
use super::answer::Refusal;
use super::query::Query;
use super::route::{ContainerPath, PodPath};
use crate::runtime::view::PodView;
use crate::runtime::{labels, request};

/// The streams that a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Streams {
    /// The names are the kubelet's (`input`); those of the API server (`stdin`) are understood too.
    fn parse(query: &Query) -> Result<Self, Refusal> {
        let wants = |names: &[&str]| names.iter().any(|name| matches!(query.get(name), Some("1" | "true")));
        let tty = wants(&["tty"]);
        let (stdin, stdout) = (wants(&["input", "stdin"]), wants(&["output", "stdout"]));
        // A terminal has one output only.
        let stderr = wants(&["error", "stderr"]) && !tty;
        if !stdin && !stdout && !stderr {
            return Err(Refusal::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
        }
        Ok(Self { stdin, stdout, stderr, tty })
    }
}

/// The address of a new process in a container.
pub(super) async fn exec(node: &Node, path: ContainerPath<'_>, query: &Query) -> Result<String, Refusal> {
    let streams = Streams::parse(query)?;
    let message = v1::ExecRequest {
        container_id: running(node, path).await?,
        cmd: query.all("command").map(str::to_owned).collect(),
        tty: streams.tty,
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
    };
    Ok(node.runtime.clients.runtime.clone().exec(request(message)).await?.into_inner().url)
}

/// The address of a container's main process.
pub(super) async fn attach(node: &Node, path: ContainerPath<'_>, query: &Query) -> Result<String, Refusal> {
    let streams = Streams::parse(query)?;
    let message = v1::AttachRequest {
        container_id: running(node, path).await?,
        tty: streams.tty,
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
    };
    Ok(node.runtime.clients.runtime.clone().attach(request(message)).await?.into_inner().url)
}

/// The address of connections to a pod's ports.
pub(super) async fn port_forward(node: &Node, path: PodPath<'_>, query: &Query) -> Result<String, Refusal> {
    let port = ports(query)?;
    let view = look(node, path).await?;
    let sandbox = view.and_then(|view| view.sandbox().filter(|sandbox| sandbox.ready).cloned());
    let sandbox = sandbox.ok_or_else(|| Refusal::internal(format!("pod not found (\"{}_{}\")", path.name, path.namespace)))?;
    let message = v1::PortForwardRequest { pod_sandbox_id: sandbox.id, port };
    Ok(node.runtime.clients.runtime.clone().port_forward(request(message)).await?.into_inner().url)
}

/// The ports named in the query. Other protocols than WebSocket name them in the connection, so there may be none.
fn ports(query: &Query) -> Result<Vec<i32>, Refusal> {
    let parse = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(i32::from(port)),
        Ok(_) => Err(Refusal::bad_request(format!("port {text:?} must be > 0"))),
        Err(error) => Err(Refusal::bad_request(format!("unable to parse {text:?} as a port: {error}"))),
    };
    query.all("port").flat_map(|list| list.split(',')).map(parse).collect()
}

/// The id of the container that runs under a name. One question to the runtime answers that.
pub(super) async fn running(node: &Node, path: ContainerPath<'_>) -> Result<String, Refusal> {
    let missing = || Refusal::internal(format!("container not found ({:?})", path.container));
    let uid = uid(node, path.pod)?.ok_or_else(missing)?;
    let containers = node.runtime.list_containers([(labels::POD_UID.to_owned(), uid)].into()).await?;
    newest_running(containers, path.container).ok_or_else(missing)
}

fn newest_running(containers: Vec<v1::Container>, name: &str) -> Option<String> {
    let named = |container: &v1::Container| container.metadata.as_ref().is_some_and(|metadata| metadata.name == name);
    let running = containers.into_iter().filter(|one| one.state() == v1::ContainerState::ContainerRunning && named(one));
    running.max_by_key(|container| container.created_at).map(|container| container.id)
}

/// The uid of a pod; `None` if it is not the incarnation that was asked for.
fn uid(node: &Node, path: PodPath<'_>) -> Result<Option<String>, Refusal> {
    let pod = node.pods.find(path.namespace, path.name).ok_or_else(|| Refusal::not_found("pod does not exist"))?;
    let uid = crate::pod::uid(&pod);
    Ok(path.uid.is_none_or(|wanted| wanted == uid).then(|| uid.to_owned()))
}

/// What the runtime has of a pod; `None` if it is not the incarnation that was asked for.
async fn look(node: &Node, path: PodPath<'_>) -> Result<Option<PodView>, Refusal> {
    match uid(node, path)? {
        Some(uid) => Ok(Some(node.runtime.view(&uid).await?)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_go_by_two_names() {
        let of = |stdin, stdout, stderr, tty| Some(Streams { stdin, stdout, stderr, tty });
        let cases = [
            ("input=1&output=1&error=1", of(true, true, true, false)),
            ("stdin=true&stdout=true&stderr=true", of(true, true, true, false)),
            ("output=1&command=ls", of(false, true, false, false)),
            ("input=1&output=1&error=1&tty=1", of(true, true, false, true)),
            ("output=0&error=1", of(false, false, true, false)),
            ("", None),
            ("tty=1&error=1", None),
            ("input=false", None),
        ];
        for (query, expected) in cases {
            assert_eq!(Streams::parse(&Query::parse(query)).ok(), expected, "{query}");
        }
    }

    #[test]
    fn the_newest_that_runs_is_meant() {
        let container = |id: &str, name: &str, created_at, state: v1::ContainerState| v1::Container {
            id: id.to_owned(),
            metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            created_at,
            state: state.into(),
            ..Default::default()
        };
        let (running, exited) = (v1::ContainerState::ContainerRunning, v1::ContainerState::ContainerExited);
        let known = vec![
            container("0", "a", 1, running),
            container("1", "a", 2, running),
            container("2", "a", 3, exited),
            container("3", "b", 4, exited),
        ];
        assert_eq!(newest_running(known.clone(), "a").as_deref(), Some("1"));
        assert_eq!(newest_running(known.clone(), "b"), None);
        assert_eq!(newest_running(known, "c"), None);
    }

    #[test]
    fn ports_are_numbers() {
        let of = |query| ports(&Query::parse(query)).map_err(|refusal| refusal.words);
        assert_eq!(of(""), Ok(vec![]));
        assert_eq!(of("port=80&port=8080,443"), Ok(vec![80, 8080, 443]));
        assert_eq!(of("port=0"), Err("port \"0\" must be > 0".to_owned()));
        for query in ["port=", "port=http", "port=65536", "port=-1"] {
            assert!(of(query).is_err(), "{query}");
        }
    }
}
