//! A panic while the exporter works on one account is a failure of that account, and of nothing else.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::Once;
use std::task::Poll;

use crate::failure::{Failure, Reason};
use crate::printable::escape_lines;
use crate::secrets;

thread_local! {
    /// How many [`catch`] run on this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// The place of the last caught panic, if known.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does the work. A panic becomes an [`InternalError`](Reason::InternalError) that names its place.
/// The panic's own text is not repeated, because it may contain a secret.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    set_hook();
    DEPTH.set(DEPTH.get() + 1);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    done.map_err(|_| {
        let place = PLACE.take().unwrap_or_else(|| "an unknown place".to_owned());
        let message = format!("a panic at {place}: please report this");
        Failure::new(Reason::InternalError, message)
    })
}

/// From now on panics outside of [`catch`] are printed with known secrets masked.
pub fn set_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| match (DEPTH.get(), info.location()) {
            (0, _) => {
                // If stderr cannot be written, there is no other place to report it.
                let text = escape_lines(&secrets::mask(&info.to_string()));
                let _ = writeln!(io::stderr(), "{text}");
            }
            (_, place) => PLACE.set(place.map(ToString::to_string)),
        }));
    });
}

/// The same for a future.
pub async fn catch_async<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut work = pin!(work);
    poll_fn(|context| match catch(|| work.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(failure) => Poll::Ready(Err(failure)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_internal_error_that_names_its_place_and_not_its_text() {
        assert_eq!(catch_async(async { 1 }).await, Ok(1));
        let failure = catch_async(async { panic!("SECRET") }).await.expect_err("one");
        assert_eq!(failure.reason, Reason::InternalError);
        assert!(failure.message.contains("src/panics.rs:"), "{failure}");
        assert!(!failure.message.contains("SECRET"), "{failure}");
        assert!(catch(|| 1) == Ok(1) && catch(|| panic!()).is_err());
    }
}
