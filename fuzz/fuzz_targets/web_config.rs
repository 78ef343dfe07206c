//! The web configuration file. Files that it names are not there.

#![no_main]

use iam_key_exporter::web::config::WebConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match WebConfig::parse(text, "nowhere/web.yml".as_ref()) {
        Ok(config) => drop(config.to_string()),
        Err(error) => {
            let error = error.to_string();
            assert_eq!(error.lines().count(), 1, "{error}");
            let rest = error.strip_prefix("nowhere/web.yml:").expect("the file");
            let (line, _) = rest.split_once(": ").expect("a line");
            assert!(line.parse::<usize>().is_ok_and(|line| line > 0), "{error}");
        }
    }
});
