//! The one table of controls: their names, their titles, and their numbers in each version of the CIS AWS
//! Foundations benchmark. `iam_control_info`, docs/metrics.md and `check --controls` are made from it.
//!
//! Titles are those of the benchmark. The numbers and what each control means were compared with the
//! benchmark's text of v1.1 and v1.2, and with the tables of Prowler, Steampipe, AWS Security Hub and Tenable
//! for later versions. Versions 1.4 to 4.0.1 have the same numbers.

use chrono::TimeDelta;
use clap::ValueEnum;

/// A version of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[allow(missing_docs, reason = "these are CIS's names")]
pub enum Benchmark {
    #[value(name = "v1.1")]
    V1_1,
    #[value(name = "v1.2")]
    V1_2,
    #[value(name = "v1.3")]
    V1_3,
    #[value(name = "v1.4")]
    V1_4,
    #[value(name = "v1.5")]
    V1_5,
    #[value(name = "v2.0")]
    V2_0,
    #[value(name = "v3.0")]
    V3_0,
    #[value(name = "v4.0", alias = "v4.0.1")]
    V4_0,
    #[value(name = "v5.0")]
    V5_0,
    #[value(name = "v6.0")]
    V6_0,
    #[value(name = "v7.0")]
    V7_0,
}

/// A control, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the table says what they are")]
pub enum Control {
    AccessKeysRotated,
    UnusedCredentialsDisabled,
    OneActiveKeyPerUser,
    NoKeyAtUserSetup,
    ConsoleMfa,
    PoliciesOnGroupsOnly,
    RootNoAccessKey,
    RootMfa,
    RootHardwareMfa,
    RootNotUsed,
    PasswordExpiry,
    PasswordUppercase,
    PasswordLowercase,
    PasswordSymbol,
    PasswordNumber,
    PasswordLength,
    PasswordReuse,
}

