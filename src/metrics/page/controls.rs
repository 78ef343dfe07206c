//! The controls of the CIS benchmark on a page.

use chrono::{DateTime, Utc};

use super::super::catalogue as names;
use super::super::text::{Writer, push_label};
use crate::config::Config;
use crate::controls::catalogue::TABLE;
use crate::controls::{Benchmark, Control, Outcome, Outcomes, judge};
use crate::evidence::Standing;
use crate::state::{Account, State};

/// Writes the outcome of each control for each account that was read.
pub fn write(state: &State, config: &Config, now: DateTime<Utc>, page: &mut Writer) {
    let settings = &config.controls;
    if !settings.enabled {
        return;
    }
    let judged: Vec<(&Account, String, Outcomes)> = state
        .accounts
        .iter()
        .filter_map(|account| {
            let mut labels = String::new();
            push_label(&mut labels, "account_id", &account.id);
            Some((&**account, labels, judge(account, settings, now)?))
        })
        .collect();
    // Each outcome with the labels of its account and control.
    let each = |visit: &mut dyn FnMut([&str; 4], &Outcome)| {
        for (_, labels, outcomes) in &judged {
            for control in Control::all() {
                let labels = [labels.as_str(), ",control=\"", control.name(), "\""];
                visit(labels, outcomes.get(control));
            }
        }
    };
    page.family(&names::CONTROL_VIOLATIONS, |family| {
        each(&mut |labels, outcome| {
            if let Some(count) = outcome.count() {
                family.sample(&labels, count);
            }
        });
    });
    page.family(&names::CONTROL_VIOLATION, |family| {
        let mut user_label = String::new();
        each(&mut |[account, control, name, end], outcome| {
            let shown = outcome.violations.iter().filter(|_| settings.users);
            let shown: Vec<&str> = shown.filter_map(|violation| violation.user).collect();
            for users in shown.chunk_by(|a, b| a == b) {
                user_label.clear();
                user_label.push_str(account);
                user_label.push_str(control);
                user_label.push_str(name);
                user_label.push_str(end);
                push_label(&mut user_label, "user", users[0]);
                family.sample(&[&user_label], users.len());
            }
        });
    });
    page.family(&names::CONTROL_UNDECIDED, |family| {
        each(&mut |[account, control, name, end], outcome| {
            for unknown in &outcome.unknown {
                let reason = [",reason=\"", unknown.reason(), "\",missing=\"", unknown.missing()];
                let [a, b, c, d] = reason;
                family.sample(&[account, control, name, end, a, b, c, d, "\""], 1_i64);
            }
        });
    });
    page.family(&names::CONTROL_INFO, |family| {
        for entry in &TABLE {
            let mut labels = String::new();
            push_label(&mut labels, "control", entry.name);
            push_label(&mut labels, "title", entry.title);
            for benchmark in Benchmark::ALL {
                let number = entry.control.number(benchmark).unwrap_or_default();
                push_label(&mut labels, benchmark.label(), number);
            }
            family.sample(&[&labels], 1_i64);
        }
    });
    page.family(&names::CONTROL_DATA_AVAILABLE, |family| {
        for (account, labels, _) in &judged {
            for kind in &settings.read {
                let worked = match account.evidence.standing(*kind, now) {
                    // A report file has nothing to read.
                    Standing::NotRead if !account.has_live_data => continue,
                    Standing::NotRead | Standing::Failed(_) => false,
                    // An old answer shows in the controls, and why there is no newer one in the refreshes.
                    Standing::Good | Standing::Old => true,
                };
                let labels = [labels.as_str(), ",permission=\"", kind.permission(), "\""];
                family.sample(&labels, worked);
            }
        }
    });
}
