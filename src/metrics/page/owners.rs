//! The metrics of owners.

use super::super::catalogue as names;
use super::super::text::{Value, Writer};
use super::rows::{OwnerRow, Rows};
use crate::policy::KeyStatus;
use crate::policy::owner::{FindingKind, Found, KeySummary};

impl Rows<'_> {
    /// Writes the metrics by owner.
    pub fn write_owners(&self, page: &mut Writer) {
        let shown = || self.owners.iter().filter(|row| row.is_shown);
        page.family(&names::OWNER_KEYS, |family| {
            for OwnerRow { labels, keys, .. } in shown() {
                for status in KeyStatus::ALL {
                    let labels =
                        [&self.labels[labels.clone()], ",status=\"", status.as_str(), "\""];
                    family.sample(&labels, keys.count(status));
                }
            }
        });
        let mut per_finding = |metric, value: fn(Found) -> Value| {
            page.family(metric, |family| {
                // An owner without access keys can have other findings.
                for OwnerRow { labels, keys, .. } in &self.owners {
                    for finding in FindingKind::ALL {
                        let Some(found) = keys.found(finding) else { continue };
                        let labels =
                            [&self.labels[labels.clone()], ",finding=\"", finding.as_str(), "\""];
                        family.sample(&labels, value(found));
                    }
                }
            });
        };
        per_finding(&names::OWNER_FINDINGS, |found| found.keys.into());
        per_finding(&names::OWNER_FINDING_TIME, |found| found.first.into());
        let mut most_urgent = |metric, value: fn(usize, usize) -> usize| {
            page.family(metric, |family| {
                for OwnerRow { labels, keys, .. } in shown() {
                    let Some((finding, most, less)) = keys.most_urgent() else { continue };
                    let labels =
                        [&self.labels[labels.clone()], ",finding=\"", finding.as_str(), "\""];
                    family.sample(&labels, value(most, less));
                }
            });
        };
        most_urgent(&names::OWNER_MOST_URGENT, |most, _| most);
        most_urgent(&names::OWNER_LESS_URGENT, |_, less| less);
        page.family(&names::OWNER_ROOT_KEYS, |family| {
            for row in &self.accounts {
                if let Some(keys) = row.root_keys {
                    family.sample(&[&row.owner_labels], keys);
                }
            }
        });
        let mut per_owner = |metric, value: fn(&KeySummary) -> Option<Value>| {
            page.family(metric, |family| {
                for OwnerRow { labels, keys, .. } in shown() {
                    if let Some(value) = value(keys) {
                        family.sample(&[&self.labels[labels.clone()]], value);
                    }
                }
            });
        };
        per_owner(&names::OWNER_NEVER_USED, |keys| Some(keys.never_used.into()));
        per_owner(&names::OWNER_NEXT_DUE, |keys| keys.next_due.map(Value::from));
        per_owner(&names::OWNER_NEXT_EXEMPTION_END, |keys| {
            keys.next_exemption_end.map(Value::from)
        });
        // 0 says that no key is unrotated, which is known here. Last, beside the refreshes, because it
        // changes as often as they do.
        per_owner(&names::OWNER_OLDEST_UNROTATED, |keys| {
            Some(keys.oldest_unrotated.map_or(Value::Integer(0), Value::from))
        });
    }
}