/// A line of the table.
#[derive(Debug)]
pub struct Entry {
    /// The control.
    pub control: Control,
    /// The value of the label `control`.
    pub name: &'static str,
    /// The benchmark's title.
    pub title: &'static str,
    /// The definition of a violation, in one sentence.
    pub violation: &'static str,
    /// The number in v1.1, v1.2, v1.3, v1.4 to v4.0, v5.0, v6.0 and v7.0. Empty: the version does not have it.
    numbers: [&'static str; 7],
}

const fn entry(
    control: Control,
    name: &'static str,
    numbers: [&'static str; 7],
    title: &'static str,
    violation: &'static str,
) -> Entry {
    Entry { control, name, title, violation, numbers }
}

/// The table.
#[rustfmt::skip]
pub const TABLE: [Entry; Control::COUNT] = [
    entry(Control::AccessKeysRotated, "access_keys_rotated",
        ["1.4", "1.4", "1.14", "1.14", "1.13", "2.13", "2.12"],
        "Ensure access keys are rotated every 90 days or less",
        "Each active key of a user that is older than 90 days, and in v1.1 also one that was never used. Exemptions and other limits of the configuration do not count here."),
    entry(Control::UnusedCredentialsDisabled, "unused_credentials_disabled",
        ["1.3", "1.3", "1.12", "1.12", "1.11", "2.11", "2.11"],
        "Ensure credentials unused for 45 days or more are disabled",
        "Each password and each active key of a user that was not used for 45 days (90 up to v1.3). One that was never used counts from its last change or rotation."),
    entry(Control::OneActiveKeyPerUser, "one_active_key_per_user",
        ["", "", "1.13", "1.13", "1.12", "2.12", ""],
        "Ensure there is only one active access key for any single IAM user",
        "Each user with two or more active keys."),
    entry(Control::NoKeyAtUserSetup, "no_key_at_user_setup",
        ["1.23", "1.21", "1.11", "1.11", "1.10", "2.10", ""],
        "Do not create access keys during initial setup for IAM users with a console password",
        "Each active key of a user with a password that was made within a minute of the user and never used."),
    entry(Control::ConsoleMfa, "console_mfa",
        ["1.2", "1.2", "1.10", "1.10", "1.9", "2.9", "2.10"],
        "Ensure multi-factor authentication (MFA) is enabled for all IAM users that have a console password",
        "Each user with a password and without MFA."),
    entry(Control::PoliciesOnGroupsOnly, "policies_on_groups_only",
        ["1.16", "1.16", "1.15", "1.15", "1.14", "2.14", "2.13"],
        "Ensure IAM users receive permissions only through groups",
        "Each user with an inline or an attached policy."),
    entry(Control::RootNoAccessKey, "root_no_access_key",
        ["1.12", "1.12", "1.4", "1.4", "1.3", "2.3", "2.4"],
        "Ensure no root user account access key exists",
        "Each active key of the root user. An inactive one does not count, as the benchmark's remediation says."),
    entry(Control::RootMfa, "root_mfa",
        ["1.13", "1.13", "1.5", "1.5", "1.4", "2.4", "2.5"],
        "Ensure MFA is enabled for the root user account",
        "The root user without MFA. One without credentials passes, and from v5.0 on also one without a password."),
    entry(Control::RootHardwareMfa, "root_hardware_mfa",
        ["1.14", "1.14", "1.6", "1.6", "1.5", "2.5", "2.6"],
        "Ensure hardware MFA is enabled for the root user account",
        "The root user without MFA, or with a virtual MFA device, also beside another one. One without credentials passes as in root_mfa."),
    entry(Control::RootNotUsed, "root_not_used",
        ["1.1", "1.1", "1.7", "1.7", "1.6", "2.6", "2.7"],
        "Eliminate use of the root user for administrative and daily tasks",
        "The root user, if its password or a key was used within controls.root_unused_for. The benchmark has no such limit: 90 days are the exporter's own. One without credentials passes."),
    entry(Control::PasswordExpiry, "password_expiry",
        ["1.11", "1.11", "", "", "", "", ""],
        "Ensure IAM password policy expires passwords within 90 days or less",
        "A password policy without an expiry of at most 90 days, or no policy."),
    entry(Control::PasswordUppercase, "password_uppercase",
        ["1.5", "1.5", "", "", "", "", ""],
        "Ensure IAM password policy requires at least one uppercase letter",
        "A password policy that does not require it, or no policy."),
    entry(Control::PasswordLowercase, "password_lowercase",
        ["1.6", "1.6", "", "", "", "", ""],
        "Ensure IAM password policy requires at least one lowercase letter",
        "A password policy that does not require it, or no policy."),
    entry(Control::PasswordSymbol, "password_symbol",
        ["1.7", "1.7", "", "", "", "", ""],
        "Ensure IAM password policy requires at least one symbol",
        "A password policy that does not require it, or no policy."),
    entry(Control::PasswordNumber, "password_number",
        ["1.8", "1.8", "", "", "", "", ""],
        "Ensure IAM password policy requires at least one number",
        "A password policy that does not require it, or no policy."),
    entry(Control::PasswordLength, "password_length",
        ["1.9", "1.9", "1.8", "1.8", "1.7", "2.7", "2.8"],
        "Ensure IAM password policy requires minimum length of 14 or greater",
        "A password policy that allows fewer than 14 characters, or no policy."),
    entry(Control::PasswordReuse, "password_reuse",
        ["1.10", "1.10", "1.9", "1.9", "1.8", "2.8", "2.9"],
        "Ensure IAM password policy prevents password reuse",
        "A password policy that remembers fewer than 24 passwords, or no policy."),
];

impl Control {
    /// The number of controls.
    pub const COUNT: usize = 17;

    /// Every control, in the order of the table.
    pub fn all() -> impl Iterator<Item = Control> {
        TABLE.iter().map(|entry| entry.control)
    }

    /// Its line of the table.
    pub fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }

    /// The value of the label `control`.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Its title in this version. If only words differ it is that of the newest.
    pub fn title(self, benchmark: Benchmark) -> &'static str {
        match self {
            Control::UnusedCredentialsDisabled if benchmark <= Benchmark::V1_3 => {
                "Ensure credentials unused for 90 days or more are disabled"
            }
            _ => self.entry().title,
        }
    }

