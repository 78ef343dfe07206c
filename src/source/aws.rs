//! Reports from AWS: the account of the default credentials.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::{Failure, Fetch, Target};
use crate::aws::{self, Clients};
use crate::confirm::ListedKey;
use crate::metrics::own::AwsRequests;
use crate::state::{Tags, UNKNOWN_ACCOUNT};

/// The account of the default credentials.
#[derive(Debug)]
pub struct Aws {
    requests: AwsRequests,
    slots: Arc<Semaphore>,
    clients: OnceCell<Clients>,
    account_id: OnceCell<String>,
}

impl Aws {
    /// With at most `concurrency` calls at the same time, each counted in `requests`. Looks for
    /// credentials at the first fetch, since that can take seconds.
    pub fn new(requests: AwsRequests, concurrency: usize) -> Aws {
        Aws {
            requests,
            slots: Arc::new(Semaphore::new(concurrency)),
            clients: OnceCell::new(),
            account_id: OnceCell::new(),
        }
    }

    /// The same with this configuration instead of what the default chains find.
    pub fn with_config(config: &aws::SdkConfig, requests: AwsRequests, concurrency: usize) -> Aws {
        let aws = Aws::new(requests, concurrency);
        let clients = Clients::new(config, &aws.requests, aws.slots.clone());
        Aws { clients: OnceCell::new_with(Some(clients)), ..aws }
    }

    pub(super) fn targets(&self) -> Vec<Target> {
        vec![Target {
            key: "default credentials".to_owned(),
            id: UNKNOWN_ACCOUNT.to_owned(),
            name: String::new(),
        }]
    }

    /// A report that is younger than four hours is still good: AWS would give the same again.
    pub(super) async fn fetch(
        &self,
        last: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> Fetch {
        if last.is_some_and(|generated| now - generated < aws::report::RENEWAL) {
            return Fetch::default();
        }
        let account_id = match timeout_at(deadline, self.account_id()).await {
            Ok(Ok(id)) => Some(id),
            Ok(Err(failure)) => return failure.into(),
            Err(_) => return Failure::late().into(),
        };
        let aws::report::Answer { report, failure } =
            aws::report::fetch(self.clients().await, now, deadline).await;
        Fetch { account_id, report, failure }
    }

    pub(super) async fn keys(&self, user: &str) -> Result<Option<Vec<ListedKey>>, Failure> {
        aws::confirm::keys(self.clients().await, user).await
    }

    pub(super) async fn tags(&self, keys: &BTreeSet<String>) -> Result<Tags, Failure> {
        aws::details::tags(self.clients().await, keys).await
    }

    async fn account_id(&self) -> Result<String, Failure> {
        let clients = self.clients().await;
        self.account_id.get_or_try_init(|| clients.account_id()).await.cloned()
    }

    async fn clients(&self) -> &Clients {
        let clients = self.clients.get_or_init(|| async {
            let config = aws::default_config().await;
            Clients::new(&config, &self.requests, self.slots.clone())
        });
        clients.await
    }
}
