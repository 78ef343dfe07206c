//! Every metric: its name, type, labels and help, once. The page, the exporter's own registry and
//! docs/metrics.md are made from this.

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name, as a literal that can be searched for.
    pub name: &'static str,
    /// Gauge or counter.
    pub kind: Kind,
    /// Label names, in the order of the page.
    pub labels: &'static [&'static str],
    /// The `HELP` line: a sentence.
    pub help: &'static str,
    /// The section of the documentation.
    pub group: Group,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up, until a restart.
    Counter,
}

impl Kind {
    /// The name in the text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        }
    }
}

/// A section of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// One series for each key or certificate.
    Keys,
    /// One series for each user.
    Users,
    /// One series for each account.
    Accounts,
    /// One or more series for each owner of keys.
    Owners,
    /// The controls of the CIS benchmark.
    Controls,
    /// How the data is refreshed.
    Refresh,
    /// The exporter itself.
    Exporter,
    /// The exporter's process.
    Process,
}

const fn gauge(
    group: Group,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help, group }
}

const fn counter(
    group: Group,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, group }
}

const ACCOUNT: &[&str] = &["account_id"];
const USER: &[&str] = &["account_id", "user"];
const KEY: &[&str] = &["account_id", "user", "key"];
const CERTIFICATE: &[&str] = &["account_id", "user", "cert"];
const SERVICE_CREDENTIAL: &[&str] = &["account_id", "user", "service_name", "credential_id"];
const OWNER: &[&str] = &["account_id", "account_name", "tag_NAME"];

macro_rules! catalogue {
    ($($name:ident = $metric:expr;)*) => {
        $(
            #[allow(missing_docs, reason = "the help text is the documentation")]
            pub const $name: Metric = $metric;
        )*
        /// Every metric, in the order of the page.
        pub const ALL: &[Metric] = &[$($name),*];
    };
}

