//! From a request to the verb that serves it.

use std::sync::Arc;

use corten_schema::{Value, Verb as RowVerb};
use http::{HeaderMap, Method, Request, StatusCode};

use super::{
    Answer, Creation, DeleteOptions, Kind, Part, Target, WriteOptions, apply,
    decode::{BodyObject, decode_body},
    delete, deprecated,
    list::ListOptions,
    managed,
    patch::{Patch, check_name, check_namespace},
    table::Include,
    watch::{Handshake, WatchOptions},
};
use crate::{
    authz,
    body::{self, Body, Response},
    http::{Accepted, Encoding, Offer, View},
    request::{Call, Context, Verb},
    server::Server,
    status::ApiError,
    subresources,
};

/// The media types of watches, in the reference's order.
const STREAMED: &[&str] = &["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

/// Answers a request to the resource API.
pub(crate) async fn serve(server: Arc<Server>, context: Arc<Context>, request: Request<Body>) -> Result<Response, ApiError> {
    let kind = Arc::clone(server.kinds.requested(&context.info)?);
    let info = &context.info;
    if info.method == Method::HEAD && info.subresource != "proxy" {
        // It reads as far as authorization is concerned, but only what stands behind a proxy answers it.
        return Err(ApiError::method_not_allowed());
    }
    deprecated::warn(&server, &context);
    if kind.served.namespaced && info.namespace.is_empty() && !matches!(info.verb, Verb::List | Verb::Watch) {
        // A namespaced object without a namespace has no path.
        return Err(if info.name.is_empty() { ApiError::method_not_allowed() } else { ApiError::no_such_resource() });
    }
    if !info.subresource.is_empty() {
        return subresource(server, kind, context, request).await;
    }
    if !kind.served.is_stored() {
        return virtual_resource(server, &kind, context, request).await;
    }
    if !allowed(&kind, info.verb) {
        return Err(ApiError::method_not_supported(&kind.group_resource(), info.verb.as_str()));
    }
    let (mut parts, body) = request.into_parts();
    let handshake = if info.verb == Verb::Watch { Handshake::asked(&mut parts)? } else { None };
    let verb = Verbs { server: &server, kind: &kind, context: &context, headers: &parts.headers };
    match info.verb {
        Verb::Get => {
            let revision = info.query.get("resourceVersion");
            server.get(verb.answer()?, &info.namespace, &info.name, revision).await
        }
        Verb::List => {
            let options = ListOptions::parse(&info.query, &kind)?;
            server.list(verb.answer()?, verb.namespace(), &options).await
        }
        Verb::Watch => {
            let options = WatchOptions::parse(&info.query, &kind)?;
            let answer = verb.answer()?;
            if answer.accepted.encoding == Encoding::Yaml {
                // YAML has no frames.
                return Err(ApiError::not_acceptable(STREAMED));
            }
            let (accepted, include) = (answer.accepted, answer.include);
            let watching = server.metrics.requests.watch(info);
            let response = server.watch(&kind, accepted, include, verb.namespace(), options, watching).await?;
            Ok(match handshake {
                Some(handshake) => handshake.accept(response, accepted.encoding, server.ending.clone()),
                None => response,
            })
        }
        Verb::Create => verb.create(body).await,
        Verb::Update => verb.update(body, Part::Main, "").await,
        Verb::Patch => verb.patch(body, Part::Main, "").await,
        Verb::Delete => verb.delete(body).await,
        Verb::DeleteCollection => verb.delete_collection(body).await,
        Verb::Other => Err(ApiError::method_not_allowed()),
    }
}

/// Subresources with behaviour of their own go to their modules; the rest reads and writes the object itself.
async fn subresource(server: Arc<Server>, kind: Arc<Kind>, context: Arc<Context>, request: Request<Body>) -> Result<Response, ApiError> {
    let info = &context.info;
    let storage = &kind.storage;
    if let Some(handler) = subresources::find(&storage.group, &storage.plural, &info.subresource) {
        let resource = Arc::clone(&kind.served);
        return handler(Call { server, context, resource, request }).await;
    }
    if kind.served.subresource(&info.subresource).is_none() {
        return Err(ApiError::no_such_resource());
    }
    let name = info.subresource.clone();
    let part = if matches!(&*name, "status" | "approval") { Part::Status } else { Part::Main };
    let (parts, body) = request.into_parts();
    let verb = Verbs { server: &server, kind: &kind, context: &context, headers: &parts.headers };
    match info.verb {
        Verb::Get => {
            let revision = info.query.get("resourceVersion");
            server.get(verb.answer()?, &info.namespace, &info.name, revision).await
        }
        Verb::Update => verb.update(body, part, &name).await,
        Verb::Patch => verb.patch(body, part, &name).await,
        verb => Err(ApiError::method_not_supported(&kind.group_resource(), verb.as_str())),
    }
}

/// Reviews: answered by the module that is registered for the empty subresource.
async fn virtual_resource(server: Arc<Server>, kind: &Kind, context: Arc<Context>, request: Request<Body>) -> Result<Response, ApiError> {
    let row = &kind.storage;
    match subresources::find(&row.group, &row.plural, "") {
        Some(handler) => handler(Call { server, context, resource: Arc::clone(&kind.served), request }).await,
        None => Err(ApiError::method_not_supported(&kind.group_resource(), context.info.verb.as_str())),
    }
}

fn allowed(kind: &Kind, verb: Verb) -> bool {
    let row = match verb {
        Verb::Get => RowVerb::Get,
        Verb::List => RowVerb::List,
        Verb::Watch => RowVerb::Watch,
        Verb::Create => RowVerb::Create,
        Verb::Update => RowVerb::Update,
        Verb::Patch => RowVerb::Patch,
        Verb::Delete => RowVerb::Delete,
        Verb::DeleteCollection => RowVerb::DeleteCollection,
        Verb::Other => return false,
    };
    kind.served.allows(row)
}

/// What the verbs of one request need.
struct Verbs<'a> {
    server: &'a Arc<Server>,
    kind: &'a Kind,
    context: &'a Context,
    headers: &'a HeaderMap,
}

