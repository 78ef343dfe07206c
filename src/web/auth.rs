//! `basic_auth_users`: names, passwords, and limits on the cost of checking them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A password's bcrypt hash.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Hash(String);

/// Checking a password with a cost of 10 takes about 50 ms, and each further 1 doubles that.
const SLOW_COST: u32 = 15;
const MAX_COST: u32 = 18;

impl TryFrom<String> for Hash {
    type Error = String;

    fn try_from(text: String) -> Result<Hash, String> {
        if text.parse::<bcrypt::HashParts>().is_err() {
            return Err("is not a bcrypt hash ($2a$, $2b$, $2y$)".to_owned());
        }
        let hash = Hash(text);
        match hash.cost() {
            4..=MAX_COST => Ok(hash),
            cost @ 19..=31 => Err(format!(
                "has a cost of {cost}, with which each check takes half a minute or more: use 10 to 14"
            )),
            cost => Err(format!("has a cost of {cost}, and bcrypt has 4 to 31")),
        }
    }
}

impl Hash {
    fn cost(&self) -> u32 {
        self.0[4..6].parse().expect("a number, as was checked")
    }
}

/// Without the hash, which could be attacked elsewhere.
impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hash")
    }
}

/// The users and their passwords.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Users(BTreeMap<String, Hash>);

impl Users {
    /// Users by their names.
    pub fn new(users: BTreeMap<String, Hash>) -> Users {
        Users(users)
    }

    /// Whether there are no users, so no password is needed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A warning for each user who cannot log in, or only slowly.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|(name, hash)| {
            let problem = if name.contains(':') {
                "can never log in, since a name ends at its first colon".to_owned()
            } else if name.is_empty() {
                "is a user without a name".to_owned()
            } else if hash.cost() >= SLOW_COST {
                format!("has a cost of {}: each check of the password takes seconds", hash.cost())
            } else if hash.0.starts_with("$2x$") {
                "was made by a program with a known fault: make a new one".to_owned()
            } else {
                return None;
            };
            Some(format!("basic_auth_users.{name}: {problem}"))
        })
    }
}

/// Name and password, as a client sends them.
#[derive(Clone)]
pub struct Credentials {
    name: String,
    password: Vec<u8>,
}

impl Credentials {
    /// Reads the value of an `Authorization` header. `None` if it holds no basic credentials.
    pub fn parse(header: &[u8]) -> Option<Credentials> {
        let (scheme, encoded) = header.split_at_checked("Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return None;
        }
        let mut name = STANDARD.decode(encoded.trim_ascii()).ok()?;
        let colon = name.iter().position(|byte| *byte == b':')?;
        let password = name.split_off(colon + 1);
        name.truncate(colon);
        Some(Credentials { name: String::from_utf8(name).ok()?, password })
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The result of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Ok,
    Wrong,
    /// Too many other checks are waiting.
    Busy,
}

/// The number of logins that are remembered, so that they need no check.
const MAX_KNOWN: usize = 1_000;
/// A check that does not begin within this time is given up. Prometheus waits for 10 s.
const MAX_WAIT: Duration = Duration::from_secs(8);

/// Whether a password belongs to a hash. Takes long.
type Verify = dyn Fn(&[u8], &Hash) -> bool + Send + Sync;

/// Checks passwords. bcrypt runs on its own threads, on half of the cores.
pub struct Logins {
    known: Arc<Mutex<Known>>,
    /// Of each client that has something to check, one password is checked or waits for it at a time. So
    /// one with many wrong passwords is no more than one in the queue.
    clients: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
    checks: Arc<Semaphore>,
    hasher: RandomState,
    verify: Arc<Verify>,
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Logins")
    }
}

impl Default for Logins {
    fn default() -> Logins {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // It fails if the hash is bad, which was checked before.
        let verify =
            |password: &[u8], hash: &Hash| bcrypt::verify(password, &hash.0).unwrap_or(false); // refused
        Logins::new((cores / 2).max(1), Arc::new(verify))
    }
}

impl Logins {
    fn new(checks: usize, verify: Arc<Verify>) -> Logins {
        Logins {
            known: Arc::new(Mutex::new(Known::new(rand::random()))),
            clients: Mutex::default(),
            checks: Arc::new(Semaphore::new(checks)),
            hasher: RandomState::new(),
            verify,
        }
    }

