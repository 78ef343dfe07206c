//! Logs: one line for each event on stderr, as logfmt or JSON, with the fields that Prometheus's
//! programs write. No line contains a known secret or a control character.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use chrono::SecondsFormat;
use clap::ValueEnum;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock::Clock;
use crate::printable::{is_printable, quote};
use crate::secrets;

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value`, as Prometheus writes it.
    Logfmt,
    /// One JSON object.
    Json,
}

/// Sets up logging for the whole process. Call it once.
pub fn init(level: Level, format: LogFormat) {
    // Libraries do not log: each failure is logged once, by the code that handles it, and an SDK's
    // debug output may hold secrets.
    let ours =
        Targets::new().with_target(env!("CARGO_CRATE_NAME"), level).with_default(LevelFilter::OFF);
    let layer = Lines { format, clock: Clock::system(), write: to_stderr };
    tracing_subscriber::registry().with(layer.with_filter(ours)).init();
}

/// If stderr cannot be written, the line is lost: there is no other place to report it.
fn to_stderr(line: &str) {
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Writes each event as a line.
struct Lines<W> {
    format: LogFormat,
    clock: Clock,
    write: W,
}

impl<S: Subscriber, W: Fn(&str) + 'static> Layer<S> for Lines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let time = self.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let file = metadata.file().unwrap_or("unknown");
        let file = file.rsplit_once("src/").map_or(file, |(_, below)| below);
        let mut line = Line { format: self.format, text: String::new() };
        line.text("time", &time);
        line.text("level", metadata.level().as_str());
        line.text("source", &format!("{file}:{}", metadata.line().unwrap_or(0)));
        event.record(&mut line);
        (self.write)(&line.end());
    }
}

/// A line that is being written.
struct Line {
    format: LogFormat,
    text: String,
}

impl Line {
    /// A value that is masked, and quoted if its format needs it.
    fn text(&mut self, key: &str, value: &str) {
        let value = secrets::mask(value);
        let needs_quotes = |c: char| c.is_whitespace() || "\"=".contains(c) || !is_printable(c);
        if self.format == LogFormat::Json || value.is_empty() || value.contains(needs_quotes) {
            self.raw(key, &quote(&value));
        } else {
            self.raw(key, &value);
        }
    }

    /// A value that is a number or in quotes.
    fn raw(&mut self, key: &str, value: &str) {
        let is_first = self.text.is_empty();
        let (separator, key) = match self.format {
            LogFormat::Logfmt => (if is_first { "" } else { " " }, format!("{key}=")),
            LogFormat::Json => (if is_first { "{" } else { "," }, format!("\"{key}\":")),
        };
        self.text.extend([separator, &key, value]);
    }

    fn end(mut self) -> String {
        self.text.push_str(match self.format {
            LogFormat::Logfmt => "\n",
            LogFormat::Json => "}\n",
        });
        self.text
    }
}

/// The message comes before the other fields of an event.
impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let key = if field.name() == "message" { "msg" } else { field.name() };
        self.text(key, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.text(field.name(), &value.to_string());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.raw(field.name(), &value.to_string());
        } else {
            self.text(field.name(), &value.to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.raw(field.name(), &value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.raw(field.name(), &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.raw(field.name(), &value.to_string());
    }
}

/// The lines at level info and above that this logs, as of the same time, and always from line 1.
#[cfg(test)]
pub fn lines(format: LogFormat, log: impl FnOnce()) -> String {
    use std::sync::{Arc, Mutex};

    let written = Arc::new(Mutex::new(String::new()));
    let to = written.clone();
    let write = move |line: &str| to.lock().expect("a text").push_str(line);
    let now = chrono::DateTime::from_timestamp_millis(1_500).expect("a time");
    let layer = Lines { format, clock: Clock::new(move || now), write };
    let layer = layer.with_filter(LevelFilter::INFO);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
    let source = regex::Regex::new("([.]rs):[1-9][0-9]*").expect("it is valid");
    source.replace_all(&written.lock().expect("a text"), "$1:1").into_owned()
}

#[cfg(test)]
mod tests {
    use tracing::{error, info, warn};

    use super::*;

    fn events() {
        info!(address = "127.0.0.1:9718", users = 3, share = 0.5, whole = true, "serving");
        let account: Option<&str> = None;
        warn!(account, file = "", count = u64::MAX, delta = -1, error = %fmt::Error, "not read: \"a=b\"");
        error!(nan = f64::NAN, list = ?["a", "b"], path = r"C:\x", "failed");
    }

    #[test]
    fn a_line_of_logfmt_begins_with_the_fields_of_prometheus() {
        let expected = r#"time=1970-01-01T00:00:01.500Z level=INFO source=logging.rs:1 msg=serving address=127.0.0.1:9718 users=3 share=0.5 whole=true
time=1970-01-01T00:00:01.500Z level=WARN source=logging.rs:1 msg="not read: \"a=b\"" file="" count=18446744073709551615 delta=-1 error="an error occurred when formatting an argument"
time=1970-01-01T00:00:01.500Z level=ERROR source=logging.rs:1 msg=failed nan=NaN list="[\"a\", \"b\"]" path=C:\x
"#;
        assert_eq!(lines(LogFormat::Logfmt, events), expected);
    }

    #[test]
    fn a_line_of_json_has_the_same_fields_in_the_same_order() {
        let lines = lines(LogFormat::Json, events);
        let first = r#"{"time":"1970-01-01T00:00:01.500Z","level":"INFO","source":"logging.rs:1","msg":"serving","address":"127.0.0.1:9718","users":3,"share":0.5,"whole":true}"#;
        assert_eq!(lines.lines().next(), Some(first));
        for line in lines.lines() {
            let _: serde_json::Value = serde_json::from_str(line).expect("JSON");
        }
    }

    #[test]
    fn no_value_reaches_a_terminal_raw_or_begins_a_line() {
        let name = "a\u{1b}[2J\u{9b}31m\nlevel=ERROR\r\u{202e}\u{7f}";
        let log = || info!(name, shown = %name, debug = ?name, "{name}");
        for format in [LogFormat::Logfmt, LogFormat::Json] {
            let line = lines(format, log);
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(line.trim_end_matches('\n').chars().all(is_printable), "{line:?}");
        }
        let json: serde_json::Value =
            serde_json::from_str(&lines(LogFormat::Json, log)).expect("JSON");
        assert_eq!((&json["name"], &json["msg"]), (&name.into(), &name.into()));
    }

    #[test]
    fn a_secret_is_masked_also_if_its_characters_are_escaped() {
        secrets::add("pass\"word\\of-logging");
        let line = lines(LogFormat::Logfmt, || info!(url = "x:pass\"word\\of-logging@y", "asked"));
        assert!(line.ends_with("msg=asked url=x:***@y\n"), "{line}");
    }
}
