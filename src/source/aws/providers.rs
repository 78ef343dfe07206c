//! The sources of base credentials: the SDK's providers in the order of its default chain, each in
//! a wrapper that checks its credentials and explains failures in plain words.

use std::path::PathBuf;
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::config::IdentityCache;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::credential_process;
use super::environment::{self, check_key};
use super::errors;
use super::http;
use super::profiles::{self, Profile};
use super::sdk::time_limits;
use super::tokens;
use super::turns::read_in_turn;
use crate::failure::{Failure, Reason};
use crate::secrets;

/// The configuration that the environment and the profile files give. Without a profile the
/// credentials are from the environment, a profile, SSO, web identity, ECS or EKS, or the instance;
/// with a profile, those of the profile alone. The region likewise. This takes seconds if an instance
/// metadata service has to be waited for, and never fails: missing credentials show at the first call.
pub async fn load(
    profile: Option<&str>,
    default_region: &'static str,
    http: impl Future<Output = Result<SharedHttpClient, Failure>>,
) -> SdkConfig {
    let read = read_profile(profile).await;
    // Missing credentials are loaded again, for any cause.
    let fault = read.as_ref().err();
    let fault = fault.map(|failure| Failure::new(Reason::Credentials, &failure.message));
    let files = read.unwrap_or_else(|_| Profile::none(profile));
    let http = match &files.ca_bundle {
        Some(path) if environment::value(http::CA_BUNDLE).is_none() => {
            let client = http::client(Some(path)).await;
            client.map_err(|failure| {
                let message = format!("ca_bundle of profile {}: {failure}", files.name);
                Failure::new(failure.reason, message)
            })
        }
        _ => http.await,
    };
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .app_name(AppName::new("iam-key-exporter").expect("letters and dashes only"))
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(time_limits())
        // A program has its own time limit, with a better message.
        .identity_cache(
            IdentityCache::lazy()
                .load_timeout(credential_process::TIMEOUT + Duration::from_secs(1))
                .build(),
        )
        .profile_files(files.files.clone())
        .profile_name(&files.name);
    let (http, mut fault) = match http {
        Ok(http) => (Some(http), fault),
        Err(failure) => {
            let failure = Failure::new(Reason::Credentials, failure.message);
            (None, Some(fault.unwrap_or(failure)))
        }
    };
    let Some(http) = http else {
        let fault = fault.take().expect("without a client there is a fault");
        let region = Region::from_static(default_region);
        return loader.region(region).credentials_provider(Broken(fault)).load().await;
    };
    let conf = ProviderConfig::default().with_http_client(http.clone());
    let region = region(profile, &files, &conf).await;
    let region = region.unwrap_or(Region::from_static(default_region));
    let conf = conf.with_region(Some(region.clone()));
    let chain = Chain::new(profile, files, fault, &conf);
    loader.http_client(http).region(region).credentials_provider(chain).load().await
}

async fn read_profile(name: Option<&str>) -> Result<Profile, Failure> {
    let name = name.map(str::to_owned);
    read_in_turn("the AWS profile files", move || profiles::read(name.as_deref())).await
}

async fn region(named: Option<&str>, files: &Profile, conf: &ProviderConfig) -> Option<Region> {
    // The environment's variables are for the default credentials.
    if let (None, Some(region)) = (named, environment::region()) {
        return Some(region);
    }
    let of_profile = ProfileFileRegionProvider::builder()
        .configure(conf)
        .profile_files(files.files.clone())
        .profile_name(&files.name)
        .build();
    let region = of_profile.region().await.filter(|region| !region.as_ref().is_empty());
    match (named, region) {
        (None, None) => ImdsRegionProvider::builder().configure(conf).build().region().await,
        (_, region) => region,
    }
}

/// Asks one provider after the other.
#[derive(Debug)]
struct Chain(Vec<Step>);

#[derive(Debug)]
struct Step {
    /// The name in messages.
    name: String,
    provider: SharedCredentialsProvider,
    token: Option<Token>,
}

/// A token that the provider sends.
#[derive(Debug)]
enum Token {
    File(PathBuf),
    SignOn,
}

