//! `salus completions SHELL`.

use std::io::Write as _;

use clap::CommandFactory as _;

use crate::cli;
use crate::output::Exit;

/// For example `salus completions bash > /etc/bash_completion.d/salus`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell.
    shell: clap_complete::Shell,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut cli::Arguments::command(),
        "salus",
        &mut script,
    );
    std::io::stdout().write_all(&script)?;
    Ok(Exit::Done)
}
