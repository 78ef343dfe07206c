//! An organization in which anything can happen: users, keys and permissions change, credentials turn
//! out to be another account's, and AWS throttles, hangs, and sends garbage or nothing. It remembers
//! past facts with their times, and everything that it has told the exporter.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::mem;
use std::time::Duration;

use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{RngExt, SeedableRng};

use crate::support::answers::{
    accounts, credentials, error, generating, identity, keys, report_at,
};
use crate::support::protocol::{Answer, Request};
use crate::support::report::{report, row};
use crate::support::time::beginning;

/// One account is that of the default credentials. A role gives access to each of the others.
pub const ACCOUNTS: usize = 4;
/// A key of this age is unrotated: older than 90 days, in hundredths of a day.
pub const LIMIT: TimeDelta = TimeDelta::seconds(90 * 86_400 + 864);
/// How long the credentials of a role can be used.
pub const SESSION: TimeDelta = TimeDelta::minutes(20);
/// How long AWS returns the same report.
const REPORT_LIFETIME: TimeDelta = TimeDelta::hours(4);
/// Times of keys are multiples of this, so that the second by which a report can differ from
/// `ListAccessKeys` does not make two keys of one.
pub const GRAIN: TimeDelta = TimeDelta::seconds(10);

/// One key for good: its account, its user, and when it was created.
pub type KeyRef = (String, String, DateTime<Utc>);

pub struct World {
    pub rng: StdRng,
    pub now: DateTime<Utc>,
    pub accounts: BTreeMap<String, Account>,
    /// Since when each active key is active, and whose it is.
    pub active_since: BTreeMap<KeyRef, DateTime<Utc>>,
    /// Since when each key of before is inactive, deleted, or under another user's name.
    pub gone_since: BTreeMap<KeyRef, DateTime<Utc>>,
    /// When AWS last said that a key is not there or not active.
    pub said_gone: BTreeMap<KeyRef, DateTime<Utc>>,
    /// When AWS last gave a report with this number of keys without a time that may be active: this key
    /// and others can be one of them.
    pub said_one_of: BTreeMap<KeyRef, (usize, DateTime<Utc>)>,
    /// When AWS last gave a whole list of accounts without this one.
    pub said_left: BTreeMap<String, DateTime<Utc>>,
    /// The fault of the list of accounts, and since when.
    pub listing: Option<(Fault, DateTime<Utc>)>,
    /// When AWS last answered, with the time that it has, and when the answer arrived.
    pub last_answer: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The same of the last one that was no error and could be read.
    pub last_good_answer: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The accounts of the pages that were given since the first one.
    given: BTreeSet<String>,
    keys_so_far: usize,
    /// All events, newest last.
    pub diary: Vec<String>,
}

#[derive(Default)]
pub struct Account {
    /// Since when it is one of the organization's. `None`: it is not.
    pub member_since: Option<DateTime<Utc>>,
    users: BTreeMap<String, Vec<Key>>,
    /// The fault of each operation.
    pub faults: BTreeMap<&'static str, Fault>,
    /// Its role leads to this account, and since when.
    pub acts_as: Option<(String, DateTime<Utc>)>,
    /// When the exporter asked for the report, when it is ready, and its content.
    report: Option<(DateTime<Utc>, DateTime<Utc>, String)>,
}

#[derive(Debug, Clone)]
struct Key {
    id: String,
    created: DateTime<Utc>,
    is_active: bool,
    /// The report's error in the time of creation: a second more or less, or no time at all.
    reported: Option<i64>,
    /// Whether the first key's status cannot be read in the report.
    is_garbled: bool,
    /// Whether the report says nothing of the key.
    is_silent: bool,
}

/// An old key.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub is_active: bool,
    /// Whether the report has its time.
    pub has_time: bool,
}

/// What AWS says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// It may be active, or nothing is said of it.
    NotGone,
    /// It is not there, or not active.
    Gone,
    /// The report has this number of keys without a time that may be active, and it can be one of them.
    OneOf(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Denied,
    BadCredentials,
    Throttled,
    Broken,
    Hangs,
    Drops,
    Garbage,
    Empty,
}

