//! One row of the report, read by column.

use chrono::{DateTime, Utc};

use super::intern::Interner;
use super::{Certificate, Error, Key, Problem, User};

/// A column's name, and what is wrong with its field.
pub type Rejection = (&'static str, Problem);

/// A column of the report: its name, and its place in this report's header where it has one.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
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
pub struct Columns {
    count: usize,
    pub user: Column,
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
    pub fn find(header: &csv::ByteRecord) -> Result<Columns, Error> {
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

/// One row, read by column.
pub struct Row<'a> {
    columns: &'a Columns,
    fields: &'a [&'a [u8]],
    /// How many fields the row has beyond the header's: commas in the name or the path.
    extra: usize,
    /// What could not be read, but costs only a part of the user.
    warning: Option<Rejection>,
}

impl<'a> Row<'a> {
    pub fn new(columns: &'a Columns, fields: &'a [&'a [u8]]) -> Row<'a> {
        let extra = fields.len().saturating_sub(columns.count);
        Row { columns, fields, extra, warning: None }
    }

    /// The user, and a rejection that costs only a part of it: nothing that stands beside the keys
    /// hides an old key.
    pub fn user(mut self, interner: &mut Interner) -> Result<(User, Option<Rejection>), Rejection> {
        let c = self.columns;
        if self.fields.len() < c.count {
            return Err((c.user.name, Problem::FieldCount));
        }
        let (name, arn) = self.name_and_arn()?;
        let keys = match [self.key(&c.keys[0], interner), self.key(&c.keys[1], interner)] {
            [Err(first), Err(_)] => return Err(first),
            // A key that cannot be read does not hide the other one.
            keys => keys.map(|key| {
                key.unwrap_or_else(|rejection| {
                    self.warn(rejection);
                    None
                })
            }),
        };
        let user = User {
            name,
            arn,
            keys,
            created: self.lenient(time, c.created),
            password_enabled: self.lenient(boolean, c.password_enabled),
            password_last_used: self.lenient(time, c.password_last_used),
            password_last_changed: self.lenient(time, c.password_last_changed),
            password_next_rotation: self.lenient(time, c.password_next_rotation),
            mfa_active: self.lenient(boolean, c.mfa_active),
            certificates: [
                self.certificate(c.certificates[0]),
                self.certificate(c.certificates[1]),
            ],
            additional_credentials: self.additional_credentials(),
        };
        Ok((user, self.warning))
    }

    /// The two fields that may hold commas. Where the row has more fields than the header, they are
    /// put together again and parted at `,arn:`, which no name can hold: it has no colon.
    fn name_and_arn(&self) -> Result<(String, String), Rejection> {
        let Columns { user, arn, .. } = self.columns;
        if self.extra == 0 {
            // Not `read`: "no_information" is a legal user name.
            let required = |column: Column| match text(self.field(column)) {
                Ok("") => Err((column.name, Problem::Empty)),
                Ok(text) => Ok(text.to_owned()),
                Err(problem) => Err((column.name, problem)),
            };
            return Ok((required(*user)?, required(*arn)?));
        }
        if (user.index, arn.index) != (Some(0), Some(1)) {
            return Err((user.name, Problem::FieldCount));
        }
        let joined = self.fields[..self.extra + 2].join(&b',');
        let joined = text(&joined).map_err(|problem| (user.name, problem))?;
        match joined.split_once(",arn:") {
            Some(("", _)) => Err((user.name, Problem::Empty)),
            // Else the commas are elsewhere, and the columns with them.
            Some((name, rest)) if rest.ends_with(name) => {
                Ok((name.to_owned(), format!("arn:{rest}")))
            }
            _ => Err((user.name, Problem::FieldCount)),
        }
    }

    fn key(
        &mut self,
        columns: &KeyColumns,
        interner: &mut Interner,
    ) -> Result<Option<Key>, Rejection> {
        let active = self.value(columns.active).map(boolean).transpose();
        let active = active.map_err(|problem| (columns.active.name, problem))?;
        let last_rotated = self.lenient(time, columns.last_rotated);
        let active = match (active, last_rotated) {
            (None | Some(false), None) => return Ok(None),
            (None, Some(_)) => {
                self.warn((columns.active.name, Problem::KeyWithoutStatus));
                return Ok(None);
            }
            (Some(true), None) => {
                self.warn((columns.last_rotated.name, Problem::ActiveKeyWithoutTime));
                true
            }
            (Some(active), Some(_)) => active,
        };
        let last_used = self.lenient(time, columns.last_used);
        let mut last_use = |column| self.lenient(text, column).map(|text| interner.share(text));
        Ok(Some(Key {
            active,
            id: None,
            last_rotated,
            last_used,
            last_used_region: last_use(columns.last_used_region),
            last_used_service: last_use(columns.last_used_service),
        }))
    }

    fn certificate(&mut self, (active, last_rotated): (Column, Column)) -> Option<Certificate> {
        let is_active = self.lenient(boolean, active);
        let last_rotated = self.lenient(time, last_rotated);
        match (is_active, last_rotated) {
            (None | Some(false), None) => None,
            (None, Some(_)) => {
                self.warn((active.name, Problem::KeyWithoutStatus));
                None
            }
            (Some(active), _) => Some(Certificate { active, last_rotated }),
        }
    }

    /// The column's text is not documented, so anything that is not an absent value or a plain
    /// "false" or "0" says that there is more.
    fn additional_credentials(&mut self) -> bool {
        let text = self.lenient(text, self.columns.additional_credentials);
        text.is_some_and(|text| !text.eq_ignore_ascii_case("false") && text != "0")
    }

    /// The field as `read` reads it; absent, with a warning, where it cannot be read.
    fn lenient<T>(
        &mut self,
        read: impl Fn(&'a [u8]) -> Result<T, Problem>,
        column: Column,
    ) -> Option<T> {
        match read(self.value(column)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.warn((column.name, problem));
                None
            }
        }
    }

    /// The first warning tells of the row.
    fn warn(&mut self, rejection: Rejection) {
        self.warning.get_or_insert(rejection);
    }

    /// The field; `None` where the report has no value for it.
    fn value(&self, column: Column) -> Option<&'a [u8]> {
        match self.field(column) {
            b"" | b"N/A" | b"no_information" | b"not_supported" => None,
            value => Some(value),
        }
    }

    /// The field without the spaces around it; empty where the report has no such column.
    fn field(&self, column: Column) -> &'a [u8] {
        let field = column.index.and_then(|index| self.fields.get(index + self.extra));
        field.copied().unwrap_or_default().trim_ascii()
    }
}

fn boolean(field: &[u8]) -> Result<bool, Problem> {
    match field {
        b"true" => Ok(true),
        b"false" => Ok(false),
        _ if field.eq_ignore_ascii_case(b"true") => Ok(true),
        _ if field.eq_ignore_ascii_case(b"false") => Ok(false),
        _ => Err(Problem::NotABoolean),
    }
}

/// Reads an RFC 3339 time.
fn time(field: &[u8]) -> Result<DateTime<Utc>, Problem> {
    let time = DateTime::parse_from_rfc3339(text(field)?);
    time.map(|time| time.to_utc()).map_err(|_| Problem::NotATime)
}

fn text(field: &[u8]) -> Result<&str, Problem> {
    str::from_utf8(field).map_err(|_| Problem::NotUtf8)
}
