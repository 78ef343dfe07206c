//! Data that the report lacks: the users' tags, and the account's alias.

use std::collections::BTreeSet;

use aws_sdk_iam::types::{EntityType, UserDetail};

use super::clients::AccountClient;
use super::errors;
use super::sdk::Operation;
use crate::failure::Failure;
use crate::policy::Tag;
use crate::report::intern::Interner;
use crate::state::Tags;

/// The users' tags that have one of these keys, which are in lower case, by
/// `GetAccountAuthorizationDetails` in pages of 1000.
pub async fn tags(client: &AccountClient, keys: &BTreeSet<String>) -> Result<Tags, Failure> {
    let mut tags = Tags { keys: keys.clone(), ..Tags::default() };
    let mut interner = Interner::default();
    let mut pages = client
        .iam
        .get_account_authorization_details()
        .filter(EntityType::User)
        .max_items(1000)
        .into_paginator()
        .send();
    while let Some(page) = client.call_for_details(pages.next()).await {
        let page = page
            .map_err(|error| errors::failure(Operation::GetAccountAuthorizationDetails, &error))?;
        for user in page.user_detail_list.unwrap_or_default() {
            let UserDetail { user_name: Some(name), tags: Some(all), .. } = user else { continue };
            let wanted: Vec<Tag> = all
                .into_iter()
                .filter(|tag| keys.contains(&tag.key.to_ascii_lowercase()))
                .map(|tag| (interner.share(&tag.key), interner.share(&tag.value)))
                .collect();
            if !wanted.is_empty() {
                tags.by_user.insert(name, wanted);
            }
        }
    }
    Ok(tags)
}

/// The account's alias, by `ListAccountAliases`: an account has one or none.
pub async fn alias(client: &AccountClient) -> Result<Option<String>, Failure> {
    match client.call_for_details(client.iam.list_account_aliases().send()).await {
        Ok(output) => Ok(output.account_aliases.into_iter().next()),
        Err(error) => Err(errors::failure(Operation::ListAccountAliases, &error)),
    }
}
