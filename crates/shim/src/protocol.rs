//! The protocol on a shim's unix socket.
//!
//! Either side sends *frames*: four bytes little-endian length, then that many bytes of JSON. The runtime sends
//! [`Request`]s, the shim answers each with one [`Reply`] of the same id and sends [`Event`]s in between; both as [`Message`].
//! File descriptors travel with the first byte of a frame as `SCM_RIGHTS`; [`Message::fds`] says how many belong to it.
//!
//! The protocol only grows: a daemon drives shims that an older one started. New calls, and new fields with
//! `#[serde(default)]`, are allowed; nothing is renamed, removed or given another meaning. An unknown call is answered with
//! [`FaultCode::Unsupported`], an unknown event is ignored.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The version that this source speaks; told in [`Call::Hello`] and its answer.
pub const VERSION: u32 = 1;

/// A frame longer than this is refused and its connection closed.
pub const MAX_FRAME: usize = 8 << 20;

/// How a shim is started: the last argument of `corten-shim serve SOCKET SETTINGS`, as JSON. The shim
/// finds the socket listening as its standard input, and removes it from its place when it ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Serve {
    /// The sandbox, for people who read the process list.
    pub sandbox: String,
    /// Whether the pod's containers share a PID namespace, which the shim then creates with a process that holds it.
    #[serde(default)]
    pub pause: bool,
    /// The pod's user namespace, which the PID namespace then belongs to.
    #[serde(default)]
    pub userns: Option<PathBuf>,
    /// Directories of the cgroup that the shim moves itself to, so that it does not end with the service that started it.
    #[serde(default)]
    pub cgroups: Vec<PathBuf>,
}

/// An OCI runtime program that containers are made with instead of the shim's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handler {
    /// The program.
    pub binary: PathBuf,
    /// Further options, put before the verb.
    #[serde(default)]
    pub options: Vec<String>,
}

/// One call of the runtime.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the runtime, repeated in the reply.
    pub id: u64,
    /// What to do.
    #[serde(flatten)]
    pub call: Call,
}

/// What the runtime can ask for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// First on every connection. Answered with [`Answer::Hello`].
    Hello {
        /// The caller's [`VERSION`].
        version: u32,
    },
    /// Creates and starts a container. Answered with [`Answer::Started`].
    Run(Run),
    /// Sends a signal to a container's first process, or to all of its processes.
    Signal {
        /// The container.
        container: String,
        /// The signal's number.
        signal: i32,
        /// Every process in the container's cgroup instead of the first alone.
        #[serde(default)]
        all: bool,
    },
    /// Starts one more process in a container. Answered with [`Answer::Started`] and the descriptors of its stdio: with a terminal
    /// the master alone, else (if asked for) the writing end of stdin, then the reading ends of stdout and stderr.
    Exec(Exec),
    /// Kills an exec session's process.
    KillExec {
        /// The session's name from [`Exec::session`].
        session: String,
    },
    /// Joins the streams of a running container. Answered with [`Answer::Done`] and the descriptors asked for, in the order stdin, stdout, stderr.
    Attach {
        /// The container.
        container: String,
        /// The writing end of stdin (the terminal's master, if there is one).
        stdin: bool,
        /// What the container writes to stdout from now on.
        stdout: bool,
        /// What the container writes to stderr from now on.
        stderr: bool,
    },
    /// Sets the size of a container's terminal.
    Resize {
        /// The container.
        container: String,
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// Closes a container's stdin, so that it reads end of file.
    CloseStdin {
        /// The container.
        container: String,
    },
    /// Opens the log file anew, after the old one was renamed away.
    ReopenLog {
        /// The container.
        container: String,
    },
    /// All containers that the shim knows. Answered with [`Answer::Containers`].
    List,
    /// Forgets a container that has exited.
    Forget {
        /// The container.
        container: String,
    },
    /// Kills what still runs, then ends the shim. Answered before it ends.
    Shutdown,
}

