//! The service-specific credentials of all users of an account.

use aws_sdk_iam::error::ProvideErrorMetadata;
use aws_sdk_iam::types::{ServiceSpecificCredentialMetadata, StatusType};
use chrono::DateTime;

use super::clients::AccountClient;
use super::errors;
use super::pages::Pages;
use super::sdk::Operation;
use crate::failure::{Failure, Reason};
use crate::report::intern::Interner;
use crate::service_credentials::{ServiceCredential, ServiceCredentials};

/// The services that have such credentials.
const SERVICES: [&str; 4] = [
    "bedrock.amazonaws.com",
    "cassandra.amazonaws.com",
    "codecommit.amazonaws.com",
    "logs.amazonaws.com",
];

/// AWS's code for a service that has no such credentials in this partition.
const NOT_SUPPORTED: &str = "NotSupportedService";

/// A list that was not given, and AWS's code for why.
struct Refusal {
    code: Option<String>,
    failure: Failure,
}

/// Those of all users by `ListServiceSpecificCredentials`, in pages of up to 1000. If AWS does not list
/// them for all services at once, those of one service after the other.
pub async fn service_credentials(client: &AccountClient) -> Result<ServiceCredentials, Failure> {
    let all = match list(client, None).await {
        Err(refusal) if refusal.is_about_parameters() => list_by_service(client).await,
        all => all.map_err(|refusal| refusal.failure),
    }?;
    let mut interner = Interner::default();
    let all = all.into_iter().map(|credential| listed(credential, &mut interner));
    // A key must not vanish because it could not be read.
    all.collect::<Option<_>>().ok_or_else(|| unreadable("a time that is out of range"))
}

async fn list_by_service(
    client: &AccountClient,
) -> Result<Vec<ServiceSpecificCredentialMetadata>, Failure> {
    let mut all = Vec::new();
    for service in SERVICES {
        match list(client, Some(service)).await {
            Ok(of_service) => all.extend(of_service),
            // Nobody can have a credential for it.
            Err(refusal) if refusal.is(NOT_SUPPORTED) => {}
            Err(refusal) => return Err(refusal.failure),
        }
    }
    Ok(all)
}

/// Every page of the list, of one service or of all.
async fn list(
    client: &AccountClient,
    service: Option<&str>,
) -> Result<Vec<ServiceSpecificCredentialMetadata>, Refusal> {
    let mut pages = Pages::of(Operation::ListServiceSpecificCredentials);
    let mut all = Vec::new();
    loop {
        let call = client
            .iam
            .list_service_specific_credentials()
            .all_users(true)
            .set_service_name(service.map(str::to_owned))
            .max_items(1000)
            .set_marker(pages.marker())
            .send();
        let page = client.call_for_details(call).await.map_err(|error| Refusal {
            code: error.code().map(str::to_owned),
            failure: errors::failure(Operation::ListServiceSpecificCredentials, &error),
        })?;
        all.extend(page.service_specific_credentials.unwrap_or_default());
        let has_more = pages.go_on(page.is_truncated, page.marker);
        if !has_more.map_err(|failure| Refusal { code: None, failure })? {
            return Ok(all);
        }
    }
}

impl Refusal {
    /// Whether AWS wants other parameters, such as the name of a service.
    fn is_about_parameters(&self) -> bool {
        let codes = ["ValidationError", "ValidationException", "InvalidInput", "MissingParameter"];
        codes.iter().any(|code| self.is(code)) || self.is(NOT_SUPPORTED)
    }

    fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

fn unreadable(what: &str) -> Failure {
    Failure::new(Reason::ServiceError, format!("ListServiceSpecificCredentials: {what}"))
}

/// The credential and its user. A status that is not known counts as active.
fn listed(
    credential: ServiceSpecificCredentialMetadata,
    interner: &mut Interner,
) -> Option<(String, ServiceCredential)> {
    let expires = match credential.expiration_date {
        Some(time) => Some(DateTime::from_timestamp(time.secs(), 0)?),
        None => None,
    };
    let credential_of_user = ServiceCredential {
        service: interner.share(&credential.service_name),
        id: credential.service_specific_credential_id,
        active: !matches!(credential.status, StatusType::Inactive | StatusType::Expired),
        created: DateTime::from_timestamp(credential.create_date.secs(), 0)?,
        expires,
    };
    Some((credential.user_name, credential_of_user))
}
