//! The IAM credential report: CSV bytes → [`Report`].
//!
//! AWS documents the format under "Get credential reports for your AWS account" in the IAM user
//! guide. AWS's real reports differ in places, and the parser accepts both:
//!
//! - Columns are found by name. Columns that are not known are ignored, optional ones may be
//!   missing (accounts older than 2014 have fewer).
//! - `N/A`, `no_information`, `not_supported` and empty fields are all "absent". Only the first two
//!   say that a key or password was never used, and only `false` says that a slot has no active key.
//! - Booleans come in either case, times as any RFC 3339.
//! - User names may hold commas, paths quotes, too, and whether AWS quotes such fields is not known.
//!   Each line is a row: no field can hold a line feed, so no quote can swallow the rows after it.
//!   If a row has more fields than the header, the name ends where `,arn:` begins, the ARN ends
//!   with the name, and the further commas belong to the last column if the columns before it fit.
//! - The text is UTF-8, with or without a byte order mark, or UTF-16 with one: that is what a
//!   redirection in PowerShell writes.
//! - An inactive key keeps its time: `false` with a time is an inactive key, `false` with `N/A` is
//!   no key. If one of root's was used, it is not known whether there is one.

mod errors;
pub mod intern;
pub mod keep;
mod order;
mod row;

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use memchr::{memchr, memchr_iter, memmem};

use self::intern::Interner;
pub use errors::{Error, Problem, RejectedRow};
use row::{Columns, Rejection, Row};

/// AWS makes a new report after four hours. An older report than this is reported as old.
pub const STALE: TimeDelta = TimeDelta::hours(8);

/// The largest report that is read, in bytes. An account of 5,000 users has about 2 MB.
pub const MAX_BYTES: usize = 64 << 20;

/// The longest line that is read, in bytes. A row of AWS has some hundred, and at most a few thousand.
const MAX_LINE: usize = 64 << 10;

/// With more rejected rows, the whole report is refused. An account has some thousand users.
const MAX_REJECTED: usize = 100_000;

/// The user name under which the report lists the account's root user.
pub const ROOT_USER: &str = "<root_account>";

/// The columns of AWS's report, in AWS's order. Older reports lack the last one.
pub const COLUMNS: [&str; 23] = [
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    "access_key_1_active",
    "access_key_1_last_rotated",
    "access_key_1_last_used_date",
    "access_key_1_last_used_region",
    "access_key_1_last_used_service",
    "access_key_2_active",
    "access_key_2_last_rotated",
    "access_key_2_last_used_date",
    "access_key_2_last_used_region",
    "access_key_2_last_used_service",
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
    "additional_credentials_info",
];

/// One account's credential report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The account that the ARNs name: 12 digits. Every report that was read has one.
    pub account_id: Option<String>,
    /// The partition that the ARNs name: `aws`, `aws-cn`, `aws-us-gov`, … `None` as above.
    pub partition: Option<String>,
    /// Users in the report's order, root among them. Names are unique.
    pub users: Vec<User>,
    /// The rows that are missing or incomplete in `users`.
    pub rejected: Vec<RejectedRow>,
    /// The number of rows whose users may not be in `users`.
    pub missing: usize,
}

/// One row: an IAM user, or the account's root user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The user's name, or [`ROOT_USER`].
    pub name: String,
    /// The user's ARN. It names the user's path, too.
    pub arn: String,
    /// When the user, or for root the account, was created.
    pub created: Option<DateTime<Utc>>,
    /// Whether the user has a console password. Absent for root if AWS does not report it.
    pub password_enabled: Option<bool>,
    /// When the password was last used to sign in. Absent when never, or not since October 2014.
    pub password_last_used: Option<DateTime<Utc>>,
    /// Whether the report says that the password was never used.
    pub password_never_used: bool,
    /// When the password was last set.
    pub password_last_changed: Option<DateTime<Utc>>,
    /// When the account's password policy forces a new password.
    pub password_next_rotation: Option<DateTime<Utc>>,
    /// Whether an MFA device is enabled.
    pub mfa_active: Option<bool>,
    /// Access keys in slots 1 and 2. A slot does not identify a key: after a rotation it can hold
    /// another one.
    pub keys: [Option<Key>; 2],
    /// Whether the report, or one of two rows, does not say of a slot whether it holds a key. The key is then
    /// that of an earlier report or of the other row. Such a row also counts as rejected.
    pub lacks_key: [bool; 2],
    /// Whether a slot of root has a use, although it has no key.
    pub has_use_without_key: bool,
    /// Whether the report, or one of two rows, gives no time for the active key of a slot. Its time is then
    /// that of an earlier report or of the other row, the older of both, or not known. Such a row also counts
    /// as rejected.
    pub lacks_time: [bool; 2],
    /// X.509 signing certificates 1 and 2.
    pub certificates: [Option<Certificate>; 2],
    /// Whether the report says that there are more keys or certificates than its columns show. `None`: it says
    /// nothing, nor did the report before.
    pub additional_credentials: Option<bool>,
    /// Whether the row is that of an earlier report: see [`Report::keep_missing`].
    pub is_kept: bool,
    /// Whether the report has more than one row of this name. What they say differently is not known.
    pub has_two_rows: bool,
}

