//! One key for people to read: its data, its columns, and its fields in JSON.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer};

use crate::policy::{Age, Exemption, KeyStatus, Ruling, Subject, Tag, Verdict};
use crate::printable::{serialize_time_if_any, time};
use crate::report::Key;
use crate::service_credentials::ServiceCredential;

/// A key and how it stands: an access key, or a service-specific credential.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The account's id.
    pub account_id: String,
    /// The account's name. May be empty.
    pub account_name: String,
    /// The user's name.
    pub user: String,
    /// The user's path, such as `/` or `/service/`.
    #[serde(skip)]
    pub path: String,
    /// The access key's slot: 1, 2, or more if AWS lists more. A service-specific credential has none.
    pub key: Option<u8>,
    /// The id of the access key, if known, or of the service-specific credential.
    pub access_key_id: Option<String>,
    /// Its status.
    #[serde(serialize_with = "serialize_status")]
    pub status: KeyStatus,
    /// How old it is, if known.
    #[serde(rename = "age_days", serialize_with = "serialize_days")]
    pub age: Option<Age>,
    /// When it was created or last rotated, if known.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub last_rotated: Option<DateTime<Utc>>,
    /// When it must be rotated. `None` if it is exempt, inactive, or of unknown age.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub due: Option<DateTime<Utc>>,
    /// When it was last used. `None`: never, or not known.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub last_used: Option<DateTime<Utc>>,
    /// Whether it is known that it was never used.
    pub never_used: bool,
    /// Up to when its use is known. `None`: it is not known.
    #[serde(skip)]
    pub use_known_until: Option<DateTime<Utc>>,
    /// Those of the user's tags that the configuration names: its labels in their order, then others by key.
    #[serde(serialize_with = "serialize_tags")]
    pub tags: Vec<Tag>,
    /// Whether these are known. Otherwise the user may have others.
    pub tags_known: bool,
    /// The rule that decided, as in the configuration.
    #[serde(serialize_with = "serialize_text")]
    pub rule: Arc<str>,
    /// The index of that rule. `None`: no rule matched.
    #[serde(skip)]
    pub rule_index: Option<usize>,
    /// Its maximum age. If it is exempt: from the end of the exemption on.
    #[serde(skip)]
    pub max_age: TimeDelta,
    /// Its exemption, if it is exempt. It ends when no other one follows.
    #[serde(skip)]
    pub exemption: Option<Exemption>,
    /// Whether that ends within the time in which keys are due soon.
    #[serde(skip)]
    pub exemption_is_ending: bool,
    /// The service that a service-specific credential is for, as AWS names it.
    #[serde(serialize_with = "serialize_text_if_any")]
    pub service: Option<Arc<str>>,
    /// When it expires. `None` if it does not. No access key does.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub expires: Option<DateTime<Utc>>,
}

/// The names of [`Finding::fields`].
pub const COLUMNS: [&str; 14] = [
    "account_id",
    "account_name",
    "user",
    "key",
    "access_key_id",
    "status",
    "age_days",
    "last_rotated",
    "due",
    "last_used",
    "tags",
    "rule",
    "service",
    "expires",
];

/// The tags of a user whose tags are not known, as text.
pub const NOT_READ: &str = "not_read";

impl Finding {
    /// A key of the subject as of `now`, without its slot, and with tags in no order that are not known to be
    /// all. `rules` is the result of [`super::rules`].
    pub(super) fn new(
        subject: &Subject,
        key: &Key,
        verdict: &Verdict,
        ruling: &Ruling,
        rules: &[Arc<str>],
        now: DateTime<Utc>,
    ) -> Finding {
        Finding {
            account_id: subject.account_id.to_owned(),
            account_name: subject.account_name.to_owned(),
            user: subject.user.name.clone(),
            path: subject.user.path().to_owned(),
            key: None,
            access_key_id: key.id.clone(),
            status: verdict.status,
            age: verdict.age,
            last_rotated: key.last_rotated,
            due: verdict.due,
            last_used: key.last_used,
            never_used: key.never_used,
            use_known_until: None,
            tags: subject.tags.to_vec(),
            tags_known: false,
            rule: ruling.rule.map_or_else(|| "default".into(), |index| rules[index].clone()),
            rule_index: ruling.rule,
            max_age: ruling.max_age,
            exemption: ruling.exemption.map(|exemption| Exemption {
                end: ruling.exempt_until,
                reason: exemption.reason.clone(),
            }),
            exemption_is_ending: ruling.exemption_ending(now).is_some(),
            service: None,
            expires: None,
        }
    }

