//! Data outside the report: the users' tags and policies, the account's alias, and the data for controls of
//! the CIS benchmark.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_iam::operation::get_account_authorization_details::GetAccountAuthorizationDetailsOutput;
use aws_sdk_iam::operation::get_account_password_policy::GetAccountPasswordPolicyError;
use aws_sdk_iam::operation::list_virtual_mfa_devices::ListVirtualMfaDevicesOutput;
use aws_sdk_iam::types::{AssignmentStatusType, EntityType, SummaryKeyType, UserDetail};

use super::clients::AccountClient;
use super::errors;
use super::pages::read_pages;
use super::sdk::Operation;
use crate::evidence::{AccountSummary, PasswordPolicy};
use crate::failure::{Failure, Reason};
use crate::policy::Tag;
use crate::report::intern::Interner;
use crate::state::Tags;

/// The users' tags that have one of these keys, which are in lower case, and whether each user has inline
/// or attached policies. By `GetAccountAuthorizationDetails` in pages of 1000.
pub async fn users(
    client: &AccountClient,
    keys: &BTreeSet<String>,
) -> Result<(Tags, BTreeMap<String, bool>), Failure> {
    let mut policies = BTreeMap::new();
    let mut tags = Tags { keys: keys.clone(), ..Tags::default() };
    let mut interner = Interner::default();
    let operation = Operation::GetAccountAuthorizationDetails;
    let ask = |marker| {
        let call = client.iam.get_account_authorization_details();
        let call = call.filter(EntityType::User).max_items(1000).set_marker(marker).send();
        client.ask_for_details(operation, call)
    };
    let take = |page: GetAccountAuthorizationDetailsOutput| {
        for user in page.user_detail_list.unwrap_or_default() {
            let has_policies = !(user.user_policy_list().is_empty()
                && user.attached_managed_policies().is_empty());
            let UserDetail { user_name: Some(name), tags: all, .. } = user else { continue };
            policies.insert(name.clone(), has_policies);
            let wanted = all
                .into_iter()
                .flatten()
                .filter(|tag| keys.contains(&tag.key.to_ascii_lowercase()))
                .map(|tag| (interner.share(&tag.key), interner.share(&tag.value)));
            tags.by_user.insert(name, wanted.collect::<Vec<Tag>>());
        }
        Ok((page.is_truncated, page.marker))
    };
    read_pages(operation, ask, take).await?;
    Ok((tags, policies))
}

/// The answer of `GetAccountSummary` about the root user.
pub async fn summary(client: &AccountClient) -> Result<AccountSummary, Failure> {
    let call = client.iam.get_account_summary().send();
    let output = client.ask_for_details(Operation::GetAccountSummary, call).await?;
    let numbers: HashMap<SummaryKeyType, i32> = output.summary_map.unwrap_or_default();
    let is_there = |key| numbers.get(&key).map(|number| *number > 0);
    Ok(AccountSummary {
        root_password: is_there(SummaryKeyType::AccountPasswordPresent),
        root_mfa: is_there(SummaryKeyType::AccountMfaEnabled),
        root_keys: is_there(SummaryKeyType::AccountAccessKeysPresent),
    })
}

/// The account's password policy by `GetAccountPasswordPolicy`. `None` if it has none.
pub async fn password_policy(client: &AccountClient) -> Result<Option<PasswordPolicy>, Failure> {
    let call = client.iam.get_account_password_policy().send();
    match client.call_for_details(call).await {
        Ok(output) => {
            let policy = output.password_policy.ok_or_else(|| {
                let message = "GetAccountPasswordPolicy: an answer without a policy";
                Failure::new(Reason::ServiceError, message)
            })?;
            Ok(Some(PasswordPolicy {
                min_length: policy.minimum_password_length,
                requires_uppercase: policy.require_uppercase_characters,
                requires_lowercase: policy.require_lowercase_characters,
                requires_symbol: policy.require_symbols,
                requires_number: policy.require_numbers,
                max_age_days: policy.max_password_age,
                remembered: policy.password_reuse_prevention,
            }))
        }
        Err(error) => match error.as_service_error() {
            Some(GetAccountPasswordPolicyError::NoSuchEntityException(_)) => Ok(None),
            _ => Err(errors::failure(Operation::GetAccountPasswordPolicy, &error)),
        },
    }
}

/// Whether the root user has a virtual MFA device, by `ListVirtualMFADevices`. Fails if an assigned device
/// does not say whose it is.
///
/// The ARN of its user decides. A device of root can have any name, and one of another user can be called
/// as AWS once called that of root.
pub async fn root_virtual_mfa(client: &AccountClient) -> Result<bool, Failure> {
    let mut found = false;
    let operation = Operation::ListVirtualMfaDevices;
    let ask = |marker| {
        let call = client.iam.list_virtual_mfa_devices();
        let call = call.assignment_status(AssignmentStatusType::Assigned).max_items(1000);
        client.ask_for_details(operation, call.set_marker(marker).send())
    };
    let take = |page: ListVirtualMfaDevicesOutput| {
        for device in page.virtual_mfa_devices {
            match device.user.map(|user| user.arn).filter(|arn| !arn.is_empty()) {
                Some(arn) => found |= arn.ends_with(":root"),
                None => {
                    let message = "ListVirtualMFADevices: an assigned device without its user";
                    return Err(Failure::new(Reason::ServiceError, message));
                }
            }
        }
        Ok((page.is_truncated, page.marker))
    };
    read_pages(operation, ask, take).await?;
    Ok(found)
}

/// The account's alias, by `ListAccountAliases`: an account has one or none.
pub async fn alias(client: &AccountClient) -> Result<Option<String>, Failure> {
    let call = client.iam.list_account_aliases().send();
    let output = client.ask_for_details(Operation::ListAccountAliases, call).await?;
    Ok(output.account_aliases.into_iter().next())
}
