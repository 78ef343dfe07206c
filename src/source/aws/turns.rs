//! Runs work that can hang, one at a time: programs and files with credentials.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::failure::{Failure, Reason};
use crate::panics::catch;

/// The time limit of reading a file, with the time that the read waits for its turn.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The lock for work of this name.
pub fn turn(what: &str) -> Arc<tokio::sync::Mutex<()>> {
    static TURNS: LazyLock<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>> =
        LazyLock::new(Mutex::default);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.entry(what.to_owned()).or_default().clone()
}

/// Reads with a time limit. A read that hangs keeps its lock, so that there is never a second one.
pub async fn read_in_turn<T: Send + 'static>(
    what: &str,
    read: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let turn = turn(what);
    let read = async {
        let turn = turn.lock_owned().await;
        let read = spawn_blocking(move || {
            let _turn = turn;
            catch(read).flatten()
        });
        read.await.expect("the panics of a read are caught")
    };
    timeout(READ_TIMEOUT, read).await.unwrap_or_else(|_| Err(late(what)))
}

/// The same at the start, without a lock: the process ends if this fails.
pub fn read_at_start<T: Send + 'static>(
    what: &str,
    read: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, answer) = mpsc::channel();
    // After the time limit nobody receives the answer.
    thread::spawn(move || sender.send(catch(read).flatten()));
    answer.recv_timeout(READ_TIMEOUT).unwrap_or_else(|_| Err(late(what)))
}

fn late(what: &str) -> Failure {
    Failure::new(Reason::Timeout, format!("reading {what} takes too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn while_a_read_hangs_there_is_no_second_one_and_both_time_out() {
        let (end, ended) = mpsc::channel::<()>();
        let hang = move || {
            let _ = ended.recv();
            Ok(())
        };
        let hanging = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            let started = std::time::Instant::now();
            let read = runtime.block_on(read_in_turn("a file", hang));
            let is_late = started.elapsed() >= READ_TIMEOUT;
            runtime.shutdown_background();
            (read, is_late)
        });
        thread::sleep(Duration::from_millis(200));
        let second = read_in_turn("a file", || -> Result<(), Failure> { panic!("a second read") });
        let failure = second.await.expect_err("it waits for its turn");
        assert_eq!(
            (failure.reason, failure.message.as_str()),
            (Reason::Timeout, "reading a file takes too long")
        );
        assert_eq!(read_in_turn("another file", || Ok(1)).await, Ok(1));
        let (read, is_late) = hanging.join().expect("it ends");
        assert!(is_late && read.is_err());
        drop(end);
    }

    #[test]
    fn a_read_at_the_start_has_the_same_end() {
        let started = std::time::Instant::now();
        let (end, ended) = mpsc::channel::<()>();
        let hang = read_at_start("a fourth file", move || Ok(ended.recv()));
        assert_eq!(hang.expect_err("it hangs").message, "reading a fourth file takes too long");
        assert!(started.elapsed() >= READ_TIMEOUT);
        assert_eq!(read_at_start("a fourth file", || Ok(1)), Ok(1));
        drop(end);
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let read = read_in_turn("a third file", || -> Result<(), Failure> { panic!() }).await;
        assert_eq!(read.expect_err("one").reason, Reason::InternalError);
    }
}
