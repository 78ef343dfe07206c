//! The parameters of the status page that have a fixed set of values.

/// A parameter with a fixed set of values.
macro_rules! choices {
    (
        $(#[$about:meta])*
        pub enum $name:ident ($parameter:literal) {
            $($(#[$doc:meta])* $variant:ident = $text:literal,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// Every choice.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The parameter's value.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }

            /// Reads the parameter's value.
            pub fn parse(value: &str) -> Result<$name, InvalidQuery> {
                match value {
                    $($text => Ok($name::$variant),)*
                    _ => Err(InvalidQuery::new($parameter, one_of(&[$($text),*]))),
                }
            }
        }
    };
}

choices! {
    /// A kind of keys, which is counted apart from others.
    pub enum KeyKind ("kind") {
        /// Access keys.
        AccessKey = "access_key",
        /// Service-specific credentials, such as API keys for Bedrock.
        ServiceCredential = "service_credential",
    }
}

choices! {
    /// Which keys are listed.
    pub enum KeyFilter ("show") {
        /// Older than their maximum age.
        Unrotated = "unrotated",
        /// To be rotated soon.
        DueSoon = "due_soon",
        /// Exempt by a rule.
        Exempt = "exempt",
        /// Exempt by a rule, which soon ends.
        ExemptionEnding = "exemption_ending",
        /// Active, of any age, and never used.
        NeverUsed = "never_used",
        /// Active, and of unknown age.
        NotJudged = "not_judged",
        /// Unrotated, due soon or exempt.
        All = "all",
        /// Every key, also young and inactive ones.
        Every = "every",
    }
}

choices! {
    /// A column that keys can be sorted by.
    pub enum Sort ("sort") {
        /// How old they are.
        Age = "age",
        /// By when they must be rotated, or until when they are exempt.
        Due = "due",
        /// The user's name.
        User = "user",
        /// The account's name, or its id.
        Account = "account",
        /// The values of the tags.
        Owner = "owner",
        /// When they were last used.
        LastUsed = "last_used",
    }
}

choices! {
    /// Which way rows are sorted.
    pub enum Order ("order") {
        /// The least first.
        Ascending = "asc",
        /// The most first.
        Descending = "desc",
    }
}

choices! {
    /// Which accounts are listed.
    pub enum AccountFilter ("state") {
        /// Their last refresh failed.
        Failing = "failing",
        /// Some of their data is not known.
        Degraded = "degraded",
        /// Their keys were never read.
        Unread = "unread",
        /// They were not tried yet.
        Pending = "pending",
        /// All of their data is known.
        Ok = "ok",
    }
}

choices! {
    /// How accounts are sorted.
    pub enum AccountSort ("accounts_sort") {
        /// The most urgent first.
        State = "state",
        /// By their names, or ids.
        Name = "name",
        /// Those with the most unrotated keys first.
        Unrotated = "unrotated",
        /// Those with the oldest reports first.
        Report = "report",
    }
}

impl Sort {
    /// The usual order: the most urgent first, or A to Z.
    pub fn order(self) -> Order {
        match self {
            Sort::Age => Order::Descending,
            Sort::Due | Sort::User | Sort::Account | Sort::Owner | Sort::LastUsed => {
                Order::Ascending
            }
        }
    }
}

impl Order {
    /// The other one.
    pub fn reverse(self) -> Order {
        match self {
            Order::Ascending => Order::Descending,
            Order::Descending => Order::Ascending,
        }
    }
}

/// The choices in words.
fn one_of(choices: &[&str]) -> String {
    match choices {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => choices.concat(),
    }
}

/// A parameter is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter} must be {expected}")]
pub struct InvalidQuery {
    parameter: &'static str,
    expected: String,
}

impl InvalidQuery {
    /// `expected`: what it must be.
    pub fn new(parameter: &'static str, expected: impl Into<String>) -> InvalidQuery {
        InvalidQuery { parameter, expected: expected.into() }
    }
}
