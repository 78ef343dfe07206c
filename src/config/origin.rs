//! Where the configuration comes from.

use std::path::PathBuf;

use chrono::TimeDelta;

use super::{Config, Error};

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The configuration to use without a file.
    pub default: Config,
    /// The flag that overrides the file's `rotation.max_age`, if it was given.
    pub max_age: Option<TimeDelta>,
    /// The flag that overrides the file's `rotation.warn_before`, if it was given.
    pub warn_before: Option<TimeDelta>,
}

impl Origin {
    /// Reads the file, if there is one, and applies the flags.
    pub fn load(&self) -> Result<Config, Error> {
        let config = match &self.file {
            Some(file) => Config::load(file)?,
            None => self.default.clone(),
        };
        Ok(self.with_flags(config))
    }

    /// The same while `before` is in force. An empty file is refused if it would change that: a file that is
    /// being written, or a volume that is full, looks so.
    pub fn load_again(&self, before: &Config) -> Result<Config, Error> {
        let Some(path) = &self.file else { return self.load() };
        let text = Config::read(path)?;
        let config = self.with_flags(Config::parse(&text, path)?);
        if text.trim_start_matches('\u{feff}').trim().is_empty() && config != *before {
            return Err(Error::Emptied { path: path.clone() });
        }
        Ok(config)
    }

    fn with_flags(&self, mut config: Config) -> Config {
        if let Some(max_age) = self.max_age {
            config.policy.max_age = max_age;
        }
        if let Some(warn_before) = self.warn_before {
            config.policy.warn_before = warn_before;
        }
        config
    }
}
