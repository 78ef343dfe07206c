//! The limit on concurrent calls, and their order.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Permits for calls, given in the order in which they were asked for.
#[derive(Debug)]
pub struct CallLimit {
    calls: Semaphore,
    slow_calls: Semaphore,
    admission: Semaphore,
}

/// A call that takes longer returns its permit and keeps running, so that an account that hangs
/// does not delay the others.
const SLOW: Duration = Duration::from_secs(2);

/// The largest number of calls that keep running without a permit. Each has a connection, and a
/// process has 1024 file descriptors by default.
const MAX_SLOW_CALLS: usize = 512;

impl CallLimit {
    /// At most `count` calls at the same time, not counting slow ones.
    pub fn new(count: usize) -> CallLimit {
        CallLimit {
            calls: Semaphore::new(count),
            slow_calls: Semaphore::new(MAX_SLOW_CALLS),
            admission: Semaphore::new(1),
        }
    }

    /// Makes a call once there is a permit.
    pub async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        let permit = self.calls.acquire().await.expect("the semaphore is never closed");
        let mut call = pin!(call);
        if let Ok(done) = timeout(SLOW, &mut call).await {
            return done;
        }
        let slow = async {
            let slow = self.slow_calls.acquire().await.expect("the semaphore is never closed");
            drop(permit);
            slow
        };
        tokio::select! {
            biased;
            done = &mut call => done,
            _slow = slow => call.await,
        }
    }

    /// Waits until a refresh may begin. Of the refreshes that have not begun, only one at a time
    /// queues for a permit. So a refresh that has begun does not wait behind a thousand others with
    /// each of its calls, and its time limit counts the time that AWS takes.
    pub async fn admit(&self) {
        let _admission = self.admission.acquire().await.expect("the semaphore is never closed");
        drop(self.calls.acquire().await);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_keeps_its_permit_for_a_moment_only() {
        let limit = Arc::new(CallLimit::new(1));
        let hangs = limit.clone();
        let hanging = tokio::spawn(async move { hangs.call(pending::<()>()).await });
        tokio::task::yield_now().await;
        let start = Instant::now();
        limit.call(async {}).await;
        assert_eq!(start.elapsed(), SLOW);
        assert!(!hanging.is_finished(), "it goes on");
        hanging.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_calls_without_a_permit_is_limited() {
        let limit = Arc::new(CallLimit::new(8));
        let start = Instant::now();
        let mut hanging = tokio::task::JoinSet::new();
        for _ in 0..MAX_SLOW_CALLS + 8 {
            let limit = limit.clone();
            hanging.spawn(async move { limit.call(sleep(Duration::from_secs(3600))).await });
        }
        sleep(Duration::from_secs(1)).await;
        let more = limit.call(async {});
        assert!(timeout(Duration::from_secs(3000), more).await.is_err(), "no permit is left");
        hanging.join_next().await.expect("one of them").expect("it ends");
        limit.call(async {}).await;
        assert_eq!(start.elapsed().as_secs(), 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_that_has_begun_comes_before_those_that_have_not() {
        let limit = Arc::new(CallLimit::new(1));
        let call = Duration::from_secs(1);
        let mut waiting = tokio::task::JoinSet::new();
        let first = limit.clone();
        let begun = tokio::spawn(async move {
            for _ in 0..3 {
                first.call(sleep(call)).await;
            }
        });
        tokio::task::yield_now().await;
        for _ in 0..100 {
            let limit = limit.clone();
            waiting.spawn(async move {
                limit.admit().await;
                limit.call(sleep(call)).await;
            });
        }
        let start = Instant::now();
        begun.await.expect("it ends");
        // Between two of its calls there is at most one other.
        assert!(start.elapsed() <= 6 * call, "{:?}", start.elapsed());
        waiting.join_all().await;
    }
}
