//! Users on a page.

use super::super::catalogue as names;
use super::super::text::{Value, Writer, push_label};
use super::rows::Rows;
use crate::report::User;

impl Rows<'_> {
    /// Writes the metrics by user.
    pub fn write_users(&self, page: &mut Writer) {
        page.family(&names::USER_INFO, |family| {
            let mut labels = String::new();
            for row in &self.users {
                labels.clear();
                labels.push_str(self.labels(row));
                push_label(&mut labels, "arn", &row.user.arn);
                family.sample(&[&labels], 1_i64);
            }
        });
        // One for each user whose tags were read, so that a join loses nobody.
        page.family(&names::USER_TAGS, |family| {
            let has_tags = !self.config.user_tags.is_empty();
            for row in self.users.iter().filter(|row| row.knows_tags && has_tags) {
                let tags = &self.labels[self.owners[row.owner].tags.clone()];
                family.sample(&[self.labels(row), tags], 1_i64);
            }
        });
        let mut per_user = |metric, value: fn(&User) -> Option<Value>| {
            page.family(metric, |family| {
                for row in &self.users {
                    if let Some(value) = value(row.user) {
                        family.sample(&[self.labels(row)], value);
                    }
                }
            });
        };
        per_user(&names::USER_CREATED, |user| user.created.map(Value::from));
        per_user(&names::USER_MFA_ACTIVE, |user| user.mfa_active.map(Value::from));
        per_user(&names::USER_PASSWORD_ENABLED, |user| user.password_enabled.map(Value::from));
        per_user(&names::USER_PASSWORD_LAST_USED, |user| user.password_last_used.map(Value::from));
        per_user(&names::USER_PASSWORD_LAST_CHANGED, |user| {
            user.password_last_changed.map(Value::from)
        });
        per_user(&names::USER_PASSWORD_EXPIRY, |user| user.password_next_rotation.map(Value::from));
        per_user(&names::USER_ADDITIONAL_CREDENTIALS, |user| {
            user.has_more_credentials().then_some(Value::Integer(1))
        });
    }
}
