//! Flags, paths, exit codes, reasons and fields are the same in the documentation and the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Arg, Command, CommandFactory};
use expect_test::expect_file;
use iam_key_exporter::cli::exit_codes::EXIT_CODES;
use iam_key_exporter::cli::{Cli, environment_variable};
use iam_key_exporter::failure::Reason;
use iam_key_exporter::source::aws::sdk::Operation;
use iam_key_exporter::web::routes;
use regex::Regex;

use crate::support::exporter::{Exporter, output};
use crate::support::folder::Folder;

const REFERENCE: &str = include_str!("../../docs/reference.md");
const RUNBOOKS: &str = include_str!("../../docs/runbooks.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const BENCHMARKS: &str = include_str!("../../docs/benchmarks.md");
const WEB_CONFIG: &str = include_str!("../../docs/web-config.md");
const ARCHITECTURE: &str = include_str!("../../docs/architecture.md");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const GOVCLOUD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/govcloud-2013.csv");

/// The rows of the table with this head: their cells.
fn rows(page: &str, head: &str) -> Vec<Vec<String>> {
    let lines = page.lines().skip_while(|line| *line != head).skip(2);
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<_> = lines.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "no table {head}");
    rows
}

/// The words in backticks.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The page with this table between the marks of its name.
fn with_table(page: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- table: {name} -->\n"), "\n<!-- end -->");
    let (before, rest) = page.split_once(&begin).expect("the mark of the table");
    let (_, after) = rest.split_once(end).expect("the end of the table");
    format!("{before}{begin}\n{table}{end}{after}")
}

/// `make golden` renews the tables.
#[test]
fn the_tables_of_the_reference_are_made_from_the_code() {
    let mut page = REFERENCE.to_owned();
    for (name, table) in [
        ("flags", flags()),
        ("flags-of-commands", flags_of_commands()),
        ("paths", paths()),
        ("exit-codes", exit_codes()),
    ] {
        page = with_table(&page, name, &table);
    }
    expect_file!["../../docs/reference.md"].assert_eq(&page);
}

/// `benches/cost.py` counts them, and `benches/report.py` writes the table.
#[test]
fn the_benchmark_of_one_account_has_every_call() {
    let head = "|  | exporter: account on the page | exporter: all unrotated keys confirmed | script | script ÷ account on the page | script ÷ all confirmed |";
    let rows = rows(BENCHMARKS, head);
    let measured: Vec<&str> = rows.iter().flat_map(|cells| code(&cells[0])).collect();
    for operation in Operation::ALL {
        assert!(measured.contains(&operation.as_str()), "{operation:?}");
    }
}

/// The commands that `--help` lists.
fn shown(program: &Command) -> impl Iterator<Item = &Command> {
    program.get_subcommands().filter(|command| !command.is_hide_set())
}

fn flags() -> String {
    let command = Cli::command();
    let rows = own_flags(&command).map(|flag| {
        let variable = environment_variable(flag.get_long().expect("a name"));
        let (default, about) = default_and_help(flag);
        format!("| {} | `{variable}` | {default} | {about} |\n", flag_with_value(flag))
    });
    format!("| flag | variable | default | |\n|---|---|---|---|\n{}", rows.collect::<String>())
}

fn flags_of_commands() -> String {
    let command = Cli::command();
    let rows = shown(&command).flat_map(|command| {
        let name = command.get_name().to_owned();
        own_flags(command).map(move |flag| {
            let (default, about) = default_and_help(flag);
            format!("| `{name}` | {} | {default} | {about} |\n", flag_with_value(flag))
        })
    });
    format!("| command | flag | default | |\n|---|---|---|---|\n{}", rows.collect::<String>())
}

fn paths() -> String {
    let rows = routes::paths().into_iter();
    let rows: String = rows
        .map(|(path, methods, about)| format!("| `{path}` | {methods} | {about} |\n"))
        .collect();
    format!("| path | methods | |\n|---|---|---|\n{rows}")
}

