//! The one place that reads the wall clock, and corrects it by AWS's.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// Clocks that differ by this much or less count as equal.
pub const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// Whether the time of a past event is in the future by more than clocks may differ. Then one of
/// the two clocks is wrong, and the age of the event is not known.
pub fn is_from_the_future(time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    time - now > MAX_CLOCK_SKEW
}

/// A source of the current time: the host's clock as long as it agrees with what AWS last said the time is.
/// If not, AWS's time, and the time that the host has counted since: a clock that is set wrong makes no key
/// younger. Clones share it.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// Time that goes on at the same pace, whatever the wall clock is set to.
    count: Arc<dyn Fn() -> Duration + Send + Sync>,
    by_aws: Arc<Mutex<Option<Heard>>>,
}

/// A time that AWS gave, and what the host had counted then.
#[derive(Clone, Copy)]
struct Heard(DateTime<Utc>, Duration);

/// For so long a time that was heard is trusted. Refreshes usually come more often.
const TRUSTED_FOR: Duration = Duration::from_secs(3600);

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock { wall: Arc::new(Utc::now), count: Arc::new(uptime), by_aws: Arc::default() }
    }

    /// A clock with the times that `now` returns, which counts tokio's time.
    pub fn new(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Clock {
        let start = Instant::now();
        let count = Arc::new(move || start.elapsed());
        Clock { wall: Arc::new(now), count, by_aws: Arc::default() }
    }

    /// Takes note that it is this time now, as an answer says. A good answer is surely one of AWS. It counts, but for
    /// an old one: it is behind the last one and does not agree with the host's clock. Another answer counts only if it
    /// agrees with the host's clock and is not behind.
    pub fn hear(&self, time: DateTime<Utc>, is_good: bool) {
        let count = (self.count)();
        let agrees = (time - (self.wall)()).abs() <= MAX_CLOCK_SKEW;
        let mut by_aws = self.lock();
        let is_behind = by_aws
            .and_then(|heard| heard.at(count))
            .is_some_and(|counted| counted - time > MAX_CLOCK_SKEW);
        let is_old = is_behind && by_aws.is_some_and(|heard| heard.is_trusted(count));
        let counts = if is_good { agrees || !is_old } else { agrees && !is_behind };
        if counts {
            *by_aws = Some(Heard(time, count));
        }
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        let (wall, count) = ((self.wall)(), (self.count)());
        let Some((heard, time)) = self.lock().and_then(|heard| Some((heard, heard.at(count)?)))
        else {
            return wall;
        };
        // The count lacks the time in which a virtual machine was paused. Without answers the later time counts, by
        // which no key is too young.
        let is_paused = wall > time && !heard.is_trusted(count);
        if (wall - time).abs() <= MAX_CLOCK_SKEW || is_paused { wall } else { time }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Heard>> {
        self.by_aws.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    /// Whether it counts for more than what is behind it, or what the host says, when the host has counted this.
    fn is_trusted(self, count: Duration) -> bool {
        count.saturating_sub(self.1) <= TRUSTED_FOR
    }

    /// The time when the host has counted this.
    fn at(self, count: Duration) -> Option<DateTime<Utc>> {
        self.0.checked_add_signed(TimeDelta::from_std(count.saturating_sub(self.1)).ok()?)
    }
}

/// How long the host has been up, with the time in which it slept.
#[cfg(target_os = "linux")]
fn uptime() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    // Zero would let the time of AWS stand still.
    Duration::try_from(clock_gettime(ClockId::Boottime)).expect("no uptime is negative")
}

/// How long this was called for, without the time in which the host slept.
#[cfg(not(target_os = "linux"))]
fn uptime() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_wrong_goes_on_by_what_aws_said() {
        let start: DateTime<Utc> = "2026-11-01T12:00:00Z".parse().expect("a time");
        let begun = Instant::now();
        let wrong_by = Arc::new(Mutex::new(TimeDelta::zero()));
        let of_host = wrong_by.clone();
        let clock =
            Clock::new(move || start + begun.elapsed() + *of_host.lock().expect("the skew"));
        let set = |seconds| *wrong_by.lock().expect("the skew") = TimeDelta::seconds(seconds);
        let after = |seconds| start + TimeDelta::seconds(seconds);
        let pass = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        set(-3 * 86_400);
        assert_eq!(clock.now(), after(-3 * 86_400), "nothing else is known");
        clock.hear(start, true);
        assert_eq!(clock.now(), start);
        pass(7_200).await;
        assert_eq!(clock.now(), after(7_200), "without a further answer");
        // What was heard hours ago may lack the time of a pause.
        for (seconds, expected) in [(-300, -300), (-301, 0), (300, 300), (301, 301)] {
            set(seconds);
            assert_eq!(clock.clone().now(), after(7_200 + expected), "{seconds}");
        }
        set(0);
        clock.hear(after(7_200), true);
        for (seconds, expected) in [(-301, 0), (300, 300), (301, 0), (9_000_000, 0)] {
            set(seconds);
            assert_eq!(clock.now(), after(7_200 + expected), "{seconds}");
        }
        pass(3_600).await;
        assert_eq!(clock.now(), after(10_800), "until it was heard an hour ago");
        pass(1).await;
        assert_eq!(clock.now(), after(9_010_801));
        set(0);
        assert_eq!(clock.now(), after(10_801), "it was set right");
        set(-86_400);
        let of_host = 10_801 - 86_400;
        for (time, is_good, expected) in [
            // The time was heard more than an hour ago, so it can be wrong.
            (after(0), false, 10_801),
            (after(of_host), false, 10_801),
            (after(3_600), true, 3_600),
            (after(0), true, 3_600),
            (after(20_000), false, 3_600),
            (after(20_000), true, 20_000),
            (after(of_host), false, 20_000),
            (after(of_host + 60), true, of_host),
        ] {
            clock.hear(time, is_good);
            assert_eq!(clock.now(), after(expected), "{time} {is_good}");
        }
    }

    #[test]
    fn the_host_counts_its_time() {
        let clock = Clock::system();
        let before = uptime();
        std::thread::sleep(Duration::from_millis(20));
        assert!(uptime() >= before + Duration::from_millis(20));
        clock.hear(Utc::now() - TimeDelta::days(1), true);
        std::thread::sleep(Duration::from_millis(20));
        let behind = Utc::now() - clock.now();
        assert!((behind - TimeDelta::days(1)).abs() < TimeDelta::seconds(5), "{behind}");
        clock.hear(DateTime::<Utc>::MAX_UTC, true);
        assert!(Utc::now() - clock.now() < TimeDelta::seconds(5), "a time beyond all times");
    }
}
