//! `salus-bench`: takes the figures of `docs/performance.md`, each beside its peer in the same run. Not a
//! test: it asserts nothing about how fast this machine is.
//!
//! ```text
//! salus-bench all        every figure, interleaved rounds, table on stdout, JSON and docs on demand
//! salus-bench validator  one validator process of the ledger's figures (started by `all`)
//! salus-bench site       one hospital of the federated round's figures (started by bench/peers)
//! salus-bench rounds     the job of those figures
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command-line program"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a measurement reads the machine's own clock"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

mod cipher;
mod commands;
mod consortium;
mod files;
mod intake;
mod ledger;
mod machine;
mod measure;
mod proof;
mod report;
mod restart;
mod rounds;
mod validator;

use crate::measure::Row;

// What the measured program uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The benchmarks of Salus.
#[derive(Debug, clap::Parser)]
enum Arguments {
    /// Take every figure.
    All(All),
    /// Run one validator until standard input ends.
    Validator(validator::Arguments),
    /// Run one hospital of the round's figures until standard input ends.
    Site(rounds::site::Arguments),
    /// Run the job of the round's figures on nodes that run, and print what came of it.
    Rounds(rounds::job::Arguments),
}

#[derive(Debug, clap::Args)]
struct All {
    /// The `salus` program to measure.
    #[arg(long)]
    salus: PathBuf,
    /// Folder with the programs `rage` and `rage-keygen`; their figures are left out if absent.
    #[arg(long)]
    rage: Option<PathBuf>,
    /// Folder with fhir-synthea/; a synthetic cohort is made if absent.
    #[arg(long)]
    samples: Option<PathBuf>,
    /// Empty folder for everything that is written; on the disk whose durability is measured.
    #[arg(long)]
    work: PathBuf,
    /// JSON file to write.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Markdown file whose table to replace, between its markers.
    #[arg(long)]
    table: Option<PathBuf>,
    /// What was measured, as version control names it.
    #[arg(long, default_value = "unknown")]
    revision: String,
    /// The command that the reader would type.
    #[arg(long, default_value = "make bench")]
    command: String,
    /// Take only these figures.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Figure>,
    /// Small sizes and few rounds: shows that everything runs, gives no figures worth quoting.
    #[arg(long)]
    quick: bool,
}

/// One part of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Figure {
    Cipher,
    Files,
    Intake,
    Ledger,
    Proof,
    Restart,
}

impl Figure {
    const ALL: [Self; 6] = [
        Self::Cipher,
        Self::Files,
        Self::Intake,
        Self::Ledger,
        Self::Proof,
        Self::Restart,
    ];
}

/// What every figure needs to know.
#[derive(Debug)]
struct Setting {
    salus: PathBuf,
    rage: Option<PathBuf>,
    samples: Option<PathBuf>,
    work: PathBuf,
    quick: bool,
}

impl Setting {
    /// A fresh folder of this name; what an earlier round left there is removed.
    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.work.join(name);
        remove(&folder)?;
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(folder)
    }

    /// `full`, or `small` in a quick run.
    fn size<T>(&self, full: T, small: T) -> T {
        if self.quick { small } else { full }
    }
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse() {
        Arguments::All(arguments) => all(&arguments),
        Arguments::Validator(arguments) => validator::run(&arguments).map(|()| true),
        Arguments::Site(arguments) => rounds::site::run(&arguments).map(|()| true),
        Arguments::Rounds(arguments) => rounds::job::run(&arguments).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Takes the figures; false when one of them could not be taken.
fn all(arguments: &All) -> anyhow::Result<bool> {
    let setting = Setting {
        salus: arguments.salus.clone(),
        rage: arguments.rage.clone(),
        samples: arguments.samples.clone(),
        work: arguments.work.clone(),
        quick: arguments.quick,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut machine = machine::Machine::observe(&setting);
    let mut rows: Vec<Row> = Vec::new();
    let mut failures = Vec::new();
    for figure in Figure::ALL {
        if !arguments.only.is_empty() && !arguments.only.contains(&figure) {
            continue;
        }
        eprintln!("{figure:?}, load average {}", machine::load());
        let taken = match figure {
            Figure::Cipher => cipher::measure(&setting),
            Figure::Files => files::measure(&setting),
            Figure::Intake => runtime.block_on(intake::measure(&setting)),
            Figure::Ledger => runtime.block_on(ledger::measure(&setting)),
            Figure::Proof => proof::measure(&setting),
            Figure::Restart => runtime.block_on(restart::measure(&setting)),
        };
        match taken {
            Ok(taken) => {
                for row in &taken {
                    eprintln!("  {}", row.line());
                }
                rows.extend(taken);
            }
            Err(error) => {
                // The report is published; where this machine keeps its files is not.
                let reason = format!("{error:#}");
                let reason = reason.replace(&*setting.work.to_string_lossy(), "the working folder");
                eprintln!("  not measured: {reason}");
                failures.push(format!("{figure:?}: {reason}"));
            }
        }
    }
    machine.finish();
    let done = failures.is_empty();
    let report = report::Report {
        command: arguments.command.clone(),
        revision: arguments.revision.clone(),
        quick: arguments.quick,
        machine,
        figures: rows,
        not_measured: failures,
    };
    println!("{}", report.markdown());
    if let Some(path) = &arguments.json {
        report.write_json(path)?;
    }
    if let Some(path) = &arguments.table {
        report.write_table(path)?;
    }
    Ok(done)
}