    /// The finding of a service-specific credential, as of `now`.
    pub(super) fn of_service(self, credential: &ServiceCredential, now: DateTime<Utc>) -> Finding {
        let service = Some(credential.service.clone());
        Finding { service, expires: credential.expiry(now), ..self }
    }

    /// When it must be rotated, loses its exemption, or expires: the first of these. An inactive key has no
    /// such time.
    pub fn ends(&self) -> Option<DateTime<Utc>> {
        self.expires_first().or_else(|| self.must_by())
    }

    /// When it expires, if it does so before it must be rotated: it stops working then.
    pub fn expires_first(&self) -> Option<DateTime<Utc>> {
        let comes_first = |time: &DateTime<Utc>| self.must_by().is_none_or(|end| *time < end);
        self.expiry_ahead().filter(comes_first)
    }

    /// When it stops working because it expires. An inactive key does not work.
    pub fn expiry_ahead(&self) -> Option<DateTime<Utc>> {
        self.expires.filter(|_| self.status != KeyStatus::Inactive)
    }

    fn must_by(&self) -> Option<DateTime<Utc>> {
        let exemption = self.exemption.as_ref().filter(|_| self.status != KeyStatus::Inactive);
        self.due.or_else(|| exemption?.end)
    }

    /// The key in words, such as `key 1` or `Bedrock key`, to be followed by the user.
    pub fn name(&self) -> String {
        match (self.service_name(), self.key) {
            (Some(service), _) => format!("{service} key"),
            (None, Some(slot)) => format!("key {slot}"),
            (None, None) => "key".to_owned(),
        }
    }

    /// The service as people call it, such as `Bedrock`.
    pub fn service_name(&self) -> Option<&str> {
        let service = self.service.as_deref()?;
        Some(match service.strip_suffix(".amazonaws.com").unwrap_or(service) {
            "bedrock" => "Bedrock",
            "cassandra" => "Keyspaces",
            "codecommit" => "CodeCommit",
            "logs" => "CloudWatch Logs",
            other => other,
        })
    }

    /// The finding as text, for tables and CSV. Unknown values are empty, but for tags: a user can have none.
    pub fn fields(&self) -> [String; COLUMNS.len()] {
        let optional = |at: Option<DateTime<Utc>>| at.map(time).unwrap_or_default();
        let tags = self.tags.iter().map(|(key, value)| format!("{key}={value}"));
        let tags =
            if self.tags_known { tags.collect::<Vec<_>>().join(" ") } else { NOT_READ.to_owned() };
        [
            self.account_id.clone(),
            self.account_name.clone(),
            self.user.clone(),
            self.key.map(|slot| slot.to_string()).unwrap_or_default(),
            self.access_key_id.clone().unwrap_or_default(),
            self.status.as_str().to_owned(),
            self.age.map(|age| format!("{:.2}", age.days())).unwrap_or_default(),
            optional(self.last_rotated),
            optional(self.due),
            if self.never_used { "never".to_owned() } else { optional(self.last_used) },
            tags,
            self.rule.to_string(),
            self.service.as_deref().unwrap_or_default().to_owned(),
            optional(self.expires),
        ]
    }
}

fn serialize_status<S: Serializer>(status: &KeyStatus, serializer: S) -> Result<S::Ok, S::Error> {
    status.as_str().serialize(serializer)
}

fn serialize_tags<S: Serializer>(tags: &[Tag], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tags.iter().map(|(key, value)| (&**key, &**value)))
}

fn serialize_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    (**text).serialize(serializer)
}

fn serialize_text_if_any<S: Serializer>(
    text: &Option<Arc<str>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

fn serialize_days<S: Serializer>(age: &Option<Age>, serializer: S) -> Result<S::Ok, S::Error> {
    age.map(|age| age.days()).serialize(serializer)
}
