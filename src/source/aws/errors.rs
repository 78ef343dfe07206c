//! What an SDK error means: one of the closed set of reasons, decided by types and error codes and
//! never by a message.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};

use super::sdk::Operation;
use crate::failure::{Failure, Reason};

/// The failure that this error of this call is.
pub fn failure<E>(operation: Operation, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    // Credentials may come from another call of the exporter: that call's failure says more.
    if let Some(failure) = sources(error).find_map(|error| error.downcast_ref::<Failure>()) {
        return failure.clone();
    }
    let operation = operation.as_str();
    let message = match error {
        // What AWS said, without the SDK's dump of the whole response.
        SdkError::ServiceError(context) => match (context.err().code(), context.err().message()) {
            (Some(code), Some(message)) => format!("{operation}: {code}: {message}"),
            (Some(code), None) => format!("{operation}: {code}"),
            (None, _) => format!("{operation}: HTTP status {}", context.raw().status()),
        },
        SdkError::ResponseError(context) => format!(
            "{operation}: a response that cannot be read, with HTTP status {}",
            context.raw().status()
        ),
        error => format!("{operation}: {}", chain(error)),
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
        SdkError::ServiceError(context) => {
            context.err().code().map_or(Reason::ServiceError, reason_of_code)
        }
        _ => Reason::ServiceError,
    }
}

/// AWS's error codes: those that all services share, and those of the credential report.
fn reason_of_code(code: &str) -> Reason {
    match code {
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => Reason::AccessDenied,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "RegionDisabledException"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => Reason::Credentials,
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

/// The error and its sources, from the outside in, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<String> = sources(error)
        .flat_map(|error| {
            let text = error.to_string();
            // What a credential process wrote follows there, and may be a secret.
            let text = text.split("Stderr:").next().unwrap_or_default();
            text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
        })
        .collect();
    texts.join("; ")
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
    fn what_a_credential_process_wrote_is_not_told() {
        let text = "external process exited with code 1. Stderr: token=SECRET\nmore of it";
        let error = CredentialsError::provider_error(text);
        assert_eq!(
            chain(&error),
            "an error occurred while loading credentials; external process exited with code 1."
        );
    }

    #[test]
    fn codes_have_their_reasons() {
        for (code, reason) in [
            ("AccessDenied", Reason::AccessDenied),
            ("ExpiredToken", Reason::Credentials),
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
