//! One module a command; each has its arguments and a `run`.

pub(crate) mod completions;
pub(crate) mod consortium;

use crate::cli::Command;
use crate::output::{Exit, Output};

/// Runs a command.
pub(crate) fn run(command: Command, output: &Output) -> anyhow::Result<Exit> {
    match command {
        Command::Consortium(command) => consortium::run(command, output),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
