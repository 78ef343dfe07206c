//! docs/metrics.md, from the catalogue.

use super::catalogue::{ALL, Group, Metric};
use crate::controls::catalogue;

const INTRODUCTION: &str = "\
# Metrics

<!-- Made by `iam-key-exporter metrics-doc`. Change src/metrics/catalogue.rs instead of this page. -->

Every metric that the exporter can expose. A series is absent where the value is not known: nothing
is 0, or 1970, for want of a value. `account_id` is the account's 12 digits. Until AWS has said whose
the credentials are, an account has no series and counts only in `iam_exporter_accounts` and
`iam_exporter_unidentified_refresh_failures_total`. A report file that was never read has its name there. `key` and `cert` are the slot in the credential
report, `1` or `2`, or a higher number for the further keys of a user who has more than two. After a
rotation the same slot can hold another key. `user` is
`<root_account>` for the account's root user.

An owner is an account and the values of the tags in `labels.user_tags`, each of them a label
`tag_NAME`, empty for users without the tag. While the tags of an account are not known, they are empty for
all its users (`iam_exporter_tags_available` is 0 or absent). The metrics of an owner have no `user`, and every key
counts for exactly one owner. While an owner has any key, the numbers that are 0 are there as 0. An account that
was read and has no key at all has one owner with empty tags, and an account that was not read has none.

On every page `sum by (account_id) (iam_access_key_unrotated)` equals `iam_unrotated_keys_total`, and so does
`sum by (account_id) (iam_owner_access_keys{status=\"unrotated\"})`.

`iam_access_key_age_days`, `iam_owner_oldest_unrotated_age_days` and `iam_unrotated_keys_total` keep their
names although a linter objects to `_days`, which is no base unit, and to `_total` on a gauge.

Names and labels of a released metric are an interface: labels may be added; a metric that gets
another name keeps the old one, too, for two minor releases.
";

const CONTROLS: &str = "
These are the numbers of the controls in each version of the CIS AWS Foundations benchmark, from v1.4 on the same until
v4.0.1. Some titles differ between versions, and the newest is shown. The numbers of v1.3 and v7.0 are from one source each,
all others from two or from the benchmark itself.

";

/// The page, as Markdown.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (group, title) in [
        (Group::Keys, "Access keys and certificates"),
        (Group::Users, "Users"),
        (Group::Accounts, "Accounts and policy"),
        (Group::Controls, "Controls"),
        (Group::Owners, "Owners"),
        (Group::Refresh, "Reports and refreshes"),
        (Group::Exporter, "The exporter"),
        (Group::Process, "The process (on Linux)"),
    ] {
        page.push_str(&format!(
            "\n## {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
        ));
        ALL.iter()
            .filter(|metric| metric.group == group)
            .for_each(|metric| page.push_str(&row(metric)));
        if group == Group::Controls {
            page.push_str(CONTROLS);
            page.push_str(&catalogue::markdown());
        }
    }
    page
}

fn row(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!(
        "| `{}` | {} | {} | {} |\n",
        metric.name,
        metric.kind.as_str(),
        labels.join(", "),
        metric.help
    )
}
