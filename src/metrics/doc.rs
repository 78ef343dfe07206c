//! docs/metrics.md, from the catalogue.

use super::catalogue::{ALL, Group, Metric};
use crate::controls::catalogue;

const INTRODUCTION: &str = "\
# Metrics

<!-- Made by `iam-key-exporter metrics-doc`. Change src/metrics/catalogue.rs instead of this page. -->

After reading this page you know every metric that the exporter can expose, and which values it can have.

- **A value that is not known has no series.** It is never 0, and never 1970.
- **The report.** Most values come from the credential report of an account. AWS renews it at most every four hours.
  [freshness.md](freshness.md) explains which values later calls replace.
- **`account_id`** is the account's 12 digits. An account whose id is not known yet has no series, such as that of a
  report file that was never read. It counts in `iam_exporter_accounts`, `iam_exporter_unidentified_accounts` and
  `iam_exporter_unidentified_refresh_failures_total`.
- **`user`** is the user's name, or `<root_account>` for root. For service-specific credentials it can be
  `NAME (unmatched)`: AWS listed them under that name, and it is not known which user of the report that is.
- **`key`** and **`cert`** are the slot in the report, `1` or `2`. More keys of a user have higher numbers. After a
  rotation the same slot can hold another key.
- **An owner** is an account and the values of the tags in `labels.user_tags`. Each tag is a label `tag_NAME`, which is
  empty for users without the tag. While the tags of a user are not known, they are empty, too, and
  `iam_exporter_tags_available` is 0 or absent. Metrics by owner have no `user`, and every key counts for exactly one owner.
  While an owner has any key, numbers that are 0 are there as 0. An account without any key has one owner with empty
  tags. An account that was never read has none.

On every page `sum by (account_id) (iam_access_key_unrotated)` equals `iam_unrotated_keys_total`, and so does
`sum by (account_id) (iam_owner_access_keys{status=\"unrotated\"})`.

Names and labels of a released metric are an interface. Labels may be added. A renamed metric keeps its old name, too, for
two minor releases. `iam_access_key_age_days`, `iam_owner_oldest_unrotated_age_days` and `iam_unrotated_keys_total` keep
their names, although a linter objects to `_days` and to `_total` on a gauge.
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

/// In the texts of `HELP`. The introduction has it once.
const AGE_OF_REPORTS: &str = ", which AWS renews at most every four hours";

fn row(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!(
        "| `{}` | {} | {} | {} |\n",
        metric.name,
        metric.kind.as_str(),
        labels.join(", "),
        metric.help.replace(AGE_OF_REPORTS, "")
    )
}
