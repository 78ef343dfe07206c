//! Threads for what no scrape should notice: refreshes, and the rendering of pages. Where there is
//! more to do than the processor can, they come last.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Those threads. Dropping it ends what runs on them, without waiting for it.
#[derive(Debug)]
pub struct Background(Option<Runtime>);

/// How far behind others: with both busy, a tenth of the time is left.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

impl Background {
    /// Fails where the system has no threads left.
    pub fn new() -> io::Result<Background> {
        let mut runtime = Builder::new_multi_thread();
        runtime.enable_all().thread_name("background");
        // Elsewhere it would be that of the whole process.
        #[cfg(target_os = "linux")]
        runtime.on_thread_start(|| {
            // On Linux a thread has a priority of its own. Where it cannot be set, all still works.
            let _ = rustix::process::setpriority_process(None, NICENESS);
        });
        Ok(Background(Some(runtime.build()?)))
    }

    /// Runs this to its end, there.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.0.as_ref().expect("it is there until it is dropped").spawn(work)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
