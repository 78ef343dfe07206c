//! The tables of the documentation have what the code has: flags, defaults, reasons and exit codes.

use std::collections::{BTreeMap, BTreeSet};

use clap::CommandFactory;
use iam_key_exporter::cli::Cli;
use iam_key_exporter::failure::Reason;

const REFERENCE: &str = include_str!("../../docs/reference.md");
const RUNBOOKS: &str = include_str!("../../docs/runbooks.md");

/// The rows of the table with this head: their cells.
fn rows(page: &str, head: &str) -> Vec<Vec<String>> {
    let lines = page.lines().skip_while(|line| *line != head).skip(2);
    let cells = |line: &str| {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    lines.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// The words in backticks.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_reference_has_each_flag_with_its_default_and_no_other() {
    let documented: BTreeMap<String, String> = rows(REFERENCE, "| flag | default | |")
        .into_iter()
        .map(|cells| {
            let flag = code(&cells[0])[0].split(' ').next().expect("a flag").to_owned();
            (flag, cells[1].clone())
        })
        .collect();
    let command = Cli::command();
    let flags: Vec<_> = command.get_arguments().filter(|flag| flag.get_long().is_some()).collect();
    let names = flags.iter().map(|flag| format!("--{}", flag.get_long().expect("named")));
    let own = ["--help".to_owned(), "--version".to_owned()];
    assert_eq!(
        documented.keys().cloned().collect::<BTreeSet<_>>(),
        names.filter(|name| !own.contains(name)).collect::<BTreeSet<_>>()
    );
    for flag in flags {
        let [default] = flag.get_default_values() else { continue };
        let name = format!("--{}", flag.get_long().expect("named"));
        let Some(documented) = documented.get(&name) else { continue };
        assert_eq!(code(documented), [default.to_str().expect("UTF-8")], "{name}");
    }
}

#[test]
fn the_runbook_of_a_failing_refresh_has_each_reason_and_no_other() {
    let rows = rows(RUNBOOKS, "| reason | what it means | what to do |");
    let documented: Vec<&str> = rows.iter().flat_map(|cells| code(&cells[0])).collect();
    assert_eq!(documented, Reason::ALL.map(Reason::as_str));
}

#[test]
fn the_reference_has_each_command_with_its_exit_codes() {
    let documented: BTreeSet<String> = rows(REFERENCE, "| command | 0 | 1 | 2 |")
        .iter()
        .flat_map(|cells| code(&cells[0]).into_iter().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let command = Cli::command();
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    let commands = commands.map(|command| command.get_name().to_owned());
    assert_eq!(documented, commands.collect());
}
