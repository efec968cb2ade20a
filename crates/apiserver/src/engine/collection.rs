//! DELETE of many objects.

use bytes::{BufMut, BytesMut};
use corten_schema::Value;
use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use http::StatusCode;

use super::{
    Answer, DeleteOptions, Deleted,
    list::{self, ListOptions},
};
use crate::{
    body::Response,
    http::{Encoding, View, encoded_response, object_response},
    request::Context,
    server::Server,
    status::ApiError,
};

/// How many deletions are under way at once: they share fsyncs.
const CONCURRENCY: usize = 16;

impl Server {
    /// Deletes every selected object, each by its own. Answers with the list of them as they were last.
    ///
    /// # Errors
    ///
    /// The first error; objects that are gone meanwhile are none.
    pub(super) async fn delete_collection(
        &self,
        answer: Answer<'_>,
        context: &Context,
        namespace: &str,
        selected: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<Response, ApiError> {
        let entries = self.select(answer.kind, namespace, selected).await?;
        let mut deletions: Vec<BoxFuture<'_, Result<Option<Value>, ApiError>>> = Vec::with_capacity(entries.len());
        for entry in &entries {
            let namespace = entry.namespace().unwrap_or_default();
            deletions.push(Box::pin(self.delete_one(answer, context, namespace, entry.name(), options)));
        }
        let objects: Vec<Option<Value>> = stream::iter(deletions).buffered(CONCURRENCY).try_collect().await?;
        let row = &answer.kind.served;
        if answer.accepted.encoding == Encoding::Protobuf {
            let revision = self.ledger.snapshot().revision();
            let bytes = list::deleted_protobuf(answer, revision, objects.into_iter().flatten().collect())?;
            return Ok(encoded_response(answer.accepted, StatusCode::OK, bytes.into()));
        }
        let mut out = BytesMut::new();
        let kind = &row.list_kind;
        let revision = self.ledger.snapshot().revision();
        out.put_slice(
            format!(
                "{{\"kind\":\"{kind}\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{revision}\"}},\"items\":[",
                row.api_version()
            )
            .as_bytes(),
        );
        let mut accepted = answer.accepted;
        accepted.view = View::Object;
        let items = Answer { accepted, ..answer };
        for (index, object) in objects.into_iter().flatten().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            out.put_slice(&items.json(object)?);
        }
        out.put_slice(b"]}");
        object_response(accepted, StatusCode::OK, out.freeze())
    }

    async fn delete_one(
        &self,
        answer: Answer<'_>,
        context: &Context,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Option<Value>, ApiError> {
        match self.delete(context, answer.kind, namespace, name, options).await {
            Ok(Deleted::Gone(object) | Deleted::Pending(object)) => Ok(Some(object)),
            Err(error) if error.code == StatusCode::NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }
}
