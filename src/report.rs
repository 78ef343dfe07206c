//! The IAM credential report: CSV bytes → [`Report`].
//!
//! AWS documents the format under "Get credential reports for your AWS account" in the IAM user
//! guide; what it really sends differs in places, and the reader takes both:
//!
//! - Columns are found by name. Columns that are not known are ignored, optional ones may be
//!   missing (accounts older than 2014 have fewer).
//! - `N/A`, `no_information`, `not_supported` and empty fields are all "absent".
//! - Booleans come in either case, times as any RFC 3339.
//! - User names may hold commas and AWS may not quote them. Where a row has more fields than the
//!   header, columns are counted from the right and the name ends where `,arn:` begins.
//! - An inactive key keeps its time: `false` with a time is an inactive key, `false` with `N/A` is
//!   no key.

use std::collections::HashSet;
use std::fmt;

use chrono::{DateTime, Utc};

/// The largest report that is read, in bytes. An account of 5,000 users has about 2 MB.
pub const MAX_BYTES: usize = 64 << 20;

/// The user name under which the report lists the account's root user.
pub const ROOT_USER: &str = "<root_account>";

/// One account's credential report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The account that the ARNs name: 12 digits. `None` where the report has no row.
    pub account_id: Option<String>,
    /// The partition that the ARNs name: `aws`, `aws-cn`, `aws-us-gov`, … `None` as above.
    pub partition: Option<String>,
    /// Users in the report's order, root among them. Names are unique.
    pub users: Vec<User>,
    /// What could not be read, one entry for each row that is missing or incomplete in `users`.
    pub rejected: Vec<RejectedRow>,
}

/// One row: an IAM user, or the account's root user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's name, or [`ROOT_USER`].
    pub name: String,
    /// The user's ARN. It names the user's path, too.
    pub arn: String,
    /// When the user, or for root the account, was created.
    pub created: Option<DateTime<Utc>>,
    /// Whether the user has a console password. Absent for root where AWS does not say.
    pub password_enabled: Option<bool>,
    /// When the password was last used to sign in. Absent when never, or not since October 2014.
    pub password_last_used: Option<DateTime<Utc>>,
    /// When the password was last set.
    pub password_last_changed: Option<DateTime<Utc>>,
    /// When the account's password policy forces a new password.
    pub password_next_rotation: Option<DateTime<Utc>>,
    /// Whether an MFA device is enabled.
    pub mfa_active: Option<bool>,
    /// Access keys in slots 1 and 2. A slot is no identity: after a rotation it can hold another key.
    pub keys: [Option<Key>; 2],
    /// X.509 signing certificates 1 and 2.
    pub certificates: [Option<Certificate>; 2],
    /// Whether the report says that there are more keys or certificates than its columns show.
    pub additional_credentials: bool,
}

/// An access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Whether the key can be used.
    pub active: bool,
    /// When the key was created or last rotated. Absent where the report gives no time for a key
    /// that it calls active; such a row is also counted as rejected.
    pub last_rotated: Option<DateTime<Utc>>,
    /// When the key was last used, in steps of 15 minutes, so it can lie before `last_rotated`.
    /// Absent when never.
    pub last_used: Option<DateTime<Utc>>,
    /// The region of the last use.
    pub last_used_region: Option<String>,
    /// The service of the last use, by its short name, such as `s3`.
    pub last_used_service: Option<String>,
}

/// An X.509 signing certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whether the certificate can be used.
    pub active: bool,
    /// When it was uploaded or last rotated.
    pub last_rotated: Option<DateTime<Utc>>,
}

/// A row, or a part of it, that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// The line of the CSV on which the row begins, counted from 1.
    pub line: u64,
    /// The column, by its name in the header.
    pub column: &'static str,
    /// What is wrong with it. Never the value: it may name a person.
    pub problem: Problem,
}

impl fmt::Display for RejectedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.problem)
    }
}

