//! A random walk: random events in an organization, and after each one an oracle that knows the
//! truth compares it with the published state. `WALK_SECONDS` says for how long (60), `WALK_SEED`
//! with which seed it begins (1).

mod oracle;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use iam_key_exporter::clock::{Clock, MAX_CLOCK_SKEW};
use iam_key_exporter::config::Config;
use iam_key_exporter::findings::Overview;
use iam_key_exporter::metrics::exporter::ExporterMetrics;
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::policy::KeyStatus;
use iam_key_exporter::refresh::{self, Schedule};
use iam_key_exporter::source::Source;
use iam_key_exporter::source::aws::Aws;
use iam_key_exporter::source::aws::sdk::SdkConfig;
use iam_key_exporter::state::{Account, State, Tried};
use iam_key_exporter::store::Store;
use rand::RngExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::fake_aws::{FakeAws, sdk_config};
use crate::support::protocol::Request;
use crate::support::refresh::parse;
use crate::support::time::beginning;
use world::{GRAIN, KeyRef, LIMIT, SESSION, World};

const CONFIG: &str = "organization: { role_name: exporter }";
/// The number of steps of one seed's walk.
const STEPS: usize = 150;
/// How much later than an event the published state may be.
const MOMENT: TimeDelta = TimeDelta::seconds(5);
/// The largest age of a report.
const REPORT_AGE: TimeDelta = TimeDelta::hours(4);

#[tokio::test(start_paused = true)]
async fn in_all_events_no_account_that_is_called_healthy_is_wrong() {
    let variable = |name| env::var(name).map(|value| value.parse::<u64>().expect("a number"));
    let limit = Duration::from_secs(variable("WALK_SECONDS").unwrap_or(60));
    let mut seed = variable("WALK_SEED").unwrap_or(1);
    let started = Instant::now();
    // Continues until each part of the oracle had something to check, with a limit.
    let goes_on = |checked: &Checked| {
        let elapsed = started.elapsed();
        elapsed < limit || checked.lacks_something() && elapsed < 5 * limit
    };
    let mut checked = Checked::default();
    while goes_on(&checked) {
        Walk::new(seed).run(&mut checked, goes_on).await;
        seed += 1;
    }
    println!("{checked:?}, seeds to {seed}");
    assert!(!checked.lacks_something(), "{checked:?}");
}

/// How often each part of the oracle had something to check.
#[derive(Debug, Default, Clone, Copy)]
struct Checked {
    healthy: usize,
    failing: usize,
    shown: usize,
    cleared: usize,
    left: usize,
    skewed: usize,
}

impl Checked {
    fn lacks_something(&self) -> bool {
        let Checked { healthy, failing, shown, cleared, left, skewed } = *self;
        [healthy, failing, shown, cleared, left, skewed].contains(&0)
    }
}

struct Walk {
    seed: u64,
    world: Arc<Mutex<World>>,
    /// By how much the exporter's clock is wrong, and since when.
    skew: Arc<Mutex<(TimeDelta, DateTime<Utc>)>>,
    start: tokio::time::Instant,
    clock: Clock,
    config: Arc<Config>,
    metrics: ExporterMetrics,
    aws: SdkConfig,
}

impl Walk {
    fn new(seed: u64) -> Walk {
        let start = tokio::time::Instant::now();
        let truth = move || beginning() + start.elapsed();
        let world = Arc::new(Mutex::new(World::new(seed, truth())));
        let skew = Arc::new(Mutex::new((TimeDelta::zero(), truth())));
        let of_aws = world.clone();
        let aws = FakeAws::new(move |request: &Request| {
            of_aws.lock().expect("the world").answer(request, truth())
        });
        let metrics = ExporterMetrics::new(Filter::default(), []);
        let of_host = skew.clone();
        let host = move || truth() + of_host.lock().expect("a clock").0;
        let aws = aws.config_with_clock(sdk_config("http://in-memory"), Clock::new(host.clone()));
        let clock = Clock::new(host);
        let config = Arc::new(parse(CONFIG));
        Walk { seed, world, skew, start, clock, config, metrics, aws }
    }

    fn now(&self) -> DateTime<Utc> {
        beginning() + self.start.elapsed()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("the world")
    }

