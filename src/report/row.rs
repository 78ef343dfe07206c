//! One row of the report, read by column.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use memchr::memmem;

use super::intern::Interner;
use super::{Certificate, Error, Key, Problem, ROOT_USER, User};

/// A user's name has fewer characters than this, and so fewer commas.
const MAX_NAME: usize = 65;

/// The largest number of commas in a name, a path of 512 characters, and the name again.
const MAX_COMMAS: usize = 512 + 2 * MAX_NAME;

/// A column's name, and the error in its field.
pub type Rejection = (&'static str, Problem);

/// A column of the report: its name, and its index in this report's header, if it is there.
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

/// The columns of this report.
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
    /// Whether the last column is one that may hold any text, with commas.
    ends_with_text: bool,
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
        let mut columns = Columns {
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
            ends_with_text: false,
        };
        let mut names = HashSet::new();
        let mut given = header.iter().map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
        if given.any(|name| !names.insert(name)) {
            return Err(Error::ColumnTwice);
        }
        let last = header.len().checked_sub(1);
        let known = [columns.user, columns.arn].into_iter();
        let mut known = known.chain(columns.times()).chain(columns.booleans());
        columns.ends_with_text = known.all(|column| column.index != last);
        Ok(columns)
    }

    /// The user's name in a line of which no more may be readable. A name can hold commas, but no `,arn:`.
    pub fn name_in(&self, line: &[u8]) -> Option<String> {
        let arn = || [&b",arn:"[..], b",\"arn:"].iter().find_map(|arn| memmem::find(line, arn));
        let name = match (self.user.index?, self.arn.index?) {
            (0, 1) => arn().map(|end| &line[..end]),
            _ => None,
        };
        let name = name.or_else(|| line.split(|byte| *byte == b',').nth(self.user.index?))?;
        let name = name.trim_ascii();
        let quoted = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
        let name = text(quoted.unwrap_or(name))
            .ok()
            .filter(|name| (1..MAX_NAME).contains(&name.chars().count()));
        name.map(str::to_owned)
    }

    /// The columns that hold times.
    fn times(&self) -> [Column; 10] {
        let [first, second] = &self.keys;
        [
            self.created,
            self.password_last_used,
            self.password_last_changed,
            self.password_next_rotation,
            first.last_rotated,
            first.last_used,
            second.last_rotated,
            second.last_used,
            self.certificates[0].1,
            self.certificates[1].1,
        ]
    }

    /// The columns that hold booleans.
    fn booleans(&self) -> [Column; 6] {
        let [first, second] = &self.certificates;
        let keys = &self.keys;
        let keys = [keys[0].active, keys[1].active];
        [self.password_enabled, self.mfa_active, keys[0], keys[1], first.0, second.0]
    }
}

/// One row, read by column.
pub struct Row<'a> {
    columns: &'a Columns,
    fields: &'a [&'a [u8]],
    /// How far the columns after the ARN are shifted, by commas in the name and the path.
    shift: usize,
    /// A field that could not be parsed, if the user is still usable.
    warning: Option<Rejection>,
}

