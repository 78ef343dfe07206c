//! Keys on a page: access keys, certificates and service-specific credentials.

use super::super::catalogue as names;
use super::super::text::{Value, Writer, push_label};
use super::rows::{KeyRow, Rows, SLOTS, ServiceCredentialRow};
use crate::report::Certificate;

impl Rows<'_> {
    /// Writes the metrics by key.
    pub fn write_keys(&self, page: &mut Writer) {
        let mut per_key = |metric, value: fn(&KeyRow) -> Option<Value>| {
            page.family(metric, |family| {
                for row in &self.keys {
                    if let Some(value) = value(row) {
                        family.sample(&self.key_labels(row), value);
                    }
                }
            });
        };
        per_key(&names::KEY_AGE, |row| row.verdict.age.map(Value::from));
        per_key(&names::KEY_LAST_ROTATED, |row| row.last_rotated.map(Value::from));
        per_key(&names::KEY_LAST_USED, |row| row.last_used.map(Value::from));
        per_key(&names::KEY_NEVER_USED, |row| {
            (row.active && row.key.never_used).then_some(Value::Integer(1))
        });
        per_key(&names::KEY_ACTIVE, |row| Some(row.active.into()));
        per_key(&names::KEY_UNROTATED, |row| row.verdict.unrotated.map(Value::from));
        per_key(&names::KEY_DUE, |row| row.verdict.due.map(Value::from));
        let mut labels = String::new();
        page.family(&names::KEY_EXEMPTION_END, |family| {
            for row in &self.keys {
                let Some(exemption) = row.exemption else { continue };
                labels.clear();
                labels.extend(self.key_labels(row));
                push_label(&mut labels, "reason", &exemption.reason);
                let end = row.exempt_until.map_or(Value::Float(f64::INFINITY), Value::from);
                family.sample(&[&labels], end);
            }
        });
        page.family(&names::KEY_INFO, |family| {
            for row in &self.keys {
                labels.clear();
                labels.extend(self.key_labels(row));
                for (name, value) in [
                    ("access_key_id", row.key.id.as_deref()),
                    ("last_used_region", row.key.last_used_region.as_deref()),
                    ("last_used_service", row.key.last_used_service.as_deref()),
                ] {
                    push_label(&mut labels, name, value.unwrap_or_default());
                }
                family.sample(&[&labels], 1_i64);
            }
        });
        page.family(&names::CERTIFICATE_ACTIVE, |family| {
            self.each_certificate(|labels, certificate| family.sample(labels, certificate.active));
        });
        page.family(&names::CERTIFICATE_LAST_ROTATED, |family| {
            self.each_certificate(|labels, certificate| {
                if let Some(time) = certificate.last_rotated {
                    family.sample(labels, time);
                }
            });
        });
        let mut per_credential = |metric, value: fn(&ServiceCredentialRow) -> Option<Value>| {
            page.family(metric, |family| {
                for row in &self.service_credentials {
                    if let Some(value) = value(row) {
                        family.sample(&[&row.labels], value);
                    }
                }
            });
        };
        per_credential(&names::SERVICE_CREDENTIAL_AGE, |row| row.verdict.age.map(Value::from));
        per_credential(&names::SERVICE_CREDENTIAL_ACTIVE, |row| Some(row.key.active.into()));
        per_credential(&names::SERVICE_CREDENTIAL_UNROTATED, |row| {
            row.verdict.unrotated.map(Value::from)
        });
        per_credential(&names::SERVICE_CREDENTIAL_EXPIRY, |row| row.expiry.map(Value::from));
    }

    fn each_certificate(&self, mut visit: impl FnMut(&[&str], &Certificate)) {
        for row in &self.users {
            for (slot, certificate) in row.user.certificates.iter().enumerate() {
                if let Some(certificate) = certificate {
                    let labels = [self.labels(row), ",cert=\"", &SLOTS[slot], "\""];
                    visit(&labels, certificate);
                }
            }
        }
    }
}