    async fn run(self, checked: &mut Checked, goes_on: impl Fn(&Checked) -> bool) {
        let (store, task) = self.start();
        let mut before = Seen { at: self.now(), ..Seen::default() };
        for _ in 0..STEPS {
            if !goes_on(checked) {
                break;
            }
            let pause = self.happen();
            before = self.wait(pause, &store, before, checked).await;
        }
        task.abort();
    }

    /// Starts the exporter.
    fn start(&self) -> (Arc<Store>, JoinHandle<()>) {
        let store = Arc::new(Store::default());
        // Nothing changes it: the receiver keeps this value.
        let config = watch::channel(self.config.clone()).1;
        let source = Source::Aws(Aws::with_config(
            &self.aws,
            self.clock.clone(),
            self.metrics.aws_requests.clone(),
            8,
        ));
        let schedule = Schedule::default();
        let task = refresh::run(source, schedule, self.clock.clone(), config, store.clone());
        (store, tokio::spawn(task))
    }

    /// Waits, and compares the published state with the truth once a minute. Returns the last one.
    async fn wait(
        &self,
        mut seconds: u64,
        store: &Store,
        mut before: Seen,
        checked: &mut Checked,
    ) -> Seen {
        while seconds > 0 {
            let slice = seconds.min(60);
            sleep(Duration::from_secs(slice)).await;
            seconds -= slice;
            before = self.look(&store.snapshot(), &before, checked);
        }
        before
    }

    /// Makes a random event. Returns the seconds until the next one.
    fn happen(&self) -> u64 {
        let mut world = self.world();
        world.step(self.now());
        let mut skew = self.skew.lock().expect("a clock");
        let is_wrong = skew.0 != TimeDelta::zero();
        if world.rng.random_bool(if is_wrong { 0.4 } else { 0.06 }) {
            let hours = if is_wrong { 0 } else { [-48, -2, 2, 48][world.rng.random_range(0..4)] };
            *skew = (TimeDelta::hours(hours), self.now());
            world.note(format!("the exporter's clock is {hours} hours ahead"));
        }
        match world.rng.random_range(0..24) {
            0 => world.rng.random_range(3600..5 * 3600),
            1..=4 => world.rng.random_range(600..3600),
            _ => world.rng.random_range(5..600),
        }
    }

    /// Compares the published state with the truth.
    fn look(&self, state: &State, before: &Seen, checked: &mut Checked) -> Seen {
        let (now, world) = (self.now(), self.world());
        let (skew, skewed_since) = *self.skew.lock().expect("a clock");
        let unrotated = Overview::new(state, &self.config, self.clock.now()).findings.into_iter();
        let unrotated = unrotated.filter(|finding| finding.status == KeyStatus::Unrotated);
        let seen = Seen {
            at: now,
            accounts: state.accounts.iter().map(|account| account.id.clone()).collect(),
            keys: unrotated
                .filter_map(|it| Some((it.account_id, it.user, grain(it.last_rotated?))))
                .collect(),
            ageless: ageless_keys(state),
        };
        let fault = if skew == TimeDelta::zero() && now - skewed_since > TimeDelta::minutes(20) {
            self.judge_accounts(state, &seen, &world, checked)
        } else {
            self.judge_skew(skew, skewed_since, &world, checked)
        };
        let fault = fault
            .and_then(|()| judge_discovery(state, &seen, &world))
            .and_then(|()| judge_losses(before, &seen, now, &world, checked));
        if let Err(fault) = fault {
            let last = world.diary.len().saturating_sub(60);
            let diary = world.diary[last..].join("\n");
            let states: Vec<String> = state.accounts.iter().map(|it| summary(it)).collect();
            let (seed, states) = (self.seed, states.join("\n"));
            panic!("seed {seed}: {fault}\n{diary}\nat {now}:\n{states}");
        }
        seen
    }

