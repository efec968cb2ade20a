//! Runtime handlers: what a RuntimeClass may name.
//!
//! The empty name and `corten` are the runtime built into the shim; every other one is an OCI runtime's program that the node's
//! configuration names. The shim drives both the same way, so stdio, logs, exit codes and recovery do not depend on the choice.

use std::collections::BTreeMap;

use corten_shim::protocol::Handler;

use crate::error::{Error, Result};

/// The names of the built-in runtime; the empty one is the default.
const BUILT_IN: [&str; 2] = ["", "corten"];

/// All handlers of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handlers {
    programs: BTreeMap<String, Handler>,
}

impl Handlers {
    /// Checks what the configuration says.
    pub(crate) fn new(programs: BTreeMap<String, Handler>) -> Result<Handlers> {
        for (name, handler) in &programs {
            if BUILT_IN.contains(&name.as_str()) {
                return Err(Error::Invalid(format!("runtime handler {name:?} is built in")));
            }
            if !handler.binary.is_absolute() {
                return Err(Error::Invalid(format!("runtime handler {name:?}: {} is not an absolute path", handler.binary.display())));
            }
        }
        Ok(Handlers { programs })
    }

    /// All names, the default first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        BUILT_IN.into_iter().chain(self.programs.keys().map(String::as_str))
    }

    /// The program of a handler; `None` is the built-in runtime.
    pub(crate) fn find(&self, name: &str) -> Result<Option<&Handler>> {
        if BUILT_IN.contains(&name) {
            return Ok(None);
        }
        self.programs.get(name).map(Some).ok_or_else(|| Error::Invalid(format!("no runtime for {name:?} is configured")))
    }
}
