//! How many images are pulled at the same time, and how many a second (`serializeImagePulls`, `registryPullQPS`, …).
//!
//! A pull waits for its turn; the reference refuses those that come too fast, and tries them again later.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The limits, and how much of them is used up.
pub(super) struct Pace {
    places: Option<Arc<Semaphore>>,
    rate: Option<Rate>,
}

/// So many a second in the long run, and so many in a row.
struct Rate {
    every: Duration,
    burst: u32,
    /// When the bucket is full again.
    full_at: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(places: Option<usize>, rate: Option<(f64, u32)>) -> Self {
        let rate = rate.map(|(a_second, burst)| Rate {
            every: Duration::from_secs_f64(1.0 / a_second.max(f64::MIN_POSITIVE)),
            burst: burst.max(1),
            full_at: Mutex::new(Instant::now()),
        });
        Self { places: places.map(|n| Arc::new(Semaphore::new(n))), rate }
    }

    /// Waits for a turn; it lasts until what this gives is dropped.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        let place = match &self.places {
            Some(places) => Arc::clone(places).acquire_owned().await.ok(),
            None => None,
        };
        if let Some(rate) = &self.rate {
            tokio::time::sleep_until(rate.book(Instant::now())).await;
        }
        place
    }
}

impl Rate {
    /// Takes one out of the bucket; gives the time at which it is there.
    fn book(&self, now: Instant) -> Instant {
        let mut full_at = self.full_at.lock();
        *full_at = (*full_at).max(now) + self.every;
        // All but the last `burst` of what is missing has to be waited for.
        full_at.checked_sub(self.every * self.burst).map_or(now, |at| at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let pace = Pace::new(None, Some((2.0, 3)));
        let rate = pace.rate.unwrap();
        let now = *rate.full_at.lock();
        let waits: Vec<u128> = (0..6).map(|_| rate.book(now).duration_since(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 500, 1000, 1500]);
        // After a rest there is a burst again, and no more than that.
        let later = now + Duration::from_secs(100);
        let waits: Vec<u128> = (0..4).map(|_| rate.book(later).duration_since(later).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 500]);
    }

    #[tokio::test]
    async fn one_after_the_other() {
        let pace = Pace::new(Some(1), None);
        let first = pace.turn().await;
        let second = pace.turn();
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        second.await;
        let free = Pace::new(None, None);
        let _both = (free.turn().await, free.turn().await);
    }
}