    fn judge_accounts(
        &self,
        state: &State,
        seen: &Seen,
        world: &World,
        checked: &mut Checked,
    ) -> Result<(), String> {
        let Schedule { interval, timeout, .. } = Schedule::default();
        for account in &state.accounts {
            let id = &account.id;
            let Some((start, end)) = healthy(account) else {
                checked.failing += 1;
                continue;
            };
            checked.healthy += 1;
            if seen.at - end > TimeDelta::from_std(interval + timeout).expect("short") + MOMENT {
                return Err(format!("{id} is healthy as of {end}"));
            }
            let truth = &world.accounts[id];
            if let Some((other, since)) = &truth.acts_as
                && *since < start - SESSION - MOMENT
            {
                return Err(format!("{id} is healthy, but its role leads to {other}"));
            }
            let of_account = |key: &&KeyRef| key.0 == *id;
            for key in seen.keys.iter().filter(of_account) {
                checked.shown += 1;
                match (world.active_since.contains_key(key), world.gone_since.get(key)) {
                    (false, None) => return Err(format!("there never was {key:?}")),
                    // One that has only become too old since then was not asked about yet.
                    (false, Some(gone)) if (*gone).max(key.2 + LIMIT) < start - MOMENT => {
                        return Err(format!("shown, but gone since {gone}: {key:?}"));
                    }
                    _ => {}
                }
            }
            let flagged = users_flagged_by_report(account, start);
            for (key, since) in world.active_since.iter().filter(|(key, _)| of_account(key)) {
                let old_since = (key.2 + LIMIT + MOMENT).max(*since);
                let is_asked_about = flagged.contains(key.1.as_str());
                let known_after = if is_asked_about { MOMENT } else { REPORT_AGE + MOMENT };
                if old_since < start - known_after && !seen.keys.contains(key) {
                    return Err(format!("not shown, though old since {old_since}: {key:?}"));
                }
            }
        }
        Ok(())
    }

    /// A wrong clock is on the page as soon as an answer of AWS has arrived.
    fn judge_skew(
        &self,
        skew: TimeDelta,
        since: DateTime<Utc>,
        world: &World,
        checked: &mut Checked,
    ) -> Result<(), String> {
        let moment = TimeDelta::seconds(1);
        let is_since = |(sent, arrived)| sent >= since + moment && arrived + moment <= self.now();
        if world.last_answer.is_some_and(is_since) {
            self.judge_shown_skew(skew)?;
            checked.skewed += usize::from(skew.abs() > MAX_CLOCK_SKEW);
        }
        // Nothing but a good answer says what the time is. From then on the exporter counts.
        let has_arrived = |(_, arrived): &(_, DateTime<Utc>)| *arrived + moment <= self.now();
        let Some((sent, _)) = world.last_good_answer.filter(has_arrived) else { return Ok(()) };
        let off = self.clock.now() - self.now();
        // Without answers, the later time counts.
        let has_answers = self.now() - sent < TimeDelta::minutes(59);
        if off < -MOMENT || has_answers && off > MOMENT {
            return Err(format!("keys are judged by a clock that is {off} ahead"));
        }
        Ok(())
    }

    fn judge_shown_skew(&self, skew: TimeDelta) -> Result<(), String> {
        let page = String::from_utf8(self.metrics.gather()).expect("UTF-8");
        let line =
            page.lines().find_map(|line| line.strip_prefix("iam_exporter_clock_skew_seconds "));
        let shown: i64 = line.and_then(|value| value.parse().ok()).ok_or("no clock skew")?;
        if (shown - skew.num_seconds()).abs() > 2 {
            return Err(format!("the clock is {skew} ahead and not {shown} seconds"));
        }
        Ok(())
    }
}

/// When the last refresh began and ended, if nothing says that it was not a whole one.
fn healthy(account: &Account) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let refresh = &account.refresh;
    let last = refresh.last.filter(|last| last.failure.is_none())?;
    let is_whole = refresh.confirmation != Tried::Failed && refresh.waiting.unwrap_or(0) == 0;
    let end = refresh.last_success.filter(|_| is_whole)?;
    Some((end - TimeDelta::from_std(last.duration).ok()?, end))
}

fn users_flagged_by_report(account: &Account, at: DateTime<Utc>) -> BTreeSet<&str> {
    let users = account.report.iter().flat_map(|report| &report.users);
    let flagged = users.filter(|user| {
        let mut active = user.keys.iter().flatten().filter(|key| key.active);
        active.any(|key| key.last_rotated.is_none_or(|rotated| rotated + LIMIT < at - MOMENT))
    });
    flagged.map(|user| user.name.as_str()).collect()
}

