//! The service-specific credentials of the made-up organization.

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::task::spawn_blocking;

use super::super::target::Target;
use super::{Demo, account, key_id};
use crate::service_credentials::{CredentialList, ServiceCredential, ServiceCredentials};

/// Each with whether its credentials can expire. Most are made for Bedrock.
const SERVICES: [(&str, bool); 6] = [
    ("bedrock.amazonaws.com", true),
    ("bedrock.amazonaws.com", true),
    ("bedrock.amazonaws.com", true),
    ("logs.amazonaws.com", true),
    ("codecommit.amazonaws.com", false),
    ("cassandra.amazonaws.com", false),
];

/// For how many days a credential is made that can expire. Some people take the most that AWS allows.
const LIFETIMES: [Option<i64>; 6] = [None, None, Some(90), Some(365), Some(1_825), Some(36_600)];

impl Demo {
    /// Those of all users of an account. Few users have one.
    pub(in super::super) async fn service_credentials(&self, target: &Target) -> CredentialList {
        let (demo, account) = (self.clone(), account(target));
        let credentials = spawn_blocking(move || demo.service_credentials_of(account));
        let credentials = credentials.await.expect("making credentials does not panic");
        CredentialList { credentials, refused: Vec::new() }
    }

    fn service_credentials_of(&self, account: usize) -> ServiceCredentials {
        let of_user = |user: String| {
            let rng = &mut self.random(account, &user, "service-specific credentials");
            let has_one = rng.random_bool(0.06);
            let credential =
                has_one.then(|| self.service_credential(rng, self.created(account, &user)));
            Some((user, credential?))
        };
        self.user_names().filter_map(of_user).collect()
    }

    /// A credential of a user who was created then.
    fn service_credential(&self, rng: &mut StdRng, since: DateTime<Utc>) -> ServiceCredential {
        let (service, can_expire) = SERVICES[rng.random_range(0..SERVICES.len())];
        let created = self.between(rng, since);
        let lifetime = LIFETIMES[rng.random_range(0..LIFETIMES.len())].filter(|_| can_expire);
        let expires = lifetime.map(|days| created + TimeDelta::days(days));
        let has_expired = expires.is_some_and(|expires| expires <= self.start);
        ServiceCredential {
            service: service.into(),
            id: key_id("ACCADEMO", rng),
            active: !has_expired && rng.random_bool(0.9),
            created,
            expires,
            listed_with: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_credentials_of_every_service_and_every_age() {
        let start = "2026-11-01T12:00:00Z".parse().expect("a time");
        let demo = Demo::new(3, 200, 1, start);
        let mut all: Vec<ServiceCredential> = Vec::new();
        for account in 0..3 {
            let of_account = demo.service_credentials_of(account);
            assert_eq!(of_account, demo.service_credentials_of(account));
            all.extend(
                demo.user_names().flat_map(|user| Vec::from_iter(of_account.of(&user).cloned())),
            );
        }
        let count =
            |is: &dyn Fn(&ServiceCredential) -> bool| all.iter().filter(|it| is(it)).count();
        for (service, _) in SERVICES {
            assert!(count(&|it| &*it.service == service) > 0, "{service}");
        }
        assert!(count(&|it| it.active && it.expiry(start).is_none()) > 3);
        assert!(count(&|it| it.expires.is_some_and(|time| time <= start)) > 1);
        assert!(count(&|it| it.active && it.expiry(start).is_some()) > 1);
        assert!(count(&|it| start - it.created > TimeDelta::days(90)) > 5);
        assert!(all.iter().all(|it| it.id.starts_with("ACCADEMO") && it.created <= start));
    }
}
