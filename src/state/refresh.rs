//! [`Refresh`]: how the refreshes of one account went.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::failure::{FailureCounts, Reason};

/// The results of one account's refreshes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refresh {
    /// The last one. `None` before it.
    pub last: Option<Attempt>,
    /// Why the last one failed.
    pub fault: Option<Fault>,
    /// When one last succeeded.
    pub last_success: Option<DateTime<Utc>>,
    /// When the next one begins. `None` before the first has ended.
    pub next: Option<DateTime<Utc>>,
    /// How many failed since the start, by reason.
    pub failures: FailureCounts,
    /// The last attempt to confirm flagged users, while there are any.
    pub confirmation: Tried,
    /// How many flagged users were not confirmed the last time, because time ran out or AWS
    /// refused. `None` before the first time.
    pub waiting: Option<usize>,
    /// When AWS last confirmed one.
    pub confirmed: Option<DateTime<Utc>>,
    /// The last try to read tags. It also counts as failed while a newer report has users of whom no tags
    /// were read.
    pub tags: Tried,
    /// The last try to list service-specific credentials.
    pub service_credentials: Tried,
    /// When all of them were last listed.
    pub service_credentials_listed: Option<DateTime<Utc>>,
    /// Whether AWS has ever listed some service, also if nobody had one of it: so it has the call.
    pub service_credentials_exist: bool,
    /// Whether the name is known: the last try to read the alias, if there is no other name. A failure
    /// counts only if a rule needs the name.
    pub name: Tried,
}

/// The result of the last attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Tried {
    /// It was not tried yet, or is not needed.
    #[default]
    NotYet,
    /// It worked.
    Ok,
    /// It failed.
    Failed,
}

impl Tried {
    /// The outcome of a try.
    pub fn from_result<T, E>(result: &Result<T, E>) -> Tried {
        if result.is_ok() { Tried::Ok } else { Tried::Failed }
    }

    /// Whether it worked. `None` if it was not tried.
    pub fn worked(self) -> Option<bool> {
        match self {
            Tried::NotYet => None,
            Tried::Ok => Some(true),
            Tried::Failed => Some(false),
        }
    }
}

/// Why refreshes fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The text of the last one, in one line.
    pub message: Arc<str>,
    /// When the first one failed since one last succeeded.
    pub since: DateTime<Utc>,
}

/// One refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// `None` if it succeeded.
    pub failure: Option<Reason>,
    /// How long it took.
    pub duration: Duration,
}