/// A list of accounts that cannot be had shows, and so does an account that joined.
fn judge_discovery(state: &State, seen: &Seen, world: &World) -> Result<(), String> {
    if state.discovery != Tried::Ok {
        return Ok(());
    }
    let long = TimeDelta::minutes(70);
    if let Some((fault, since)) = world.listing
        && seen.at - since > long
    {
        return Err(format!("the accounts are known, but listing them fails with {fault:?}"));
    }
    for (id, account) in &world.accounts {
        // A list that was begun before it joined may not have it.
        let is_due = account.member_since.is_some_and(|since| seen.at - since > long * 2);
        if is_due && !seen.accounts.contains(id) {
            return Err(format!("{id} is not found"));
        }
    }
    Ok(())
}

/// No key and no account goes away unless AWS said so.
fn judge_losses(
    before: &Seen,
    seen: &Seen,
    now: DateTime<Utc>,
    world: &World,
    checked: &mut Checked,
) -> Result<(), String> {
    // Every answer is published at the latest when the refresh is over.
    let timeout = TimeDelta::from_std(Schedule::default().timeout).expect("short");
    let earliest = before.at - timeout - MOMENT;
    for id in before.accounts.difference(&seen.accounts) {
        checked.left += 1;
        if world.said_left.get(id).is_none_or(|said| *said < earliest) {
            return Err(format!("{id} is gone without a word"));
        }
    }
    for key in before.keys.difference(&seen.keys) {
        let is_old = key.2 + LIMIT + MOMENT < now;
        if !is_old || !seen.accounts.contains(&key.0) {
            continue;
        }
        checked.cleared += 1;
        let is_said = world.said_gone.get(key).is_some_and(|said| *said >= earliest);
        if !is_said && !is_one_of_others(key, before, seen, world, earliest) {
            return Err(format!("cleared without a word: {key:?}"));
        }
    }
    Ok(())
}

/// Whether AWS said that the key can be one of those without a time, and others are shown as all of these: keys
/// that are not younger, or were of unknown age before, too.
fn is_one_of_others(
    key: &KeyRef,
    before: &Seen,
    seen: &Seen,
    world: &World,
    earliest: DateTime<Utc>,
) -> bool {
    let Some(said) = world.said_one_of.get(key).filter(|(_, at)| *at >= earliest) else {
        return false;
    };
    let (id, user, created) = key;
    let is_other = |other: &&KeyRef| {
        (&other.0, &other.1) == (id, user)
            && other.2 <= *created
            && world.said_one_of.get(*other) == Some(said)
    };
    let ageless = |at: &Seen| at.ageless.get(&(id.clone(), user.clone())).copied().unwrap_or(0);
    let ageless = ageless(seen).min(ageless(before));
    seen.keys.iter().filter(is_other).count() + ageless >= said.0
}

/// The state that was published at some moment.
#[derive(Default)]
struct Seen {
    at: DateTime<Utc>,
    accounts: BTreeSet<String>,
    /// The keys that were called unrotated.
    keys: BTreeSet<KeyRef>,
    /// How many keys of an account's user were called active, but without a time.
    ageless: BTreeMap<(String, String), usize>,
}

fn ageless_keys(state: &State) -> BTreeMap<(String, String), usize> {
    let mut ageless = BTreeMap::new();
    for (subject, keys) in state.accounts.iter().flat_map(|account| account.users()) {
        let keys = keys.iter().flatten();
        let count = keys.filter(|key| key.active && key.last_rotated.is_none()).count();
        ageless.insert((subject.account_id.to_owned(), subject.user.name.clone()), count);
    }
    ageless
}

/// The report's times can be a second off.
fn grain(time: DateTime<Utc>) -> DateTime<Utc> {
    time.duration_round(GRAIN).expect("a time")
}

fn summary(account: &Account) -> String {
    let Account { id, generated, refresh, .. } = account;
    format!("{id}: report of {generated:?}, {refresh:?}")
}