impl<'a> Verbs<'a> {
    fn answer(&self) -> Result<Answer<'a>, ApiError> {
        let mut accepted = Accepted::decide(self.headers, Offer::Objects)?;
        let query = &self.context.info.query;
        accepted.pretty |= query.flag("pretty");
        let include = if accepted.view == View::Table { Include::parse(query)? } else { Include::default() };
        Ok(Answer { kind: self.kind, accepted, include })
    }

    /// The namespace that the request is limited to: none for cluster-scoped kinds (of which `namespaces` has its own
    /// name there).
    fn namespace(&self) -> &'a str {
        if self.kind.served.namespaced { &self.context.info.namespace } else { "" }
    }

    async fn create(&self, body: Body) -> Result<Response, ApiError> {
        let options = WriteOptions::parse(&self.context.info, "CreateOptions")?;
        let answer = self.answer()?;
        let bytes = body::read(body).await?;
        let expected = BodyObject::from(self.kind);
        let object = decode_body(expected, self.headers, &bytes, options.field_validation, self.context)?;
        let namespace = self.namespace();
        let creation = Creation { context: self.context, kind: self.kind, namespace, options };
        let object = self.server.create(creation, object).await?;
        self.written(answer, StatusCode::CREATED, object, options)
    }

    async fn update(&self, body: Body, part: Part, subresource: &str) -> Result<Response, ApiError> {
        let options = WriteOptions::parse(&self.context.info, "UpdateOptions")?;
        let answer = self.answer()?;
        let bytes = body::read(body).await?;
        let (kind, namespace) = (self.kind, self.namespace());
        let expected = BodyObject::from(kind);
        let mut object = decode_body(expected, self.headers, &bytes, options.field_validation, self.context)?;
        self.check_identity(&mut object)?;
        managed::mark_reset_in(&bytes, &mut object);
        let name = self.context.info.name.as_str();
        let creates = part == Part::Main && subresource.is_empty() && kind.strategy.creates_on_update();
        if creates && self.server.entry(kind, namespace, name).is_err() {
            self.authorize_create()?;
            let creation = Creation { context: self.context, kind, namespace, options };
            object.metadata_mut().remove("resourceVersion");
            return answer.object(StatusCode::CREATED, self.server.create(creation, object).await?);
        }
        corten_schema::apply_defaults(&kind.served, &mut object);
        if !kind.is_served_as_stored() {
            object = corten_schema::convert(&kind.served, &kind.storage, object);
        }
        let target = self.target(part, subresource, options);
        let object = self
            .server
            .modify(&target, |new, _effects| {
                *new = object.clone();
                Ok(())
            })
            .await?;
        self.written(answer, StatusCode::OK, object, options)
    }

    /// Whoever creates by PUT must be allowed to create.
    fn authorize_create(&self) -> Result<(), ApiError> {
        let info = &self.context.info;
        let attributes = authz::Attributes {
            namespace: &info.namespace,
            name: &info.name,
            path: &info.path,
            ..authz::Attributes::resource(&self.context.user, "create", &info.group, &info.resource)
        };
        let decision = self.server.authorizer.authorize(&attributes);
        if decision.allowed() { Ok(()) } else { Err(authz::forbidden(&attributes, decision.reason())) }
    }

    async fn patch(&self, body: Body, part: Part, subresource: &str) -> Result<Response, ApiError> {
        if apply::is_asked(self.headers) {
            return self.apply(body, part, subresource).await;
        }
        let options = WriteOptions::parse_patch(&self.context.info, false)?;
        let answer = self.answer()?;
        let bytes = body::read(body).await?;
        let patch = Patch::parse(&self.kind.served.schema, self.headers, &bytes)?;
        let target = self.target(part, subresource, options);
        let object = self
            .server
            .modify(&target, |new, _effects| {
                *new = patch.apply(self.kind, std::mem::take(new), options, self.context)?;
                Ok(())
            })
            .await?;
        self.written(answer, StatusCode::OK, object, options)
    }

    /// Applies a configuration, to nothing too.
    async fn apply(&self, body: Body, part: Part, subresource: &str) -> Result<Response, ApiError> {
        let (context, kind, namespace) = (self.context, self.kind, self.namespace());
        let options = WriteOptions::parse_patch(&context.info, true)?;
        let answer = self.answer()?;
        let bytes = body::read(body).await?;
        let configuration = apply::Configuration::parse(&kind.served.schema, &bytes, options, context)?;
        let row = &kind.served;
        configuration.check(&row.group, &row.version, &row.kind)?;
        let creates = part == Part::Main && subresource.is_empty();
        let name = context.info.name.as_str();
        // Somebody else may create or delete the object in between.
        for _ in 0..3 {
            if creates && self.server.entry(kind, namespace, name).is_err() {
                let mut object = configuration.apply(context, kind, subresource, None)?;
                if !object.uid().is_empty() {
                    let uid = object.uid();
                    let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                    return Err(ApiError::conflict(&kind.group_resource(), name, why));
                }
                self.check_identity(&mut object)?;
                self.authorize_create()?;
                let creation = Creation { context, kind, namespace, options };
                match self.server.create(creation, object).await {
                    Err(error) if error.reason == "AlreadyExists" => continue,
                    object => return answer.object(StatusCode::CREATED, object?),
                }
            }
            let target = self.target(part, subresource, options);
            let changed = self.server.modify(&target, |new, _effects| {
                let mut object = configuration.apply(context, kind, subresource, Some(std::mem::take(new)))?;
                self.check_identity(&mut object)?;
                *new = apply::complete(kind, object);
                Ok(())
            });
            match changed.await {
                Err(error) if creates && error.code == StatusCode::NOT_FOUND => {}
                object => return answer.object(StatusCode::OK, object?),
            }
        }
        Err(ApiError::modified(&kind.group_resource(), name))
    }

    /// The answer to a write. Its bytes are in the ledger, unless it was only tried.
    fn written(&self, answer: Answer<'_>, code: StatusCode, object: Value, options: WriteOptions) -> Result<Response, ApiError> {
        if options.dry_run {
            return answer.object(code, object);
        }
        answer.written(&self.server.ledger.snapshot(), code, object)
    }

    async fn delete(&self, body: Body) -> Result<Response, ApiError> {
        let bytes = body::read(body).await?;
        let options = DeleteOptions::parse(&self.context.info.query, self.headers, &bytes)?;
        let answer = self.answer()?;
        let name = &self.context.info.name;
        let done = self.server.delete(self.context, self.kind, self.namespace(), name, &options).await?;
        delete::deleted(answer, &options, done)
    }

    async fn delete_collection(&self, body: Body) -> Result<Response, ApiError> {
        let bytes = body::read(body).await?;
        let query = &self.context.info.query;
        let options = DeleteOptions::parse(query, self.headers, &bytes)?;
        let list = ListOptions::parse(query, self.kind)?;
        self.server.delete_collection(self.answer()?, self.context, self.namespace(), &list, &options).await
    }

    fn target<'t>(&'t self, part: Part, subresource: &'t str, options: WriteOptions) -> Target<'t> {
        Target {
            context: self.context,
            kind: self.kind,
            namespace: self.namespace(),
            name: &self.context.info.name,
            part,
            subresource,
            options,
        }
    }

    /// Name and namespace in a body must be those in the URL; a missing namespace is taken from there.
    fn check_identity(&self, object: &mut Value) -> Result<(), ApiError> {
        check_namespace(object, self.namespace())?;
        check_name(object, &self.context.info.name)
    }
}
