//! What the report does not have: the users' tags.

use std::collections::BTreeSet;

use aws_sdk_iam::types::{EntityType, UserDetail};

use super::{Clients, errors};
use crate::source::Failure;
use crate::state::Tags;

/// The users' tags that have one of these keys, which are in lower case, by
/// `GetAccountAuthorizationDetails` in pages of 1000.
pub async fn tags(clients: &Clients, keys: &BTreeSet<String>) -> Result<Tags, Failure> {
    let mut tags = Tags { keys: keys.clone(), ..Tags::default() };
    let mut pages = clients
        .iam
        .get_account_authorization_details()
        .filter(EntityType::User)
        .max_items(1000)
        .into_paginator()
        .send();
    loop {
        let slot = clients.slot().await;
        let Some(page) = pages.next().await else { return Ok(tags) };
        drop(slot);
        let page =
            page.map_err(|error| errors::failure("GetAccountAuthorizationDetails", &error))?;
        for user in page.user_detail_list.unwrap_or_default() {
            let UserDetail { user_name: Some(name), tags: Some(all), .. } = user else { continue };
            let wanted: Vec<(String, String)> = all
                .into_iter()
                .filter(|tag| keys.contains(&tag.key.to_ascii_lowercase()))
                .map(|tag| (tag.key, tag.value))
                .collect();
            if !wanted.is_empty() {
                tags.by_user.insert(name, wanted);
            }
        }
    }
}
