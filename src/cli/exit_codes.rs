//! The exit codes of each command, for its help and for the documentation.

/// The exit codes 0, 1 and 2 of each command, and of the server, whose name is empty. A code that a
/// command never has is empty.
pub const EXIT_CODES: [(&str, [&str; 3]); 6] = [
    ("", ["stopped by a signal", "", COULD_NOT_START]),
    (
        "check",
        [
            "no unrotated keys, or with --controls no violations",
            "some unrotated keys, or with --controls some violations",
            COULD_NOT_TELL,
        ],
    ),
    ("check-config", ["the files are valid", "", "a flag or a file is invalid"]),
    ("demo", ["stopped by a signal", "", COULD_NOT_START]),
    ("health", ["healthy, or ready", "not healthy, not ready, or no answer", "a flag is invalid"]),
    ("metrics-doc", ["printed", "", "a flag or a file is invalid"]),
];

const COULD_NOT_START: &str = "it could not start, for example because a flag or a file is invalid";
const COULD_NOT_TELL: &str =
    "it could not tell for all keys or controls, or a flag or a file is invalid";

/// The exit codes of the command as the end of its help.
pub fn exit_help(command: &str) -> String {
    let codes = EXIT_CODES.iter().find(|(name, _)| *name == command).map(|(_, codes)| codes);
    let codes = codes.expect("every command is in the list").iter().enumerate();
    let lines = codes.filter(|(_, meaning)| !meaning.is_empty());
    let lines: String = lines.map(|(code, meaning)| format!("\n  {code}  {meaning}")).collect();
    format!("Exit codes:{lines}")
}
