//! Reads the configuration from its sources.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use chrono::TimeDelta;

use super::{Config, Error};
use crate::pipe;

/// The sources of the configuration.
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
    /// The text of a file that is a pipe, after it was read. Clones share it.
    pub piped: Arc<OnceLock<String>>,
}

impl Origin {
    /// Reads the file, if there is one, and applies the flags.
    pub fn load(&self) -> Result<Config, Error> {
        let config = match &self.file {
            Some(file) => Config::parse(&self.first_text(file)?, file)?,
            None => self.default.clone(),
        };
        Ok(self.with_flags(config))
    }

    /// Reads it again for a reload. `before` is the current configuration. An empty file is refused
    /// if it would change that, because a file looks empty while it is written, or if the volume is
    /// full. The text of a pipe is kept.
    pub fn load_again(&self, before: &Config) -> Result<Config, Error> {
        let Some(path) = &self.file else { return self.load() };
        let text = self.piped.get().map_or_else(|| Config::read(path), |text| Ok(text.clone()))?;
        let config = self.with_flags(Config::parse(&text, path)?);
        if text.trim_start_matches('\u{feff}').trim().is_empty() && config != *before {
            return Err(Error::Emptied { path: path.clone() });
        }
        Ok(config)
    }

    /// Whether a reload keeps the text from the start, because a pipe can be read only once.
    pub fn is_piped(&self) -> bool {
        self.piped.get().is_some()
    }

    /// The text of the file, or of a pipe that is read now or was read before.
    fn first_text(&self, file: &Path) -> Result<String, Error> {
        if let Some(text) = self.piped.get() {
            return Ok(text.clone());
        }
        if !pipe::is_pipe(file) {
            return Config::read(file);
        }
        let text = Config::read_pipe(file)?;
        Ok(self.piped.get_or_init(|| text).clone())
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
