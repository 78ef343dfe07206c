//! The list of keys as a file for spreadsheets.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SecondsFormat, Utc};

use super::health::{self, AccountSummary, Trouble};
use super::query::Query;
use super::select::{about, candidates, select};
use super::trust;
use crate::findings::COLUMNS;
use crate::policy::in_days;
use crate::render::Snapshot;

/// The columns after [`COLUMNS`].
const MORE: [&str; 5] = ["max_age", "exempt_until", "account_state", "report_generated", "as_of"];
/// The indexes of the columns status and rule.
const STATUS: usize = 5;
const RULE: usize = 11;
/// The status of an account without a report.
const NOT_READ: &str = "not_read";
/// The status of an account that may have keys for the file, of which none is known.
const NOT_ALL_KNOWN: &str = "not_all_known";

/// The keys that the query asks for as CSV: the columns of `check --format csv`, and more for
/// auditors. An account whose keys are not known has its own row. So has one of which not all is
/// known, if it has no other row: the state of the account is in each row.
///
/// Spreadsheets treat a cell that begins with one of `= + - @`, tab or carriage return as a formula,
/// and names and tags can begin with one. Such cells get an apostrophe in front.
pub fn render(snapshot: &Snapshot, query: &Query) -> Vec<u8> {
    let keys = candidates(snapshot, query);
    let rows = select(&about(&keys, query, &snapshot.config.user_tags), query);
    let all = health::accounts(snapshot);
    let accounts: Vec<&AccountSummary> = all.iter().collect();
    let by_id: HashMap<&str, &AccountSummary> =
        all.iter().map(|row| (row.account.id.as_str(), row)).collect();
    let as_of = time(snapshot.now);
    let mut csv = ::csv::Writer::from_writer(Vec::new());
    let mut write = |row: &[String]| csv.write_record(row).expect("memory takes every byte");
    write(&COLUMNS.iter().chain(&MORE).map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let mut have_rows = HashSet::new();
    for row in rows {
        have_rows.insert(row.account_id.as_str());
        let account = by_id.get(row.account_id.as_str());
        let until = row.exemption.as_ref().and_then(|exemption| exemption.end);
        let more = [
            in_days(row.max_age),
            until.map(time).unwrap_or_default(),
            account.map_or(String::new(), |it| it.health.as_str().to_owned()),
            account.and_then(|it| it.account.generated).map(time).unwrap_or_default(),
            as_of.clone(),
        ];
        write(&row.fields().into_iter().chain(more).map(harmless).collect::<Vec<_>>());
    }
    let doubtful = accounts.iter().filter(|row| {
        let may_have_more = row.is_read() && !row.is_whole && query.search.is_empty();
        may_have_more && query.is_of_account(row.account) && !have_rows.contains(&*row.account.id)
    });
    for row in unread(&accounts, query).iter().chain(doubtful) {
        let status = if row.is_read() { NOT_ALL_KNOWN } else { NOT_READ };
        let troubles = || row.troubles.iter().map(Trouble::text).collect::<Vec<_>>().join(", ");
        let mut fields = vec![String::new(); COLUMNS.len() + MORE.len()];
        fields[0] = row.account.id.clone();
        fields[1] = row.account.name.clone();
        fields[STATUS] = status.to_owned();
        fields[RULE] = row.cause().unwrap_or_else(troubles);
        fields[COLUMNS.len() + 2] = row.health.as_str().to_owned();
        fields[COLUMNS.len() + 3] = row.account.generated.map(time).unwrap_or_default();
        fields[COLUMNS.len() + 4] = as_of.clone();
        write(&fields.into_iter().map(harmless).collect::<Vec<_>>());
    }
    let unlisted = trust::unlisted(snapshot.state.discovery);
    if let Some(why) = unlisted.filter(|_| query.account.is_empty()) {
        let mut fields = vec![String::new(); COLUMNS.len() + MORE.len()];
        fields[STATUS] = NOT_READ.to_owned();
        fields[RULE] = why.to_owned();
        fields[COLUMNS.len() + 4] = as_of;
        write(&fields);
    }
    csv.into_inner().expect("memory takes every byte")
}

/// Accounts that the query may include and whose keys are not known.
pub fn unread<'a, 'b>(
    accounts: &[&'a AccountSummary<'b>],
    query: &Query,
) -> Vec<&'a AccountSummary<'b>> {
    let of_query: Vec<_> =
        accounts.iter().filter(|row| query.is_of_account(row.account)).copied().collect();
    if query.search.is_empty() {
        return of_query.into_iter().filter(|row| !row.is_read()).collect();
    }
    trust::unread_of(&of_query, query)
}

/// The file's name, which describes its content.
pub fn file_name(query: &Query, now: DateTime<Utc>) -> String {
    let subject = query.subject();
    let words = subject.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let subject: String = words.flat_map(|word| ["-", word]).collect();
    let subject: String = subject.chars().take(60).collect();
    let show = query.show.as_str();
    format!("iam-access-keys-{show}{subject}-{}.csv", now.format("%Y%m%dT%H%M%SZ"))
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(super) fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}
