//! The `salus` program: arguments in, wiring, exit codes out.

use std::process::ExitCode;

use clap::Parser as _;

mod cli;
mod commands;
mod config;
mod files;
mod membership;
mod node;
mod output;
mod replication;
mod scrub;
mod training;

// Its debug build fills whatever is reserved, which costs seconds and gigabytes at every start.
#[cfg(not(debug_assertions))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    output::start_logging(arguments.verbose);
    let output = output::Output::new(arguments.json);
    match commands::run(arguments.command, &output) {
        Ok(code) => code.into(),
        Err(error) => output.fail(&error).into(),
    }
}
