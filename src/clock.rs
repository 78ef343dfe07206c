//! The one place that reads the wall clock.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

/// Clocks that differ by this much or less count as equal.
pub const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// Whether the time of a past event is in the future by more than clocks may differ. Then one of
/// the two clocks is wrong, and the age of the event is not known.
pub fn is_from_the_future(time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    time - now > MAX_CLOCK_SKEW
}

/// A source of the current time. Clones share it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock(Arc::new(Utc::now))
    }

    /// A clock with the times that `now` returns.
    pub fn new(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}