/// Why a row was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Fewer fields than the header has, or more that no comma in a user name explains.
    #[error("the row does not have the header's number of fields")]
    FieldCount,
    /// Not valid UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A field that must hold a value is empty or `N/A`.
    #[error("no value")]
    Empty,
    /// Neither `true` nor `false`.
    #[error("not a boolean")]
    NotABoolean,
    /// Not an RFC 3339 time.
    #[error("not an RFC 3339 time")]
    NotATime,
    /// Not `arn:PARTITION:iam::ACCOUNT:…` with an account of 12 digits.
    #[error("not an IAM ARN")]
    NotAnArn,
    /// The ARN names another account than the rows before it.
    #[error("another account than the rows before")]
    OtherAccount,
    /// A user of this name stands in the report already.
    #[error("the user stands in the report twice")]
    Duplicate,
    /// The key is active, but the report does not say since when. The user is kept, the key is
    /// kept without its age.
    #[error("an active key without a time")]
    ActiveKeyWithoutTime,
}

/// Why a report was refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than [`MAX_BYTES`].
    #[error("the report has {0} bytes, more than the {MAX_BYTES} that are read")]
    TooLarge(usize),
    /// There is no first line.
    #[error("the report is empty: it has no header")]
    NoHeader,
    /// The first line does not name a column that no report goes without.
    #[error("the header has no column {0}: this is not a credential report")]
    MissingColumn(&'static str),
    /// There are rows, and each one was rejected.
    #[error("none of the {rows} rows can be read; the first: {first}")]
    NothingReadable {
        /// How many rows there are.
        rows: usize,
        /// What is wrong with the first one.
        first: RejectedRow,
    },
}

impl Report {
    /// Reads a report. Rows that cannot be read are left out and listed in [`Report::rejected`].
    pub fn parse(csv: &[u8]) -> Result<Report, Error> {
        if csv.len() > MAX_BYTES {
            return Err(Error::TooLarge(csv.len()));
        }
        let csv = csv.strip_prefix(b"\xef\xbb\xbf").unwrap_or(csv);
        // Flexible: a row of another length than the header is this module's to judge.
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(csv);
        let mut record = csv::ByteRecord::new();
        if !read(&mut reader, &mut record) {
            return Err(Error::NoHeader);
        }
        let columns = Columns::find(&record)?;

        let mut report =
            Report { account_id: None, partition: None, users: Vec::new(), rejected: Vec::new() };
        let mut names = HashSet::new();
        let mut rows = 0;
        while read(&mut reader, &mut record) {
            rows += 1;
            let line = record.position().map_or(0, csv::Position::line);
            let row = Row {
                columns: &columns,
                record: &record,
                extra: record.len().saturating_sub(columns.count),
            };
            let outcome = row.user().and_then(|(user, warning)| {
                report.claim(&user)?;
                match names.insert(user.name.clone()) {
                    true => Ok((user, warning)),
                    false => Err(("user", Problem::Duplicate)),
                }
            });
            let rejected = match outcome {
                Ok((user, warning)) => {
                    report.users.push(user);
                    warning
                }
                Err(rejected) => Some(rejected),
            };
            report.rejected.extend(rejected.map(|(column, problem)| RejectedRow {
                line,
                column,
                problem,
            }));
        }
        match report.rejected.first() {
            Some(first) if report.users.is_empty() => {
                Err(Error::NothingReadable { rows, first: first.clone() })
            }
            _ => Ok(report),
        }
    }

    /// Takes the account from the first user's ARN and holds every further one to it.
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
}

/// A column's name, and what is wrong with its field.
type Rejection = (&'static str, Problem);

/// Reads the next record; false at the end. Reading from memory into bytes cannot fail, so an
/// error, too, is the end.
fn read(reader: &mut csv::Reader<&[u8]>, record: &mut csv::ByteRecord) -> bool {
    reader.read_byte_record(record).unwrap_or(false)
}

/// `arn:aws:iam::123456789012:user/path/name` → (`aws`, `123456789012`).
fn account_of(arn: &str) -> Option<(&str, &str)> {
    let mut parts = arn.splitn(6, ':');
    let ("arn", partition, "iam", "", account, resource) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?)
    else {
        return None;
    };
    let is_id = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    (is_id && !partition.is_empty() && !resource.is_empty()).then_some((partition, account))
}

