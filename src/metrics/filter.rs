//! Which metrics are exposed: the flags `--metrics.allowlist` and `--metrics.denylist`.

use regex::Regex;

use super::catalogue;

/// Which metrics are exposed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    allow: Option<Regex>,
    deny: Option<Regex>,
}

/// Why a filter is invalid.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Not a regular expression.
    #[error("{}", one_line(.0))]
    Syntax(#[from] regex::Error),
    /// The allow-list leaves nothing.
    #[error("matches none of the metrics that `iam-key-exporter metrics-doc` lists")]
    MatchesNothing,
}

impl Filter {
    /// Metrics whose whole name matches `allow`, or all of them, without those whose whole name
    /// matches `deny`.
    pub fn new(allow: Option<Regex>, deny: Option<Regex>) -> Filter {
        Filter { allow, deny }
    }

    /// Whether this metric is exposed.
    pub fn allows(&self, name: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.is_match(name))
            && !self.deny.as_ref().is_some_and(|deny| deny.is_match(name))
    }
}

/// A regular expression over whole metric names that matches at least one of them.
pub fn name_pattern(pattern: &str) -> Result<Regex, FilterError> {
    // Checked alone first, so that a bracket in the pattern cannot close the group around it.
    Regex::new(pattern)?;
    let regex = Regex::new(&format!("^(?:{pattern})$"))?;
    if catalogue::ALL.iter().any(|metric| regex.is_match(metric.name)) {
        Ok(regex)
    } else {
        Err(FilterError::MatchesNothing)
    }
}

/// The last line of a regex error has the reason. Those before it draw the pattern.
fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}
