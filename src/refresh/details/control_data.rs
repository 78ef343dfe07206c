//! Data that controls need.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Answer, ask, take, tolerate};
use crate::evidence::{AccountSummary, Evidence, EvidenceKind, PasswordPolicy};
use crate::failure::Failure;
use crate::refresh::context::RefreshContext;
use crate::report::Report;
use crate::source::target::Target;
use crate::state::Account;

/// What is read after confirmation: only controls need it.
#[derive(Debug)]
pub(in crate::refresh) struct ControlData {
    summary: Answer<AccountSummary>,
    password_policy: Answer<Option<PasswordPolicy>>,
    root_virtual_mfa: Answer<bool>,
}

impl RefreshContext<'_> {
    /// Makes the calls that only controls need and that are due, until then: once for each new report, and
    /// again when an answer gets old. `is_new`: the report is. A call that failed is made again with the next
    /// refresh, unless a permission is missing, which is no failure: the controls say so.
    pub(in crate::refresh) async fn ask_for_control_data(
        &self,
        target: &Target,
        account: &Account,
        is_new: bool,
        until: Instant,
    ) -> ControlData {
        let now = self.clock.now();
        let Evidence { summary, password_policy, root_virtual_mfa, .. } = &account.evidence;
        let is_due = |kind, lacks_it| self.config.reads(kind) && (is_new || lacks_it);
        let summary_is_due = self.wants_summary(account) && (is_new || summary.is_due(now));
        let policy_is_due = is_due(EvidenceKind::PasswordPolicy, password_policy.is_due(now));
        let devices_are_due = is_due(EvidenceKind::VirtualMfaDevices, root_virtual_mfa.is_due(now));
        let (summary, password_policy, root_virtual_mfa) = tokio::join!(
            ask("GetAccountSummary", summary_is_due, self.source.summary(target), until),
            ask(
                "GetAccountPasswordPolicy",
                policy_is_due,
                self.source.password_policy(target),
                until,
            ),
            ask(
                "ListVirtualMFADevices",
                devices_are_due,
                self.source.root_virtual_mfa(target),
                until,
            ),
        );
        ControlData { summary, password_policy, root_virtual_mfa }
    }

    /// Whether the summary is asked for: because controls need it, or because the report does not show
    /// whether root has a key.
    fn wants_summary(&self, account: &Account) -> bool {
        let hides_keys = |report: &Arc<Report>| {
            report.lacks_root()
                || report.users.iter().any(|user| user.is_root() && user.lacks_keys())
        };
        self.config.reads(EvidenceKind::AccountSummary)
            || account.report.as_ref().is_some_and(hides_keys)
    }

    /// Updates the account from what controls need. Returns what failed.
    pub(in crate::refresh) fn take_control_data(
        &self,
        account: &mut Account,
        answers: ControlData,
    ) -> Vec<(EvidenceKind, Failure)> {
        let now = self.clock.now();
        let ControlData { summary, password_policy, root_virtual_mfa } = answers;
        let wants_summary = self.wants_summary(account);
        let wants = |kind| self.config.reads(kind);
        let evidence = &mut account.evidence;
        if let Some(Ok(summary)) = &summary {
            evidence.root.update(summary, now);
        }
        let (policy, devices) = (EvidenceKind::PasswordPolicy, EvidenceKind::VirtualMfaDevices);
        let failures = [
            (
                EvidenceKind::AccountSummary,
                take(&mut evidence.summary, wants_summary, summary, now),
            ),
            (policy, take(&mut evidence.password_policy, wants(policy), password_policy, now)),
            (devices, take(&mut evidence.root_virtual_mfa, wants(devices), root_virtual_mfa, now)),
        ];
        let failures = failures.into_iter();
        failures
            .filter_map(|(kind, failure)| Some((kind, tolerate(account, failure?).err()?)))
            .collect()
    }
}