const FAULTS: [Fault; 8] = [
    Fault::Denied,
    Fault::BadCredentials,
    Fault::Throttled,
    Fault::Broken,
    Fault::Hangs,
    Fault::Drops,
    Fault::Garbage,
    Fault::Empty,
];

const OPERATIONS: [&str; 5] = [
    "AssumeRole",
    "GetCallerIdentity",
    "GetCredentialReport",
    "GenerateCredentialReport",
    "ListAccessKeys",
];

impl World {
    pub fn new(seed: u64, now: DateTime<Utc>) -> World {
        let mut world = World {
            rng: StdRng::seed_from_u64(seed),
            now,
            accounts: BTreeMap::new(),
            active_since: BTreeMap::new(),
            gone_since: BTreeMap::new(),
            said_gone: BTreeMap::new(),
            said_one_of: BTreeMap::new(),
            said_left: BTreeMap::new(),
            listing: None,
            last_answer: None,
            last_good_answer: None,
            given: BTreeSet::new(),
            keys_so_far: 0,
            diary: Vec::new(),
        };
        for index in 0..ACCOUNTS {
            let id = format!("{:012}", 111_111_111_111 * (index as u64 + 1));
            world
                .accounts
                .insert(id.clone(), Account { member_since: Some(now), ..Account::default() });
            for _ in 0..4 {
                world.create_user(&id);
            }
        }
        world
    }

    /// The account of the default credentials.
    fn own(&self) -> String {
        self.accounts.keys().next().expect("an account").clone()
    }

    /// The account has only these users from now on. All keys are old, and the first of each user is the
    /// oldest. Returns them.
    pub fn plan(
        &mut self,
        id: &str,
        users: &[(&str, [Plan; 2])],
        now: DateTime<Utc>,
    ) -> Vec<KeyRef> {
        self.now = now;
        let key = |(Plan { is_active, has_time }, days)| {
            let created = beginning() - TimeDelta::days(days);
            let (id, reported) = (format!("AKIA{days:012}"), has_time.then_some(0));
            Key { id, created, is_active, reported, is_garbled: false, is_silent: false }
        };
        let keys = |plans: &[Plan; 2]| plans.iter().copied().zip([100, 95]).map(key).collect();
        let users = users.iter().map(|(user, plans)| ((*user).to_owned(), keys(plans)));
        let users: BTreeMap<String, Vec<Key>> = users.collect();
        let refs = users.iter().flat_map(|(user, keys)| {
            keys.iter().map(|key| (id.to_owned(), user.clone(), key.created))
        });
        let refs = refs.collect();
        let names: Vec<String> = users.keys().cloned().collect();
        let account = self.accounts.get_mut(id).expect("an account");
        let before = mem::replace(&mut account.users, users);
        for user in before.into_keys().chain(names) {
            self.settle(id, &user);
        }
        refs
    }

    /// Makes the account's report of now and gives it.
    pub fn give_report(&mut self, id: &str) {
        self.generate(id);
        self.now += TimeDelta::minutes(1);
        self.account_answer("GetCredentialReport", id, "");
    }

    /// Makes a random event.
    pub fn step(&mut self, now: DateTime<Utc>) {
        self.now = now;
        for _ in 0..self.rng.random_range(1..=3) {
            self.happen();
        }
        self.heal();
    }

    fn happen(&mut self) {
        let Some(id) = self.accounts.keys().cloned().choose(&mut self.rng) else { return };
        match self.rng.random_range(0..20) {
            0 => self.create_user(&id),
            1..=9 => self.change_user(&id),
            10..=15 => self.break_something(&id),
            16 => {
                let fault = *FAULTS.choose(&mut self.rng).expect("a fault");
                self.note(format!("ListAccounts: {fault:?}"));
                let since = self.listing.map_or(self.now, |(_, since)| since);
                self.listing = Some((fault, since));
            }
            17 if id != self.own() => {
                let account = self.accounts.get_mut(&id).expect("an account");
                let joins = account.member_since.is_none();
                account.member_since = joins.then_some(self.now);
                let what = if joins { "joins" } else { "leaves" };
                self.note(format!("{id} {what}"));
            }
            18 if id != self.own() => {
                let other = self.accounts.keys().filter(|other| **other != id);
                let other = other.cloned().choose(&mut self.rng).expect("another one");
                self.note(format!("{id} leads to {other}"));
                let since = self.now;
                self.accounts.get_mut(&id).expect("an account").acts_as = Some((other, since));
            }
            _ => {
                // Somebody else asks for a report.
                self.generate(&id);
            }
        }
    }

