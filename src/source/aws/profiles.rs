//! The AWS profile files, read and checked before the SDK sees them: it silently ignores files that
//! it cannot read, and its errors name no file or line.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use aws_runtime::env_config::file::{EnvConfigFileKind as Kind, EnvConfigFiles};
use serde_json::Value as Json;

use super::credential_process::CredentialProcess;
use super::environment::{
    self, add_if_swapped, add_password, check_key, check_path, check_region, check_url,
};
use crate::failure::{Failure, Reason};
use crate::secrets;
use crate::source::regular_file;

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

/// Profiles are a few kilobytes. The rest of a file is not read.
const MAX_PROFILES: u64 = 16 << 20;

/// A line `key = value` of a profile.
#[derive(Debug)]
struct Property {
    value: String,
    file: usize,
    /// From 0.
    line: usize,
}

/// The properties of profiles, as both files have them together, by profile and key.
type Properties = BTreeMap<String, BTreeMap<String, Vec<Property>>>;

#[derive(Debug)]
struct File {
    kind: Kind,
    path: PathBuf,
    lines: Vec<String>,
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

impl File {
    /// A missing file counts as empty.
    fn read(kind: Kind, path: PathBuf) -> Result<File, Failure> {
        // Naming /dev/null is a common way to have no such file.
        let is_device = fs::metadata(&path).is_ok_and(|it| it.file_type().is_char_device());
        let read = if is_device { Ok(Vec::new()) } else { regular_file::read(&path, MAX_PROFILES) };
        let text = match read {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => {
                    let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                    let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
                    return Err(failure(&format!("{}:{line}: not UTF-8", path.display())));
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failure(&format!("{}: {error}", path.display()))),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        // For the SDK an indented comment is a part of the value above it.
        let is_comment = |line: &str| line.trim_start().starts_with(['#', ';']);
        let lines = text.lines().map(|line| if is_comment(line) { "" } else { line });
        Ok(File { kind, path, lines: lines.map(str::to_owned).collect() })
    }

    fn fault(&self, line: usize, what: &str) -> Failure {
        failure(&format!("{}:{}: {what}", self.path.display(), line + 1))
    }

    /// Adds the lines of this file, by the SDK's rules.
    fn parse(&self, file: usize, properties: &mut Properties) -> Result<(), Failure> {
        let mut section: Option<Option<String>> = None;
        let mut takes_nested = false;
        for (line, text) in self.lines.iter().enumerate() {
            let fault = |what: &str| self.fault(line, what);
            let is_indented = text.starts_with([' ', '\t']);
            if text.trim().is_empty() || text.starts_with(['#', ';']) {
                continue;
            }
            if text.starts_with('[') {
                let title = text.split(['#', ';']).next().unwrap_or_default().trim();
                let title = title.strip_prefix('[').and_then(|title| title.strip_suffix(']'));
                let title = title.ok_or_else(|| fault("a section must end with ]"))?;
                section = Some(self.profile_name(title));
                if let Some(Some(name)) = &section {
                    properties.entry(name.clone()).or_default();
                }
                takes_nested = false;
                continue;
            }
            let Some(profile) = &section else {
                return Err(fault("a line before the first section, such as [default]"));
            };
            let (key, value) = property(text).ok_or_else(|| fault("must be like key = value"))?;
            if is_indented {
                if !takes_nested {
                    return Err(fault(
                        "an indented line belongs to the line above: remove the indent",
                    ));
                }
                if key == "endpoint_url" {
                    check_url(value).map_err(|what| fault(&format!("endpoint_url {what}")))?;
                }
                continue;
            }
            takes_nested = value.is_empty();
            if let Some(profile) = profile {
                let profile = properties.entry(profile.clone()).or_default();
                let property = Property { value: value.to_owned(), file, line };
                profile.entry(key).or_default().push(property);
            }
        }
        Ok(())
    }

    /// The profile of a section. Other sections are of sign-on sessions or services.
    fn profile_name(&self, title: &str) -> Option<String> {
        let title = title.trim();
        if matches!(self.kind, Kind::Credentials) || title == "default" {
            return Some(title.to_owned());
        }
        let (kind, name) = title.split_once([' ', '\t'])?;
        (kind == "profile").then(|| name.trim().to_owned())
    }
}

/// Key, in lower case, and value of a line, without a comment.
fn property(line: &str) -> Option<(String, &str)> {
    let comment = line.char_indices().zip(line.chars().skip(1));
    let end = comment
        .filter(|((_, before), c)| before.is_whitespace() && matches!(c, '#' | ';'))
        .map(|((place, _), _)| place)
        .next();
    let (key, value) = line[..end.unwrap_or(line.len())].split_once('=')?;
    let key = key.trim().to_ascii_lowercase();
    (!key.is_empty()).then(|| (key, value.trim()))
}

/// Refuses values on which the SDK panics, and registers secrets.
fn check_values(files: &[File], properties: &Properties) -> Result<(), Failure> {
    for (key, property) in properties
        .values()
        .flatten()
        .flat_map(|(key, all)| all.iter().map(move |property| (key.as_str(), property)))
    {
        let fault = |failure: Failure| files[property.file].fault(property.line, &failure.message);
        match key {
            "aws_secret_access_key" | "aws_session_token" | "external_id" => {
                secrets::add(&property.value);
            }
            "aws_access_key_id" => add_if_swapped(&property.value),
            "endpoint_url" | "ec2_metadata_service_endpoint" => add_password(&property.value),
            _ => {}
        }
        match key {
            "aws_access_key_id" | "aws_secret_access_key" | "aws_session_token" => {
                check_key(key, &property.value).map_err(fault)?;
            }
            "endpoint_url" => check_url(&property.value)
                .map_err(|what| fault(failure(&format!("endpoint_url {what}"))))?,
            _ => {}
        }
    }
    Ok(())
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

/// Refuses values of the used profiles on which the SDK panics or fails with an unclear message.
fn check_used(files: &[File], properties: &Properties, names: &[&str]) -> Result<(), Failure> {
    let keys = names.iter().filter_map(|name| properties.get(*name)).flatten();
    let last = keys.filter_map(|(key, all)| Some((key.as_str(), all.last()?)));
    // An empty one counts as unset.
    for (key, property) in last.filter(|(_, property)| !property.value.is_empty()) {
        let checked = match key {
            "ec2_metadata_service_endpoint" => check_url(&property.value),
            "region" | "sso_region" => check_region(&property.value),
            "web_identity_token_file" | "ca_bundle" => check_path(&property.value),
            _ => Ok(()),
        };
        checked
            .map_err(|what| files[property.file].fault(property.line, &format!("{key} {what}")))?;
    }
    Ok(())
}

fn check_login(properties: &Properties, profile: &str) -> Result<(), Failure> {
    let has = |key| get(properties, profile, key).is_some();
    if !has("login_session") || has("credential_source") || has("credential_process") {
        return Ok(());
    }
    Err(failure(&format!(
        "profile {profile} signs in with `aws login`, which the exporter cannot use: add the line \
         `credential_process = aws configure export-credentials --profile {profile} --format process` \
         to another profile and use that, or use a role or IAM Identity Center (SSO)"
    )))
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

/// Tokens are a few kilobytes.
const MAX_TOKEN: u64 = 1 << 20;

/// Reads the file of a token, which is known as a secret from then on.
pub fn check_token(path: &Path, what: &str) -> Result<(), Failure> {
    let bytes = regular_file::read(path, MAX_TOKEN)
        .map_err(|error| failure(&format!("{what}: {}: {error}", path.display())))?;
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok("") => Err(failure(&format!("{what}: {} is empty", path.display()))),
        Ok(token) => {
            secrets::add(token);
            Ok(())
        }
        Err(_) => Err(failure(&format!("{what}: {} is not UTF-8", path.display()))),
    }
}

/// Knows the tokens of sign-on sessions that the AWS CLI keeps.
pub fn add_sign_on_tokens() {
    let Ok(entries) = fs::read_dir(in_home("~/.aws/sso/cache")) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let session = regular_file::read(&path, MAX_TOKEN)
            .ok()
            .and_then(|text| serde_json::from_slice::<Json>(&text).ok());
        for key in ["accessToken", "refreshToken", "clientSecret"] {
            if let Some(Json::String(token)) = session.as_ref().and_then(|session| session.get(key))
            {
                secrets::add(token);
            }
        }
    }
}

fn in_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

fn failure(message: &str) -> Failure {
    Failure::new(Reason::Credentials, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File {
            kind: Kind::Config,
            path: "/c".into(),
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    fn fault(text: &str) -> String {
        let (file, mut properties) = (file(text), Properties::new());
        let parsed = file.parse(0, &mut properties);
        let files = [file];
        let checked = parsed.and_then(|()| check_values(&files, &properties));
        let names = chain(&properties, "default");
        checked.and_then(|()| check_used(&files, &properties, &names)).expect_err(text).message
    }

    fn parsed(text: &str) -> (Vec<File>, Properties) {
        let (file, mut properties) = (file(text), Properties::new());
        file.parse(0, &mut properties).expect(text);
        (vec![file], properties)
    }

    #[test]
    fn a_fault_is_named_with_its_line() {
        for (text, expected) in [
            ("a = b", "/c:1: a line before the first section, such as [default]"),
            ("[default]\n[x", "/c:2: a section must end with ]"),
            ("[default]\nregion", "/c:2: must be like key = value"),
            (
                "[default]\nregion = x\n  aws_access_key_id = A",
                "/c:3: an indented line belongs to the line above: remove the indent",
            ),
            (
                "[default]\n  region = x",
                "/c:2: an indented line belongs to the line above: remove the indent",
            ),
            (
                "[default]\n\naws_access_key_id = AK IA",
                "/c:3: aws_access_key_id has a blank or a line break in it",
            ),
            ("[default]\nregion = us-east-1 x", "/c:2: region must be a region such as eu-west-1"),
            (
                "[default]\nweb_identity_token_file = eyJhbGciOiJub25lIn0.e30.c2ln",
                "/c:2: web_identity_token_file is wrong: the value is not a path",
            ),
            (
                "[default]\nec2_metadata_service_endpoint = 127.0.0.1:1",
                "/c:2: ec2_metadata_service_endpoint must be a URL such as https://sts.eu-west-1.amazonaws.com",
            ),
            ("[default]\nendpoint_url =", "/c:2: endpoint_url is empty: unset it, or give a URL"),
            (
                "[services a]\niam =\n  endpoint_url = x",
                "/c:3: endpoint_url must be a URL such as https://sts.eu-west-1.amazonaws.com",
            ),
        ] {
            assert_eq!(fault(text), expected);
        }
    }

    #[test]
    fn a_profile_that_is_not_in_use_may_name_no_region() {
        let (files, properties) = parsed(
            "[default]\nregion = us-east-1\n[profile a]\nregion = <your region>\n\
             [profile b]\nrole_arn = r\nsource_profile = a",
        );
        let check = |name| check_used(&files, &properties, &chain(&properties, name));
        assert_eq!(check("default"), Ok(()));
        assert!(check("b").is_err_and(|failure| failure.message.starts_with("/c:4: region ")));
    }

    #[test]
    fn lines_are_read_by_the_sdks_rules() {
        let (_, properties) = parsed(
            "# c\n[profile a b]\nRegion=x # y\ns3 =\n  nested = 1\n[sso-session s]\nsso_region = z\n\
             [default]\ncolor = red#1\n",
        );
        assert_eq!(get(&properties, "a b", "region"), Some("x"));
        assert_eq!(get(&properties, "default", "color"), Some("red#1"));
        assert_eq!(properties.len(), 2);
    }

    #[test]
    fn a_process_becomes_a_source_unless_the_sdk_asks_others_first() {
        for (text, expected) in [
            (
                "[default]\ncredential_process = x",
                Some("[default]\ncredential_source = credential-process-0"),
            ),
            (
                "[default]\nrole_arn = r\nsource_profile = default\ncredential_process = x",
                Some("[default]\nrole_arn = r\n\ncredential_source = credential-process-0"),
            ),
            ("[default]\ncredential_process = x\ncredential_source = Environment", None),
            ("[default]\ncredential_process = x\nsso_session = s", None),
            ("[default]\ncredential_process = x\nrole_arn = r\nsource_profile = b", None),
        ] {
            let (mut files, properties) = parsed(text);
            let processes = replace_processes(&mut files, &properties);
            assert_eq!(processes.len(), usize::from(expected.is_some()), "{text}");
            assert_eq!(files[0].lines.join("\n"), expected.unwrap_or(text));
        }
    }

    #[test]
    fn a_chain_of_roles_ends_with_its_last_profile() {
        let (_, properties) = parsed(
            "[default]\nrole_arn = r\nsource_profile = b\n[profile b]\nlogin_session = x\n\
             [profile c]\nrole_arn = r\nsource_profile = d\n[profile d]\nrole_arn = r\nsource_profile = c",
        );
        assert_eq!(chain(&properties, "default"), ["default", "b"]);
        // A circle ends, too. The SDK refuses it.
        assert_eq!(chain(&properties, "c"), ["c", "d", "c"]);
        let message = check_login(&properties, "b").expect_err("aws login").message;
        assert!(message.contains("aws configure export-credentials --profile b"), "{message}");
    }
}
