//! From objects to answers, in the form that the client accepts.

use bytes::{Bytes, BytesMut};
use corten_schema::{Value, convert, json, proto};
use http::StatusCode;

use super::{Kind, commit::set_revision, table};
use crate::{
    body::Response,
    http::{Accepted, Encoding, View, encoded_response, object_response},
    ledger::{Entry, Snapshot},
    status::ApiError,
};
use corten_store::Revision;

/// How the objects of one request are shown.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    /// Their kind.
    pub(crate) kind: &'a Kind,
    /// What the client accepts.
    pub(crate) accepted: Accepted,
    /// What a table's rows carry of the object.
    pub(crate) include: table::Include,
}

impl Answer<'_> {
    /// An answer with an object in storage version, `metadata.resourceVersion` set.
    ///
    /// # Errors
    ///
    /// When it cannot be encoded.
    pub(crate) fn object(&self, code: StatusCode, object: Value) -> Result<Response, ApiError> {
        match self.accepted.encoding {
            Encoding::Protobuf => Ok(encoded_response(self.accepted, code, self.protobuf(object)?.into())),
            Encoding::Json | Encoding::Yaml => object_response(self.accepted, code, self.json(object)?),
        }
    }

    /// An answer with an object of the ledger.
    ///
    /// # Errors
    ///
    /// When it cannot be read or encoded.
    pub(crate) fn entry(&self, code: StatusCode, entry: &Entry) -> Result<Response, ApiError> {
        if self.is_stored_json() {
            return object_response(self.accepted, code, entry.json());
        }
        if self.accepted.encoding != Encoding::Protobuf {
            return object_response(self.accepted, code, self.shown(entry, entry.revision())?);
        }
        self.object(code, read(entry, entry.revision())?)
    }

    /// An answer with an object that was just written. Its bytes are in `snapshot` already, unless somebody has changed it
    /// since.
    ///
    /// # Errors
    ///
    /// When it cannot be encoded.
    pub(crate) fn written(&self, snapshot: &Snapshot, code: StatusCode, object: Value) -> Result<Response, ApiError> {
        if self.is_stored_json() {
            let key = self.kind.key(object.namespace(), object.name());
            let revision: Option<Revision> = object.resource_version().parse().ok();
            if let Some(entry) = snapshot.get(&key).filter(|entry| Some(entry.revision()) == revision) {
                return object_response(self.accepted, code, entry.json());
            }
        }
        self.object(code, object)
    }

    /// The JSON of an entry in the wanted form, at a revision.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn shown(&self, entry: &Entry, revision: Revision) -> Result<Bytes, ApiError> {
        if self.accepted.view == View::Metadata {
            let mut out = BytesMut::with_capacity(entry.json_len());
            if entry.write_metadata(revision, &mut out) {
                return Ok(out.freeze());
            }
        }
        self.json(read(entry, revision)?)
    }

    /// Whether objects are shown just as they are stored, so that their bytes need not be decoded.
    pub(crate) fn is_stored_json(&self) -> bool {
        self.accepted.view == View::Object && self.accepted.encoding != Encoding::Protobuf && self.kind.is_served_as_stored()
    }

    /// The protobuf of an object (in storage version, with its resourceVersion) in the wanted form.
    ///
    /// # Errors
    ///
    /// When the form has no protobuf.
    pub(crate) fn protobuf(&self, object: Value) -> Result<Vec<u8>, ApiError> {
        let schema = match self.accepted.view {
            View::Object => return Ok(proto::encode(&self.kind.served.schema, &served(self.kind, object))),
            View::Metadata => corten_schema::table().meta("PartialObjectMetadata"),
            View::Table => None,
        };
        let schema = schema.ok_or_else(|| ApiError::internal("this form has no protobuf"))?;
        Ok(proto::encode(&schema, &metadata_only(object)))
    }

    /// The JSON of an object (in storage version, with its resourceVersion) in the wanted form.
    ///
    /// # Errors
    ///
    /// When the form does not exist.
    pub(crate) fn json(&self, object: Value) -> Result<Bytes, ApiError> {
        let bytes = match self.accepted.view {
            View::Object => json::encode(&served(self.kind, object)),
            View::Metadata => json::encode(&metadata_only(object)),
            View::Table => {
                let revision = object.resource_version().to_owned();
                table::document(self, &revision, None, &[object], table::Columns::Told)
            }
        };
        Ok(bytes.into())
    }

    /// Appends the JSON of an entry as an item of a list, at the given revision.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn write_item(&self, entry: &Entry, revision: Revision, out: &mut BytesMut) -> Result<(), ApiError> {
        if self.is_stored_json() {
            entry.write_item(revision, out);
        } else if self.accepted.view == View::Object {
            let mut object = served(self.kind, read(entry, revision)?);
            object.remove("kind");
            object.remove("apiVersion");
            out.extend_from_slice(&json::encode(&object));
        } else {
            out.extend_from_slice(&self.shown(entry, revision)?);
        }
        Ok(())
    }
}

/// Decodes an entry, with a resourceVersion.
pub(crate) fn read(entry: &Entry, revision: Revision) -> Result<Value, ApiError> {
    let mut object = entry.read().map_err(ApiError::internal)?;
    set_revision(&mut object, revision);
    Ok(object)
}

/// An object in the served version.
pub(crate) fn served(kind: &Kind, object: Value) -> Value {
    if kind.is_served_as_stored() { object } else { convert(&kind.storage, &kind.served, object) }
}

/// Only the metadata, as `PartialObjectMetadata`.
pub(crate) fn metadata_only(mut object: Value) -> Value {
    let metadata = object.remove("metadata").unwrap_or_default();
    let mut partial = Value::map();
    partial.insert("kind", "PartialObjectMetadata");
    partial.insert("apiVersion", "meta.k8s.io/v1");
    partial.insert("metadata", metadata);
    partial
}