/// A column of the report: its name, and its place in this report's header where it has one.
#[derive(Debug, Clone, Copy)]
struct Column {
    name: &'static str,
    index: Option<usize>,
}

/// The columns of one slot that holds an access key.
#[derive(Debug)]
struct KeyColumns {
    active: Column,
    last_rotated: Column,
    last_used: Column,
    last_used_region: Column,
    last_used_service: Column,
}

/// Where this report has its columns.
#[derive(Debug)]
struct Columns {
    count: usize,
    user: Column,
    arn: Column,
    created: Column,
    password_enabled: Column,
    password_last_used: Column,
    password_last_changed: Column,
    password_next_rotation: Column,
    mfa_active: Column,
    keys: [KeyColumns; 2],
    certificates: [(Column, Column); 2],
    additional_credentials: Column,
}

impl Columns {
    fn find(header: &csv::ByteRecord) -> Result<Columns, Error> {
        let optional = |name: &'static str| Column {
            name,
            index: header.iter().position(|field| field.trim_ascii() == name.as_bytes()),
        };
        let mandatory = |name| match optional(name) {
            Column { index: None, .. } => Err(Error::MissingColumn(name)),
            column => Ok(column),
        };
        Ok(Columns {
            count: header.len(),
            user: mandatory("user")?,
            arn: mandatory("arn")?,
            created: optional("user_creation_time"),
            password_enabled: optional("password_enabled"),
            password_last_used: optional("password_last_used"),
            password_last_changed: optional("password_last_changed"),
            password_next_rotation: optional("password_next_rotation"),
            mfa_active: optional("mfa_active"),
            keys: [
                KeyColumns {
                    active: mandatory("access_key_1_active")?,
                    last_rotated: mandatory("access_key_1_last_rotated")?,
                    last_used: optional("access_key_1_last_used_date"),
                    last_used_region: optional("access_key_1_last_used_region"),
                    last_used_service: optional("access_key_1_last_used_service"),
                },
                KeyColumns {
                    active: mandatory("access_key_2_active")?,
                    last_rotated: mandatory("access_key_2_last_rotated")?,
                    last_used: optional("access_key_2_last_used_date"),
                    last_used_region: optional("access_key_2_last_used_region"),
                    last_used_service: optional("access_key_2_last_used_service"),
                },
            ],
            certificates: [
                (optional("cert_1_active"), optional("cert_1_last_rotated")),
                (optional("cert_2_active"), optional("cert_2_last_rotated")),
            ],
            additional_credentials: optional("additional_credentials_info"),
        })
    }
}

/// One record, read by column.
struct Row<'a> {
    columns: &'a Columns,
    record: &'a csv::ByteRecord,
    /// How many fields the record has beyond the header's: commas in the name or the path.
    extra: usize,
}

impl<'a> Row<'a> {
    /// The user, and a rejection that costs only a part of it.
    fn user(&self) -> Result<(User, Option<Rejection>), Rejection> {
        let c = self.columns;
        if self.record.len() < c.count {
            return Err((c.user.name, Problem::FieldCount));
        }
        let (name, arn) = self.name_and_arn()?;
        let mut warning = None;
        let mut key = |columns| self.key(columns, &mut warning);
        let keys = [key(&c.keys[0])?, key(&c.keys[1])?];
        let user = User {
            name,
            arn,
            created: self.time(c.created)?,
            password_enabled: self.boolean(c.password_enabled)?,
            password_last_used: self.time(c.password_last_used)?,
            password_last_changed: self.time(c.password_last_changed)?,
            password_next_rotation: self.time(c.password_next_rotation)?,
            mfa_active: self.boolean(c.mfa_active)?,
            keys,
            certificates: [
                self.certificate(c.certificates[0])?,
                self.certificate(c.certificates[1])?,
            ],
            additional_credentials: self.additional_credentials()?,
        };
        Ok((user, warning))
    }

