//! The command line: what can be asked of the program, in its user's words.

use clap::{Parser, Subcommand};

use crate::commands;
use crate::output::Exit;

/// Sealed medical records, an accountable ledger and federated learning for hospitals,
/// universities and companies that do not trust one another.
#[derive(Debug, Parser)]
#[command(name = "salus", version, after_help = Exit::HELP, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Print results as JSON lines.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Log more to standard error; repeat for more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Found a consortium: genesis, keys and configuration for every member.
    #[command(subcommand)]
    Consortium(commands::consortium::Command),
    /// Print completions for a shell.
    Completions(commands::completions::Arguments),
}