impl<'a> Row<'a> {
    pub fn new(columns: &'a Columns, fields: &'a [&'a [u8]]) -> Row<'a> {
        Row { columns, fields, shift: 0, warning: None }
    }

    /// The user, and a rejection of a single field. No other field can hide an old key.
    pub fn user(mut self, interner: &mut Interner) -> Result<(User, Option<Rejection>), Rejection> {
        let c = self.columns;
        if self.fields.len() < c.count {
            return Err((c.user.name, Problem::FieldCount));
        }
        let (name, arn) = self.name_and_arn()?;
        // If neither status is one, the row was not read as intended.
        let status = |key: &KeyColumns| self.value(key.active).map(boolean);
        if let [Some(Err(problem)), Some(Err(_))] = c.keys.each_ref().map(status) {
            return Err((c.keys[0].active.name, problem));
        }
        if name != ROOT_USER && !ends_arn(&[name.as_bytes()], &[arn.as_bytes()]) {
            self.warn((c.arn.name, Problem::OtherName));
        }
        let keys = [self.key(&c.keys[0], interner), self.key(&c.keys[1], interner)];
        let mut lacks_key = c.keys.each_ref().map(|key| self.is_silent(key));
        let mut has_use_without_key = false;
        // Of root, the use of an inactive key counts, too.
        for slot in [0, 1].into_iter().filter(|_| name == ROOT_USER) {
            if keys[slot].is_none() && self.value(c.keys[slot].last_used).is_some() {
                self.warn((c.keys[slot].last_used.name, Problem::UseWithoutKey));
                lacks_key[slot] = true;
                has_use_without_key = true;
            }
        }
        let is_timeless = |key: &Key| key.active && key.last_rotated.is_none();
        let user = User {
            name,
            arn,
            lacks_time: keys.each_ref().map(|key| key.as_ref().is_some_and(is_timeless)),
            keys,
            lacks_key,
            has_use_without_key,
            created: self.lenient(time, c.created),
            password_enabled: self.lenient(boolean, c.password_enabled),
            password_last_used: self.lenient(time, c.password_last_used),
            password_never_used: self.says_never(c.password_last_used),
            password_last_changed: self.lenient(time, c.password_last_changed),
            password_next_rotation: self.lenient(time, c.password_next_rotation),
            mfa_active: self.lenient(boolean, c.mfa_active),
            certificates: [
                self.certificate(c.certificates[0]),
                self.certificate(c.certificates[1]),
            ],
            additional_credentials: self.additional_credentials(),
            is_kept: false,
            has_two_rows: false,
        };
        Ok((user, self.warning))
    }

    /// The two fields that may contain commas. If the row has more fields than the header, they are
    /// joined again, and the columns after them shift.
    fn name_and_arn(&mut self) -> Result<(String, String), Rejection> {
        let Columns { user, arn, count, ends_with_text, .. } = self.columns;
        let extra = self.fields.len() - count;
        if extra == 0 {
            // Not `read`: "no_information" is a legal user name.
            let required = |column: Column| match text(self.field(column)) {
                Ok("") => Err((column.name, Problem::Empty)),
                Ok(text) => Ok(text.to_owned()),
                Err(problem) => Err((column.name, problem)),
            };
            return Ok((required(*user)?, required(*arn)?));
        }
        let fields = self.fields;
        // No name can hold `,arn:`: it has no colon.
        let before_arn = fields.iter().skip(1).position(|field| field.starts_with(b"arn:"));
        let in_name = match (before_arn, user.index, arn.index) {
            (Some(in_name @ ..MAX_NAME), Some(0), Some(1)) => in_name,
            _ => return Err((user.name, Problem::FieldCount)),
        };
        let (name, rest) = fields.split_at(in_name + 1);
        if name == [b""] {
            return Err((user.name, Problem::Empty));
        }
        // Commas belong to the last column if the columns before it can be parsed then. Otherwise
        // all commas belong to the name and the ARN, or the row is broken.
        let least = if *ends_with_text { in_name } else { extra };
        let mut shifts = (least..extra.min(MAX_COMMAS)).chain([extra]);
        let arn = shifts.find_map(|shift| {
            self.shift = shift;
            let arn = rest.get(..=shift.checked_sub(in_name)?)?;
            (ends_arn(name, arn) && (shift == extra || self.fits())).then_some(arn)
        });
        let joined = |fields: &[&[u8]]| {
            String::from_utf8(fields.join(&b',')).map_err(|_| (user.name, Problem::NotUtf8))
        };
        Ok((joined(name)?, joined(arn.ok_or((user.name, Problem::FieldCount))?)?))
    }

    /// Whether every column with a time or a boolean can be parsed or is absent.
    fn fits(&self) -> bool {
        let holds =
            |column: &Column, is_valid: fn(&[u8]) -> bool| self.value(*column).is_none_or(is_valid);
        self.columns.times().iter().all(|column| holds(column, |field| time(field).is_ok()))
            && self
                .columns
                .booleans()
                .iter()
                .all(|column| holds(column, |field| boolean(field).is_ok()))
    }

    /// A key of which the status cannot be read counts as active, so that it does not look like one that
    /// was deactivated.
    fn key(&mut self, columns: &KeyColumns, interner: &mut Interner) -> Option<Key> {
        if self.is_silent(columns) {
            self.warn((columns.active.name, Problem::Empty));
            return None;
        }
        let active = self.lenient(boolean, columns.active);
        let last_rotated = self.lenient(time, columns.last_rotated);
        let active = match active {
            Some(false) if last_rotated.is_none() => return None,
            None => {
                self.warn((columns.active.name, Problem::KeyWithoutStatus));
                true
            }
            Some(active) => active,
        };
        if active && last_rotated.is_none() {
            self.warn((columns.last_rotated.name, Problem::ActiveKeyWithoutTime));
        }
        let last_used = self.lenient(time, columns.last_used);
        let never_used = self.says_never(columns.last_used);
        let mut last_use = |column| self.lenient(text, column).map(|text| interner.share(text));
        Some(Key {
            active,
            id: None,
            last_rotated,
            last_used,
            never_used,
            last_used_region: last_use(columns.last_used_region),
            last_used_service: last_use(columns.last_used_service),
            use_of: None,
        })
    }

    /// Whether nothing says if the slot holds a key: AWS writes `false` if it does not.
    fn is_silent(&self, columns: &KeyColumns) -> bool {
        self.value(columns.active).is_none() && self.value(columns.last_rotated).is_none()
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

    /// The column's text is not documented. Anything except "N/A", "false" or "0" means that there is more,
    /// and what is absent says nothing.
    fn additional_credentials(&mut self) -> Option<bool> {
        let column = self.columns.additional_credentials;
        let is_last = column.index.is_some_and(|index| index + 1 == self.columns.count);
        if is_last && self.fields.len() > self.columns.count + self.shift {
            // A text with commas.
            return Some(true);
        }
        if self.field(column) == b"N/A" {
            return Some(false);
        }
        let text = self.lenient(text, column)?;
        Some(!text.eq_ignore_ascii_case("false") && text != "0")
    }

    /// The field as `read` parses it. If that fails, it is absent and there is a warning.
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

    /// Only the first warning of a row is kept.
    fn warn(&mut self, rejection: Rejection) {
        self.warning.get_or_insert(rejection);
    }

    /// The field. `None` if the report has no value for it.
    fn value(&self, column: Column) -> Option<&'a [u8]> {
        match self.field(column) {
            b"" | b"N/A" | b"no_information" | b"not_supported" => None,
            value => Some(value),
        }
    }

    /// Whether the time of a use is that of none. If AWS does not support it, or says nothing, that is not
    /// known.
    fn says_never(&self, column: Column) -> bool {
        matches!(self.field(column), b"N/A" | b"no_information")
    }

    /// The field without surrounding spaces. Empty if the report has no such column.
    fn field(&self, column: Column) -> &'a [u8] {
        let field = column.index.and_then(|index| self.fields.get(index + self.shift));
        field.copied().unwrap_or_default().trim_ascii()
    }
}

/// Whether the ARN ends as that of this user: with a slash and the name, or as root's. Both as fields,
/// which is what commas make of them.
fn ends_arn(name: &[&[u8]], arn: &[&[u8]]) -> bool {
    if *name == [ROOT_USER.as_bytes()] {
        return arn.len() == 1;
    }
    let Some(start) = arn.len().checked_sub(name.len()) else { return false };
    let before = arn[start].strip_suffix(name[0]);
    before.is_some_and(|before| before.ends_with(b"/")) && arn[start + 1..] == name[1..]
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