/// An access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Whether the key can be used. One of which the report does not say it counts as active.
    pub active: bool,
    /// The access key id, such as `AKIA…`. The report does not have it: it is known if a call
    /// confirmed the key.
    pub id: Option<String>,
    /// When the key was created or last rotated. Absent if no report gives a time for an active key: see
    /// [`User::lacks_time`].
    pub last_rotated: Option<DateTime<Utc>>,
    /// When the key was last used, in steps of 15 minutes, so it can be before `last_rotated`.
    /// Absent if never, or not known.
    pub last_used: Option<DateTime<Utc>>,
    /// Whether it was never used, by the report.
    pub never_used: bool,
    /// The region of the last use.
    pub last_used_region: Option<Arc<str>>,
    /// The service of the last use, by its short name, such as `s3`.
    pub last_used_service: Option<Arc<str>>,
    /// When the report was made that says this of its use, if that is an earlier one.
    pub use_of: Option<DateTime<Utc>>,
}

/// An X.509 signing certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whether the certificate can be used.
    pub active: bool,
    /// When it was uploaded or last rotated.
    pub last_rotated: Option<DateTime<Utc>>,
}

impl Report {
    /// Reads a report. Rows that cannot be read are left out and listed in [`Report::rejected`].
    pub fn parse(csv: &[u8]) -> Result<Report, Error> {
        if csv.len() > MAX_BYTES {
            return Err(Error::TooLarge(csv.len()));
        }
        let csv = &*utf8(csv)?;
        // Counting costs less than growing the list. Lines that are too short to be rows do not
        // count.
        let capacity = memchr_iter(b'\n', csv).count().min(csv.len() / 100);
        let mut lines = lines(csv).zip(1..).filter(|(line, _)| !line.is_empty());
        let (header, _) = lines.next().ok_or(Error::NoHeader)?;
        let header = &header[..header.len().min(MAX_LINE)];
        let columns = Columns::find(&unquote(header))
            .map_err(|error| Error::of_other_format(header).unwrap_or(error))?;

        let mut report = Report {
            account_id: None,
            partition: None,
            users: Vec::with_capacity(capacity),
            rejected: Vec::new(),
            missing: 0,
        };
        let mut places: HashMap<String, usize> = HashMap::with_capacity(capacity);
        let (mut fields, mut interner) = (Vec::new(), Interner::default());
        let mut rows = 0;
        for (line, number) in lines {
            rows += 1;
            let user = read(line, &columns, &mut fields, &mut interner);
            let is_of_another = user.as_ref().is_ok_and(|(_, warning)| {
                warning.is_some_and(|(_, problem)| problem == Problem::OtherName)
            });
            let outcome = user.and_then(|(user, warning)| {
                report.claim(&user)?;
                match places.entry(user.name.clone()) {
                    Entry::Occupied(place) => {
                        report.users[*place.get()].combine(user);
                        Err((columns.user.name, Problem::Duplicate))
                    }
                    Entry::Vacant(place) => {
                        place.insert(report.users.len());
                        report.users.push(user);
                        Ok(warning)
                    }
                }
            });
            // If a user is there twice, the user is kept.
            let is_skipped = outcome.is_err_and(|(_, problem)| problem != Problem::Duplicate);
            report.missing += usize::from(is_skipped || is_of_another);
            let rejected = outcome.unwrap_or_else(Some);
            report.rejected.extend(rejected.map(|(column, problem)| RejectedRow {
                line: number,
                column,
                problem,
                // No user's name has such a bracket.
                is_root: memmem::find(line, ROOT_USER.as_bytes()).is_some(),
                user: columns.name_in(line),
            }));
            if report.rejected.len() > MAX_REJECTED {
                return Err(Error::MostlyUnreadable { first: report.rejected.swap_remove(0) });
            }
        }
        report.users.shrink_to_fit();
        match report.rejected.first() {
            _ if !report.users.is_empty() => Ok(report),
            Some(first) => Err(Error::NothingReadable { rows, first: first.clone() }),
            None => Err(Error::NoRows),
        }
    }

    /// Whether the report has no row of root that counts: at most an earlier one, or one that could not be
    /// read. China has no root user, and so its reports have no such row.
    pub fn lacks_root(&self) -> bool {
        let is_root_read = self.users.iter().any(|user| user.is_root() && !user.is_kept);
        !is_root_read && !self.is_without_root()
    }

