//! Maps SDK errors to reasons, by types and error codes and never by a message.
//!
//! Messages are built from the operation, AWS's code and message, the HTTP status and the kind of the
//! cause. An SDK error as text can hold the request that it was about, with its tokens.

use std::error::Error;
use std::io;

use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_iam::error::{ConnectorError, ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::http::has_no_certificates;
use super::sdk::{Operation, clock_skew};
use crate::clock::{Clock, MAX_CLOCK_SKEW};
use crate::failure::{Failure, Reason};

/// The failure that this error of this call is.
pub fn failure<E>(operation: Operation, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    of_call(operation.as_str(), error)
}

/// The failure that this error of a provider of credentials is.
pub fn of_provider(name: &str, error: &CredentialsError) -> Failure {
    let error: &(dyn Error + 'static) = error;
    for cause in sources(error) {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.clone();
        }
        let of_call = cause
            .downcast_ref::<SdkError<AssumeRoleError>>()
            .map(|error| of_call("AssumeRole", error))
            .or_else(|| {
                let error = cause.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError>>();
                error.map(|error| of_call("AssumeRoleWithWebIdentity", error))
            });
        if let Some(Failure { reason, message }) = of_call {
            return Failure::new(reason, format!("{name}: {message}"));
        }
    }
    Failure::new(Reason::Credentials, format!("{name}: {}", causes(error)))
}

fn of_call<E>(operation: &str, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    // Credentials may come from another call of the exporter: that call's failure says more.
    if let Some(failure) = sources(error).find_map(|error| error.downcast_ref::<Failure>()) {
        return failure.clone();
    }
    let message = match error {
        SdkError::ServiceError(context) => match (context.err().code(), context.err().message()) {
            (Some(code), Some(message)) => format!("{operation}: {code}: {message}"),
            (Some(code), None) => format!("{operation}: {code}"),
            (None, _) => format!("{operation}: HTTP status {}", context.raw().status()),
        },
        SdkError::ResponseError(context) => format!(
            "{operation}: a response that cannot be read, with HTTP status {}",
            context.raw().status()
        ),
        SdkError::TimeoutError(_) => format!("{operation}: no answer within the time limit"),
        error => format!("{operation}: {}", causes(error)),
    };
    Failure::new(reason(error), message)
}

/// The reason that this error is counted under.
fn reason<E>(error: &SdkError<E>) -> Reason
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::TimeoutError(_) => Reason::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Reason::Timeout,
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_)
            if is_about_credentials(error) =>
        {
            Reason::Credentials
        }
        SdkError::DispatchFailure(_) => Reason::Network,
        SdkError::ServiceError(context) => match context.err().code() {
            // AWS blames the signature if the clock is wrong.
            Some("InvalidSignatureException" | "SignatureDoesNotMatch")
                if is_far_from_our_clock(context.raw()) =>
            {
                Reason::Clock
            }
            code => code.map_or(Reason::ServiceError, reason_of_code),
        },
        _ => Reason::ServiceError,
    }
}

fn is_far_from_our_clock(answer: &HttpResponse) -> bool {
    clock_skew(answer, Clock::system().now()).is_some_and(|skew| skew.abs() > MAX_CLOCK_SKEW)
}

/// AWS's error codes: those that all services share, and those of the credential report.
fn reason_of_code(code: &str) -> Reason {
    match code {
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => Reason::AccessDenied,
        "AuthFailure"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidIdentityToken"
        | "InvalidIdentityTokenException"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "RegionDisabledException"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => Reason::Credentials,
        "RequestExpired" | "RequestInTheFuture" | "RequestTimeTooSkewed" => Reason::Clock,
        "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException" => Reason::Throttled,
        "LimitExceeded" | "LimitExceededException" => Reason::LimitExceeded,
        "ReportExpired" | "ReportInProgress" | "ReportNotPresent" => Reason::ReportNotReady,
        "RequestTimeout" | "RequestTimeoutException" => Reason::Timeout,
        _ => Reason::ServiceError,
    }
}

/// The SDK reports credentials that it cannot get like a connection that it cannot make.
fn is_about_credentials(error: &(dyn Error + 'static)) -> bool {
    sources(error).any(|error| error.is::<CredentialsError>())
}

/// The kinds of the causes, from the outside in, in one line.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut kinds: Vec<String> = sources(error).filter_map(kind).collect();
    kinds.dedup();
    if kinds.is_empty() {
        kinds.push("the request could not be made".to_owned());
    }
    kinds.join(": ")
}

