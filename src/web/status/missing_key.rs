//! Why a key that somebody asks for may exist although it is not found.

use super::choices::KeyKind;
use super::components::counted;
use super::ids;
use super::query::Query;
use crate::findings::Finding;
use crate::state::{Account, Tried};

/// Why it is not known whether one of the user's keys has the id of the query. `None`: it is known, or the
/// query has no id.
pub(super) fn unknown_id(
    account: &Account,
    of_user: &[&Finding],
    query: &Query,
) -> Option<&'static str> {
    let Query { key, id, .. } = query;
    let can_be = |finding: &&Finding| {
        let is_of_slot = key.is_none_or(|slot| finding.key == Some(slot));
        is_of_slot && finding.service.is_none() && finding.access_key_id.is_none()
    };
    if id.is_empty() {
        None
    } else if ids::can_be_of(id, KeyKind::AccessKey) && of_user.iter().any(can_be) {
        Some("the ids of some of the user's access keys are not known")
    } else if ids::can_be_of(id, KeyKind::ServiceCredential)
        && account.service_credentials.is_none()
    {
        Some("service-specific credentials, such as API keys, are not known there")
    } else {
        None
    }
}

/// That the list in which the key would be may be out of date. Empty if it is not.
pub(super) fn old_list(account: &Account, query: &Query) -> &'static str {
    if query.id.is_empty() || account.refresh.service_credentials != Tried::Failed {
        return "";
    }
    " Or it is new: the list of service-specific credentials could not be read again."
}

/// That the user may be in a row of the report that was not readable. Empty if all were.
pub(super) fn unreadable_rows(account: &Account) -> String {
    match account.report.as_ref().map_or(0, |report| report.rejected.len()) {
        0 => String::new(),
        count => format!(
            " Or the user is in a part of that report that could not be read: {}.",
            counted(count, "row")
        ),
    }
}
