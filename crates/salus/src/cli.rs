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
    /// Run one member's node.
    Node(commands::node::Arguments),
    /// Re-verify everything that a stopped node has stored.
    Fsck(commands::fsck::Arguments),
    /// Take records in at a hospital: sealed here, uploaded, anchored on the ledger.
    Intake(commands::intake::Arguments),
    /// Register, and see who one is.
    #[command(subcommand)]
    Person(commands::people::PersonCommand),
    /// Authorise or refuse those who registered.
    #[command(subcommand)]
    Profiles(commands::people::ProfilesCommand),
    /// Patients of a hospital and their aliases.
    #[command(subcommand)]
    Patients(commands::records::PatientsCommand),
    /// Sealed records: list, read, prove, see who read.
    #[command(subcommand)]
    Records(commands::records::RecordsCommand),
    /// Access to records: ask, decide, end.
    #[command(subcommand)]
    Access(commands::records::AccessCommand),
    /// Consultations and prescriptions.
    #[command(subcommand)]
    Consult(commands::consult::Command),
    /// Membership of the consortium: join, leave, replace keys, revoke, by quorum.
    #[command(subcommand)]
    Member(commands::member::Command),
    /// The ledger: status and entries.
    #[command(subcommand)]
    Ledger(commands::ledger::Command),
    /// Check a downloaded proof bundle, offline.
    #[command(subcommand)]
    Audit(commands::audit::Command),
    /// Run a four-organisation consortium on this machine, or walk the whole story.
    Demo(commands::demo::Arguments),
    /// Train a model as hospitals would together, and the baselines to compare it with.
    #[command(subcommand)]
    Federated(commands::federated::Command),
    /// Judge images with a trained model.
    Predict(commands::predict::Arguments),
    /// Make a key to open sealed files with.
    Keygen(commands::seal::Keygen),
    /// Seal a file to people.
    Seal(commands::seal::Seal),
    /// Open a sealed file.
    Open(commands::seal::Open),
    /// Sample data: a synthetic cohort, or public sets from a folder.
    #[command(subcommand)]
    Samples(commands::samples::Command),
    /// Print completions for a shell.
    Completions(commands::completions::Arguments),
}
