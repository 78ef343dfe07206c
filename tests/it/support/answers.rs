//! AWS's answers, in the XML of IAM and STS.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::protocol::Answer;
use super::report;

/// The result of an operation.
fn result(operation: &str, content: &str) -> Answer {
    Answer::Reply(
        200,
        format!(
            "<{operation}Response xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
             <{operation}Result>{content}</{operation}Result></{operation}Response>"
        ),
    )
}

/// An error. The message does not matter.
pub fn error(status: u16, code: &str) -> Answer {
    Answer::Reply(
        status,
        format!(
            "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error>\
             <Type>Sender</Type><Code>{code}</Code><Message>Unknown</Message></Error>\
             <RequestId>0</RequestId></ErrorResponse>"
        ),
    )
}

pub fn identity(account: &str) -> Answer {
    let arn = format!("arn:aws:iam::{account}:user/exporter");
    result(
        "GetCallerIdentity",
        &format!("<Arn>{arn}</Arn><UserId>U</UserId><Account>{account}</Account>"),
    )
}

/// The credentials of a role.
pub fn credentials(access_key: &str, end: DateTime<Utc>) -> Answer {
    let end = time(end);
    result(
        "AssumeRole",
        &format!(
            "<AssumedRoleUser><Arn>a</Arn><AssumedRoleId>A:b</AssumedRoleId></AssumedRoleUser>\
             <Credentials><AccessKeyId>{access_key}</AccessKeyId>\
             <SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>\
             <Expiration>{end}</Expiration></Credentials>"
        ),
    )
}

/// A page of an organization's accounts (id, name), for account `own`, and the marker of the next page.
pub fn accounts<'a>(
    own: &str,
    accounts: impl IntoIterator<Item = (&'a str, &'a str)>,
    next: Option<&str>,
) -> Answer {
    let account = |(id, name): (&str, &str)| {
        format!(
            "{{\"Id\":\"{id}\",\"Name\":\"{name}\",\"State\":\"ACTIVE\",\
             \"Arn\":\"arn:aws:organizations::{own}:account/o-{own}/{id}\"}}"
        )
    };
    let accounts: Vec<String> = accounts.into_iter().map(account).collect();
    let next = next.map_or(String::new(), |next| format!(",\"NextToken\":\"{next}\""));
    Answer::Reply(200, format!("{{\"Accounts\":[{}]{next}}}", accounts.join(",")))
}

/// The alias that the account has.
pub fn alias() -> Answer {
    result(
        "ListAccountAliases",
        "<IsTruncated>false</IsTruncated><AccountAliases><member>the-alias</member>\
         </AccountAliases>",
    )
}

/// The summary of an account whose root user has a password and MFA, and no key.
pub fn summary() -> Answer {
    summary_of(&[
        ("AccountAccessKeysPresent", 0),
        ("AccountMFAEnabled", 1),
        ("AccountPasswordPresent", 1),
        ("Users", 3),
        ("SomethingNew", 7),
    ])
}

/// A summary of these numbers.
pub fn summary_of(numbers: &[(&str, i32)]) -> Answer {
    let entry = |(key, value): &(&str, i32)| {
        format!("<entry><key>{key}</key><value>{value}</value></entry>")
    };
    let entries: String = numbers.iter().map(entry).collect();
    result("GetAccountSummary", &format!("<SummaryMap>{entries}</SummaryMap>"))
}

/// A password policy that meets every control.
pub fn password_policy() -> Answer {
    result(
        "GetAccountPasswordPolicy",
        "<PasswordPolicy><MinimumPasswordLength>14</MinimumPasswordLength>\
         <RequireSymbols>true</RequireSymbols><RequireNumbers>true</RequireNumbers>\
         <RequireUppercaseCharacters>true</RequireUppercaseCharacters>\
         <RequireLowercaseCharacters>true</RequireLowercaseCharacters>\
         <AllowUsersToChangePassword>true</AllowUsersToChangePassword>\
         <ExpirePasswords>true</ExpirePasswords><MaxPasswordAge>90</MaxPasswordAge>\
         <PasswordReusePrevention>24</PasswordReusePrevention><HardExpiry>false</HardExpiry>\
         </PasswordPolicy>",
    )
}

