//! What the handlers share: reading a body of the right kind, answering with an object.

use std::sync::Arc;

use corten_schema::{Schema, Value, json};
use http::StatusCode;
use http::request::Parts;
use parking_lot::Mutex;

use crate::body::{self, Body, Response};
use crate::engine::{BodyObject, Kind, WriteOptions, check_namespace, decode_body};
use crate::http::{Accepted, Offer, object_response};
use crate::request::{Call, Context, Verb};
use crate::server::Server;
use crate::status::ApiError;

/// A request whose body may still be unread.
pub(super) struct Exchange {
    pub(super) server: Arc<Server>,
    pub(super) context: Arc<Context>,
    /// The kind of the parent object, or the kind itself where it is not stored.
    pub(super) kind: Arc<Kind>,
    pub(super) parts: Parts,
    // Bodies can be sent to other threads, not shared with them; an exchange is shared.
    body: Mutex<Option<Body>>,
}

impl Exchange {
    pub(super) fn new(call: Call) -> Result<Self, ApiError> {
        let kind = Arc::clone(call.server.kinds.of(&call.resource)?);
        let (parts, body) = call.request.into_parts();
        Ok(Self { server: call.server, context: call.context, kind, parts, body: Mutex::new(Some(body)) })
    }

    /// The namespace in the path.
    pub(super) fn namespace(&self) -> &str {
        &self.context.info.namespace
    }

    /// The name in the path.
    pub(super) fn name(&self) -> &str {
        &self.context.info.name
    }

    /// The parent object as it is now.
    pub(super) fn parent(&self) -> Result<Value, ApiError> {
        let namespace = if self.kind.served.namespaced { self.namespace() } else { "" };
        self.server.read(&self.kind, namespace, self.name())
    }

    /// 405 for anything but a create.
    pub(super) fn must_create(&self) -> Result<(), ApiError> {
        match self.context.info.verb {
            Verb::Create => Ok(()),
            verb => Err(ApiError::method_not_supported(&self.kind.group_resource(), verb.as_str())),
        }
    }

    /// The options in the query; `name` is what errors call them.
    pub(super) fn options(&self, name: &str) -> Result<WriteOptions, ApiError> {
        WriteOptions::parse(&self.context.info, name)
    }

    /// The bytes of the body.
    pub(super) async fn bytes(&self) -> Result<bytes::Bytes, ApiError> {
        let body = self.body.lock().take();
        match body {
            Some(body) => body::read(body).await,
            None => Ok(bytes::Bytes::new()),
        }
    }

    /// The body as an object of the kind that is exchanged here, with its defaults.
    pub(super) async fn object(&self, options: WriteOptions) -> Result<Value, ApiError> {
        let bytes = self.bytes().await?;
        let row = Arc::clone(&self.kind.served);
        let subresource = &self.context.info.subresource;
        let (schema, group, version, kind): (&Schema, &str, &str, &str) = match row.subresource(subresource) {
            Some(sub) => (&sub.schema, &sub.group, &sub.version, &sub.kind),
            None => (&row.schema, &row.group, &row.version, &row.kind),
        };
        let expected = BodyObject { schema, group, version, kind };
        let mut object = decode_body(expected, &self.parts.headers, &bytes, options.field_validation, &self.context)?;
        corten_schema::defaults::apply_to(schema, &mut object);
        if self.context.info.verb == Verb::Create {
            check_namespace(&mut object, self.namespace())?;
        }
        Ok(object)
    }

    /// An answer with an object, as its kind prints it.
    pub(super) fn answer(&self, code: StatusCode, object: &Value) -> Result<Response, ApiError> {
        let accepted = Accepted::decide(&self.parts.headers, Offer::Documents)?;
        object_response(accepted, code, json::encode(object).into())
    }

    /// An answer that says only that it was done.
    pub(super) fn done(&self) -> Result<Response, ApiError> {
        let status = corten_schema::value!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "code": 201,
        });
        self.answer(StatusCode::CREATED, &status)
    }
}
