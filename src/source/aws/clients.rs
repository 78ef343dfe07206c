//! One set of clients for each account, with its own credentials.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_config::SdkConfig;
use aws_sdk_iam::config::retry::RetryPartition;
use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};

use super::call_limit::CallLimit;
use super::credentials::{
    BaseCredentials, CredentialCache, CredentialKey, account_id, assuming, sts_config,
};
use super::errors;
use super::sdk::{CountRequests, Operation, signing_region, time_limits};
use crate::config::Access;
use crate::failure::Failure;

/// The AWS clients of all accounts.
#[derive(Debug)]
pub struct Clients {
    count: CountRequests,
    /// For calls for identities, lists of accounts, and reports.
    limit: Arc<CallLimit>,
    /// For all other calls, so that a new account does not wait for the old keys of others.
    detail_limit: Arc<CallLimit>,
    credentials: Arc<CredentialCache>,
    by_access: Mutex<HashMap<Access, AccountClient>>,
}

/// The AWS client of one account.
#[derive(Debug, Clone)]
pub struct AccountClient {
    pub(super) iam: aws_sdk_iam::Client,
    sts: aws_sdk_sts::Client,
    limit: Arc<CallLimit>,
    detail_limit: Arc<CallLimit>,
}

impl Clients {
    /// Makes at most `concurrency` calls at the same time for reports, and as many for details beside
    /// them, all of which `count` counts. `given` replaces the configuration that the SDK's chains find.
    pub fn new(given: Option<SdkConfig>, count: CountRequests, concurrency: usize) -> Clients {
        let limit = Arc::new(CallLimit::new(concurrency));
        let credentials = Arc::new(CredentialCache::new(given, count.clone(), limit.clone()));
        let detail_limit = Arc::new(CallLimit::new(concurrency));
        Clients { count, limit, detail_limit, credentials, by_access: Mutex::default() }
    }

    /// Waits until a refresh may begin.
    pub async fn admit(&self) {
        self.limit.admit().await;
    }

    /// The base credentials of an account.
    pub async fn base(&self, access: &Access) -> BaseCredentials {
        self.credentials.get(&CredentialKey::of(access)).await
    }

    /// The client of an account with its current credentials, the same each time.
    pub async fn get(&self, access: &Access) -> AccountClient {
        if let Some(client) = self.lock().get(access) {
            return client.clone();
        }
        let base = self.base(access).await;
        let sts_region = base.config.region().cloned();
        let config = match &access.role {
            Some(role) => assuming(role, base, CredentialKey::of(access), self.credentials.clone()),
            None => base.config,
        };
        let iam = aws_sdk_iam::config::Builder::from(&config)
            .region(signing_region(&config, None))
            // Each account has its own retry budget. The SDK's is one for all clients of a process,
            // and many broken accounts would use it up.
            .retry_partition(RetryPartition::custom("account").build())
            .interceptor(self.count.clone());
        // The client for assuming roles. It has the time limits of a call that may have to assume one first.
        let sts = sts_config(&config, self.count.clone())
            .region(sts_region)
            .timeout_config(time_limits());
        let client = AccountClient {
            iam: aws_sdk_iam::Client::from_conf(iam.build()),
            sts: aws_sdk_sts::Client::from_conf(sts.build()),
            limit: self.limit.clone(),
            detail_limit: self.detail_limit.clone(),
        };
        self.lock().entry(access.clone()).or_insert(client).clone()
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

    /// Call this after a failure because of an account's credentials: forgets them, and their base, so
    /// that both are looked for again. The SDK keeps a profile for good. Roles that
    /// were assumed with the same base stay until they end.
    pub fn forget(&self, access: &Access) {
        let key = CredentialKey::of(access);
        let is_base_gone = self.credentials.forget(&key);
        self.lock().retain(|other, _| {
            let had_base = is_base_gone && other.role.is_none() && CredentialKey::of(other) == key;
            other != access && !had_base
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Access, AccountClient>> {
        self.by_access.lock().expect("nothing panics while it is locked")
    }
}

impl AccountClient {
    /// Makes a call once there is a permit, which is held for one call and never for a pause.
    pub(super) async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        self.limit.call(call).await
    }

    /// The same for a call that can wait until there are reports.
    pub(super) async fn call_for_details<T>(&self, call: impl Future<Output = T>) -> T {
        self.detail_limit.call(call).await
    }

    /// The same, with the failure that an error is.
    pub(super) async fn ask_for_details<T, E>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let answer = self.call_for_details(call).await;
        answer.map_err(|error| errors::failure(operation, &error))
    }

    /// The account of the credentials: 12 digits. Needs no permission.
    pub(super) async fn account_id(&self) -> Result<String, Failure> {
        account_id(&self.sts, &self.limit).await
    }
}