    /// The two fields that may hold commas. Where the row has more fields than the header, they are
    /// put together again and parted at `,arn:`, which no name can hold: it has no colon.
    fn name_and_arn(&self) -> Result<(String, String), Rejection> {
        let Columns { user, arn, .. } = self.columns;
        if self.extra == 0 {
            // Not `text`: "no_information" is a legal user name.
            let required = |column| match self.field(column)? {
                "" => Err((column.name, Problem::Empty)),
                field => Ok(field.to_owned()),
            };
            return Ok((required(*user)?, required(*arn)?));
        }
        if (user.index, arn.index) != (Some(0), Some(1)) {
            return Err((user.name, Problem::FieldCount));
        }
        let fields: Vec<&[u8]> = self.record.iter().take(self.extra + 2).collect();
        let joined =
            String::from_utf8(fields.join(&b',')).map_err(|_| (user.name, Problem::NotUtf8))?;
        match joined.find(",arn:") {
            None => Err((user.name, Problem::FieldCount)),
            Some(0) => Err((user.name, Problem::Empty)),
            Some(comma) => Ok((joined[..comma].to_owned(), joined[comma + 1..].to_owned())),
        }
    }

    fn key(
        &self,
        columns: &KeyColumns,
        warning: &mut Option<Rejection>,
    ) -> Result<Option<Key>, Rejection> {
        let active = self.boolean(columns.active)?.unwrap_or(false);
        let last_rotated = self.time(columns.last_rotated)?;
        if last_rotated.is_none() {
            if !active {
                return Ok(None);
            }
            *warning = Some((columns.last_rotated.name, Problem::ActiveKeyWithoutTime));
        }
        Ok(Some(Key {
            active,
            last_rotated,
            last_used: self.time(columns.last_used)?,
            last_used_region: self.text(columns.last_used_region)?.map(str::to_owned),
            last_used_service: self.text(columns.last_used_service)?.map(str::to_owned),
        }))
    }

    fn certificate(
        &self,
        (active, last_rotated): (Column, Column),
    ) -> Result<Option<Certificate>, Rejection> {
        let active = self.boolean(active)?.unwrap_or(false);
        let last_rotated = self.time(last_rotated)?;
        Ok((active || last_rotated.is_some()).then_some(Certificate { active, last_rotated }))
    }

    /// The column's text is not documented, so anything that is not an absent value or a plain
    /// "false" or "0" says that there is more.
    fn additional_credentials(&self) -> Result<bool, Rejection> {
        let text = self.text(self.columns.additional_credentials)?;
        Ok(text.is_some_and(|text| !text.eq_ignore_ascii_case("false") && text != "0"))
    }

    fn boolean(&self, column: Column) -> Result<Option<bool>, Rejection> {
        match self.text(column)? {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err((column.name, Problem::NotABoolean)),
        }
    }

    fn time(&self, column: Column) -> Result<Option<DateTime<Utc>>, Rejection> {
        match self.text(column)? {
            None => Ok(None),
            Some(text) => match DateTime::parse_from_rfc3339(text) {
                Ok(time) => Ok(Some(time.to_utc())),
                Err(_) => Err((column.name, Problem::NotATime)),
            },
        }
    }

    /// The field's value; `None` where the report has none for it.
    fn text(&self, column: Column) -> Result<Option<&'a str>, Rejection> {
        match self.field(column)? {
            "" | "N/A" | "no_information" | "not_supported" => Ok(None),
            text => Ok(Some(text)),
        }
    }

    /// The field without the spaces around it; empty where the report has no such column.
    fn field(&self, column: Column) -> Result<&'a str, Rejection> {
        let Some(index) = column.index else {
            return Ok("");
        };
        let field = self.record.get(index + self.extra).unwrap_or_default();
        match std::str::from_utf8(field) {
            Ok(text) => Ok(text.trim_ascii()),
            Err(_) => Err((column.name, Problem::NotUtf8)),
        }
    }
}

#[cfg(test)]
mod tests;
