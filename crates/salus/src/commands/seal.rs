//! `salus keygen`, `salus seal` and `salus open`: files sealed to people, as records are.

use std::fs::File;
use std::io::{BufRead as _, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use salus_crypto::file::{Identity, open_with, recipient_from_text, recipient_to_text, seal_to};
use salus_crypto::seal::Options;
use salus_crypto::wrap::Recipient;
use salus_runtime::entropy::SystemEntropy;
use serde::Serialize;

use crate::files;
use crate::output::{Exit, Output};

/// Make a key to open sealed files with.
///
/// The file is the secret: keep it, and give its recipient line to those who seal to you.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  salus keygen --output maya.key        prints maya's recipient line
  salus seal --to RECIPIENT scan.dcm --output scan.sealed
  salus open --key maya.key scan.sealed --output scan.dcm")]
pub(crate) struct Keygen {
    /// File to write the secret key to; must not exist yet.
    #[arg(short, long)]
    output: PathBuf,
}

/// Seal a file to one or more recipients.
#[derive(Debug, clap::Args)]
pub(crate) struct Seal {
    /// A recipient line that `salus keygen` printed, or a file with one a line; repeat for more.
    #[arg(long = "to", required = true, value_name = "RECIPIENT|FILE")]
    recipients: Vec<String>,
    /// File to seal; standard input if absent.
    input: Option<PathBuf>,
    /// File to write; standard output if absent.
    #[arg(short, long)]
    output: Option<PathBuf>,
}

/// Open a sealed file.
#[derive(Debug, clap::Args)]
pub(crate) struct Open {
    /// File with a secret key; repeat for more.
    #[arg(long = "key", required = true, value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// File to open; standard input if absent.
    input: Option<PathBuf>,
    /// File to write; standard output if absent.
    #[arg(short, long)]
    output: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Made {
    recipient: String,
    file: PathBuf,
}

#[derive(Debug, Serialize)]
struct Written {
    bytes: u64,
    file: PathBuf,
}

pub(crate) fn keygen(arguments: &Keygen, output: &Output) -> anyhow::Result<Exit> {
    if arguments.output.exists() {
        bail!(
            "{} exists already; a key is never overwritten",
            arguments.output.display()
        );
    }
    let identity = Identity::generate(&mut SystemEntropy)?;
    files::write_secret(&arguments.output, identity.to_text().as_bytes())?;
    let recipient = recipient_to_text(&identity.recipient());
    let made = Made {
        recipient,
        file: arguments.output.clone(),
    };
    output.report(&made, |m| m.recipient.clone())?;
    Ok(Exit::Done)
}

pub(crate) fn seal(arguments: &Seal, output: &Output) -> anyhow::Result<Exit> {
    let mut recipients = Vec::new();
    for text in &arguments.recipients {
        recipients.extend(read_recipients(text)?);
    }
    let input = input(arguments.input.as_deref())?;
    transfer(arguments.output.as_deref(), output, |sink| {
        Ok(seal_to(
            &recipients,
            Options::default(),
            &mut SystemEntropy,
            input,
            sink,
        )?)
    })
}

pub(crate) fn open(arguments: &Open, output: &Output) -> anyhow::Result<Exit> {
    let mut identities = Vec::new();
    for path in &arguments.keys {
        let text = files::read_secret(path)?;
        let keys = Identity::parse_file(&text)
            .with_context(|| format!("{} holds no secret key", path.display()))?;
        identities.extend(keys);
    }
    let input = input(arguments.input.as_deref())?;
    transfer(arguments.output.as_deref(), output, |sink| {
        Ok(open_with(&identities, input, sink)?)
    })
}

fn read_recipients(text: &str) -> anyhow::Result<Vec<Recipient>> {
    if let Ok(recipient) = recipient_from_text(text) {
        return Ok(vec![recipient]);
    }
    let file = File::open(text)
        .with_context(|| format!("`{text}` is neither a recipient line nor a file of them"))?;
    let mut recipients = Vec::new();
    for line in std::io::BufReader::new(file.take(1 << 22)).lines() {
        let line = line?;
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            recipients.push(recipient_from_text(line).with_context(|| format!("in {text}"))?);
        }
    }
    Ok(recipients)
}

fn input(path: Option<&Path>) -> anyhow::Result<Box<dyn Read + Send>> {
    Ok(match path {
        Some(path) => {
            Box::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?)
        }
        None => Box::new(std::io::stdin()),
    })
}

/// Runs `work` into a file that appears only when it is complete, or into standard output.
fn transfer(
    path: Option<&Path>,
    output: &Output,
    work: impl FnOnce(&mut dyn Write) -> anyhow::Result<u64>,
) -> anyhow::Result<Exit> {
    let Some(path) = path else {
        let mut sink = std::io::stdout().lock();
        if sink.is_terminal() {
            bail!("binary data is not written to a terminal; use --output or a pipe");
        }
        work(&mut sink)?;
        sink.flush()?;
        return Ok(Exit::Done);
    };
    // A device or a pipe is written to as it is; a file appears only when it is complete.
    let special = std::fs::metadata(path).is_ok_and(|about| !about.is_file());
    let draft = if special {
        path.to_owned()
    } else {
        path.with_added_extension("partial")
    };
    let written = (|| {
        let mut sink = File::create(&draft)?;
        let bytes = work(&mut sink)?;
        if !special {
            sink.sync_all()?;
            std::fs::rename(&draft, path)?;
        }
        Ok::<_, anyhow::Error>(bytes)
    })();
    if written.is_err() && !special {
        // Half a file is worth nothing; failing to remove it changes nothing about the error.
        let _ = std::fs::remove_file(&draft);
    }
    let bytes = written.with_context(|| format!("{} is not written", path.display()))?;
    if output.is_json() {
        output.report(
            &Written {
                bytes,
                file: path.to_owned(),
            },
            |_| String::new(),
        )?;
    }
    Ok(Exit::Done)
}
