//! Why a row, or a whole report, cannot be read.

use std::fmt;

use super::{MAX_BYTES, MAX_LINE, MAX_REJECTED};

/// A row, or a part of it, that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// The line of the CSV on which the row begins, counted from 1.
    pub line: u64,
    /// The column, by its name in the header.
    pub column: &'static str,
    /// The error in it. Never the value, which may name a person.
    pub problem: Problem,
    /// Whether the row is the root user's, as far as it could be read.
    pub is_root: bool,
    /// The user's name, as far as it could be read. For people who run `check`, never for a label or a log.
    pub user: Option<String>,
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
    /// The line is longer than 64 KiB.
    #[error("the line is longer than {MAX_LINE} bytes")]
    TooLong,
    /// Not valid UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A field that must hold a value is empty or `N/A`. If it is the status of a key, and there is no
    /// time either, the user is kept without that key.
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
    /// The ARN names a different account than in the rows before it.
    #[error("a different account than in the rows before")]
    OtherAccount,
    /// The ARN names another user. The row is kept, but nobody can tell whose it is.
    #[error("the ARN is that of another user")]
    OtherName,
    /// The report already has a user with this name. The worse of both is kept.
    #[error("the report has the user twice")]
    Duplicate,
    /// There is a key or certificate, but the report does not say whether it is active. A key counts as
    /// active then, and the user is kept without the certificate.
    #[error("a key without a status")]
    KeyWithoutStatus,
    /// The key is active, but the report does not say since when. The key is kept, with the time of the
    /// report before, if there is one.
    #[error("an active key without a time")]
    ActiveKeyWithoutTime,
    /// Root has no key, and yet it was used. Whether there is one is not known.
    #[error("the use of a key that is not there")]
    UseWithoutKey,
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
    /// It has a header and nothing else.
    #[error("the report has no row, not even the root user's")]
    NoRows,
    /// It begins as UTF-16 does, but is not.
    #[error("the report begins as UTF-16 but is not valid UTF-16: export it again, as UTF-8")]
    NotUtf16,
    /// A report can be in it.
    #[error(
        "this is JSON, not a credential report: if it is the answer of `aws iam get-credential-report`, make it again \
         with `--query Content --output text | base64 -d`"
    )]
    Json,
    /// The report was not decoded.
    #[error("this is a credential report in base64: decode it with `base64 -d`")]
    Base64,
    /// Spreadsheets use the separator of the person's country.
    #[error(
        "the columns are separated by {0:?}, not by commas: a spreadsheet may have saved the report, so export it again"
    )]
    OtherSeparator(char),
    /// The first line does not name a column that no report goes without.
    #[error("the header has no column {0}: this is not a credential report")]
    MissingColumn(&'static str),
    /// There is no way to know which of two columns with the same name is right.
    #[error("the header names a column twice")]
    ColumnTwice,
    /// More rows were rejected than an account can have users.
    #[error("more than {MAX_REJECTED} rows cannot be read; the first: {first}")]
    MostlyUnreadable {
        /// The error in the first one.
        first: RejectedRow,
    },
    /// There are rows, and each one was rejected.
    #[error("none of the {rows} rows can be read; the first: {first}")]
    NothingReadable {
        /// How many rows there are.
        rows: usize,
        /// The error in the first one.
        first: RejectedRow,
    },
}

impl Error {
    /// What it is instead, if the first line is that of a file that people take for a report.
    pub(super) fn of_other_format(line: &[u8]) -> Option<Error> {
        let start = line.trim_ascii_start();
        let start = start.strip_prefix(b"\"").unwrap_or(start);
        if start.starts_with(b"{") || start.starts_with(b"[") {
            Some(Error::Json)
        } else if start.starts_with(USER_ARN_IN_BASE64) {
            Some(Error::Base64)
        } else if start.starts_with(b"user") {
            let separator = line.iter().find(|byte| matches!(byte, b';' | b'\t'))?;
            Some(Error::OtherSeparator((*separator).into()))
        } else {
            None
        }
    }
}

/// `user,arn,`, with which AWS's reports begin.
const USER_ARN_IN_BASE64: &[u8] = b"dXNlcixhcm4s";
