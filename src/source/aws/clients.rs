//! One set of clients for each account, with its own credentials.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_config::SdkConfig;
use aws_sdk_iam::config::retry::RetryPartition;
use tokio::time::Instant;

use super::call_limit::CallLimit;
use super::credentials::{
    BaseCredentials, CredentialCache, CredentialKey, MIN_CREDENTIAL_AGE, assuming,
};
use super::sdk::{CountRequests, signing_region};
use crate::config::Access;
use crate::metrics::exporter::AwsRequests;

/// The AWS clients of all accounts.
#[derive(Debug)]
pub struct Clients {
    count: CountRequests,
    limit: Arc<CallLimit>,
    credentials: Arc<CredentialCache>,
    /// With the moment at which each was made.
    by_access: Mutex<HashMap<Access, (AccountClient, Instant)>>,
}

/// The AWS client of one account.
#[derive(Debug, Clone)]
pub struct AccountClient {
    pub(super) iam: aws_sdk_iam::Client,
    limit: Arc<CallLimit>,
}

impl Clients {
    /// Makes at most `concurrency` calls at the same time, and counts each in `requests`. `given`
    /// replaces the configuration that the SDK's chains find.
    pub fn new(given: Option<SdkConfig>, requests: AwsRequests, concurrency: usize) -> Clients {
        let count = CountRequests::new(requests);
        let limit = Arc::new(CallLimit::new(concurrency));
        let credentials = Arc::new(CredentialCache::new(given, count.clone(), limit.clone()));
        Clients { count, limit, credentials, by_access: Mutex::default() }
    }

    /// Waits until a refresh may begin.
    pub async fn admit(&self) {
        self.limit.admit().await;
    }

    /// The base credentials of an account.
    pub async fn base(&self, access: &Access) -> BaseCredentials {
        self.credentials.get(&CredentialKey::of(access)).await
    }

    /// The client of an account; the same each time, with the credentials that it has.
    pub async fn get(&self, access: &Access) -> AccountClient {
        if let Some((client, _)) = self.lock().get(access) {
            return client.clone();
        }
        let base = self.base(access).await;
        let config = match &access.role {
            Some(role) => assuming(role, base, CredentialKey::of(access), self.credentials.clone()),
            None => base.config,
        };
        let client = AccountClient::new(&config, self.count.clone(), self.limit.clone());
        self.lock().entry(access.clone()).or_insert((client, Instant::now())).0.clone()
    }

    /// A client of Organizations, with the default credentials.
    pub async fn organizations(&self) -> aws_sdk_organizations::Client {
        let base = self.base(&Access::default()).await;
        let config = aws_sdk_organizations::config::Builder::from(&base.config)
            .region(signing_region(&base.config, None))
            .interceptor(self.count.clone());
        aws_sdk_organizations::Client::from_conf(config.build())
    }

    /// Makes a call once there is a permit.
    pub async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        self.limit.call(call).await
    }

    /// Forgets the clients of accounts that are gone.
    pub fn retain(&self, accesses: &HashSet<&Access>) {
        self.lock().retain(|access, _| accesses.contains(access));
    }

    /// Forgets base credentials, so that they are looked for again at the next call. The credentials
    /// of roles stay until they end.
    pub fn forget_credentials(&self) {
        self.credentials.clear();
        self.lock().retain(|access, _| access.role.is_some());
    }

    /// Call this after AWS rejected an account's credentials. Drops them, and the base credentials too
    /// if those are the cause. `account`: the account that the base credentials should belong to, if
    /// no role is used. Returns whether a retry is worthwhile.
    pub async fn renew(&self, access: &Access, account: Option<&str>) -> bool {
        let forgotten = self.lock().remove(access);
        let had_old = forgotten.is_some_and(|(_, since)| since.elapsed() >= MIN_CREDENTIAL_AGE);
        let account = account.filter(|_| access.role.is_none());
        self.credentials.forget_broken(&CredentialKey::of(access), account).await || had_old
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Access, (AccountClient, Instant)>> {
        self.by_access.lock().expect("nothing panics while it is locked")
    }
}

impl AccountClient {
    fn new(config: &SdkConfig, count: CountRequests, limit: Arc<CallLimit>) -> AccountClient {
        let iam = aws_sdk_iam::config::Builder::from(config)
            .region(signing_region(config, None))
            // Each account has its own retry budget. The SDK's is one for all clients of a process,
            // and many broken accounts would use it up.
            .retry_partition(RetryPartition::custom("account").build())
            .interceptor(count);
        AccountClient { iam: aws_sdk_iam::Client::from_conf(iam.build()), limit }
    }

    /// Makes a call once there is a permit, which is held for one call and never for a pause.
    pub(super) async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        self.limit.call(call).await
    }
}