    /// Whether the partition has no root users, and the report has no row that says otherwise.
    pub fn is_without_root(&self) -> bool {
        self.partition.as_deref() == Some("aws-cn")
            && !self.users.iter().any(User::is_root)
            && !self.rejected.iter().any(|row| row.is_root)
    }

    /// Takes the account from the first user's ARN, and checks that the others have the same.
    fn claim(&mut self, user: &User) -> Result<(), Rejection> {
        let (partition, account) = account_of(&user.arn).ok_or(("arn", Problem::NotAnArn))?;
        match &self.account_id {
            None => {
                self.account_id = Some(account.to_owned());
                self.partition = Some(partition.to_owned());
                Ok(())
            }
            Some(id) if id == account => Ok(()),
            Some(_) => Err(("arn", Problem::OtherAccount)),
        }
    }
}

impl User {
    /// Whether this is the account's root user.
    pub fn is_root(&self) -> bool {
        self.name == ROOT_USER
    }

    /// Whether the user has more keys or certificates than the report's columns show.
    pub fn has_more_credentials(&self) -> bool {
        self.additional_credentials == Some(true)
    }

    /// The path within the ARN, such as `/` or `/service/`, and `/` for root.
    pub fn path(&self) -> &str {
        let path = self.arn.split_once(":user").map_or("", |(_, rest)| rest);
        path.strip_suffix(self.name.as_str()).filter(|path| !path.is_empty()).unwrap_or("/")
    }
}

/// The text as UTF-8, without a byte order mark. Without one, it is not looked at.
fn utf8(csv: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    match csv {
        [0xef, 0xbb, 0xbf, text @ ..] => Ok(text.into()),
        [0xff, 0xfe, text @ ..] => from_utf16(text, u16::from_le_bytes).map(Cow::from),
        [0xfe, 0xff, text @ ..] => from_utf16(text, u16::from_be_bytes).map(Cow::from),
        text => Ok(text.into()),
    }
}

fn from_utf16(text: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Vec<u8>, Error> {
    let (units, rest) = text.as_chunks();
    let text: Result<String, _> = char::decode_utf16(units.iter().copied().map(unit)).collect();
    text.ok().filter(|_| rest.is_empty()).map(String::into_bytes).ok_or(Error::NotUtf16)
}

/// The lines, without their ends. With `memchr`, here and where labels are escaped, 5,000 users take
/// 32.9 ms from report to compressed page, with std alone 34.1 ms.
fn lines(csv: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr_iter(b'\n', csv).chain([csv.len()]).map(move |end| {
        let line = &csv[start..end];
        start = end + 1;
        line.strip_suffix(b"\r").unwrap_or(line)
    })
}

/// Parses a line as a user. Quotes may belong to a path or to CSV. The more likely reading is tried
/// first, then the other.
fn read<'a>(
    line: &'a [u8],
    columns: &Columns,
    fields: &mut Vec<&'a [u8]>,
    interner: &mut Interner,
) -> Result<(User, Option<Rejection>), Rejection> {
    fields.clear();
    if line.len() > MAX_LINE {
        return Err((columns.user.name, Problem::TooLong));
    }
    fields.extend(line.split(|byte| *byte == b','));
    let plain = |interner: &mut Interner| Row::new(columns, fields).user(interner);
    if memchr(b'"', line).is_none() {
        return plain(interner);
    }
    let quoted = |interner: &mut Interner| {
        let record = unquote(line);
        Row::new(columns, &record.iter().collect::<Vec<_>>()).user(interner)
    };
    // Names have no quotes, and ARNs do not begin with one, so these belong to CSV.
    let is_csv = line.starts_with(b"\"") || line.windows(6).any(|six| six == b",\"arn:");
    if is_csv {
        quoted(interner).or_else(|rejection| plain(interner).map_err(|_| rejection))
    } else {
        plain(interner).or_else(|rejection| quoted(interner).map_err(|_| rejection))
    }
}

/// The line's fields, with quotes as in RFC 4180.
fn unquote(line: &[u8]) -> csv::ByteRecord {
    let mut record = csv::ByteRecord::new();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
    // Reading one record from memory cannot fail.
    let _ = reader.read_byte_record(&mut record);
    record
}

/// `arn:aws:iam::123456789012:user/path/name` → (`aws`, `123456789012`).
fn account_of(arn: &str) -> Option<(&str, &str)> {
    let (partition, rest) = arn.strip_prefix("arn:")?.split_once(':')?;
    let (account, rest) = rest.strip_prefix("iam::")?.split_at_checked(12)?;
    let is_id = account.bytes().all(|byte| byte.is_ascii_digit());
    let resource = rest.strip_prefix(':')?;
    (is_id && !partition.is_empty() && !resource.is_empty()).then_some((partition, account))
}

#[cfg(test)]
mod tests;
