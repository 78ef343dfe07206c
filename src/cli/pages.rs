//! What is made from the command line for packages: the pages of the manual, and completions of shells.

use std::io;
use std::iter;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;
use crate::version;

/// Writes a page of the manual for the program, and one for each command.
pub fn write_manual(folder: &Path) -> io::Result<()> {
    let mut program = Cli::command();
    program.build();
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    for command in iter::once(&program).chain(commands) {
        // At the foot of each page, if it does not depend on the build.
        let command = command.clone().version(None).long_version(None);
        let source = format!("{NAME} {}", version::VERSION);
        Man::new(command).source(source).generate_to(folder)?;
    }
    Ok(())
}

/// A shell's completion script for the command line.
pub fn completions(shell: Shell) -> String {
    let whole = Cli::command();
    // Hidden commands would be offered, too.
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set());
    let mut shown = clap::Command::new(NAME)
        .version(version::VERSION)
        .args(whole.get_arguments())
        .subcommands(commands)
        .disable_help_subcommand(true);
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut shown, NAME, &mut text);
    let text = String::from_utf8(text).expect("clap writes text");
    // clap_complete 4.6 writes a name with a dash in two ways for bash, and then finds no command's flags.
    text.replace(&NAME.replace('-', "__subcmd__"), &NAME.replace('-', "__"))
}

const NAME: &str = env!("CARGO_PKG_NAME");
