//! The AWS profile files, read and checked before the SDK sees them: it silently ignores files that
//! it cannot read, and its errors name no file or line.

mod check;
mod file;

use std::env;
use std::path::{Path, PathBuf};

use aws_runtime::env_config::file::{EnvConfigFileKind as Kind, EnvConfigFiles};

use super::credential_process::CredentialProcess;
use super::environment;
use crate::failure::{Failure, Reason};
use check::{check_login, check_used, check_values};
use file::{File, Properties};

/// One profile of the profile files.
#[derive(Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// The files, for the SDK.
    pub files: EnvConfigFiles,
    /// Programs that print credentials, by the names under which `files` calls for them.
    pub processes: Vec<(String, CredentialProcess)>,
    /// The file of the certificates to trust.
    pub ca_bundle: Option<PathBuf>,
    /// The file of the web identity token that the profile, or the last of its sources, needs.
    pub token_file: Option<PathBuf>,
}

/// Reads the files for this profile, or for the one of `AWS_PROFILE`, or for `default`. It may be in
/// none of them only if it is not named.
///
/// Registers the secrets in it. Blocks on the disk.
pub fn read(name: Option<&str>) -> Result<Profile, Failure> {
    let named = name.map(str::to_owned).or_else(|| environment::value("AWS_PROFILE"));
    let mut files = Vec::new();
    for (kind, variable, default) in [
        (Kind::Config, "AWS_CONFIG_FILE", "~/.aws/config"),
        (Kind::Credentials, "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ] {
        let path = environment::value(variable).unwrap_or_else(|| default.to_owned());
        files.push(File::read(kind, in_home(&path))?);
    }
    let mut properties = Properties::new();
    for (index, file) in files.iter().enumerate() {
        file.parse(index, &mut properties)?;
    }
    check_values(&files, &properties)?;
    let name = match named {
        Some(name) if !properties.contains_key(&name) => {
            let [config, credentials] = [&files[0].path, &files[1].path].map(|path| path.display());
            return Err(failure(&format!("no profile {name} in {config} or {credentials}")));
        }
        Some(name) => name,
        None => "default".to_owned(),
    };
    let names = chain(&properties, &name);
    check_used(&files, &properties, &names)?;
    let last = names.last().copied().unwrap_or(&name);
    check_login(&properties, last)?;
    let token_file = get(&properties, last, "web_identity_token_file").map(in_home);
    let ca_bundle = get(&properties, &name, "ca_bundle").map(in_home);
    let processes = replace_processes(&mut files, &properties);
    Ok(Profile { files: for_sdk(files), name, processes, ca_bundle, token_file })
}

impl Profile {
    /// No profile, and no files.
    pub fn none(name: Option<&str>) -> Profile {
        Profile {
            name: name.unwrap_or("default").to_owned(),
            files: for_sdk(Vec::new()),
            processes: Vec::new(),
            ca_bundle: None,
            token_file: None,
        }
    }
}

fn get<'a>(properties: &'a Properties, profile: &str, key: &str) -> Option<&'a str> {
    Some(properties.get(profile)?.get(key)?.last()?.value.as_str())
}

/// The profile and its sources: each takes a role with the credentials of the next one.
fn chain<'a>(properties: &'a Properties, first: &'a str) -> Vec<&'a str> {
    let (mut names, mut name) = (vec![first], first);
    while get(properties, name, "role_arn").is_some()
        && let Some(source) = get(properties, name, "source_profile")
    {
        let is_circle = names.contains(&source);
        names.push(source);
        if is_circle {
            break;
        }
        name = source;
    }
    names
}

/// Calls for our own provider in the place of each `credential_process`.
fn replace_processes(
    files: &mut [File],
    properties: &Properties,
) -> Vec<(String, CredentialProcess)> {
    let mut processes = Vec::new();
    for (profile, keys) in properties {
        let has = |key: &str| keys.contains_key(key);
        let source = get(properties, profile, "source_profile");
        // The SDK asks for these first.
        let is_used = !has("credential_source")
            && !has("web_identity_token_file")
            && !keys.keys().any(|key| key.starts_with("sso_"))
            && (!has("role_arn") || source == Some(profile));
        let Some(command) = get(properties, profile, "credential_process").filter(|_| is_used)
        else {
            continue;
        };
        let name = format!("credential-process-{}", processes.len());
        processes.push((name.clone(), CredentialProcess::new(profile, command)));
        for key in ["credential_process", "login_session", "source_profile"] {
            for property in keys.get(key).into_iter().flatten() {
                let line = match key {
                    "credential_process" => format!("credential_source = {name}"),
                    "source_profile" if !has("role_arn") => continue,
                    _ => String::new(),
                };
                files[property.file].lines[property.line] = line;
            }
        }
    }
    processes
}

fn for_sdk(files: Vec<File>) -> EnvConfigFiles {
    let mut builder = EnvConfigFiles::builder();
    for file in files {
        builder = builder.with_contents(file.kind, file.lines.join("\n"));
    }
    // The SDK has no files that are none.
    builder.with_contents(Kind::Config, "").build()
}

pub(super) fn in_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

fn failure(message: &str) -> Failure {
    Failure::new(Reason::Credentials, message)
}

#[cfg(test)]
mod tests;
