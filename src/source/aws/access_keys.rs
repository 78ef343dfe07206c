//! A user's access keys as they are now.

use aws_sdk_iam::operation::list_access_keys::ListAccessKeysError;
use aws_sdk_iam::types::{AccessKeyMetadata, StatusType};
use chrono::DateTime;

use super::clients::AccountClient;
use super::errors;
use super::sdk::Operation;
use crate::confirmation::{ListedKey, MAX_KEYS};
use crate::failure::{Failure, Reason};

/// The user's keys by `ListAccessKeys`. `None` if there is no such user.
///
/// One page is enough: it has up to 100 keys, and a user has two, or a few more by an agreement with AWS.
pub async fn keys(client: &AccountClient, user: &str) -> Result<Option<Vec<ListedKey>>, Failure> {
    let call = client.iam.list_access_keys().user_name(user).send();
    match client.call_for_details(call).await {
        Ok(output) if output.is_truncated || output.access_key_metadata.len() > MAX_KEYS => {
            let message = format!("ListAccessKeys: a user with more than {MAX_KEYS} keys");
            Err(Failure::new(Reason::ServiceError, message))
        }
        Ok(output) if output.access_key_metadata.iter().any(|key| is_of_other(key, user)) => {
            let message = "ListAccessKeys: the answer has keys of another user";
            Err(Failure::new(Reason::ServiceError, message))
        }
        Ok(output) => {
            let keys: Option<Vec<ListedKey>> =
                output.access_key_metadata.into_iter().map(listed).collect();
            // A key must not vanish because it could not be read.
            keys.map(Some).ok_or_else(|| {
                let message = "ListAccessKeys: a key without its id, status or date";
                Failure::new(Reason::ServiceError, message)
            })
        }
        Err(error) => match error.as_service_error() {
            Some(ListAccessKeysError::NoSuchEntityException(_)) => Ok(None),
            _ => Err(errors::failure(Operation::ListAccessKeys, &error)),
        },
    }
}

/// As from a cache that takes every call for the same one.
fn is_of_other(key: &AccessKeyMetadata, user: &str) -> bool {
    key.user_name.as_deref().is_some_and(|name| name != user)
}

/// A status that is not known counts as active.
fn listed(key: AccessKeyMetadata) -> Option<ListedKey> {
    Some(ListedKey {
        id: key.access_key_id?,
        active: !matches!(key.status?, StatusType::Inactive | StatusType::Expired),
        created: DateTime::from_timestamp(key.create_date?.secs(), 0)?,
    })
}