    fn heal(&mut self) {
        let all = self.rng.random_bool(0.1);
        let mut heals = |odds: f64| all || self.rng.random_bool(odds);
        for account in self.accounts.values_mut() {
            account.faults.retain(|_, _| !heals(0.25));
            if account.acts_as.is_some() && heals(0.25) {
                account.acts_as = None;
            }
        }
        if heals(0.25) {
            self.listing = None;
        }
        if all {
            self.note("all is well".to_owned());
        }
    }

    fn break_something(&mut self, id: &str) {
        let fault = *FAULTS.choose(&mut self.rng).expect("a fault");
        let operation = *OPERATIONS.choose(&mut self.rng).expect("an operation");
        self.note(format!("{id} {operation}: {fault:?}"));
        self.accounts.get_mut(id).expect("an account").faults.insert(operation, fault);
    }

    fn create_user(&mut self, id: &str) {
        let name = format!("user-{:05}", self.rng.random_range(0..100_000));
        self.accounts.get_mut(id).expect("an account").users.insert(name.clone(), Vec::new());
        let keys = self.rng.random_range(0..=2);
        for _ in 0..keys {
            // Some are old, some are about to be, some are young.
            let age = match self.rng.random_range(0..4) {
                0 | 1 => {
                    TimeDelta::days(91) + TimeDelta::minutes(self.rng.random_range(0..200_000))
                }
                2 => LIMIT - TimeDelta::minutes(self.rng.random_range(0..2_000)),
                _ => TimeDelta::minutes(self.rng.random_range(0..100_000)),
            };
            self.create_key(id, &name, age);
        }
    }

    fn create_key(&mut self, id: &str, user: &str, age: TimeDelta) {
        let mut created = (self.now - age).duration_trunc(GRAIN).expect("a time");
        let account = self.accounts.get_mut(id).expect("an account");
        let keys = account.users.get_mut(user).expect("a user");
        while keys.iter().any(|key| key.created == created)
            || self.gone_since.contains_key(&(id.to_owned(), user.to_owned(), created))
        {
            created -= GRAIN;
        }
        self.keys_so_far += 1;
        let key = Key {
            id: format!("AKIA{:012}", self.keys_so_far),
            created,
            is_active: true,
            reported: match self.rng.random_range(0..8) {
                0 => None,
                1 => Some(1),
                2 => Some(-1),
                _ => Some(0),
            },
            is_garbled: self.rng.random_bool(0.1),
            is_silent: self.rng.random_bool(0.05),
        };
        keys.push(key);
        self.note(format!("{id} {user}: a key of {created}"));
        self.settle(id, user);
    }

    fn change_user(&mut self, id: &str) {
        let account = &self.accounts[id];
        let Some(user) = account.users.keys().cloned().choose(&mut self.rng) else { return };
        let count = account.users[&user].len();
        let chosen = self.rng.random_range(0..count.max(1));
        let what = self.rng.random_range(0..10);
        let users = &mut self.accounts.get_mut(id).expect("an account").users;
        let keys = users.get_mut(&user).expect("a user");
        match what {
            0..=3 if count > 0 => keys[chosen].is_active ^= true,
            4 if count > 0 => drop(keys.remove(chosen)),
            5 if count > 0 => {
                keys.remove(chosen);
                return self.create_key(id, &user, TimeDelta::zero());
            }
            6 => {
                // Under another name, the keys count as other keys.
                let name = format!("{}-{}", &user[..10], self.keys_so_far);
                let keys = users.remove(&user).expect("a user");
                users.insert(name.clone(), keys);
                self.note(format!("{id} {user} becomes {name}"));
                self.settle(id, &user);
                return self.settle(id, &name);
            }
            7 => drop(users.remove(&user)),
            _ if count < 2 => {
                let age = TimeDelta::days(self.rng.random_range(80..100));
                return self.create_key(id, &user, age);
            }
            _ => return,
        }
        self.note(format!("{id} {user}: change {what} of key {chosen}"));
        self.settle(id, &user);
    }