/// A page of assigned virtual MFA devices: (name of the device, the end of its user's ARN, `None` if the
/// device has no known user), and the marker of the next page. Root has no user name.
pub fn virtual_mfa_devices(devices: &[(&str, Option<&str>)], next: Option<&str>) -> Answer {
    let members: String = devices
        .iter()
        .map(|(name, user)| {
            let user = user.map_or(String::new(), |user| {
                let name = user.strip_prefix("user/");
                let name =
                    name.map_or(String::new(), |name| format!("<UserName>{name}</UserName>"));
                format!(
                    "<User><Path>/</Path>{name}<UserId>U</UserId>\
                     <Arn>arn:aws:iam::123456789012:{user}</Arn>\
                     <CreateDate>2020-01-01T00:00:00Z</CreateDate></User>"
                )
            });
            format!(
                "<member><SerialNumber>arn:aws:iam::123456789012:mfa/{name}</SerialNumber>{user}\
                 <EnableDate>2020-01-01T00:00:00Z</EnableDate></member>"
            )
        })
        .collect();
    let marker = next.map_or(String::new(), |next| format!("<Marker>{next}</Marker>"));
    let is_truncated = next.is_some();
    result(
        "ListVirtualMFADevices",
        &format!(
            "<IsTruncated>{is_truncated}</IsTruncated>{marker}\
             <VirtualMFADevices>{members}</VirtualMFADevices>"
        ),
    )
}

/// STARTED, INPROGRESS or COMPLETE.
pub fn generating(state: &str) -> Answer {
    result("GenerateCredentialReport", &format!("<State>{state}</State>"))
}

/// A report of one user with one key, generated this number of hours ago.
pub fn report(user: &str, hours: i64) -> Answer {
    report_at(&report::of_one(user), Utc::now() - TimeDelta::hours(hours))
}

/// The report that has these bytes.
pub fn report_at(csv: &str, generated: DateTime<Utc>) -> Answer {
    let (content, generated) = (aws_smithy_types::base64::encode(csv), time(generated));
    result(
        "GetCredentialReport",
        &format!(
            "<Content>{content}</Content><ReportFormat>text/csv</ReportFormat>\
             <GeneratedTime>{generated}</GeneratedTime>"
        ),
    )
}

/// The keys of a user: (id, Active or Inactive, created).
pub fn keys(keys: &[(&str, &str, &str)]) -> Answer {
    let members: String = keys
        .iter()
        .map(|(id, status, created)| {
            format!(
                "<member><AccessKeyId>{id}</AccessKeyId><Status>{status}</Status>\
                 <CreateDate>{created}</CreateDate></member>"
            )
        })
        .collect();
    result(
        "ListAccessKeys",
        &format!(
            "<IsTruncated>false</IsTruncated><AccessKeyMetadata>{members}</AccessKeyMetadata>"
        ),
    )
}

/// One page of users with one tag each: (user, key, value), and the marker of the next page.
pub fn tags(users: &[(&str, &str, &str)], next: Option<&str>) -> Answer {
    let members: String = users
        .iter()
        .map(|(user, key, value)| {
            format!(
                "<member><UserName>{user}</UserName><Tags><member><Key>{key}</Key><Value>{value}\
                 </Value></member></Tags></member>"
            )
        })
        .collect();
    let marker = next.map_or(String::new(), |next| format!("<Marker>{next}</Marker>"));
    let is_truncated = next.is_some();
    result(
        "GetAccountAuthorizationDetails",
        &format!(
            "<IsTruncated>{is_truncated}</IsTruncated>{marker}\
             <UserDetailList>{members}</UserDetailList>"
        ),
    )
}

/// One page of service-specific credentials: (user, service, id, status, created, when it expires, or
/// nothing), and the marker of the next page.
pub fn service_credentials(credentials: &[[&str; 6]], next: Option<&str>) -> Answer {
    let members: String = credentials
        .iter()
        .map(|[user, service, id, status, created, expires]| {
            let expires = match *expires {
                "" => String::new(),
                time => format!("<ExpirationDate>{time}</ExpirationDate>"),
            };
            format!(
                "<member><UserName>{user}</UserName><Status>{status}</Status>\
                 <ServiceUserName>{user}-at-1</ServiceUserName><CreateDate>{created}</CreateDate>\
                 {expires}<ServiceSpecificCredentialId>{id}</ServiceSpecificCredentialId>\
                 <ServiceName>{service}.amazonaws.com</ServiceName></member>"
            )
        })
        .collect();
    let marker = next.map_or(String::new(), |next| format!("<Marker>{next}</Marker>"));
    let is_truncated = next.is_some();
    result(
        "ListServiceSpecificCredentials",
        &format!(
            "<ServiceSpecificCredentials>{members}</ServiceSpecificCredentials>\
             <IsTruncated>{is_truncated}</IsTruncated>{marker}"
        ),
    )
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
