//! The service-specific credentials of all users of an account.

use std::collections::BTreeSet;

use aws_sdk_iam::error::ProvideErrorMetadata;
use aws_sdk_iam::operation::list_service_specific_credentials::ListServiceSpecificCredentialsOutput;
use aws_sdk_iam::types::{ServiceSpecificCredentialMetadata, StatusType};
use chrono::DateTime;

use super::clients::AccountClient;
use super::errors;
use super::pages::read_pages;
use super::sdk::Operation;
use crate::failure::{Failure, Reason};
use crate::report::intern::Interner;
use crate::service_credentials::{CredentialList, ServiceCredential, ServiceCredentials};

/// The services that have such credentials. Those of known credentials are asked for, too.
const SERVICES: [&str; 4] = [
    "bedrock.amazonaws.com",
    "cassandra.amazonaws.com",
    "codecommit.amazonaws.com",
    "logs.amazonaws.com",
];

/// AWS's code for a service that has no such credentials in this partition.
const NOT_SUPPORTED: &str = "NotSupportedService";

/// AWS's codes for a call that does not exist in this partition.
const NO_SUCH_CALL: [&str; 3] = ["InvalidAction", "UnknownOperation", "UnknownOperationException"];

/// AWS's codes if it wants other parameters, such as the name of a service.
const OTHER_PARAMETERS: [&str; 5] =
    ["ValidationError", "ValidationException", "InvalidInput", "MissingParameter", NOT_SUPPORTED];

/// A list that was not given or not to its end.
struct Refusal {
    /// AWS's code for why the list has no first page.
    code: Option<String>,
    failure: Failure,
}

/// Those of all users by `ListServiceSpecificCredentials`, in pages of up to 1000. If AWS does not list
/// them for all services at once, those of one service after the other. `None` if the partition does not have
/// the call: without it nobody can have such a credential. `known` are those from before.
pub async fn service_credentials(
    client: &AccountClient,
    known: &ServiceCredentials,
) -> Result<Option<CredentialList>, Failure> {
    match list(client, None).await {
        Ok(listed) => {
            let credentials = listed.into_iter().collect();
            Ok(Some(CredentialList { credentials, refused: Vec::new() }))
        }
        Err(refusal) if refusal.is_one_of(&NO_SUCH_CALL) => Ok(None),
        Err(refusal) if refusal.is_one_of(&OTHER_PARAMETERS) => {
            list_by_service(client, known).await
        }
        Err(refusal) => Err(refusal.failure),
    }
}

/// Fails if AWS refuses a service and lists none. `None` if the partition has none of them. Of a service that AWS
/// does not list, the known credentials stay, and count as refused: a call for their users would say nothing of one
/// who has another name by now.
async fn list_by_service(
    client: &AccountClient,
    known: &ServiceCredentials,
) -> Result<Option<CredentialList>, Failure> {
    let of_known: BTreeSet<&str> = known.all().map(|(_, it)| &*it.service).collect();
    let services: BTreeSet<&str> = of_known.iter().copied().chain(SERVICES).collect();
    let (mut credentials, mut refused, mut listed) = (Vec::new(), Vec::new(), BTreeSet::new());
    for service in services {
        match list(client, Some(service)).await {
            Ok(of_service) => {
                credentials.extend(of_service);
                listed.insert(service);
            }
            // Nobody can have a new credential for a service that is not supported.
            Err(refusal) if refusal.is_one_of(&[NOT_SUPPORTED]) && !of_known.contains(service) => {}
            Err(refusal) => refused.push(refusal.failure),
        }
    }
    if listed.is_empty() {
        return refused.pop().map_or(Ok(None), Err);
    }
    let kept = known.all().filter(|(_, credential)| !listed.contains(&*credential.service));
    let kept = kept.map(|(user, credential)| (user.to_owned(), credential.clone()));
    let credentials = credentials.into_iter().chain(kept).collect();
    Ok(Some(CredentialList { credentials, refused }))
}

/// Every page of the list, of one service or of all.
async fn list(
    client: &AccountClient,
    service: Option<&str>,
) -> Result<Vec<(String, ServiceCredential)>, Refusal> {
    let operation = Operation::ListServiceSpecificCredentials;
    let mut interner = Interner::default();
    let mut all = Vec::new();
    let ask = |marker: Option<String>| {
        // What has a first page can be listed: a later refusal says nothing of the call and its parameters.
        let is_first = marker.is_none();
        let call = client.iam.list_service_specific_credentials().max_items(1000);
        let call = call.all_users(true).set_service_name(service.map(str::to_owned));
        let call = client.call_for_details(call.set_marker(marker).send());
        async move {
            call.await.map_err(|error| Refusal {
                code: error.code().filter(|_| is_first).map(str::to_owned),
                failure: errors::failure(operation, &error),
            })
        }
    };
    let take = |page: ListServiceSpecificCredentialsOutput| {
        for credential in page.service_specific_credentials.unwrap_or_default() {
            // A key must not vanish because it could not be read.
            let credential = listed(credential, &mut interner).ok_or_else(|| {
                let name = operation.as_str();
                let message = format!("{name}: a time that is out of range");
                Failure::new(Reason::ServiceError, message)
            })?;
            all.push(credential);
        }
        Ok((page.is_truncated, page.marker))
    };
    read_pages(operation, ask, take).await?;
    Ok(all)
}

impl Refusal {
    fn is_one_of(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal { code: None, failure }
    }
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
        listed_with: None,
    };
    Some((credential.user_name, credential_of_user))
}