    /// Updates the history with the user's keys.
    fn settle(&mut self, id: &str, user: &str) {
        let keys = self.accounts[id].users.get(user);
        let is_active = |created: &DateTime<Utc>| {
            keys.into_iter().flatten().any(|key| key.is_active && key.created == *created)
        };
        let of_user = |(account, name, _): &KeyRef| account == id && name == user;
        let refs = keys.into_iter().flatten().map(|key| key.created);
        for created in refs.filter(is_active).collect::<Vec<_>>() {
            let key = (id.to_owned(), user.to_owned(), created);
            self.gone_since.remove(&key);
            self.active_since.entry(key).or_insert(self.now);
        }
        let gone: Vec<KeyRef> =
            self.active_since.keys().filter(|key| of_user(key)).cloned().collect();
        for key in gone.into_iter().filter(|(_, _, created)| !is_active(created)) {
            self.active_since.remove(&key);
            self.gone_since.insert(key, self.now);
        }
        // Also one that never was active under this name. A report can be garbled so that it may be.
        for created in keys.into_iter().flatten().map(|key| key.created) {
            if !is_active(&created) {
                let key = (id.to_owned(), user.to_owned(), created);
                self.gone_since.entry(key).or_insert(self.now);
            }
        }
    }

    /// A report that is there or on its way is not begun again. Returns its state.
    fn generate(&mut self, id: &str) -> &'static str {
        let (now, account) = (self.now, &self.accounts[id]);
        if let Some((begun, ready, _)) = &account.report
            && now - begun < REPORT_LIFETIME
        {
            return if *ready <= now { "COMPLETE" } else { "INPROGRESS" };
        }
        let root = format!(
            "<root_account>,arn:aws:iam::{id}:root,2020-01-01T00:00:00Z,true,N/A,not_supported,\
             not_supported,true,false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
        );
        let users = account.users.iter().map(|(name, keys)| {
            let none = "false,N/A,N/A,N/A,N/A".to_owned();
            let columns =
                |slot: usize| keys.get(slot).map_or_else(|| none.clone(), |key| key.columns(slot));
            let with_one = row(id, "/", name, &columns(0));
            let end = ",false,N/A,false,N/A";
            let begin = with_one.strip_suffix(&format!("{none}{end}")).expect("no second key");
            format!("{begin}{}{end}", columns(1))
        });
        let csv = report(iter::once(root).chain(users));
        let ready = now + TimeDelta::seconds(self.rng.random_range(0..40));
        self.accounts.get_mut(id).expect("an account").report = Some((now, ready, csv));
        "STARTED"
    }

    /// AWS's answer, and its delay.
    pub fn answer(&mut self, request: &Request, now: DateTime<Utc>) -> (Duration, Answer) {
        self.now = now;
        let latency = Duration::from_millis(self.rng.random_range(0..300));
        let answer = match request.operation.as_str() {
            "ListAccounts" => self.list(request),
            "AssumeRole" => {
                let arn = request.field("RoleArn").unwrap_or_default();
                let id = arn.split(':').nth(4).unwrap_or_default().to_owned();
                let end = now + SESSION;
                let issue = |_: &mut World, id: &str| {
                    credentials(&format!("ASIA-{id}-{}", end.timestamp()), end)
                };
                self.of_account(&id, "AssumeRole", issue)
            }
            operation => {
                let id = match request.access_key.split('-').collect::<Vec<_>>()[..] {
                    ["ASIA", id, end] if end.parse().is_ok_and(|end| now.timestamp() < end) => id,
                    ["ASIA", ..] => return (latency, error(403, "ExpiredToken")),
                    _ => &self.own(),
                };
                let user = request.field("UserName").unwrap_or_default();
                let operation = OPERATIONS.into_iter().find(|it| *it == operation);
                match operation {
                    None => error(403, "AccessDenied"),
                    Some(operation) => self.of_account(id, operation, |world, id| {
                        world.account_answer(operation, id, &user)
                    }),
                }
            }
        };
        if let Answer::Reply(..) = answer {
            self.last_answer = Some((now, now + latency));
            if is_good(&answer) {
                self.last_good_answer = self.last_answer;
            }
        }
        (latency, answer.dated(now))
    }

    fn of_account(
        &mut self,
        id: &str,
        operation: &'static str,
        answer: impl FnOnce(&mut World, &str) -> Answer,
    ) -> Answer {
        let Some(account) = self.accounts.get(id) else { return error(403, "AccessDenied") };
        if let Some(fault) = account.faults.get(operation) {
            return fault.answer(operation, self.now);
        }
        // Credentials that were given stay those of the same account.
        let id = match &account.acts_as {
            Some((other, _)) if operation == "AssumeRole" => other.clone(),
            _ => id.to_owned(),
        };
        answer(self, &id)
    }

    fn account_answer(&mut self, operation: &str, id: &str, user: &str) -> Answer {
        match operation {
            "GetCallerIdentity" => identity(id),
            "GenerateCredentialReport" => generating(self.generate(id)),
            "GetCredentialReport" => match &self.accounts[id].report {
                None => error(410, "ReportNotPresent"),
                Some((begun, ..)) if self.now - begun >= REPORT_LIFETIME => {
                    error(410, "ReportExpired")
                }
                Some((_, ready, _)) if *ready > self.now => error(404, "ReportInProgress"),
                Some((begun, _, csv)) => {
                    let answer = report_at(csv, *begun);
                    let slots = slots(csv);
                    self.say(id, |(_, user, created)| {
                        slots.get(user).map_or(Word::Gone, |slots| word(slots, *created))
                    });
                    answer
                }
            },
            "ListAccessKeys" => {
                let Some(listed) = self.accounts[id].users.get(user).cloned() else {
                    self.say_of(id, user, |_| Word::Gone);
                    return error(404, "NoSuchEntity");
                };
                let active: BTreeSet<_> =
                    listed.iter().filter(|key| key.is_active).map(|key| key.created).collect();
                self.say_of(id, user, |(_, _, created)| {
                    if active.contains(created) { Word::NotGone } else { Word::Gone }
                });
                let listed: Vec<[String; 3]> = listed.iter().map(Key::listed).collect();
                let listed: Vec<_> = listed
                    .iter()
                    .map(|[id, status, created]| (id.as_str(), status.as_str(), created.as_str()))
                    .collect();
                keys(&listed)
            }
            _ => error(403, "AccessDenied"),
        }
    }

    /// Records what AWS says of the account's keys.
    fn say(&mut self, id: &str, word: impl Fn(&KeyRef) -> Word) {
        let known = self.active_since.keys().chain(self.gone_since.keys());
        let known: Vec<KeyRef> = known.filter(|key| key.0 == id).cloned().collect();
        for key in known {
            match word(&key) {
                Word::NotGone => {}
                Word::Gone => drop(self.said_gone.insert(key, self.now)),
                Word::OneOf(count) => drop(self.said_one_of.insert(key, (count, self.now))),
            }
        }
    }

    /// Records what AWS says of one user's keys.
    fn say_of(&mut self, id: &str, user: &str, word: impl Fn(&KeyRef) -> Word) {
        self.say(id, |key| if key.1 == user { word(key) } else { Word::NotGone });
    }

    /// Two pages.
    fn list(&mut self, request: &Request) -> Answer {
        let is_first = !request.body.contains("NextToken");
        if let Some((fault, _)) = self.listing {
            return match fault {
                Fault::Empty => Answer::Reply(200, "{\"Accounts\":[]}".to_owned()),
                Fault::Garbage => Answer::Reply(200, "<html>".to_owned()),
                Fault::Denied | Fault::BadCredentials => {
                    Answer::Reply(400, "{\"__type\":\"AccessDeniedException\"}".to_owned())
                }
                Fault::Throttled => {
                    Answer::Reply(400, "{\"__type\":\"TooManyRequestsException\"}".to_owned())
                }
                Fault::Broken => Answer::Reply(500, "{\"__type\":\"ServiceException\"}".to_owned()),
                Fault::Hangs => Answer::Hang,
                Fault::Drops => Answer::Drop,
            };
        }
        let half = ACCOUNTS / 2;
        let (skip, take) = if is_first { (0, half) } else { (half, ACCOUNTS) };
        if is_first {
            self.given.clear();
        }
        let page = self.accounts.iter().skip(skip).take(take);
        let members: Vec<String> = page
            .filter(|(_, account)| account.member_since.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        self.given.extend(members.iter().cloned());
        if !is_first {
            for id in self.accounts.keys().filter(|id| !self.given.contains(*id)) {
                self.said_left.insert(id.clone(), self.now);
            }
        }
        let members = members.iter().map(|id| (id.as_str(), id.as_str()));
        accounts(&self.own(), members, is_first.then_some("2"))
    }

    pub fn note(&mut self, what: String) {
        self.diary.push(format!("{} {what}", self.now.format("%d %H:%M:%S")));
    }
}

