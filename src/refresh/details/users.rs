//! The users of an account as AWS lists them: with their tags, and whether they have policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::{Answer, take, tolerate};
use crate::evidence::EvidenceKind;
use crate::failure::{Failure, Reason};
use crate::refresh::confirm::turns;
use crate::refresh::context::RefreshContext;
use crate::source::target::Target;
use crate::state::{Account, Tags, Tried};

/// The users with their tags and policies.
#[derive(Debug)]
pub(in crate::refresh) struct Users {
    tags: Tags,
    policies: BTreeMap<String, bool>,
    /// Users of the report who are gone.
    gone: Vec<String>,
    /// Why the list lacks other users of the report.
    lack: Option<Failure>,
}

/// Calls a second about users who are not in the list of users, without a rate in the configuration.
const UNLISTED_RATE: u32 = 5;

impl RefreshContext<'_> {
    /// Whether the users are asked for: for the tags that the configuration needs, or because it asks for
    /// their policies.
    pub(super) fn users_are_due(&self, account: &Account, is_new: bool) -> bool {
        let keys = self.config.tag_keys();
        let needs_tags = !keys.is_empty();
        let needs_policies = self.config.reads(EvidenceKind::UserPolicies);
        let has_keys = account.tags.as_ref().is_some_and(|tags| tags.keys == keys);
        let knows_tags = has_keys && account.knows_tags(&keys);
        needs_tags && (is_new || !knows_tags || account.refresh.tags != Tried::Ok)
            || needs_policies && (is_new || account.evidence.user_policies.is_due(self.clock.now()))
    }

    /// The users with their tags and policies. A user of the report who is not in the list has unknown tags,
    /// not none, unless the user is gone.
    pub(super) async fn users(
        &self,
        target: &Target,
        account: &Account,
        is_new: bool,
        until: Instant,
    ) -> Result<Users, Failure> {
        let keys = self.config.tag_keys();
        let (mut tags, policies) = self.source.users(target, &keys).await?;
        let before = account.tags.as_ref().filter(|before| before.keys == keys);
        // Whoever is in a new report may be there again.
        if let Some(before) = before.filter(|_| !is_new) {
            let gone = before.gone.iter().filter(|user| !policies.contains_key(*user));
            tags.gone = gone.cloned().collect();
        }
        let reported = account.report.iter().flat_map(|report| &report.users);
        let mut unlisted: Vec<&str> = reported
            .filter(|user| !keys.is_empty() && !user.is_root())
            .filter(|user| !policies.contains_key(&user.name))
            .filter(|user| account.confirmed.keys(user).is_some())
            .map(|user| user.name.as_str())
            .collect();
        for user in &unlisted {
            if let Some(known) = before.and_then(|before| before.by_user.get(*user)) {
                tags.by_user.insert((*user).to_owned(), known.clone());
            }
        }
        unlisted.retain(|user| !tags.gone.contains(*user));
        let (gone, lack) = self.ask_about(target, &unlisted, until).await;
        Ok(Users { tags, policies, gone, lack })
    }

    /// Which of these users are gone, and why the others may still exist. Asks about one after the other,
    /// until one of them exists or until then. The next refresh goes on with the others.
    async fn ask_about(
        &self,
        target: &Target,
        users: &[&str],
        until: Instant,
    ) -> (Vec<String>, Option<Failure>) {
        let mut gone = Vec::new();
        let mut turns = turns(self.config.confirm.unwrap_or(UNLISTED_RATE));
        for user in users {
            if self.source.calls_aws() && timeout_at(until, turns.tick()).await.is_err() {
                break;
            }
            match timeout_at(until, self.source.keys(target, user)).await {
                Ok(Ok(None)) => gone.push((*user).to_owned()),
                Ok(Ok(Some(_))) | Err(_) => break,
                Ok(Err(failure)) => return (gone, Some(failure)),
            }
        }
        let lack = (gone.len() < users.len()).then(|| {
            let message =
                "GetAccountAuthorizationDetails: the list lacks users who are in the report";
            Failure::new(Reason::ServiceError, message)
        });
        (gone, lack)
    }

    /// Updates the account from the list of users. Without tags, policies are read only if the
    /// configuration asks for them, and then a missing permission is no failure.
    pub(in crate::refresh) fn take_users(
        &self,
        account: &mut Account,
        answer: Answer<Users>,
    ) -> Result<(), Failure> {
        let needs_tags = !self.config.tag_keys().is_empty();
        if !needs_tags {
            account.tags = None;
            account.refresh.tags = Tried::NotYet;
        }
        let mut lack = None;
        let policies = match answer {
            None => None,
            Some(Err(failure)) => Some(Err(failure)),
            Some(Ok(users)) => {
                let mut tags = users.tags;
                for user in users.gone {
                    match self.config.confirm {
                        Some(_) => Arc::make_mut(&mut account.confirmed).insert(&user, None),
                        // Only the report says who is there. Of who is gone no more tags are needed.
                        None => drop(tags.gone.insert(user)),
                    }
                }
                if needs_tags {
                    account.tags = Some(Arc::new(tags));
                    account.refresh.tags = Tried::Ok;
                }
                lack = users.lack;
                Some(Ok(Arc::new(users.policies)))
            }
        };
        let is_wanted = needs_tags || self.config.reads(EvidenceKind::UserPolicies);
        let reading = &mut account.evidence.user_policies;
        let failure = take(reading, is_wanted, policies, self.clock.now());
        match failure.or(lack) {
            None => Ok(()),
            Some(failure) if needs_tags => {
                account.refresh.tags = Tried::Failed;
                Err(failure)
            }
            Some(failure) => tolerate(account, failure),
        }
    }
}