/// The kind of this error, if its type says so. Its text is used only if it cannot contain a
/// part of a request or of an answer.
fn kind(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<CredentialsError>() {
        return Some(kind_of_credentials(error));
    }
    if let Some(error) = error.downcast_ref::<ConnectorError>() {
        let kind = match error {
            error if error.is_timeout() => "no connection or answer within the time limit",
            _ => "the connection failed",
        };
        return Some(kind.to_owned());
    }
    if let Some(ImdsError::ErrorResponse(context)) = error.downcast_ref::<ImdsError>() {
        return Some(format!("HTTP status {}", context.response().status()));
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(kind_of_io(error));
    }
    let text = error.to_string();
    SAFE_TEXTS.iter().any(|safe| text.starts_with(safe)).then_some(text)
}

/// How texts of the SDK begin that hold names of profiles, settings and files, or a status, and nothing
/// else.
const SAFE_TEXTS: [&str; 12] = [
    "Non-success status from HTTP credential provider: ",
    "ProfileFile provider could not be built: invalid credential source in ",
    "ProfileFile provider could not be built: missing credential source in ",
    "ProfileFile provider could not be built: profile ",
    "ProfileFile provider could not be built: sso-session ",
    "couldn't resolve a home directory",
    "dns error",
    "failed to open `",
    "failed to read `",
    "invalid JSON in cached SSO token file",
    "missing field `",
    "the SSO token has expired",
];

fn kind_of_credentials(error: &CredentialsError) -> String {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => "no credentials found".to_owned(),
        CredentialsError::ProviderTimedOut(limit) => {
            format!("no credentials within {} seconds", limit.timeout_duration().as_secs())
        }
        CredentialsError::InvalidConfiguration(_) => "its configuration is invalid".to_owned(),
        _ => "credentials cannot be loaded".to_owned(),
    }
}

fn kind_of_io(error: &io::Error) -> String {
    let inner = error.get_ref();
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return kind_of_tls(error);
    }
    // The inner error is reported next.
    if let Some(inner) = inner.and_then(|inner| inner.downcast_ref::<io::Error>()) {
        return kind_of_io(inner);
    }
    let text = error.to_string();
    if error.raw_os_error().is_some() || text.starts_with("failed to lookup address information") {
        return text;
    }
    error.kind().to_string()
}

fn kind_of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(_) if has_no_certificates() => {
            "there are no CA certificates on this system: install them (ca-certificates), or name a \
             file of them in AWS_CA_BUNDLE or SSL_CERT_FILE"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            "the certificate is of an unknown issuer: if a proxy inspects TLS, name the file of its \
             CA certificate in AWS_CA_BUNDLE"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(_) => "the certificate is not valid".to_owned(),
        _ => "TLS failed".to_owned(),
    }
}

fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_error_is_not_told() {
        let text = "external process exited with code 1. Stderr: token=SECRET\nmore of it";
        let failure = of_provider("profile a", &CredentialsError::provider_error(text));
        assert_eq!(failure.reason, Reason::Credentials);
        assert_eq!(failure.message, "profile a: credentials cannot be loaded");
    }

    #[test]
    fn the_kind_of_the_cause_is_told() {
        let refused = io::Error::from_raw_os_error(111);
        let failure = of_provider("web identity", &CredentialsError::provider_error(refused));
        assert_eq!(
            failure.message,
            "web identity: credentials cannot be loaded: Connection refused (os error 111)"
        );
        let text = io::Error::other("body: SECRET");
        let failure = of_provider("web identity", &CredentialsError::provider_error(text));
        assert_eq!(failure.message, "web identity: credentials cannot be loaded: other error");
    }

    #[test]
    fn codes_have_their_reasons() {
        for (code, reason) in [
            ("AccessDenied", Reason::AccessDenied),
            ("ExpiredToken", Reason::Credentials),
            ("AuthFailure", Reason::Credentials),
            ("IncompleteSignature", Reason::Credentials),
            ("IncompleteSignatureException", Reason::Credentials),
            ("InvalidSignatureException", Reason::Credentials),
            ("RequestTimeTooSkewed", Reason::Clock),
            ("RequestExpired", Reason::Clock),
            ("Throttling", Reason::Throttled),
            ("ThrottlingException", Reason::Throttled),
            ("LimitExceeded", Reason::LimitExceeded),
            ("ReportInProgress", Reason::ReportNotReady),
            ("ServiceFailure", Reason::ServiceError),
            ("SomethingNew", Reason::ServiceError),
        ] {
            assert_eq!(reason_of_code(code), reason, "{code}");
        }
    }
}