fn exit_codes() -> String {
    let rows: String = EXIT_CODES
        .iter()
        .map(|(command, [zero, one, two])| {
            let command = match *command {
                "" => "no command".to_owned(),
                name => format!("`{name}`"),
            };
            format!("| {command} | {zero} | {one} | {two} |\n")
        })
        .collect();
    format!("| command | 0 | 1 | 2 |\n|---|---|---|---|\n{rows}")
}

/// Without those that clap adds.
fn own_flags(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_own =
        |flag: &&Arg| flag.get_long().is_some_and(|name| !["help", "version"].contains(&name));
    command.get_arguments().filter(is_own)
}

fn takes_value(flag: &Arg) -> bool {
    flag.get_action().takes_values()
}

fn flag_with_value(flag: &Arg) -> String {
    let name = flag.get_long().expect("a name");
    match flag.get_value_names() {
        Some([value]) if takes_value(flag) => {
            format!("`--{name} {}`", value.replace('|', "\\|"))
        }
        _ => format!("`--{name}`"),
    }
}

/// The default of a flag, and its help as Markdown. Some defaults are only in the help.
fn default_and_help(flag: &Arg) -> (String, String) {
    let help = flag.get_help().expect("a help text").to_string();
    let (help, default) = match help.split_once(" [default: ") {
        Some((help, default)) => (help, default.trim_end_matches(']')),
        None => (help.as_str(), ""),
    };
    let default = match flag.get_default_values() {
        _ if !takes_value(flag) => "off".to_owned(),
        [value] => format!("`{}`", value.to_str().expect("UTF-8")),
        _ if default.is_empty() || default.contains(' ') => default.to_owned(),
        _ => format!("`{default}`"),
    };
    let mut about = help.to_owned();
    for value in flag.get_possible_values().iter().filter(|_| takes_value(flag)) {
        if let Some(help) = value.get_help() {
            let about_so_far = about.trim_end_matches('.');
            about = format!("{about_so_far}. `{}`: {help}", value.get_name());
        }
    }
    let name = Regex::new(r"--[a-z.-]+[a-z]").expect("it is valid");
    (default, name.replace_all(about.trim_end_matches('.'), "`$0`").replace('|', "\\|"))
}

#[test]
fn the_exit_codes_of_the_reference_are_those_of_the_binary() {
    let stopped = |arguments: &[&str]| {
        let mut exporter = Exporter::start(arguments);
        exporter.signal("TERM");
        exporter.exit_code()
    };
    let healthy = Exporter::start(&["demo", "--users", "1"]);
    let at = healthy.address.to_string();
    let ended = |arguments: &[&str]| output(arguments).status.code();
    let reports = ["--source.reports", GOVCLOUD];
    let check = |flags: &[&str]| ended(&[&["check"], &reports[..], flags].concat());
    let runs = [
        ("", stopped(&reports)),
        ("", ended(&["--rotation.max-age", "soon"])),
        ("check", check(&["--rotation.max-age", "36500d"])),
        ("check", check(&[])),
        ("check", ended(&["check", "--source.reports", "/none"])),
        ("check-config", ended(&["check-config"])),
        ("check-config", ended(&["check-config", "--config.file", "/none"])),
        ("demo", stopped(&["demo", "--users", "1"])),
        ("demo", ended(&["demo", "--users", "0"])),
        ("health", ended(&["health", "--web.listen-address", &at])),
        ("health", {
            drop(healthy);
            ended(&["health", "--web.listen-address", &at])
        }),
        ("health", ended(&["health", "--web.listen-address", "nowhere"])),
        ("metrics-doc", ended(&["metrics-doc"])),
        ("metrics-doc", ended(&["metrics-doc", "--config.file", "/none"])),
    ];
    let given: Vec<(&str, usize)> =
        runs.iter().map(|(name, code)| (*name, code.expect("an exit code") as usize)).collect();
    let documented = EXIT_CODES.iter().flat_map(|(name, codes)| {
        let codes = codes.iter().enumerate().filter(|(_, meaning)| !meaning.is_empty());
        codes.map(move |(code, _)| (*name, code))
    });
    assert_eq!(given, documented.collect::<Vec<_>>());
    let commands: BTreeSet<_> = EXIT_CODES.iter().map(|(name, _)| name.to_string()).collect();
    let command = Cli::command();
    let names = shown(&command).map(|command| command.get_name().to_owned());
    assert_eq!(commands, names.chain([String::new()]).collect());
}

