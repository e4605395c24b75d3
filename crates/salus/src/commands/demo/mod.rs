//! `salus demo`: a four-organisation consortium on this machine, with sample data, walked through the
//! whole story or left running for the portals.

mod nodes;
mod samples;
mod start;
mod story;
mod training;

use std::path::PathBuf;

use crate::output::{Exit, Output};

/// Run a four-organisation consortium on this machine: three hospitals and the healthcare cloud, each
/// a process of its own, with sample data taken in.
///
/// With --story the whole story runs unattended, every step checked: founding, registering,
/// authorising, intake, access, consultation, prescription, receipts, proofs, failures. Everything
/// that the nodes wrote stays below --dir. Without it, a start page lists one person per role with
/// password and portal: DIR/start.html.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  salus demo                                     a consortium to look at, until Ctrl-C
  salus demo --dir run --samples data --story    the whole story, then the exit code")]
pub(crate) struct Arguments {
    /// Folder for everything; must not exist yet, or be empty.
    #[arg(long, default_value = "demo-data")]
    dir: PathBuf,
    /// Sample data: a folder with fhir-synthea/ (and ecg-wfdb/, dicom/, documents/), or one that
    /// `salus samples synth` made. A synthetic cohort is made if absent.
    #[arg(long)]
    samples: Option<PathBuf>,
    /// How many patients to take in.
    #[arg(long, default_value_t = 12)]
    patients: usize,
    /// Walk the whole story, then stop.
    #[arg(long, conflicts_with = "open")]
    story: bool,
    /// Open the start page in this desktop's browser.
    #[arg(long)]
    open: bool,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    super::session::block_on(story::tell(arguments, output))
}