impl Key {
    /// Its five columns of a report, in this slot.
    fn columns(&self, slot: usize) -> String {
        if self.is_silent {
            return "N/A,N/A,N/A,N/A,N/A".to_owned();
        }
        let rotated = self.reported.map_or("N/A".to_owned(), |seconds| {
            seconds_of(self.created + TimeDelta::seconds(seconds))
        });
        let status = self.is_active.to_string();
        // If neither status can be read, the row is none.
        let status = if self.is_garbled && slot == 0 { &status[1..] } else { &status };
        format!("{status},{rotated},N/A,N/A,N/A")
    }

    fn listed(&self) -> [String; 3] {
        let status = if self.is_active { "Active" } else { "Inactive" };
        [self.id.clone(), status.to_owned(), seconds_of(self.created)]
    }
}

impl Fault {
    fn answer(self, operation: &str, now: DateTime<Utc>) -> Answer {
        match self {
            Fault::Denied => error(403, "AccessDenied"),
            Fault::BadCredentials => error(403, "InvalidClientTokenId"),
            Fault::Throttled => error(400, "Throttling"),
            Fault::Broken => error(500, "ServiceFailure"),
            Fault::Hangs => Answer::Hang,
            Fault::Drops => Answer::Drop,
            Fault::Garbage if operation == "GetCredentialReport" => report_at("<html>", now),
            Fault::Empty if operation == "GetCredentialReport" => report_at(&report([]), now),
            Fault::Garbage => Answer::Reply(200, "<html></html>".to_owned()),
            Fault::Empty => Answer::Reply(200, String::new()),
        }
    }
}