#[test]
fn each_path_of_the_reference_is_answered_with_its_methods_and_no_others() {
    let exporter = Exporter::start(&["demo", "--users", "1", "--web.enable-lifecycle"]);
    exporter.wait_until_ready();
    for (path, allowed, _) in routes::paths() {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
            let status = exporter.request(method, path, &[]).status;
            let is_allowed = allowed.split(", ").any(|name| name == method);
            assert_eq!(status != 405, is_allowed, "{method} {path}: {status}");
            // The page of one key needs to know which.
            assert!(status < 400 || status == 405 || path == "/key", "{method} {path}: {status}");
        }
    }
}

#[test]
fn the_runbook_of_a_failing_refresh_has_each_reason_and_no_other() {
    let rows = rows(RUNBOOKS, "| reason | what it means | what to do |");
    let documented: Vec<&str> = rows.iter().flat_map(|cells| code(&cells[0])).collect();
    assert_eq!(documented, Reason::ALL.map(Reason::as_str));
}

/// The fields that a section of a file may have: those that the error about an unknown one lists.
fn fields(flag: &str, section: &str) -> BTreeSet<String> {
    let folder = Folder::new();
    folder.write("file.yaml", section);
    let path = folder.file("file.yaml");
    let output = output(&["check-config", flag, path.to_str().expect("UTF-8")]);
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    let (_, list) = error.split_once("expected ").unwrap_or_else(|| panic!("{section}: {error}"));
    let list = list.trim().trim_start_matches("one of ");
    list.split(", ").flat_map(|name| name.split(" or ")).map(|name| name.replace('`', "")).collect()
}

/// The fields of each section, with the path by which the tables name them.
fn fields_of(flag: &str, sections: &[(&str, &str)]) -> BTreeSet<String> {
    sections
        .iter()
        .flat_map(|(prefix, yaml)| {
            fields(flag, yaml).into_iter().map(move |name| format!("{prefix}{name}"))
        })
        .collect()
}

#[test]
fn the_configuration_page_has_each_field_and_no_other() {
    let known = fields_of(
        "--config.file",
        &[
            ("", "x: 1"),
            ("accounts.", "accounts: [{ x: 1 }]"),
            ("organization.", "organization: { x: 1 }"),
            ("rotation.", "rotation: { x: 1 }"),
            ("rotation.rules.", "rotation: { rules: [{ x: 1 }] }"),
            ("rotation.rules.match.", "rotation: { rules: [{ match: { x: 1 } }] }"),
            (
                "rotation.rules.exempt.",
                "rotation: { rules: [{ match: { user: a }, exempt: { x: 1 } }] }",
            ),
            ("confirm.", "confirm: { x: 1 }"),
            ("service_credentials.", "service_credentials: { x: 1 }"),
            ("controls.", "controls: { x: 1 }"),
            ("labels.", "labels: { x: 1 }"),
        ],
    );
    // A section is not a field, unless it is a list. Those of `match` are in a sentence.
    let is_section = |name: &str| known.iter().any(|other| other.starts_with(&format!("{name}.")));
    let lists = ["accounts", "rotation.rules", "rotation.rules.match"];
    // It can also be true or false.
    let is_section = |name: &str| name != "controls" && is_section(name);
    let mut expected: BTreeSet<&str> = known
        .iter()
        .map(String::as_str)
        .filter(|name| !is_section(name) || lists.contains(name))
        .collect();
    expected.retain(|name| !name.starts_with("rotation.rules.match."));
    let (mut documented, mut list) = (BTreeSet::new(), String::new());
    for cells in rows(CONFIGURATION, "| field | default | may be |") {
        let name = code(&cells[0])[0].to_owned();
        let name = name.replace("….", &format!("{list}."));
        if lists.contains(&name.as_str()) && name != "rotation.rules.match" {
            list.clone_from(&name);
        }
        if name == "rotation.rules.match" {
            let named: BTreeSet<String> =
                code(&cells[2]).iter().map(|field| format!("{name}.{field}")).collect();
            let prefix = format!("{name}.");
            let known = known.iter().filter(|field| field.starts_with(&prefix)).cloned();
            assert_eq!(named, known.collect());
        }
        documented.insert(name);
    }
    assert_eq!(documented.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected);
}

