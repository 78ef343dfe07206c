//! Escapes for text from AWS, files and clients, so that it is safe on a terminal or in a spreadsheet, and
//! times as text.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// Whether a terminal shows the character and nothing else changes. Control characters can move the
/// cursor or start a new line, and direction marks can reverse the text after them.
pub fn is_printable(c: char) -> bool {
    let turns_direction = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !c.is_control() && !turns_direction
}

/// The text with an escape such as `\n` or `\u001b` for each character that is not printable, as in JSON
/// and in logfmt.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut escaped, c));
    escaped
}

/// The same, but line breaks stay.
pub fn escape_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(escape).collect();
    lines.join("\n")
}

/// The text as a string of JSON and of logfmt, in quotes.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        push_escaped(&mut quoted, c);
    }
    quoted.push('"');
    quoted
}

fn push_escaped(to: &mut String, c: char) {
    match c {
        '\n' => to.push_str("\\n"),
        '\r' => to.push_str("\\r"),
        '\t' => to.push_str("\\t"),
        c if is_printable(c) => to.push(c),
        // None of them is above U+FFFF.
        c => write!(to, "\\u{:04x}", u32::from(c)).expect("a string can be written to"),
    }
}

/// The text as a cell of CSV that no spreadsheet calculates. Names and tags can begin like a formula: such
/// a cell gets an apostrophe in front. In some languages wide forms of the signs count, too.
pub fn spreadsheet_cell(text: String) -> String {
    const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    if text.starts_with(FORMULA) { format!("'{text}") } else { text }
}

/// The time to the second, such as `2026-01-31T09:30:00Z`.
pub fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// As [`time`].
pub fn serialize_time<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    time(*at).serialize(serializer)
}

/// As [`time`], or nothing.
pub fn serialize_time_if_any<S: Serializer>(
    at: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    at.map(time).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_moves_the_cursor_or_turns_the_direction_is_escaped() {
        let text = "a\u{1b}[2Jb\r\n\tc\u{9b}31m\u{7f}\u{202e}d\0 \u{e9}\u{1f511}\\";
        let escaped = r"a\u001b[2Jb\r\n\tc\u009b31m\u007f\u202ed\u0000 ";
        assert_eq!(escape(text), format!("{escaped}\u{e9}\u{1f511}\\"));
        assert_eq!(escape_lines("a\u{1b}\n\tb\n"), "a\\u001b\n\\tb\n");
    }

    #[test]
    fn a_cell_that_would_be_a_formula_begins_with_an_apostrophe() {
        for sign in "=+-@\t\r\n＝＋－＠".chars() {
            assert_eq!(spreadsheet_cell(format!("{sign}1")), format!("'{sign}1"));
        }
        for text in ["", "a=b", "1.5", "'=1", " x"] {
            assert_eq!(spreadsheet_cell(text.to_owned()), text);
        }
    }

    proptest! {
        #[test]
        fn a_quoted_text_is_printable_and_json_that_reads_as_before(text in any::<String>()) {
            let quoted = quote(&text);
            prop_assert!(quoted.chars().all(is_printable), "{quoted}");
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).expect("JSON"), text);
        }
    }
}
