//! How many calls run at the same time, and who comes next.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Slots for calls. Who waits is served in order.
#[derive(Debug)]
pub struct Slots {
    calls: Semaphore,
    overdue: Semaphore,
    door: Semaphore,
}

/// A call that takes longer gives its slot back and goes on without: an account that hangs must not
/// keep the others waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many calls may go on without a slot. Each has a connection, and a process has 1024 file
/// descriptors where nobody gave it more.
const MOST_OVERDUE: usize = 512;

impl Slots {
    /// So many.
    pub fn new(count: usize) -> Slots {
        Slots {
            calls: Semaphore::new(count),
            overdue: Semaphore::new(MOST_OVERDUE),
            door: Semaphore::new(1),
        }
    }

    /// Makes a call once there is a slot.
    pub async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        let slot = self.calls.acquire().await.expect("the semaphore is never closed");
        let mut call = pin!(call);
        if let Ok(done) = timeout(PATIENCE, &mut call).await {
            return done;
        }
        let overdue = async {
            let overdue = self.overdue.acquire().await.expect("the semaphore is never closed");
            drop(slot);
            overdue
        };
        tokio::select! {
            biased;
            done = &mut call => done,
            _overdue = overdue => call.await,
        }
    }

    /// Waits until a refresh may begin. Of those that have not begun only one at a time queues for a
    /// slot, so that a refresh that has begun is not behind a thousand others with each of its calls:
    /// its time limit counts what AWS takes and not the crowd.
    pub async fn begin(&self) {
        let _door = self.door.acquire().await.expect("the semaphore is never closed");
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
    async fn a_call_that_hangs_keeps_its_slot_for_a_moment_only() {
        let slots = Arc::new(Slots::new(1));
        let hangs = slots.clone();
        let hanging = tokio::spawn(async move { hangs.call(pending::<()>()).await });
        tokio::task::yield_now().await;
        let start = Instant::now();
        slots.call(async {}).await;
        assert_eq!(start.elapsed(), PATIENCE);
        assert!(!hanging.is_finished(), "it goes on");
        hanging.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_calls_go_on_without_a_slot() {
        let slots = Arc::new(Slots::new(8));
        let start = Instant::now();
        let mut hanging = tokio::task::JoinSet::new();
        for _ in 0..MOST_OVERDUE + 8 {
            let slots = slots.clone();
            hanging.spawn(async move { slots.call(sleep(Duration::from_secs(3600))).await });
        }
        sleep(Duration::from_secs(1)).await;
        let more = slots.call(async {});
        assert!(timeout(Duration::from_secs(3000), more).await.is_err(), "no slot is left");
        hanging.join_next().await.expect("one of them").expect("it ends");
        slots.call(async {}).await;
        assert_eq!(start.elapsed().as_secs(), 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_begun_comes_before_those_who_have_not() {
        let slots = Arc::new(Slots::new(1));
        let call = Duration::from_secs(1);
        let mut waiting = tokio::task::JoinSet::new();
        let first = slots.clone();
        let begun = tokio::spawn(async move {
            for _ in 0..3 {
                first.call(sleep(call)).await;
            }
        });
        tokio::task::yield_now().await;
        for _ in 0..100 {
            let slots = slots.clone();
            waiting.spawn(async move {
                slots.begin().await;
                slots.call(sleep(call)).await;
            });
        }
        let start = Instant::now();
        begun.await.expect("it ends");
        // Between two of its calls there is at most one other.
        assert!(start.elapsed() <= 6 * call, "{:?}", start.elapsed());
        waiting.join_all().await;
    }
}
