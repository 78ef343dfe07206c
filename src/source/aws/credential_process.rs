//! Credentials that a program prints: `credential_process` of a profile.
//!
//! The SDK's own provider lets a program that hangs run on, and starts the next one beside it.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use chrono::DateTime;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::environment::{add_if_swapped, check_key};
use super::turns::turn;
use crate::failure::{Failure, Reason};
use crate::secrets;

/// The time limit of the program, with the time that it waits for its turn. The call that needs the
/// credentials ends later, so that the failure names the program.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// Credentials are a few kilobytes.
const MAX_OUTPUT: u64 = 64 << 10;

/// Runs the program of a profile.
#[derive(Clone)]
pub struct CredentialProcess {
    profile: String,
    /// May hold secrets.
    command: String,
}

/// The output of the program.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// Kills the program and its children.
struct ProcessGroup(Option<Pid>);

impl CredentialProcess {
    /// The program of this profile.
    pub fn new(profile: &str, command: &str) -> CredentialProcess {
        CredentialProcess { profile: profile.to_owned(), command: command.to_owned() }
    }

    async fn run(&self) -> Result<Credentials, Failure> {
        let turn = turn(&format!("the program of profile {}", self.profile));
        let run = async {
            let _turn = turn.lock().await;
            self.output().await
        };
        let seconds = TIMEOUT.as_secs();
        let output = timeout(TIMEOUT, run).await.unwrap_or_else(|_| {
            Err(self.failure(&format!("did not end within {seconds} seconds and was killed")))
        })?;
        self.read(&output)
    }

    /// Its output on stdout. Its stderr is dropped, because it may be a secret.
    async fn output(&self) -> Result<Vec<u8>, Failure> {
        let cannot = |error: io::Error| self.failure(&format!("cannot be run: {error}"));
        let mut child = Command::new("sh")
            .args(["-c", &self.command])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot)?;
        let mut group = ProcessGroup(child.id().and_then(|id| Pid::from_raw(id as i32)));
        let mut output = Vec::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        stdout.take(MAX_OUTPUT).read_to_end(&mut output).await.map_err(cannot)?;
        let status = child.wait().await.map_err(cannot)?;
        // Its id may belong to another program now.
        group.0 = None;
        if status.success() { Ok(output) } else { Err(self.failure(&format!("failed: {status}"))) }
    }

    fn read(&self, output: &[u8]) -> Result<Credentials, Failure> {
        let unreadable = || {
            self.failure(
                "printed something other than JSON with Version 1, AccessKeyId and SecretAccessKey",
            )
        };
        // The error of the parser can contain the output.
        let printed: Printed = serde_json::from_slice(output).map_err(|_| unreadable())?;
        add_if_swapped(&printed.access_key_id);
        secrets::add(&printed.secret_access_key);
        printed.session_token.iter().for_each(|token| secrets::add(token));
        let expiration = printed.expiration.map(|time| DateTime::parse_from_rfc3339(&time));
        let expiration = expiration.transpose().map_err(|_| unreadable())?;
        if printed.version != 1 {
            return Err(unreadable());
        }
        check_key("AccessKeyId", &printed.access_key_id)
            .map_err(|failure| self.failure(&format!("printed an invalid key: {failure}")))?;
        Ok(Credentials::new(
            printed.access_key_id,
            printed.secret_access_key,
            printed.session_token,
            expiration.map(Into::into),
            "credential_process",
        ))
    }

    fn failure(&self, what: &str) -> Failure {
        let message = format!("credential_process of profile {} {what}", self.profile);
        Failure::new(Reason::Credentials, message)
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It is usually gone.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl ProvideCredentials for CredentialProcess {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.run().await.map_err(CredentialsError::provider_error)
        })
    }
}

impl std::fmt::Debug for CredentialProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CredentialProcess({})", self.profile)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;

    fn message(failure: Result<Credentials, Failure>) -> String {
        failure.expect_err("a failure").message
    }

    #[tokio::test]
    async fn what_the_program_prints_is_used() {
        let command = r#"echo '{"Version": 1, "AccessKeyId": "AKIA1", "SecretAccessKey": "printed-secret-1", "Expiration": "2099-01-01T00:00:00Z"}'"#;
        let credentials = CredentialProcess::new("a", command).run().await.expect("credentials");
        assert_eq!(credentials.access_key_id(), "AKIA1");
        assert!(credentials.expiry().is_some());
        assert_eq!(secrets::mask("printed-secret-1"), secrets::MASK);
    }

    #[tokio::test]
    async fn a_program_that_fails_is_named_without_what_it_wrote() {
        let failed = CredentialProcess::new("b", "echo hidden-1; echo hidden-2 >&2; exit 3");
        let expected = "credential_process of profile b failed: exit status: 3";
        assert_eq!(message(failed.run().await), expected);
        let garbage = message(CredentialProcess::new("b", "echo hidden-1").run().await);
        assert!(garbage.contains("printed something other than JSON"), "{garbage}");
        assert!(!garbage.contains("hidden"), "{garbage}");
    }

    #[tokio::test]
    async fn a_program_that_is_given_up_is_killed_with_all_that_it_started() {
        let folder =
            std::env::temp_dir().join(format!("credential-process-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let pid = folder.join("pid");
        let command = format!("sleep 300 & echo $! > {}; wait; true", pid.display());
        let process = CredentialProcess::new("c", &command);
        let given_up = timeout(Duration::from_secs(2), process.run()).await;
        assert!(given_up.is_err());
        let id = fs::read_to_string(&pid).expect("the program ran");
        let stat = format!("/proc/{}/stat", id.trim());
        let end = Instant::now() + Duration::from_secs(10);
        // It may still be there as a zombie, until init collects it.
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < end, "still running");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = fs::remove_dir_all(&folder);
    }

    #[tokio::test]
    async fn the_program_of_a_profile_runs_once_at_a_time() {
        let folder = std::env::temp_dir().join(format!("credential-turns-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let command =
            format!("mkdir {0}/running && sleep 0.3 && rmdir {0}/running", folder.display());
        let process = CredentialProcess::new("d", &command);
        let (one, other) = tokio::join!(process.run(), process.run());
        // Both ran to their end, and printed nothing.
        assert!(message(one).contains("printed something other"));
        assert!(message(other).contains("printed something other"));
        let _ = fs::remove_dir_all(&folder);
    }
}