    /// Checks credentials that came from this client. Those that were right before are not checked
    /// again, and wait for nothing. Of an unknown user the hash of another one is checked, so that the
    /// time does not tell whether there is such a user.
    pub async fn check(&self, users: &Users, credentials: Credentials, client: IpAddr) -> Login {
        let user = users.0.get(&credentials.name);
        let is_user = user.is_some();
        let hash = user.or_else(|| self.hash_for_unknown(users, &credentials.name)).cloned();
        let Some(hash) = hash else { return Login::Wrong };
        if is_user && self.knows(&credentials, &hash) {
            return Login::Ok;
        }
        let turn = async {
            let of_client = self.of_client(client).acquire_owned().await;
            (of_client, self.checks.clone().acquire_owned().await)
        };
        let Ok(turn) = timeout(MAX_WAIT, turn).await else { return Login::Busy };
        // Another request may have checked the same credentials.
        if is_user && self.knows(&credentials, &hash) {
            return Login::Ok;
        }
        let (known, verify) = (self.known.clone(), self.verify.clone());
        let checked = spawn_blocking(move || {
            // Held to the end of the check, even if the client has gone away meanwhile. If it was right,
            // its next try need not wait.
            let _turn = turn;
            let is_right = verify(&credentials.password, &hash) && is_user;
            if is_right {
                lock(&known).insert(&credentials, &hash);
            }
            is_right
        });
        if checked.await.unwrap_or(false) { Login::Ok } else { Login::Wrong } // a panic lets nobody in
    }

