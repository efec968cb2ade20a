//! From method and URL to verb, resource, namespace and name.

use std::borrow::Cow;

use http::{Method, Uri};

use super::query::{Query, decode};
use super::terms::{self, Term};

/// What is done, in authorization's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verb {
    /// Read one object.
    #[default]
    Get,
    /// Read many.
    List,
    /// Follow changes.
    Watch,
    /// Create one.
    Create,
    /// Replace one.
    Update,
    /// Change parts of one.
    Patch,
    /// Delete one.
    Delete,
    /// Delete many.
    DeleteCollection,
    /// A method without meaning here (TRACE, OPTIONS, …).
    Other,
}

impl Verb {
    /// Its name: `get`, `deletecollection`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Other => "",
        }
    }
}

/// A request's method and URL, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// The HTTP method.
    pub method: Method,
    /// The path, as sent.
    pub path: String,
    /// The query.
    pub query: Query,
    /// Whether the path names a resource (`/api/v1/pods`); the following fields are empty otherwise.
    pub is_resource: bool,
    /// What is done.
    pub verb: Verb,
    /// API group; empty for the core group.
    pub group: String,
    /// API version within the group.
    pub version: String,
    /// Namespace; empty for cluster-scoped and cross-namespace requests.
    pub namespace: String,
    /// Plural of the resource.
    pub resource: String,
    /// Object name, or empty.
    pub name: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// What follows the subresource in the path (`proxy/…`), with its leading slash and still encoded.
    pub rest: String,
}

impl RequestInfo {
    /// Parses a request line.
    pub fn parse(method: &Method, uri: &Uri) -> Self {
        let path = uri.path();
        let mut info = Self {
            method: method.clone(),
            path: path.to_owned(),
            query: Query::parse(uri.query().unwrap_or_default()),
            verb: verb(method),
            ..Self::default()
        };
        info.parse_resource(path);
        info
    }

    fn parse_resource(&mut self, path: &str) {
        let mut parts = Segments(path.trim_start_matches('/'));
        let group = match parts.next() {
            Some("api") => "",
            Some("apis") => match parts.next() {
                Some(group) => group,
                None => return,
            },
            _ => return,
        };
        let (Some(version), Some(first)) = (parts.next(), parts.next()) else { return };
        let mut first = first;
        let legacy_watch = first == "watch";
        if legacy_watch {
            match parts.next() {
                Some(next) => first = next,
                None => return,
            }
        }
        self.is_resource = true;
        group.clone_into(&mut self.group);
        version.clone_into(&mut self.version);
        first.clone_into(&mut self.resource);
        if first == "namespaces"
            && let Some(namespace) = parts.next()
        {
            self.namespace = decode(namespace, false);
            match parts.next() {
                None => self.name.clone_from(&self.namespace),
                Some(subresource @ ("status" | "finalize")) => {
                    self.name.clone_from(&self.namespace);
                    subresource.clone_into(&mut self.subresource);
                }
                Some(resource) => {
                    resource.clone_into(&mut self.resource);
                    self.parse_name(&mut parts);
                }
            }
        } else {
            self.parse_name(&mut parts);
        }
        self.refine_verb(legacy_watch);
    }

    fn parse_name(&mut self, parts: &mut Segments<'_>) {
        if let Some(name) = parts.next() {
            self.name = decode(name, false);
        }
        if let Some(subresource) = parts.next() {
            subresource.clone_into(&mut self.subresource);
            if parts.started() {
                self.rest = format!("/{}", parts.0);
            }
        }
    }

    /// Without a name a GET is a list or watch, and a DELETE one of many.
    fn refine_verb(&mut self, legacy_watch: bool) {
        self.verb = match self.verb {
            Verb::Get if legacy_watch => Verb::Watch,
            Verb::Get if self.name.is_empty() && self.query.flag("watch") => Verb::Watch,
            Verb::Get if self.name.is_empty() => Verb::List,
            Verb::Delete if self.name.is_empty() => Verb::DeleteCollection,
            verb => verb,
        };
        if self.verb == Verb::Watch && !self.name.is_empty() {
            // A watch of one object is one of many that selects it.
            let selector = terms::with_name(&self.name, self.query.get("fieldSelector").unwrap_or_default());
            self.query.set("fieldSelector", selector);
        }
    }

    /// The name that authorization goes by: that of the object, or the one that the field selector of a list, watch or
    /// deletion of many allows, so that who may read one object may follow it.
    pub fn authorized_name(&self) -> Cow<'_, str> {
        let of_many = matches!(self.verb, Verb::List | Verb::Watch | Verb::DeleteCollection);
        if !self.name.is_empty() || !of_many {
            return Cow::Borrowed(&self.name);
        }
        let terms = Term::parse_all(self.query.get("fieldSelector").unwrap_or_default()).unwrap_or_default();
        let named = terms.into_iter().find(|term| term.equal && term.field == "metadata.name");
        named.map(|term| Cow::Owned(term.value)).unwrap_or_default()
    }

    /// Whether the answer may take as long as it likes: watches and connections into pods. In-flight limits and
    /// timeouts do not apply.
    pub fn is_long_running(&self) -> bool {
        self.is_resource
            && (self.verb == Verb::Watch
                || matches!(self.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy")
                || (self.subresource == "log" && self.query.flag("follow")))
    }
}

fn verb(method: &Method) -> Verb {
    match *method {
        Method::GET | Method::HEAD => Verb::Get,
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        _ => Verb::Other,
    }
}

/// The rest of a path, taken apart segment by segment.
struct Segments<'a>(&'a str);

impl<'a> Segments<'a> {
    /// The next segment; `None` at the end or for an empty one.
    fn next(&mut self) -> Option<&'a str> {
        let (segment, rest) = match self.0.split_once('/') {
            Some((segment, "")) => (segment, ""),
            Some((segment, _)) => (segment, self.0.get(segment.len() + 1..).unwrap_or_default()),
            None => (self.0, ""),
        };
        self.0 = rest;
        (!segment.is_empty()).then_some(segment)
    }

    fn started(&self) -> bool {
        !self.0.is_empty()
    }
}
