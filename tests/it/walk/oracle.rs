//! The oracle itself: what a report says of each key, and that nothing else clears one.

use super::*;
use world::{Fault, Plan};

const ID: &str = "111111111111";

/// An old key that the report shows with its time.
const CLEAR: Plan = Plan { is_active: true, has_time: true };
const TIMELESS: Plan = Plan { has_time: false, ..CLEAR };
const INACTIVE: Plan = Plan { is_active: false, ..CLEAR };
/// The report cannot tell it from no key.
const INACTIVE_TIMELESS: Plan = Plan { is_active: false, has_time: false };

/// Its own slot decides, and not that of another key. One that no slot shows can be each of those without a time:
/// it may go only if others are shown in all of them that are not younger, or of unknown age.
#[test]
fn a_key_goes_only_if_the_report_says_so_in_its_own_slot_or_has_no_slot_for_it() {
    let now = beginning();
    for (keys, ageless, kept, is_right) in [
        ([TIMELESS, INACTIVE], [0, 0], [true, false], true),
        ([TIMELESS, INACTIVE], [0, 0], [false, true], false),
        ([TIMELESS, INACTIVE], [0, 0], [false, false], false),
        ([TIMELESS, INACTIVE], [1, 1], [false, false], true),
        ([TIMELESS, INACTIVE], [0, 1], [false, false], false),
        ([INACTIVE, TIMELESS], [0, 0], [false, true], true),
        ([TIMELESS, CLEAR], [0, 0], [true, false], false),
        ([CLEAR, TIMELESS], [0, 0], [true, false], false),
        ([CLEAR, INACTIVE_TIMELESS], [0, 0], [true, false], true),
        // One of them, and nobody knows which.
        ([TIMELESS, INACTIVE_TIMELESS], [0, 0], [true, false], true),
        ([INACTIVE_TIMELESS, TIMELESS], [0, 0], [true, false], true),
        ([TIMELESS, INACTIVE_TIMELESS], [0, 0], [false, true], false),
        ([TIMELESS, INACTIVE_TIMELESS], [0, 0], [false, false], false),
        ([TIMELESS, INACTIVE_TIMELESS], [1, 1], [false, false], true),
        ([TIMELESS, INACTIVE_TIMELESS], [0, 1], [false, false], false),
        ([TIMELESS, TIMELESS], [0, 0], [true, false], false),
        ([TIMELESS, TIMELESS], [1, 1], [true, false], true),
        ([TIMELESS, TIMELESS], [0, 1], [true, false], false),
    ] {
        let mut world = World::new(1, now);
        let active = keys.map(|key| Plan { is_active: true, ..key });
        let refs = world.plan(ID, &[("alpha", active)], now);
        let accounts = BTreeSet::from([ID.to_owned()]);
        let ageless = ageless.map(|count| [((ID.to_owned(), "alpha".to_owned()), count)].into());
        let [ageless_before, ageless] = ageless;
        let before = Seen {
            accounts: accounts.clone(),
            keys: refs.iter().cloned().collect(),
            at: now,
            ageless: ageless_before,
        };
        let refs = world.plan(ID, &[("alpha", keys)], now);
        world.give_report(ID);
        let keys_kept = refs.into_iter().zip(kept).filter_map(|(key, kept)| kept.then_some(key));
        let seen = Seen { accounts, keys: keys_kept.collect(), at: now, ageless };
        let verdict = judge_losses(&before, &seen, now, &world, &mut Checked::default());
        assert_eq!(verdict.is_ok(), is_right, "{keys:?}, {kept:?}: {verdict:?}");
    }
}

/// The exporter without permission to confirm, and a report after a key of each user was deactivated or deleted.
#[tokio::test(start_paused = true)]
async fn a_report_clears_keys_as_it_says_while_nothing_can_be_confirmed() {
    let walk = Walk::new(1);
    let users = [("alpha", [TIMELESS, CLEAR]), ("beta", [TIMELESS, TIMELESS])];
    let keys = walk.world().plan(ID, &users, walk.now());
    let [alpha_old, alpha_new, beta_old, beta_new] = &keys[..] else { panic!("{keys:?}") };
    let (store, task) = walk.start();
    let mut checked = Checked::default();
    let before = Seen { at: walk.now(), ..Seen::default() };
    let seen = walk.wait(3 * 3600, &store, before, &mut checked).await;
    let shown = |seen: &Seen| -> Vec<KeyRef> {
        seen.keys.iter().filter(|key| key.0 == ID).cloned().collect()
    };
    assert_eq!(shown(&seen), keys, "confirmed");

    let fault = ("ListAccessKeys", Fault::Denied);
    walk.world().accounts.get_mut(ID).expect("an account").faults.extend([fault]);
    let users = [("alpha", [TIMELESS, INACTIVE]), ("beta", [INACTIVE_TIMELESS, TIMELESS])];
    walk.world().plan(ID, &users, walk.now());
    let seen = walk.wait(2 * 3600, &store, seen, &mut checked).await;
    assert_eq!(shown(&seen), [alpha_old.clone(), beta_old.clone()], "the older one of beta's");
    assert!(!seen.keys.contains(alpha_new));

    walk.world().accounts.get_mut(ID).expect("an account").faults.clear();
    let seen = walk.wait(600, &store, seen, &mut checked).await;
    assert_eq!(shown(&seen), [alpha_old.clone(), beta_new.clone()]);
    task.abort();
}
