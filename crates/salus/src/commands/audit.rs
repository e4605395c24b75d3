//! `salus audit`: checking a downloaded proof bundle with no network and no trust in any node.

use std::path::PathBuf;

use anyhow::Context as _;
use salus_crypto::digest::sha256;
use salus_ledger::bundle::{Bundle, Check, Report};
use salus_proto::Digest;
use salus_proto::encode::to_bytes;
use serde::Serialize;

use crate::files;
use crate::output::{Ended, Exit, Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Verify a proof bundle offline.
    ///
    /// Starts from nothing but the genesis digest that `salus consortium init` printed: genesis,
    /// changes of membership, the quorum's checkpoint, the log entry, the signed manifest, the
    /// record. Exit code 4 if anything does not verify.
    #[command(after_help = "\
Example:
  salus audit verify record.proof.json --genesis consortium/genesis.cbor")]
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The bundle, as a portal or `salus records proof` saved it.
    bundle: PathBuf,
    /// The genesis file that you got when the consortium was founded, or its digest (64 hexadecimal
    /// digits).
    #[arg(long, value_name = "FILE|DIGEST")]
    genesis: String,
}

#[derive(Debug, Serialize)]
struct Verified {
    verified: bool,
    checks: Vec<Check>,
    checkpoint_size: Option<u64>,
    checkpoint_time: Option<u64>,
}

pub(crate) fn run(command: Command, output: &Output) -> anyhow::Result<Exit> {
    let Command::Verify(arguments) = command;
    let pinned: Digest = match arguments.genesis.parse() {
        Ok(digest) => digest,
        Err(_) => sha256(&to_bytes(&files::read_genesis(arguments.genesis.as_ref())?)),
    };
    let bytes = std::fs::read(&arguments.bundle)
        .with_context(|| format!("cannot read {}", arguments.bundle.display()))?;
    let bundle = Bundle::from_json(&bytes).map_err(|error| Ended {
        exit: Exit::NotVerified,
        message: format!("{} is no proof bundle: {error}", arguments.bundle.display()),
    })?;
    let report: Report = bundle.verify(&pinned);
    let verified = Verified {
        verified: report.verified(),
        checks: report.checks.clone(),
        checkpoint_size: report.checkpoint.as_ref().map(|c| c.size),
        checkpoint_time: report.checkpoint.as_ref().map(|c| c.time.0),
    };
    output.report(&verified, |_| report.to_string())?;
    Ok(if report.verified() {
        Exit::Done
    } else {
        Exit::NotVerified
    })
}
