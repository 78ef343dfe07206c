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
    /// The flag that overrides the file, if it was given.
    pub max_age: Option<TimeDelta>,
}

impl Origin {
    /// Reads the file, if there is one, and applies the flag.
    pub fn load(&self) -> Result<Config, Error> {
        let mut config = match &self.file {
            Some(file) => Config::load(file)?,
            None => self.default.clone(),
        };
        if let Some(max_age) = self.max_age {
            config.policy.max_age = max_age;
        }
        Ok(config)
    }
}
