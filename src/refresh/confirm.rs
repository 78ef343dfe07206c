//! Confirmation: the keys of the users whom the report flags, as they are now.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout_at};

use super::context::RefreshContext;
use super::progress::Progress;
use crate::confirmation::merge;
use crate::failure::{Failure, Reason};
use crate::policy::KeyStatus;
use crate::report::Key;
use crate::source::target::Target;
use crate::state::{Account, Tried};

/// A call that has no answer after this time, or after half of a refresh, has failed. One that was cut off
/// earlier has not.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// A refresh stops confirming after this number of failures in a row.
const MAX_FAILURES: usize = 3;

/// When calls are made, at this number a second.
pub(super) fn turns(rate: u32) -> Interval {
    let mut turns = interval(Duration::from_secs(1) / rate);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

impl RefreshContext<'_> {
    /// Asks for the keys of every flagged user, starting with the users checked longest ago. If
    /// time runs out, the next refresh continues, and that is not a failure. One failure may be
    /// about one user only, for example a permission for some paths, so it stops only after a few
    /// failures in a row, or after one if AWS throttles.
    ///
    /// Returns what AWS refused. Fails if the credentials are no longer those of the account: what is known
    /// of it for sure is in `verified`.
    pub(super) async fn confirm(
        &self,
        target: &Target,
        account: &mut Account,
        progress: &mut Progress<'_, impl Fn(&Account)>,
        until: Instant,
    ) -> Result<Option<Failure>, Failure> {
        let Some(rate) = self.config.confirm else {
            account.refresh.confirmation = Tried::NotYet;
            account.refresh.waiting = None;
            // Only the report counts again.
            account.confirmed = Arc::default();
            return Ok(None);
        };
        let mut turns = turns(rate);
        let (mut refusal, mut refusals) = (None, 0);
        let flagged = self.flagged(account);
        let mut waiting = flagged.len();
        if flagged.is_empty() {
            account.refresh.confirmation = Tried::NotYet;
        }
        for index in flagged {
            if self.source.calls_aws() && timeout_at(until, turns.tick()).await.is_err() {
                break;
            }
            // Borrowed again for each user, because each answer changes the account at once.
            let Some(user) = account.report.as_ref().and_then(|report| report.users.get(index))
            else {
                break;
            };
            let confirmed = Arc::make_mut(&mut account.confirmed);
            confirmed.ask(&user.name);
            let asked = Instant::now();
            let answer = timeout_at(until, self.source.keys(target, &user.name)).await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(_) if asked.elapsed() < ANSWERED_WITHIN.min(self.timeout / 2) => break,
                Err(_) => Err(Failure::new(
                    Reason::Timeout,
                    "ListAccessKeys: no answer before the time limit of the refresh",
                )),
            };
            match answer {
                Ok(listed) => {
                    waiting -= 1;
                    let keys = listed.map(|listed| merge(&user.keys, &listed, account.generated));
                    confirmed.insert(&user.name, keys);
                    account.refresh.confirmation = Tried::Ok;
                    account.refresh.confirmed = Some(self.clock.now());
                    refusals = 0;
                }
                Err(failure) => {
                    refusals += 1;
                    let is_last = failure.reason.is_overload() || refusals == MAX_FAILURES;
                    refusal = Some(failure);
                    if is_last {
                        break;
                    }
                }
            }
            if progress.is_due() {
                account.refresh.waiting = Some(waiting);
                progress.publish(account).await?;
            }
        }
        account.refresh.waiting = Some(waiting);
        if refusal.is_some() {
            account.refresh.confirmation = Tried::Failed;
        }
        Ok(refusal)
    }

    /// The indexes in the report of flagged users, those checked longest ago first, and exempt ones
    /// last. A user is flagged by a key that is unrotated or active without a time, in the report or
    /// the last answer, or by keys or times that the report does not have, of exempt users, too,
    /// because controls know no exemptions. Root is left out, because only root can list root's keys.
    pub(super) fn flagged(&self, account: &Account) -> Vec<usize> {
        let now = self.clock.now();
        let users = account.report.iter().flat_map(|report| &report.users).enumerate();
        let mut flagged: Vec<_> = users
            .filter(|(_, user)| !user.is_root())
            .filter(|(_, user)| {
                let ruling = self.config.policy.ruling(&account.subject(user), now);
                let is_flagged = |key: &Key| {
                    let status = ruling.judge(key, now).status;
                    matches!(status, KeyStatus::Unrotated | KeyStatus::NotJudged)
                };
                let lacks_some = user.has_more_credentials() || user.has_unclear_slot();
                let known = account.confirmed.keys(user).unwrap_or_default();
                lacks_some || user.keys.iter().chain(known).flatten().any(is_flagged)
            })
            .map(|(index, user)| {
                let ruling = self.config.policy.ruling(&account.subject(user), now);
                (ruling.exemption.is_some(), account.confirmed.asked(&user.name), index)
            })
            .collect();
        flagged.sort();
        flagged.into_iter().map(|(.., index)| index).collect()
    }
}
