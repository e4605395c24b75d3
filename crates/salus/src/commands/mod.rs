//! One module a command; each has its arguments and a `run`.

mod account;
pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod consortium;
pub(crate) mod consult;
pub(crate) mod demo;
pub(crate) mod federated;
pub(crate) mod fsck;
pub(crate) mod intake;
pub(crate) mod ledger;
pub(crate) mod member;
pub(crate) mod node;
pub(crate) mod people;
pub(crate) mod predict;
pub(crate) mod records;
pub(crate) mod samples;
pub(crate) mod seal;
mod session;
mod words;

use crate::cli::Command;
use crate::output::{Exit, Output};

/// Runs a command.
pub(crate) fn run(command: Command, output: &Output) -> anyhow::Result<Exit> {
    match command {
        Command::Consortium(command) => consortium::run(command, output),
        Command::Node(arguments) => node::run(&arguments, output),
        Command::Fsck(arguments) => fsck::run(&arguments, output),
        Command::Intake(arguments) => intake::run(&arguments, output),
        Command::Person(command) => people::person(command, output),
        Command::Profiles(command) => people::profiles(command, output),
        Command::Patients(command) => records::patients(command, output),
        Command::Records(command) => records::records(command, output),
        Command::Access(command) => records::access(command, output),
        Command::Consult(command) => consult::run(command, output),
        Command::Member(command) => member::run(command, output),
        Command::Ledger(command) => ledger::run(command, output),
        Command::Audit(command) => audit::run(command, output),
        Command::Demo(arguments) => demo::run(&arguments, output),
        Command::Federated(command) => federated::run(command, output),
        Command::Predict(arguments) => predict::run(&arguments, output),
        Command::Keygen(arguments) => seal::keygen(&arguments, output),
        Command::Seal(arguments) => seal::seal(&arguments, output),
        Command::Open(arguments) => seal::open(&arguments, output),
        Command::Samples(command) => samples::run(command, output),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
