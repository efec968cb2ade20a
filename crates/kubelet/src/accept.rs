//! Accepting connections, and going on when that fails.

use std::io;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Pause after a failed accept (out of file descriptors): nothing tells when some are free again.
const PAUSE: Duration = Duration::from_millis(50);

/// The next connection; `None` once `token` is cancelled. `about` is what connections are about, in the log.
pub(crate) async fn next<S, A, F>(token: &CancellationToken, about: &'static str, accept: impl Fn() -> F) -> Option<S>
where
    F: Future<Output = io::Result<(S, A)>>,
{
    let accepted = async {
        loop {
            match accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::warn!(%error, about, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    token.run_until_cancelled(accepted).await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn what_fails_is_tried_again_until_the_end() {
        let answers = RefCell::new(vec![Ok(("stream", ())), Err(io::Error::from_raw_os_error(24))]);
        let token = CancellationToken::new();
        let accept = || async {
            let answer = answers.borrow_mut().pop();
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        };
        assert_eq!(next(&token, "a test", accept).await, Some("stream"));
        token.cancel();
        assert_eq!(next(&token, "a test", accept).await, None);
    }
}