catalogue! {
    KEY_AGE = gauge(Group::Keys, "iam_access_key_age_days", KEY,
        "Days since the access key was created or last rotated, rounded down to hundredths. From the report, which AWS renews at most every four hours, or from a later call.");
    KEY_LAST_ROTATED = gauge(Group::Keys, "iam_access_key_last_rotated_timestamp_seconds", KEY,
        "When the access key was created or last rotated. From the report, which AWS renews at most every four hours, or from a later call.");
    KEY_LAST_USED = gauge(Group::Keys, "iam_access_key_last_used_timestamp_seconds", KEY,
        "When the access key was last used, in steps of 15 minutes. Absent if it was never used or if that is not known. From the report, which AWS renews at most every four hours.");
    KEY_NEVER_USED = gauge(Group::Keys, "iam_access_key_never_used", KEY,
        "1 for an active access key that was never used. Absent for other keys, and if no report says so. From the newest report that says something of its use, which AWS renews at most every four hours.");
    KEY_ACTIVE = gauge(Group::Keys, "iam_access_key_active", KEY,
        "Whether the access key can be used (1) or is inactive (0). From the report, which AWS renews at most every four hours, or from a later call.");
    KEY_UNROTATED = gauge(Group::Keys, "iam_access_key_unrotated", KEY,
        "Whether the access key is active, not exempt, and older than its maximum age (1) or not (0). Absent if its age is not known. From the report, which AWS renews at most every four hours, or from a later call.");
    KEY_DUE = gauge(Group::Keys, "iam_access_key_rotation_due_timestamp_seconds", KEY,
        "When the access key must be rotated. Absent for inactive and exempt keys. From the report, which AWS renews at most every four hours, or from a later call.");
    KEY_EXEMPTION_END = gauge(Group::Keys, "iam_access_key_exemption_end_timestamp_seconds", &["account_id", "user", "key", "reason"],
        "When the active access key is no longer exempt, and the reason of the exemption. +Inf if that has no end. Of exemptions that follow one another, the last one's end. From the configuration, and from the report, which AWS renews at most every four hours.");
    KEY_INFO = gauge(Group::Keys, "iam_access_key_info", &["account_id", "user", "key", "access_key_id", "last_used_region", "last_used_service"],
        "The access key's id, which is empty until ListAccessKeys has confirmed the key, and the service and region of its last use. The value is 1. From the report, which AWS renews at most every four hours.");
    CERTIFICATE_ACTIVE = gauge(Group::Keys, "iam_user_signing_certificate_active", CERTIFICATE,
        "Whether the X.509 signing certificate can be used (1) or is inactive (0). From the report, which AWS renews at most every four hours.");
    CERTIFICATE_LAST_ROTATED = gauge(Group::Keys, "iam_user_signing_certificate_last_rotated_timestamp_seconds", CERTIFICATE,
        "When the X.509 signing certificate was uploaded or last rotated. From the report, which AWS renews at most every four hours.");

    SERVICE_CREDENTIAL_AGE = gauge(Group::Keys, "iam_service_specific_credential_age_days", SERVICE_CREDENTIAL,
        "Days since the service-specific credential, such as an API key for Bedrock, was created, rounded down to hundredths. Listed once for each credential report, which AWS renews at most every four hours.");
    SERVICE_CREDENTIAL_ACTIVE = gauge(Group::Keys, "iam_service_specific_credential_active", SERVICE_CREDENTIAL,
        "Whether the service-specific credential can be used (1), or is inactive or expired (0). Listed once for each credential report, which AWS renews at most every four hours.");
    SERVICE_CREDENTIAL_UNROTATED = gauge(Group::Keys, "iam_service_specific_credential_unrotated", SERVICE_CREDENTIAL,
        "Whether the service-specific credential can be used, is not exempt, and is older than the maximum age of its user's keys (1) or not (0). Absent if its age is not known. This rule is the exporter's: no benchmark has a control for such credentials. Listed once for each credential report, which AWS renews at most every four hours.");
    SERVICE_CREDENTIAL_EXPIRY = gauge(Group::Keys, "iam_service_specific_credential_expiry_timestamp_seconds", SERVICE_CREDENTIAL,
        "When the service-specific credential expires. Absent if it never does, or not within 10,000 days. Listed once for each credential report, which AWS renews at most every four hours.");

    USER_INFO = gauge(Group::Users, "iam_user_info", &["account_id", "user", "arn"],
        "The user's ARN. The value is 1. From the report, which AWS renews at most every four hours.");
    USER_TAGS = gauge(Group::Users, "iam_user_tags", &["account_id", "user", "tag_NAME"],
        "The user's tags in labels.user_tags of the configuration, each as a label. The value is 1. Absent for users whose tags are not known. Read with each report, which AWS renews at most every four hours.");
    USER_CREATED = gauge(Group::Users, "iam_user_created_timestamp_seconds", USER,
        "When the user was created. From the report, which AWS renews at most every four hours.");
    USER_MFA_ACTIVE = gauge(Group::Users, "iam_user_mfa_active", USER,
        "Whether the user has an MFA device (1) or not (0). From the report, which AWS renews at most every four hours.");
    USER_PASSWORD_ENABLED = gauge(Group::Users, "iam_user_password_enabled", USER,
        "Whether the user has a console password (1) or not (0). From the report, which AWS renews at most every four hours.");
    USER_PASSWORD_LAST_USED = gauge(Group::Users, "iam_user_password_last_used_timestamp_seconds", USER,
        "When the user last signed in with the password. Absent if never. From the report, which AWS renews at most every four hours.");
    USER_PASSWORD_LAST_CHANGED = gauge(Group::Users, "iam_user_password_last_changed_timestamp_seconds", USER,
        "When the password was last set. From the report, which AWS renews at most every four hours.");
    USER_PASSWORD_EXPIRY = gauge(Group::Users, "iam_user_password_expiry_timestamp_seconds", USER,
        "When the password expires by the account's password policy. From the report, which AWS renews at most every four hours.");
    USER_ADDITIONAL_CREDENTIALS = gauge(Group::Users, "iam_user_additional_credentials", USER,
        "1 if the user has more keys or certificates than the report shows. Absent otherwise. From the report, which AWS renews at most every four hours.");

    UNROTATED_KEYS = gauge(Group::Accounts, "iam_unrotated_keys_total", ACCOUNT,
        "Number of access keys that are active, not exempt, and older than their maximum age. From the report, which AWS renews at most every four hours, or from a later call.");
    ACCESS_KEYS = gauge(Group::Accounts, "iam_access_keys", &["account_id", "status"],
        "Number of access keys by status: active or inactive. From the report, which AWS renews at most every four hours, or from a later call.");
    NOT_JUDGED_KEYS = gauge(Group::Accounts, "iam_access_keys_not_judged", ACCOUNT,
        "Number of active keys of unknown age: access keys without a time, and access keys or service-specific credentials with a time that lies ahead. They count neither as unrotated nor as rotated, and exempt keys are not among them. A user who may have more access keys than the report shows counts as one more. From the credential report, which AWS renews at most every four hours.");
    UNROTATED_SERVICE_CREDENTIALS = gauge(Group::Accounts, "iam_unrotated_service_credentials", ACCOUNT,
        "Number of service-specific credentials, such as API keys for Bedrock, that can be used, are not exempt, and are older than their maximum age. Absent while they are not known. This rule is the exporter's: no benchmark has a control for such credentials. Listed once for each credential report, which AWS renews at most every four hours.");
    USERS = gauge(Group::Accounts, "iam_users", ACCOUNT,
        "Number of IAM users, without the root user. From the report, which AWS renews at most every four hours.");
    ACCOUNT_INFO = gauge(Group::Accounts, "iam_account_info", &["account_id", "account_name", "partition"],
        "The account's name and partition. The value is 1.");
    ROTATION_MAX_AGE = gauge(Group::Accounts, "iam_rotation_max_age_seconds", &[],
        "Maximum age of an active access key if no rule decides.");
    ROTATION_WARN_BEFORE = gauge(Group::Accounts, "iam_rotation_warn_before_seconds", &[],
        "An active access key is due soon if it must be rotated within this time.");

    CONTROL_VIOLATIONS = gauge(Group::Controls, "iam_control_violations", &["account_id", "control"],
        "Number of keys, credentials, users or settings that violate the control of the CIS benchmark, as far as they are known. Absent if no violation is known and iam_control_undecided has a reason. 0 if the partition has nothing that the control is about, such as a root user in China. From the credential report, which AWS renews at most every four hours, and from calls after each new report.");
    CONTROL_VIOLATION = gauge(Group::Controls, "iam_control_violation", &["account_id", "control", "user"],
        "Number of violations of the control by the user, for users with at least one. Absent if controls.users is false. From the credential report, which AWS renews at most every four hours, and from calls after each new report.");
    CONTROL_UNDECIDED = gauge(Group::Controls, "iam_control_undecided", &["account_id", "control", "reason", "missing"],
        "1 for each reason why the control is not decided, or not for all users. The reasons are access_denied, call_failed, old_answer, not_read, not_listed, no_value, no_row, rejected_rows, old_report and keys_not_listed. The label missing names the missing permission, column or row, if there is one.");
    CONTROL_INFO = gauge(Group::Controls, "iam_control_info", &crate::controls::catalogue::LABELS,
        "The control's title, and its number in each version of the CIS AWS Foundations benchmark. The number is empty if a version does not have the control. The value is 1.");
    CONTROL_DATA_AVAILABLE = gauge(Group::Controls, "iam_exporter_control_data_available", &["account_id", "permission"],
        "Whether the last attempt to read the data for controls that needs the permission succeeded (1) or failed (0). After a failure, older data counts for 8 hours, or not at all if the permission is missing. Also 0 before the first attempt. Absent without a report, for report files, and for data that the configuration does not request.");

    OWNER_KEYS = gauge(Group::Owners, "iam_owner_access_keys", &["account_id", "account_name", "tag_NAME", "status"],
        "Number of the owner's access keys by status: unrotated, due_soon, ok, exempt, inactive, not_judged (active, but of unknown age). Each key has exactly one status. Service-specific credentials are not among them: iam_access_keys_not_judged counts those of unknown age, too. From the report, which AWS renews at most every four hours, or from a later call.");
    OWNER_FINDINGS = gauge(Group::Owners, "iam_owner_findings", &["account_id", "account_name", "tag_NAME", "finding"],
        "Number of the owner's access keys that need work, by finding: unrotated, due_soon, never_used (active for a week or longer), exemption_ending (within the time in which keys are due soon). The finding unrotated_service_credential has the number of the owner's unrotated service-specific credentials, which count in no other finding. Absent instead of 0, so that alerts cost Prometheus little. From the credential report, which AWS renews at most every four hours, or from later calls.");
    OWNER_FINDING_TIME = gauge(Group::Owners, "iam_owner_finding_timestamp_seconds", &["account_id", "account_name", "tag_NAME", "finding"],
        "The most urgent time of the keys in iam_owner_findings. For unrotated, never_used and unrotated_service_credential, when the oldest was created or last rotated. For due_soon, when the first must be rotated. For exemption_ending, when the first key is no longer exempt. From the credential report, which AWS renews at most every four hours, or from later calls.");
    OWNER_MOST_URGENT = gauge(Group::Owners, "iam_owner_most_urgent_finding", &["account_id", "account_name", "tag_NAME", "finding"],
        "Number of the owner's access keys with the owner's most urgent finding. The most urgent is unrotated, then due_soon, exemption_ending, never_used. Absent for an owner without these findings. Alerts use it, so that an owner has one alert at a time. From the credential report, which AWS renews at most every four hours, or from later calls.");
    OWNER_LESS_URGENT = gauge(Group::Owners, "iam_owner_less_urgent_findings", &["account_id", "account_name", "tag_NAME", "finding"],
        "Number of the owner's access keys in iam_owner_findings that iam_owner_most_urgent_finding does not count. It has the labels of that metric. From the credential report, which AWS renews at most every four hours, or from later calls.");
    OWNER_ROOT_KEYS = gauge(Group::Owners, "iam_owner_root_access_keys", &["account_id", "account_name"],
        "Number of active access keys of the account's root user. From the report, which AWS renews at most every four hours. If it has no readable row of root, the active keys of an earlier row stay until GetAccountSummary says that there is none. Without such keys, from GetAccountSummary: 1 if there is any key, also an inactive one. Absent if neither is known, or if it would be 0 and a row of root could not be read.");
    OWNER_NEVER_USED = gauge(Group::Owners, "iam_owner_access_keys_never_used", OWNER,
        "Number of the owner's active access keys that were never used. From the report, which AWS renews at most every four hours, or from a later call.");
    OWNER_NEXT_DUE = gauge(Group::Owners, "iam_owner_next_rotation_due_timestamp_seconds", OWNER,
        "When the next of the owner's access keys must be rotated: the earliest due date of those that are not unrotated yet. From the report, which AWS renews at most every four hours, or from a later call.");
    OWNER_NEXT_EXEMPTION_END = gauge(Group::Owners, "iam_owner_next_exemption_end_timestamp_seconds", OWNER,
        "When the first of the owner's exempt active access keys is no longer exempt. From the configuration, and from the report, which AWS renews at most every four hours.");
    OWNER_OLDEST_UNROTATED = gauge(Group::Owners, "iam_owner_oldest_unrotated_age_days", OWNER,
        "Age of the owner's oldest unrotated access key in days, rounded down to hundredths. 0 if no key is unrotated. From the report, which AWS renews at most every four hours, or from a later call.");

    REPORT_GENERATED = gauge(Group::Refresh, "iam_credential_report_generated_timestamp_seconds", ACCOUNT,
        "When AWS generated the credential report, which it does at most every four hours. For a report file, when the file was modified, or the newest time in it if that is later.");
    REPORT_REJECTED_ROWS = gauge(Group::Refresh, "iam_credential_report_rejected_rows", ACCOUNT,
        "Number of rows of the credential report that could not be parsed, or only in part. The log has the lines of the first 100.");
    REFRESH_SUCCESS = gauge(Group::Refresh, "iam_refresh_success", ACCOUNT,
        "Whether the last refresh of the account succeeded (1) or failed (0). After a failure the last good report still counts.");
    REFRESH_LAST_SUCCESS = gauge(Group::Refresh, "iam_refresh_last_success_timestamp_seconds", ACCOUNT,
        "When a refresh of the account last succeeded.");
    REFRESH_DURATION = gauge(Group::Refresh, "iam_refresh_duration_seconds", ACCOUNT,
        "How long the last refresh of the account took.");
    CONFIRMATION_AVAILABLE = gauge(Group::Refresh, "iam_exporter_confirmation_available", ACCOUNT,
        "Whether AWS last answered (1) or refused (0) ListAccessKeys, which confirms unrotated keys, keys of unknown age and keys that the report does not show. After a refusal earlier answers and the report still count. Absent before the first attempt and if no user has such a key.");
    CONFIRMATION_WAITING = gauge(Group::Refresh, "iam_exporter_confirmation_waiting_users", ACCOUNT,
        "Number of users with such a key that the last refresh did not confirm, because its time was over or AWS refused. Absent before the first confirmation.");
    TAGS_AVAILABLE = gauge(Group::Refresh, "iam_exporter_tags_available", ACCOUNT,
        "Whether the users' tags that the configuration requests could be read (1) or not (0, also before the first attempt, and if the list lacks users of the report). After a failure the last good tags still count. Absent without a report, if the configuration requests no tags, and for report files if no rule needs tags.");
    SERVICE_CREDENTIALS_AVAILABLE = gauge(Group::Refresh, "iam_exporter_service_credentials_available", ACCOUNT,
        "Whether the last attempt to list service-specific credentials succeeded (1, also if the partition does not have the call and so no such keys) or failed (0, also if AWS refused one service, if it is not known whose a key is, and before the first attempt). After a failure the last good list still counts. Known credentials of a service that AWS does not list stay. Absent without a report, for report files, and if the configuration turns them off.");
    NAME_AVAILABLE = gauge(Group::Refresh, "iam_exporter_account_name_available", ACCOUNT,
        "Whether the account's name is known (1), or a rule by account name needs its alias and the last attempt to read it failed (0). Such rules do not apply to an account whose alias was never read. Absent before the first refresh, for report files, and if no rule needs the missing name.");
    REFRESH_FAILURES = counter(Group::Refresh, "iam_refresh_failures_total", &["account_id", "reason"],
        "Failed refreshes of the account by reason.");
    UNIDENTIFIED_FAILURES = counter(Group::Refresh, "iam_exporter_unidentified_refresh_failures_total", &["reason"],
        "Failed refreshes by reason, for accounts whose id is not known yet because GetCallerIdentity has not succeeded, or because their report file was never read.");

    BUILD_INFO = gauge(Group::Exporter, "iam_exporter_build_info", &["version", "revision", "rustc", "os", "arch"],
        "The exporter's version and commit (with -modified if its sources were changed), the compiler's version, and the platform. The value is 1.");
    ACCOUNTS = gauge(Group::Exporter, "iam_exporter_accounts", &["state"],
        "Number of accounts by state: ok (the last refresh succeeded, also if the status page calls the account degraded), failing, pending (not tried yet), duplicate (another source has a newer report).");
    UNIDENTIFIED_ACCOUNTS = gauge(Group::Exporter, "iam_exporter_unidentified_accounts", &[],
        "Number of accounts whose id is not known yet because GetCallerIdentity has not succeeded, or because their report file was never read. They have no other series.");
    DISCOVERY_SUCCESS = gauge(Group::Exporter, "iam_exporter_discovery_success", &[],
        "Whether the last list of accounts or report files could be read (1) or not (0, also before the first attempt). After a failure the last good list still counts.");
    SHARD = gauge(Group::Exporter, "iam_exporter_shard", &[],
        "Number of this process, from 0, among those that share the accounts.");
    TOTAL_SHARDS = gauge(Group::Exporter, "iam_exporter_shards", &[],
        "Number of processes that share the accounts.");
    RELOAD_SUCCESSFUL = gauge(Group::Exporter, "iam_exporter_config_last_reload_successful", &[],
        "Whether the last load of the configuration file succeeded (1) or failed (0). After a failure the last good configuration still counts.");
    RELOAD_SUCCESS = gauge(Group::Exporter, "iam_exporter_config_last_reload_success_timestamp_seconds", &[],
        "When the configuration file was last loaded successfully.");
    AWS_REQUESTS = counter(Group::Exporter, "iam_exporter_aws_requests_total", &["service", "operation", "outcome"],
        "Requests to AWS, including retries, by outcome: ok, client_error (HTTP 4xx), server_error (HTTP 5xx), no_response, aborted (by a time limit).");
    CLOCK_SKEW = gauge(Group::Exporter, "iam_exporter_clock_skew_seconds", &[],
        "Seconds by which the exporter's clock is ahead of AWS's clock, or behind it if negative. From the date of AWS's last answer that worked or has AWS's request id. Absent before the first.");
    PAGE_SERIES = gauge(Group::Exporter, "iam_exporter_page_series", &[],
        "Number of series on the last rendered page, without the exporter's own metrics.");
    PAGE_BYTES = gauge(Group::Exporter, "iam_exporter_page_bytes", &["encoding"],
        "Size of the last rendered page by encoding: identity or gzip.");
    PAGE_RENDERED = gauge(Group::Exporter, "iam_exporter_page_rendered_timestamp_seconds", &[],
        "When the page was last rendered, which happens once a minute, and at once if a verdict, a count or a state changes.");
    PAGE_RENDER_DURATION = gauge(Group::Exporter, "iam_exporter_page_render_duration_seconds", &[],
        "How long the last rendering of the page took, including compression.");
    HTTP_REQUESTS = counter(Group::Exporter, "iam_exporter_http_requests_total", &["code"],
        "HTTP requests by status code of the response, without requests whose headers could not be parsed.");
    WEB_RELOAD_SUCCESSFUL = gauge(Group::Exporter, "iam_exporter_web_config_last_reload_successful", &[],
        "Whether the last load of the web configuration file and its certificates succeeded (1) or failed (0). After a failure the last good ones still count. Absent without --web.config.file.");
    HTTP_CONNECTIONS = gauge(Group::Exporter, "iam_exporter_http_connections", &[],
        "Open HTTP connections: at most 256, 16 more for health checks, and 16 of --web.health-address.");
    HTTP_REFUSED = counter(Group::Exporter, "iam_exporter_http_refused_total", &["reason"],
        "Refused connections and requests by reason: password, certificate (of the client), rate (the client made too many requests), busy (too many passwords to check or pages to render), handshake (another failure of TLS), or connections (refused or closed because there were too many).");
    HTTP_ACCEPT_FAILURES = counter(Group::Exporter, "iam_exporter_http_accept_failures_total", &[],
        "Connections that could not be accepted, for example because no file descriptors were left.");

    PROCESS_CPU = counter(Group::Process, "process_cpu_seconds_total", &[],
        "Total user and system CPU time spent in seconds.");
    PROCESS_MAX_FDS = gauge(Group::Process, "process_max_fds", &[],
        "Maximum number of open file descriptors.");
    PROCESS_OPEN_FDS = gauge(Group::Process, "process_open_fds", &[],
        "Number of open file descriptors.");
    PROCESS_RESIDENT_MEMORY = gauge(Group::Process, "process_resident_memory_bytes", &[],
        "Resident memory size in bytes.");
    PROCESS_START_TIME = gauge(Group::Process, "process_start_time_seconds", &[],
        "Start time of the process since unix epoch in seconds.");
    PROCESS_THREADS = gauge(Group::Process, "process_threads", &[],
        "Number of OS threads in the process.");
    PROCESS_VIRTUAL_MEMORY = gauge(Group::Process, "process_virtual_memory_bytes", &[],
        "Virtual memory size in bytes.");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names = HashSet::new();
        assert!(ALL.iter().all(|metric| names.insert(metric.name)));
    }

    #[test]
    fn every_help_is_a_sentence() {
        for metric in ALL {
            let first = metric.help.chars().next().expect("a help text");
            assert!(first.is_uppercase() || first.is_numeric(), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(!metric.help.contains(';'), "{}: two sentences", metric.name);
        }
    }

    #[test]
    fn metrics_from_the_report_say_how_old_they_can_be() {
        for metric in ALL {
            if matches!(metric.group, Group::Keys | Group::Users | Group::Owners) {
                assert!(metric.help.contains("at most every four hours"), "{}", metric.name);
            }
        }
    }
}