    fn of_client(&self, client: IpAddr) -> Arc<Semaphore> {
        let mut clients = lock(&self.clients);
        if let Some(semaphore) = clients.get(&client).and_then(Weak::upgrade) {
            return semaphore;
        }
        clients.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(1));
        clients.insert(client, Arc::downgrade(&semaphore));
        semaphore
    }

    fn knows(&self, credentials: &Credentials, hash: &Hash) -> bool {
        lock(&self.known).contains(credentials, hash)
    }

    /// Always the same user's hash for a name, so that the cost is always the same.
    fn hash_for_unknown<'a>(&self, users: &'a Users, name: &str) -> Option<&'a Hash> {
        let number = self.hasher.hash_one(name) as usize;
        users.0.values().nth(number.checked_rem(users.0.len())?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Successful logins, as hashes with a random key.
struct Known {
    key: [u8; 32],
    logins: HashSet<[u8; 32]>,
    oldest_first: VecDeque<[u8; 32]>,
}

impl Known {
    fn new(key: [u8; 32]) -> Known {
        Known { key, logins: HashSet::new(), oldest_first: VecDeque::new() }
    }

    fn contains(&self, credentials: &Credentials, hash: &Hash) -> bool {
        self.logins.contains(&self.digest(credentials, hash))
    }

    fn insert(&mut self, credentials: &Credentials, hash: &Hash) {
        let digest = self.digest(credentials, hash);
        if self.logins.insert(digest) {
            self.oldest_first.push_back(digest);
        }
        if self.oldest_first.len() > MAX_KNOWN
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.logins.remove(&oldest);
        }
    }

    /// The length before each part keeps different logins apart.
    fn digest(&self, credentials: &Credentials, hash: &Hash) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length is one");
        for part in [credentials.name.as_bytes(), hash.0.as_bytes(), &credentials.password] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn hash(password: &str, cost: u32) -> Hash {
        Hash::try_from(bcrypt::hash(password, cost).expect("a hash")).expect("a bcrypt hash")
    }

    fn users(users: &[(&str, &str, u32)]) -> Users {
        let hashed = users.iter().map(|(name, password, cost)| (*name, hash(password, *cost)));
        Users::new(hashed.map(|(name, hash)| (name.to_owned(), hash)).collect())
    }

    fn credentials(name: &str, password: &str) -> Credentials {
        Credentials { name: name.to_owned(), password: password.as_bytes().to_vec() }
    }

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[test]
    fn only_bcrypt_hashes_of_a_bearable_cost_are_hashes() {
        // The last bits of salt and hash are 0.
        let rest = format!("{}e{}", "a".repeat(21), "a".repeat(31));
        for (text, is_hash) in [
            (format!("$2a$10${rest}"), true),
            (format!("$2b$04${rest}"), true),
            (format!("$2y$18${rest}"), true),
            (format!("$2x$10${rest}"), true),
            (format!("$2y$03${rest}"), false),
            (format!("$2y$19${rest}"), false),
            (format!("$2y$32${rest}"), false),
            (format!("$2y$1x${rest}"), false),
            (format!("$2$10${rest}"), false),
            (format!("$2z$10${rest}"), false),
            (format!("$2y$10${rest}a"), false),
            (format!("$2y$10${}", &rest[..52]), false),
            (format!("$2y$10${}=", &rest[..52]), false),
            (format!("$2y$10${}é", &rest[..51]), false),
            ("password".to_owned(), false),
            (String::new(), false),
        ] {
            let read = Hash::try_from(text.clone());
            assert_eq!(read.is_ok(), is_hash, "{text}");
            let told = format!("{read:?}");
            assert!(!told.contains(&rest[..50]), "{told}");
        }
    }

    #[test]
    fn credentials_are_read_as_go_reads_them() {
        let read = |header: String| {
            Credentials::parse(header.as_bytes())
                .map(|it| (it.name, String::from_utf8(it.password).expect("UTF-8")))
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(read(basic("alice:secret")), pair("alice", "secret"));
        assert_eq!(read(basic("alice:a:b")), pair("alice", "a:b"));
        assert_eq!(read(basic("alice:")), pair("alice", ""));
        assert_eq!(read(basic(":secret")), pair("", "secret"));
        assert_eq!(read(basic("alice:secret").replace("Basic", "bAsIc")), pair("alice", "secret"));
        for header in ["", "Basic", "Basic ", "Basic =", "Bearer YTpi", "Basic YWxpY2U="] {
            assert_eq!(read(header.to_owned()), None, "{header}");
        }
    }

    #[tokio::test]
    async fn the_right_password_opens_and_all_else_does_not() {
        let users = users(&[("alice", "secret", 4), ("bob", "other", 4)]);
        let logins = Logins::default();
        for (name, password, expected) in [
            ("alice", "secret", Login::Ok),
            ("alice", "secret", Login::Ok),
            ("alice", "other", Login::Wrong),
            ("alice", "", Login::Wrong),
            ("alice", "secret\0", Login::Wrong),
            ("Alice", "secret", Login::Wrong),
            ("bob", "secret", Login::Wrong),
            ("carol", "secret", Login::Wrong),
            ("carol", "other", Login::Wrong),
            ("", "", Login::Wrong),
        ] {
            let login = logins.check(&users, credentials(name, password), peer(1)).await;
            assert_eq!(login, expected, "{name} {password}");
        }
        assert_eq!(lock(&logins.known).logins.len(), 1, "only what was right is remembered");
    }

    #[tokio::test]
    async fn a_login_that_was_right_ends_with_its_hash() {
        let logins = Logins::default();
        let before = users(&[("alice", "secret", 4)]);
        assert_eq!(logins.check(&before, credentials("alice", "secret"), peer(1)).await, Login::Ok);
        let after = users(&[("alice", "changed", 4)]);
        let login = logins.check(&after, credentials("alice", "secret"), peer(1)).await;
        assert_eq!(login, Login::Wrong);
        let without = users(&[("bob", "secret", 4)]);
        let login = logins.check(&without, credentials("alice", "secret"), peer(1)).await;
        assert_eq!(login, Login::Wrong);
    }

    #[test]
    fn logins_of_the_same_letters_differ() {
        let known = Known::new([7; 32]);
        let hash = hash("x", 4);
        let digest = |name, password| known.digest(&credentials(name, password), &hash);
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
        assert_eq!(digest("ab", "c"), digest("ab", "c"));
        let other = Known::new([8; 32]);
        assert_ne!(digest("ab", "c"), other.digest(&credentials("ab", "c"), &hash));
    }

    #[test]
    fn the_number_of_known_logins_is_bounded() {
        let mut known = Known::new([7; 32]);
        let hash = hash("x", 4);
        for number in 0..=MAX_KNOWN {
            known.insert(&credentials("alice", &number.to_string()), &hash);
        }
        assert_eq!((known.logins.len(), known.oldest_first.len()), (MAX_KNOWN, MAX_KNOWN));
        assert!(!known.contains(&credentials("alice", "0"), &hash));
        assert!(known.contains(&credentials("alice", "1"), &hash));
    }

    /// The checks that were begun, each of which ends at the test's word.
    struct Checks {
        begun: std::sync::mpsc::Receiver<(String, u32)>,
        end: std::sync::mpsc::Sender<()>,
    }

    /// One check at a time. All passwords but `secret` are wrong.
    fn slow_logins() -> (Arc<Logins>, Checks) {
        let (begin, begun) = channel();
        let (end, may_end) = channel::<()>();
        let may_end = Mutex::new(may_end);
        let verify = move |password: &[u8], hash: &Hash| {
            let password = String::from_utf8_lossy(password).into_owned();
            let is_right = password == "secret";
            begin.send((password, hash.cost())).expect("somebody reads");
            lock(&may_end).recv_timeout(Duration::from_secs(60)).expect("it ends");
            is_right
        };
        (Arc::new(Logins::new(1, Arc::new(verify))), Checks { begun, end })
    }

    impl Checks {
        /// Waits for the beginning of a check.
        async fn next(&self) -> (String, u32) {
            for _ in 0..6_000 {
                if let Ok(check) = self.begun.try_recv() {
                    return check;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("no check began");
        }

        fn end(&self) {
            self.end.send(()).expect("somebody waits");
        }
    }

    fn check(
        logins: &Arc<Logins>,
        users: &Arc<Users>,
        (name, password): (&str, &str),
        client: IpAddr,
    ) -> tokio::task::JoinHandle<Login> {
        let (logins, users) = (logins.clone(), users.clone());
        let credentials = credentials(name, password);
        tokio::spawn(async move { logins.check(&users, credentials, client).await })
    }

    #[tokio::test]
    async fn wrong_passwords_delay_neither_known_logins_nor_other_addresses_much() {
        let users = Arc::new(users(&[("alice", "secret", 4)]));
        let (logins, checks) = slow_logins();
        checks.end();
        let login = check(&logins, &users, ("alice", "secret"), peer(2));
        assert_eq!(login.await.expect("no panic"), Login::Ok);
        checks.next().await;

        let wrong: Vec<_> =
            (0..40).map(|_| check(&logins, &users, ("alice", "wrong"), peer(2))).collect();
        assert_eq!(checks.next().await.0, "wrong");
        let known = check(&logins, &users, ("alice", "secret"), peer(2));
        assert_eq!(known.await.expect("no panic"), Login::Ok, "while another is checked");
        // Two more clients. Their hashes do not matter.
        let others = [3, 4].map(|client| check(&logins, &users, ("alice", "new"), peer(client)));
        tokio::task::yield_now().await;
        let mut order = Vec::new();
        for _ in 0..40 {
            checks.end();
            order.push(checks.next().await.0);
        }
        checks.end();
        checks.end();
        assert_eq!(order.iter().position(|password| password == "new"), Some(0));
        assert_eq!(order.iter().rposition(|password| password == "new"), Some(1));
        for login in wrong.into_iter().chain(others) {
            assert_eq!(login.await.expect("no panic"), Login::Wrong);
        }
        checks.end();
        let login = check(&logins, &users, ("alice", "new"), peer(5));
        assert_eq!(login.await.expect("no panic"), Login::Wrong);
        assert_eq!(lock(&logins.clients).len(), 1, "those with nothing to check are forgotten");
    }

    #[tokio::test]
    async fn of_an_unknown_user_one_hash_is_checked_as_of_a_known_one() {
        let users = Arc::new(users(&[("alice", "secret", 5), ("bob", "secret", 5)]));
        let (logins, checks) = slow_logins();
        for name in ["alice", "mallory", "trent"] {
            for password in ["wrong", "secret"] {
                checks.end();
                let login = check(&logins, &users, (name, password), peer(1)).await;
                let is_right = (name, password) == ("alice", "secret");
                let expected = if is_right { Login::Ok } else { Login::Wrong };
                assert_eq!(login.expect("no panic"), expected, "{name} {password}");
                assert_eq!(checks.next().await, (password.to_owned(), 5));
                assert!(checks.begun.try_recv().is_err(), "one check");
            }
        }
    }

    #[tokio::test]
    async fn a_right_password_is_remembered_though_its_client_did_not_wait() {
        let users = Arc::new(users(&[("alice", "secret", 4)]));
        let (logins, checks) = slow_logins();
        let login = check(&logins, &users, ("alice", "secret"), peer(1));
        checks.next().await;
        login.abort();
        assert!(login.await.expect_err("it was given up").is_cancelled());
        checks.end();
        // Waits for the end of that check, and needs none.
        let login = check(&logins, &users, ("alice", "secret"), peer(1));
        assert_eq!(login.await.expect("no panic"), Login::Ok);
        assert!(checks.begun.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_cannot_begin_in_time_is_given_up() {
        let users = Arc::new(users(&[("alice", "secret", 4)]));
        let logins = Arc::new(Logins::new(0, Arc::new(|_: &[u8], _: &Hash| true)));
        let login = check(&logins, &users, ("alice", "secret"), peer(1));
        assert_eq!(login.await.expect("no panic"), Login::Busy);
    }
}