/// A container to create and start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The container's id.
    pub container: String,
    /// The OCI bundle (`config.json`); the shim keeps `oci/` and writes [`Exit`] to `exit.json` here.
    pub dir: PathBuf,
    /// The CRI log file; without one, output is thrown away.
    pub log: Option<PathBuf>,
    /// Whether the container has a terminal.
    pub tty: bool,
    /// Whether stdin stays open for attaching clients.
    pub stdin: bool,
    /// The file with an `oom_kill` line (v1 `memory.oom_control`, v2 `memory.events`).
    pub oom: Option<PathBuf>,
    /// The `cgroup.procs` file that lists every process of the container.
    pub procs: Option<PathBuf>,
    /// The program that makes the container; without one, the shim does.
    #[serde(default)]
    pub handler: Option<Handler>,
}

/// One more process in a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exec {
    /// The container.
    pub container: String,
    /// The session's name, chosen by the runtime.
    pub session: String,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Whether to give it a terminal.
    pub tty: bool,
    /// Whether it gets a stdin; else it reads end of file at once.
    pub stdin: bool,
}

/// What a shim sends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    /// How many descriptors came with this frame.
    #[serde(default)]
    pub fds: u32,
    /// A reply or an event.
    #[serde(flatten)]
    pub body: Body,
}

/// The two kinds of message.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// The answer to a request.
    Reply(Reply),
    /// Something that happened.
    Event(Event),
}

/// The answer to the request of the same id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    /// The request's id.
    pub id: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// Success or failure of a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Ok(Answer),
    /// It was not.
    Err(Fault),
}

/// What a successful call returns.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Call::Hello`].
    Hello {
        /// The shim's [`VERSION`].
        version: u32,
        /// The shim's process id.
        pid: i32,
        /// The process that holds the pod's PID namespace, if the pod shares one and it is alive.
        pause: Option<i32>,
    },
    /// A process runs.
    Started {
        /// Its process id, as the node sees it.
        pid: i32,
    },
    /// To [`Call::List`].
    Containers(Vec<Known>),
    /// Nothing more to say.
    Done,
}

/// A container as the shim knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Known {
    /// The container's id.
    pub container: String,
    /// Its first process, while it runs.
    pub pid: Option<i32>,
    /// How it ended, if it has.
    pub exit: Option<Exit>,
}

/// Why a call failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// The kind of failure.
    pub code: FaultCode,
    /// What happened, for people.
    pub message: String,
}

/// The kinds of failure that a caller tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// No such container or session.
    NotFound,
    /// It exists already.
    Exists,
    /// It is not in a state that allows the call.
    State,
    /// The kernel or the file system refused.
    Failed,
    /// A call that this shim does not know.
    #[serde(other)]
    Unsupported,
}

/// Something that happened without being asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A container's first process runs.
    Started {
        /// The container.
        container: String,
        /// Its first process.
        pid: i32,
    },
    /// A container's first process ended; its log and its exit file are complete.
    Exited {
        /// The container.
        container: String,
        /// How.
        exit: Exit,
    },
    /// An exec session's process ended. Sent only to the connection that started it.
    ExecExited {
        /// The session.
        session: String,
        /// Its exit code, 128 + signal if killed.
        code: i32,
    },
}

/// How a container ended; also the content of `exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, 128 + signal if killed.
    pub code: i32,
    /// Whether the kernel killed a process of the container for want of memory.
    pub oom: bool,
    /// Nanoseconds since 1970.
    pub finished_at: i64,
}

/// What a container's directory holds in [`PostStop::FILE`] if something is to run after its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostStop {
    /// The state that each hook gets on its standard input, as the OCI runtime specification has it.
    pub state: serde_json::Value,
    /// The hooks, as the container's OCI spec has them.
    pub hooks: Vec<serde_json::Value>,
}

impl PostStop {
    /// The file's name.
    pub const FILE: &str = "poststop.json";
    /// Its name once somebody has begun to run the hooks.
    const CLAIMED: &str = "poststop.begun.json";

    /// Opens the list of a container that has ended, in its directory, for the one who runs the hooks: runtime and shim may both come to
    /// think that they are to, and each hook runs once. `None` for everybody else, and where there are no hooks.
    ///
    /// # Errors
    ///
    /// If the file cannot be renamed or opened.
    pub fn claim(dir: &Path) -> io::Result<Option<File>> {
        let claimed = dir.join(PostStop::CLAIMED);
        match fs::rename(dir.join(PostStop::FILE), &claimed) {
            Ok(()) => File::open(claimed).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
