//! The task that sends.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt, WriteHalf};

use super::Error;
use super::state::{Out, Shared};
use crate::frame::{Frame, encode};
use crate::headers::{Compressor, HeaderError, Headers};

/// How much is written at once.
const BATCH: usize = 64 << 10;

/// Sends what is queued until the connection ends, or all is sent that there was to say.
pub(super) async fn run<W: AsyncWrite>(mut io: WriteHalf<W>, shared: Arc<Shared>, mut compressor: Compressor) {
    let mut batch = BytesMut::with_capacity(BATCH);
    let work = async {
        let mut alive = shared.config.keep_alive.map(tokio::time::interval);
        if let Some(alive) = &mut alive {
            alive.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            alive.tick().await;
        }
        loop {
            fill(&shared, &mut compressor, &mut batch)?;
            if !batch.is_empty() {
                // Piece by piece, so that what was written is known should the end come in between.
                while !batch.is_empty() {
                    io.write_buf(&mut batch).await.map_err(failed)?;
                }
                continue;
            }
            io.flush().await.map_err(failed)?;
            if shared.finishing.is_cancelled() {
                // The other side learns that nothing more comes; the reader waits for its end.
                io.shutdown().await.map_err(failed)?;
                return Ok::<(), Error>(());
            }
            let tick = async {
                match &mut alive {
                    Some(alive) => drop(alive.tick().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shared.to_send.notified() => {}
                () = shared.finishing.cancelled() => {}
                () = tick => shared.state.lock().ping(None),
            }
        }
    };
    let result = tokio::select! {
        result = work => result,
        () = shared.ended.cancelled() => {
            // The last word, if there is one and it can be said at once.
            if fill(&shared, &mut compressor, &mut batch).is_ok() && !batch.is_empty() {
                let _ = tokio::time::timeout(std::time::Duration::from_millis(100), io.write_all_buf(&mut batch)).await;
            }
            let _ = io.shutdown().await;
            return;
        }
    };
    if let Err(error) = result {
        shared.end(error);
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::Io(Arc::new(error))
}

/// Encodes what is queued, about as much as is written at once.
fn fill(shared: &Shared, compressor: &mut Compressor, batch: &mut BytesMut) -> Result<(), HeaderError> {
    let mut state = shared.state.lock();
    let mut freed = 0;
    while batch.len() < BATCH {
        let Some(out) = state.out.pop_front() else { break };
        if let Out::Data { data, .. } = &out {
            freed += data.len();
        }
        encode(&frame(out, compressor)?, batch);
    }
    state.queued -= freed;
    if state.starved && state.room(&shared.config) > 0 {
        state.starved = false;
        for entry in state.streams.values_mut() {
            if let Some(waker) = entry.writing.take() {
                waker.wake();
            }
        }
    }
    Ok(())
}

fn frame(out: Out, compressor: &mut Compressor) -> Result<Frame, HeaderError> {
    Ok(match out {
        Out::SynStream { id, headers } => {
            let block: Bytes = compressor.compress(&headers)?;
            Frame::SynStream { id, associated: 0, priority: 0, fin: false, unidirectional: false, block }
        }
        Out::SynReply { id } => Frame::SynReply { id, fin: false, block: compressor.compress(&Headers::new())? },
        Out::Reset { id, status } => Frame::Reset { id, status },
        Out::Settings(entries) => Frame::Settings { clear: false, entries },
        Out::Ping(id) => Frame::Ping(id),
        Out::GoAway { last, status } => Frame::GoAway { last, status },
        Out::WindowUpdate { id, delta } => Frame::WindowUpdate { id, delta },
        Out::Data { id, fin, data } => Frame::Data { id, fin, data },
    })
}