    /// Its number in this version, if the version has it.
    pub fn number(self, benchmark: Benchmark) -> Option<&'static str> {
        Some(self.entry().numbers[benchmark.column()]).filter(|number| !number.is_empty())
    }

    /// The controls of this version in the order of their numbers, each with its number.
    pub fn of(benchmark: Benchmark) -> Vec<(&'static str, Control)> {
        let numbered = |control: Control| Some((control.number(benchmark)?, control));
        let mut controls: Vec<_> = Control::all().filter_map(numbered).collect();
        let parts = |number: &str| -> Vec<u32> {
            number.split('.').map(|part| part.parse().expect("numbers are digits")).collect()
        };
        controls.sort_by_key(|(number, _)| parts(number));
        controls
    }
}

impl Benchmark {
    /// Every version, the oldest first.
    pub const ALL: [Benchmark; 11] = [
        Benchmark::V1_1,
        Benchmark::V1_2,
        Benchmark::V1_3,
        Benchmark::V1_4,
        Benchmark::V1_5,
        Benchmark::V2_0,
        Benchmark::V3_0,
        Benchmark::V4_0,
        Benchmark::V5_0,
        Benchmark::V6_0,
        Benchmark::V7_0,
    ];

    /// The newest version.
    pub const NEWEST: Benchmark = Benchmark::V7_0;

    /// As people write it, such as `v3.0`.
    pub fn as_str(self) -> &'static str {
        match self {
            Benchmark::V1_1 => "v1.1",
            Benchmark::V1_2 => "v1.2",
            Benchmark::V1_3 => "v1.3",
            Benchmark::V1_4 => "v1.4",
            Benchmark::V1_5 => "v1.5",
            Benchmark::V2_0 => "v2.0",
            Benchmark::V3_0 => "v3.0",
            Benchmark::V4_0 => "v4.0",
            Benchmark::V5_0 => "v5.0",
            Benchmark::V6_0 => "v6.0",
            Benchmark::V7_0 => "v7.0",
        }
    }

    /// The label of `iam_control_info` that has its numbers.
    pub fn label(self) -> &'static str {
        LABELS[self as usize + 2]
    }

    /// From which time on it calls a credential unused.
    pub fn unused_after(self) -> TimeDelta {
        TimeDelta::days(if self <= Benchmark::V1_3 { 90 } else { 45 })
    }

    /// Whether it wants every active key to have been used since its last rotation.
    pub fn wants_keys_used(self) -> bool {
        self == Benchmark::V1_1
    }

    /// Whether a root user without a password needs no MFA.
    pub fn spares_root_without_password(self) -> bool {
        self >= Benchmark::V5_0
    }

    fn column(self) -> usize {
        match self {
            Benchmark::V1_1 => 0,
            Benchmark::V1_2 => 1,
            Benchmark::V1_3 => 2,
            Benchmark::V1_4
            | Benchmark::V1_5
            | Benchmark::V2_0
            | Benchmark::V3_0
            | Benchmark::V4_0 => 3,
            Benchmark::V5_0 => 4,
            Benchmark::V6_0 => 5,
            Benchmark::V7_0 => 6,
        }
    }
}

/// The labels of `iam_control_info`.
pub const LABELS: [&str; 13] = [
    "control", "title", "cis_v1_1", "cis_v1_2", "cis_v1_3", "cis_v1_4", "cis_v1_5", "cis_v2_0",
    "cis_v3_0", "cis_v4_0", "cis_v5_0", "cis_v6_0", "cis_v7_0",
];

/// The table as Markdown.
pub fn markdown() -> String {
    let versions = ["v1.1", "v1.2", "v1.3", "v1.4 to v4.0", "v5.0", "v6.0", "v7.0"];
    let mut table = format!("| control | {} |\n|---|", versions.join(" | "));
    table.push_str(&"---|".repeat(versions.len()));
    for entry in &TABLE {
        let numbers = entry.numbers.map(|number| if number.is_empty() { "–" } else { number });
        table.push_str(&format!("\n| `{}` | {} |", entry.name, numbers.join(" | ")));
    }
    table.push_str("\n\n| control | title | counts |\n|---|---|---|\n");
    for Entry { name, title, violation, .. } in &TABLE {
        table.push_str(&format!("| `{name}` | {title} | {violation} |\n"));
    }
    table
}
