//! The configuration file.

#![no_main]

use iam_key_exporter::config::Config;
use iam_key_exporter_fuzz::now;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Config::parse(text, "config.yaml".as_ref()) {
        Ok(config) => {
            let _ = (config.to_string(), config.warnings(now()), config.tag_keys());
        }
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains(char::is_control), "{error:?}");
            let rest = error.strip_prefix("config.yaml:").expect("the file");
            let (line, _) = rest.split_once(": ").expect("a line");
            assert!(line.parse::<usize>().is_ok_and(|line| line > 0), "{error}");
        }
    }
});
