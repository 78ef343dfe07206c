//! Accounts on a page: their numbers, and how their refreshes went.

use super::super::catalogue as names;
use super::super::text::{Value, Writer, push_label};
use super::rows::{AccountRow, KeyRow, Rows, ServiceCredentialRow};
use crate::failure::Reason;
use crate::findings::{lacks_name, lacks_service_credentials};
use crate::policy::KeyStatus;
use crate::state::{Account, Tried};

impl Rows<'_> {
    /// Writes the numbers by account.
    pub fn write_accounts(&self, page: &mut Writer) {
        let with_report = || self.accounts.iter().filter(|row| row.account.report.is_some());
        let keys = |row: &AccountRow| &self.keys[row.keys.clone()];
        page.family(&names::UNROTATED_KEYS, |family| {
            for row in with_report() {
                let unrotated = |row: &&KeyRow| row.verdict.unrotated == Some(true);
                family.sample(&[&row.labels], keys(row).iter().filter(unrotated).count());
            }
        });
        page.family(&names::ACCESS_KEYS, |family| {
            for row in with_report() {
                let active = keys(row).iter().filter(|row| row.active).count();
                let inactive = keys(row).len() - active;
                family.sample(&[&row.labels, ",status=\"active\""], active);
                family.sample(&[&row.labels, ",status=\"inactive\""], inactive);
            }
        });
        page.family(&names::NOT_JUDGED_KEYS, |family| {
            for row in with_report() {
                let keys = keys(row).iter().map(|row| &row.verdict);
                let credentials = &self.service_credentials[row.service_credentials.clone()];
                let verdicts = keys.chain(credentials.iter().map(|row| &row.verdict));
                let not_judged = verdicts.filter(|it| it.status == KeyStatus::NotJudged).count();
                family.sample(&[&row.labels], not_judged + row.hiding_users);
            }
        });
        page.family(&names::UNROTATED_SERVICE_CREDENTIALS, |family| {
            for row in with_report().filter(|row| row.account.service_credentials.is_some()) {
                let credentials = &self.service_credentials[row.service_credentials.clone()];
                let unrotated = |row: &&ServiceCredentialRow| row.verdict.unrotated == Some(true);
                family.sample(&[&row.labels], credentials.iter().filter(unrotated).count());
            }
        });
        page.family(&names::USERS, |family| {
            for row in with_report() {
                let users = &self.users[row.users.clone()];
                let count = users.iter().filter(|row| !row.user.is_root()).count();
                family.sample(&[&row.labels], count);
            }
        });
        page.family(&names::ACCOUNT_INFO, |family| {
            for AccountRow { account, labels, .. } in &self.accounts {
                let partition =
                    account.report.as_ref().and_then(|report| report.partition.as_deref());
                let mut labels = labels.clone();
                push_label(&mut labels, "account_name", &account.name);
                push_label(&mut labels, "partition", partition.unwrap_or_default());
                family.sample(&[&labels], 1_i64);
            }
        });
    }

    /// Writes how the refreshes of each account went.
    pub fn write_refreshes(&self, page: &mut Writer) {
        let mut per_account = |metric, value: &dyn Fn(&Account) -> Option<Value>| {
            page.family(metric, |family| {
                for AccountRow { account, labels, .. } in &self.accounts {
                    if let Some(value) = value(account) {
                        family.sample(&[labels], value);
                    }
                }
            });
        };
        per_account(&names::REPORT_GENERATED, &|account| account.generated.map(Value::from));
        per_account(&names::REPORT_REJECTED_ROWS, &|account| {
            account.report.as_ref().map(|report| report.rejected.len().into())
        });
        per_account(&names::REFRESH_SUCCESS, &|account| {
            account.refresh.last.map(|attempt| attempt.failure.is_none().into())
        });
        per_account(&names::REFRESH_LAST_SUCCESS, &|account| {
            account.refresh.last_success.map(Value::from)
        });
        per_account(&names::REFRESH_DURATION, &|account| {
            account.refresh.last.map(|attempt| attempt.duration.as_secs_f64().into())
        });
        per_account(&names::CONFIRMATION_AVAILABLE, &|account| {
            account.refresh.confirmation.worked().map(Value::from)
        });
        per_account(&names::CONFIRMATION_WAITING, &|account| {
            account.refresh.waiting.map(Value::from)
        });
        let keys = self.config.tag_keys();
        per_account(&names::TAGS_AVAILABLE, &|account| {
            let can_read = account.has_live_data || self.config.policy.needs_tags();
            let is_wanted = !keys.is_empty() && account.report.is_some() && can_read;
            // After a reload, other tags can be needed than those that were read.
            let works = account.refresh.tags == Tried::Ok && account.knows_tags(&keys);
            is_wanted.then(|| works.into())
        });
        per_account(&names::SERVICE_CREDENTIALS_AVAILABLE, &|account| {
            let tried = account.refresh.service_credentials.worked();
            let is_lacking = lacks_service_credentials(account, self.config);
            let works = tried.or(is_lacking.then_some(false));
            works.filter(|_| self.config.service_credentials).map(Value::from)
        });
        per_account(&names::NAME_AVAILABLE, &|account| {
            let lacks_name = lacks_name(account, self.config);
            account.refresh.name.worked().or(lacks_name.then_some(false)).map(Value::from)
        });
        page.family(&names::REFRESH_FAILURES, |family| {
            for AccountRow { account, labels, .. } in &self.accounts {
                for reason in Reason::ALL {
                    let labels = [labels, ",reason=\"", reason.as_str(), "\""];
                    family.sample(&labels, account.refresh.failures.get(reason) as i64);
                }
            }
        });
    }
}
