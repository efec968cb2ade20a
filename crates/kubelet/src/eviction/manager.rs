//! The loop: measure, decide, do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

use super::decide::{Memory, decide};
use super::observe::{Machine, Source};
use crate::context::Context;
use crate::images;
use crate::metrics::families;

/// How often the node is measured: shortage is no event. The reference's period.
const PERIOD: Duration = Duration::from_secs(10);

/// Watches over the node until `token` is cancelled.
pub(crate) async fn keep(context: Arc<Context>, token: CancellationToken) {
    let source = Machine { context: Arc::clone(&context) };
    let mut memory = Memory::default();
    let work = async {
        loop {
            tokio::time::sleep(PERIOD).await;
            round(&context, &source, &mut memory).await;
        }
    };
    token.run_until_cancelled(work).await;
}

async fn round(context: &Arc<Context>, source: &dyn Source, memory: &mut Memory) {
    let mut measured_at = Instant::now();
    let measured = match source.measure().await {
        Ok(measured) => measured,
        Err(status) => return tracing::warn!(%status, "measuring the node"),
    };
    let pods: Vec<Arc<Pod>> = context.admission.staying();
    let settings = &context.config;
    let judge = |measured: &super::Measured, memory: &mut Memory| {
        decide(&settings.eviction, memory, measured, &pods, settings.local_storage_isolation, Timestamp::now())
    };
    let mut decision = judge(&measured, memory);
    context.pressures.set(&decision.conditions);
    if let Some(signal) = decision.collect {
        tracing::warn!(signal = signal.as_str(), "the node runs short of space: collecting unused images");
        match images::garbage::collect_all(context).await {
            Ok(0) => {}
            Ok(_) => match source.measure().await {
                Ok(measured) => {
                    measured_at = Instant::now();
                    decision = judge(&measured, memory);
                }
                Err(status) => tracing::warn!(%status, "measuring the node"),
            },
            Err(status) => tracing::warn!(%status, "collecting images"),
        }
    }
    // One that still leaves may be enough.
    let leaving = context.admission.pods().len() > pods.len();
    for (uid, eviction) in decision.broken.into_iter().chain(decision.next.filter(|_| !leaving)) {
        tracing::warn!(uid, why = eviction.message, "evicting a pod");
        if let Some(signal) = eviction.signal {
            context.metrics.count(&families::EVICTIONS, &[signal]);
            context.metrics.time(&families::EVICTION_AGE, &[signal], measured_at.elapsed());
        }
        context.admission.evict(&uid, eviction);
    }
}
