//! A profile file: its lines by the SDK's rules.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use aws_runtime::env_config::file::EnvConfigFileKind as Kind;

use super::failure;
use crate::failure::Failure;
use crate::source::aws::environment::check_url;
use crate::source::regular_file;

/// Profiles are a few kilobytes. The rest of a file is not read.
const MAX_PROFILES: u64 = 16 << 20;

/// A line `key = value` of a profile.
#[derive(Debug)]
pub struct Property {
    pub value: String,
    pub file: usize,
    /// From 0.
    pub line: usize,
}

/// The properties of profiles, as both files have them together, by profile and key.
pub type Properties = BTreeMap<String, BTreeMap<String, Vec<Property>>>;

#[derive(Debug)]
pub struct File {
    pub kind: Kind,
    pub path: PathBuf,
    pub lines: Vec<String>,
}

impl File {
    /// A missing file counts as empty.
    pub fn read(kind: Kind, path: PathBuf) -> Result<File, Failure> {
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

    pub fn fault(&self, line: usize, what: &str) -> Failure {
        failure(&format!("{}:{}: {what}", self.path.display(), line + 1))
    }

    /// Adds the lines of this file, by the SDK's rules.
    pub fn parse(&self, file: usize, properties: &mut Properties) -> Result<(), Failure> {
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
