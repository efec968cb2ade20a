//! Requests under way, in the node's metrics.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, SizeHint};

use super::answer::{Answer, Body};
use crate::metrics::{Metrics, families};

/// A request that is counted until nothing of it is left, whoever ends it: clients leave in the middle.
pub(super) struct Underway {
    metrics: Arc<Metrics>,
    labels: [&'static str; 4],
    began: Instant,
}

impl Underway {
    /// Counts a request (method, path, kind of server, whether it lasts).
    pub(super) fn begin(metrics: &Arc<Metrics>, labels: [&'static str; 4]) -> Arc<Self> {
        metrics.count(&families::HTTP_REQUESTS, &labels);
        metrics.add(&families::HTTP_INFLIGHT, &labels, 1.0);
        Arc::new(Self { metrics: Arc::clone(metrics), labels, began: Instant::now() })
    }

    /// The answer, with which the request is over: one that is there already is as good as sent.
    pub(super) fn until_sent(self: Arc<Self>, answer: Answer) -> Answer {
        if answer.body().size_hint().exact().is_some() {
            return answer;
        }
        answer.map(|body| Watched { body, _underway: self }.boxed_unsync())
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.metrics.add(&families::HTTP_INFLIGHT, &self.labels, -1.0);
        self.metrics.time(&families::HTTP_DURATION, &self.labels, self.began.elapsed());
    }
}

/// A body that is still being made.
struct Watched {
    body: Body,
    _underway: Arc<Underway>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
