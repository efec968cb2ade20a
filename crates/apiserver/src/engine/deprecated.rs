//! Versions that the reference calls deprecated, and warns of at every request.

use crate::{request::Context, server::Server};

struct Deprecated {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    warning: &'static str,
    /// The release that has them no more; empty when none is named.
    removed: &'static str,
}

/// Of what v1.35 serves by default.
const DEPRECATED: &[Deprecated] = &[
    Deprecated {
        group: "",
        version: "v1",
        resource: "endpoints",
        warning: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        removed: "",
    },
    Deprecated {
        group: "",
        version: "v1",
        resource: "componentstatuses",
        warning: "v1 ComponentStatus is deprecated in v1.19+",
        removed: "",
    },
];

/// Warns whoever asks for a deprecated version, and counts that somebody did.
pub(super) fn warn(server: &Server, context: &Context) {
    let info = &context.info;
    let found = DEPRECATED.iter().find(|old| old.resource == info.resource && old.group == info.group && old.version == info.version);
    if let Some(old) = found {
        context.warn(old.warning);
        server.metrics.requests.deprecated(info, old.removed);
    }
}