/// Some flags override the file, so their defaults are only in the text of their help.
#[test]
fn the_defaults_on_the_pages_are_those_that_the_exporter_uses() {
    let printed = String::from_utf8(output(&["check-config"]).stdout).expect("UTF-8");
    let flags = rows(REFERENCE, "| flag | variable | default | |").into_iter().map(|cells| {
        let flag = code(&cells[0])[0].split(' ').next().expect("a name");
        (flag.to_owned(), cells[2].clone())
    });
    let fields = rows(CONFIGURATION, "| field | default | may be |").into_iter();
    let fields = fields.map(|cells| (code(&cells[0])[0].to_owned(), cells[1].clone()));
    let defaults: BTreeMap<String, String> = flags.chain(fields).collect();
    for (name, before, after) in [
        ("--rotation.max-age", "max age: ", "\n"),
        ("rotation.max_age", "max age: ", "\n"),
        ("--rotation.warn-before", "warn before: ", "\n"),
        ("rotation.warn_before", "warn before: ", "\n"),
        ("confirm.rate", "confirm: ", " requests a second for each account\n"),
        ("controls.benchmark", "controls: CIS ", ","),
        ("controls.unused_after", ", unused after ", ","),
        ("controls.root_unused_for", ", root unused for ", ","),
        ("controls.users", ", users: ", ","),
    ] {
        let line = format!("{before}{}{after}", code(&defaults[name])[0]);
        assert!(printed.contains(&line), "{name}: no {line:?} in {printed}");
    }
}

#[test]
fn the_page_of_the_web_configuration_has_each_field_and_no_other() {
    let known = fields_of(
        "--web.config.file",
        &[
            ("", "x: 1"),
            ("", "tls_server_config: { x: 1 }"),
            ("", "http_server_config: { x: 1 }"),
            ("", "http_server_config: { headers: { x: 1 } }"),
            ("", "rate_limit: { x: 1 }"),
        ],
    );
    let cells = rows(WEB_CONFIG, "| field | default | |");
    let documented: BTreeSet<&str> = cells
        .iter()
        .flat_map(|cells| code(&cells[0]).into_iter().chain(code(&cells[2])))
        .map(|field| field.rsplit('.').next().expect("a name"))
        .collect();
    let missing: Vec<_> = known.iter().filter(|name| !documented.contains(name.as_str())).collect();
    assert_eq!(missing, ["http_server_config", "rate_limit", "tls_server_config"], "only sections");
    let fields = cells.iter().flat_map(|cells| code(&cells[0]));
    for name in fields.flat_map(|field| field.split('.')) {
        assert!(known.contains(name), "{name} is no field");
    }
}

/// A file is named by its path, by that below `src`, or by that below a folder of the page.
#[test]
fn the_files_and_folders_of_the_architecture_exist() {
    let is_path = |word: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_/.-".contains(c);
        word.chars().all(plain) && (word.ends_with('/') || word.ends_with(".rs"))
    };
    let paths: BTreeSet<&str> = ARCHITECTURE.lines().flat_map(code).filter(is_path).collect();
    let named: BTreeSet<&str> =
        paths.iter().filter_map(|it| Some(it.rsplit_once('/')?.0)).collect();
    let folders = named.iter().flat_map(|it| [Path::new("src").join(it), Path::new(it).into()]);
    let folders: Vec<PathBuf> = folders.chain([PathBuf::new(), "src".into()]).collect();
    let exists = |path: &&&str| {
        folders.iter().any(|folder| Path::new(ROOT).join(folder).join(path).exists())
    };
    let missing: Vec<_> = paths.iter().filter(|path| !exists(path)).collect();
    assert_eq!(missing, [&""; 0]);
}