/// A slot of a report: whether its key may be active, and the key's time if the report has it.
type Slot = (bool, Option<DateTime<Utc>>);

/// The slots of a report by users.
fn slots(csv: &str) -> BTreeMap<String, [Slot; 2]> {
    let rows = csv.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let slot = |row: &[&str], at: usize| (row[at] != "false", row[at + 1].parse().ok());
    rows.map(|row| (row[0].to_owned(), [slot(&row, 8), slot(&row, 13)])).collect()
}

/// What a user's slots say of the key that was created then. Its own time decides. If it has none there,
/// it can be any key without a time that may be active.
fn word(slots: &[Slot; 2], created: DateTime<Utc>) -> Word {
    let is_own = |time: DateTime<Utc>| (time - created).abs() <= TimeDelta::seconds(2);
    let own = || slots.iter().filter(|(_, time)| time.is_some_and(is_own));
    let ageless = slots.iter().filter(|(may_be_active, time)| *may_be_active && time.is_none());
    match (own().any(|(may_be_active, _)| *may_be_active), own().count(), ageless.count()) {
        (true, ..) => Word::NotGone,
        (false, 0, count @ 1..) => Word::OneOf(count),
        _ => Word::Gone,
    }
}

fn is_good(answer: &Answer) -> bool {
    matches!(answer, Answer::Reply(200, body) if !body.is_empty() && !body.starts_with("<html>"))
}

fn seconds_of(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