impl Chain {
    fn new(
        named: Option<&str>,
        files: Profile,
        fault: Option<Failure>,
        conf: &ProviderConfig,
    ) -> Chain {
        let name = format!("profile {}", files.name);
        let token = Some(files.token_file.clone().map_or(Token::SignOn, Token::File));
        let of_profile = match fault {
            Some(fault) => SharedCredentialsProvider::new(Broken(fault)),
            None => SharedCredentialsProvider::new(profile_provider(files, conf)),
        };
        let of_profile = Step { name, provider: of_profile, token };
        if named.is_some() {
            return Chain(vec![of_profile]);
        }
        let token = |name| environment::value(name).map(|path| Token::File(path.into()));
        let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(conf).build();
        let container = EcsCredentialsProvider::builder().configure(conf).build();
        let instance = ImdsCredentialsProvider::builder().configure(conf).build();
        let web_identity_token = token("AWS_WEB_IDENTITY_TOKEN_FILE");
        let container_token = token("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        Chain(vec![
            Step::new("the environment", Environment, None),
            of_profile,
            Step::new("web identity", web_identity, web_identity_token),
            Step::new("the container (ECS, EKS Pod Identity)", container, container_token),
            Step::new("the instance's metadata", instance, None),
        ])
    }

    async fn credentials(&self) -> Result<Credentials, Failure> {
        for step in &self.0 {
            if let Some(credentials) = step.credentials().await? {
                return Ok(credentials);
            }
        }
        let names: Vec<&str> = self.0.iter().map(|step| step.name.as_str()).collect();
        let message = format!("no credentials found in {}", names.join(", "));
        Err(Failure::new(Reason::Credentials, message))
    }
}

fn profile_provider(files: Profile, conf: &ProviderConfig) -> ProfileFileCredentialsProvider {
    let mut builder = ProfileFileCredentialsProvider::builder()
        .configure(conf)
        .profile_files(files.files)
        .profile_name(files.name)
        .with_custom_provider("Environment", Environment);
    for (name, process) in files.processes {
        builder = builder.with_custom_provider(name, process);
    }
    builder.build()
}

impl Step {
    fn new(name: &str, provider: impl ProvideCredentials + 'static, token: Option<Token>) -> Step {
        Step { name: name.to_owned(), provider: SharedCredentialsProvider::new(provider), token }
    }

    /// `None` if the provider is not configured.
    async fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        match &self.token {
            Some(Token::File(path)) => {
                let (path, name) = (path.clone(), self.name.clone());
                let what = path.display().to_string();
                read_in_turn(&what, move || tokens::check_token(&path, &name)).await?;
            }
            Some(Token::SignOn) => {
                let read = || {
                    tokens::add_sign_on_tokens();
                    Ok(())
                };
                read_in_turn("the tokens of the AWS CLI", read).await?;
            }
            None => {}
        }
        let credentials = match self.provider.provide_credentials().await {
            Ok(credentials) => credentials,
            Err(CredentialsError::CredentialsNotLoaded(_)) => return Ok(None),
            Err(error) => return Err(errors::of_provider(&self.name, &error)),
        };
        secrets::add(credentials.secret_access_key());
        credentials.session_token().into_iter().for_each(secrets::add);
        // The SDK panics on such a key when it signs.
        let name = format!("{}: the access key id", self.name);
        check_key(&name, credentials.access_key_id())?;
        let name = format!("{}: the session token", self.name);
        check_key(&name, credentials.session_token().unwrap_or_default())?;
        Ok(Some(credentials))
    }
}

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.credentials().await.map_err(CredentialsError::provider_error)
        })
    }
}

/// The access key of the environment, without the blanks around it.
#[derive(Debug)]
struct Environment;

impl ProvideCredentials for Environment {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(match environment::credentials() {
            Ok(Some(credentials)) => Ok(credentials),
            Ok(None) => Err(CredentialsError::not_loaded_no_source()),
            Err(failure) => Err(CredentialsError::provider_error(failure)),
        })
    }
}

/// There are no credentials, for this reason.
#[derive(Debug)]
struct Broken(Failure);

impl ProvideCredentials for Broken {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::provider_error(self.0.clone())))
    }
}
