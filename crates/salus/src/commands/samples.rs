//! `salus samples`: a synthetic cohort made here, and public sets taken from a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use salus_clinical::catalogue::{FolderCheck, PUBLIC_SETS, PublicSet, public_set, read_manifest};
use salus_clinical::synth::synthesise;
use salus_clinical::{tar, wfdb};
use serde::Serialize;

use crate::files;
use crate::output::{Exit, Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a labelled synthetic cohort: people, vitals, ECG, symptoms, documents, chest images.
    ///
    /// The same size and seed give the same files on every machine.
    Synth(Synth),
    /// List the public data sets that Salus knows, or take one from a folder, checksums verified.
    ///
    /// Salus downloads nothing: get the set from its publisher, on the publisher's terms, then name
    /// the folder.
    Fetch(Fetch),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Synth {
    /// Number of people.
    #[arg(long, default_value_t = 20)]
    patients: u32,
    /// Seed of the generator.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder to write; must not exist yet, or be empty.
    #[arg(long, default_value = "samples")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Fetch {
    /// Name of the set; all sets are listed if absent.
    set: Option<String>,
    /// Folder in which the set's own folder is.
    #[arg(long)]
    from: Option<PathBuf>,
    /// Folder to copy it to; only verified if absent.
    #[arg(long, requires = "from")]
    out: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Made {
    folder: PathBuf,
    patients: u32,
    seed: u64,
    files: usize,
    bytes: usize,
}

#[derive(Debug, Serialize)]
struct Known {
    name: &'static str,
    title: &'static str,
    publisher: &'static str,
    licence: &'static str,
    attribution: &'static str,
    may_be_redistributed: bool,
}

#[derive(Debug, Serialize)]
struct Verified {
    name: &'static str,
    files: usize,
    copied_to: Option<PathBuf>,
    licence: &'static str,
    attribution: &'static str,
}

pub(crate) fn run(command: Command, output: &Output) -> anyhow::Result<Exit> {
    match command {
        Command::Synth(arguments) => synth(&arguments, output),
        Command::Fetch(Fetch { set: None, .. }) => list(output),
        Command::Fetch(Fetch {
            set: Some(name),
            from,
            out,
        }) => {
            let set = public_set(&name).with_context(|| {
                let names: Vec<&str> = PUBLIC_SETS.iter().map(|s| s.name).collect();
                format!("there is no set `{name}`; known are {}", names.join(", "))
            })?;
            let Some(from) = from else {
                bail!(
                    "Salus downloads nothing. Get `{name}` from {} and run\n  \
                     salus samples fetch {name} --from FOLDER",
                    set.publisher
                );
            };
            fetch(set, &from, out.as_deref(), output)
        }
    }
}

fn synth(arguments: &Synth, output: &Output) -> anyhow::Result<Exit> {
    let made = write_cohort(&arguments.out, arguments.patients, arguments.seed, output)?;
    output.report(&made, |m| {
        format!(
            "Made a synthetic cohort of {} people (seed {}) in {}: {} files, {:.1} MB.",
            m.patients,
            m.seed,
            m.folder.display(),
            m.files,
            m.bytes as f64 / 1e6
        )
    })?;
    Ok(Exit::Done)
}

/// Writes a synthetic cohort into an empty folder.
fn write_cohort(folder: &Path, patients: u32, seed: u64, output: &Output) -> anyhow::Result<Made> {
    let taken = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    ensure!(
        !taken,
        "{} is not empty; choose another folder",
        folder.display()
    );
    let mut made = Made {
        folder: folder.to_owned(),
        patients,
        seed,
        files: 0,
        bytes: 0,
    };
    for file in synthesise(patients, seed)? {
        let file = file?;
        files::write(&folder.join(&file.path), &file.bytes, 0o644)?;
        made.files += 1;
        made.bytes += file.bytes.len();
        output.progress(&format!("{} files", made.files));
    }
    output.progress_done();
    Ok(made)
}

fn list(output: &Output) -> anyhow::Result<Exit> {
    for set in &PUBLIC_SETS {
        let known = Known {
            name: set.name,
            title: set.title,
            publisher: set.publisher,
            licence: set.licence,
            attribution: set.attribution,
            may_be_redistributed: set.may_be_redistributed,
        };
        output.report(&known, |k| {
            format!(
                "{}\n  {}\n  from     {}\n  licence  {}\n  credit   {}",
                k.name, k.title, k.publisher, k.licence, k.attribution
            )
        })?;
    }
    Ok(Exit::Done)
}

fn fetch(
    set: &'static PublicSet,
    from: &Path,
    out: Option<&Path>,
    output: &Output,
) -> anyhow::Result<Exit> {
    let folder = from.join(set.folder);
    let copies = verify(set, &folder, output)
        .with_context(|| format!("the set `{}` in {}", set.name, folder.display()))?;
    output.progress_done();
    let copied_to = out.map(|out| out.join(set.folder));
    if let Some(target) = &copied_to {
        for name in &copies {
            let bytes = std::fs::read(folder.join(name))?;
            files::write(&target.join(name), &bytes, 0o644)?;
        }
    }
    let verified = Verified {
        name: set.name,
        files: copies.len(),
        copied_to,
        licence: set.licence,
        attribution: set.attribution,
    };
    output.report(&verified, |v| {
        let copied = v
            .copied_to
            .as_ref()
            .map(|to| format!(", copied to {}", to.display()));
        format!(
            "{}: {} files verified{}.\n  licence  {}\n  credit   {}",
            v.name,
            v.files,
            copied.unwrap_or_default(),
            v.licence,
            v.attribution
        )
    })?;
    Ok(Exit::Done)
}

/// Verifies a set and names the files that belong to it.
fn verify(set: &PublicSet, folder: &Path, output: &Output) -> anyhow::Result<Vec<String>> {
    let manifest = folder.join("manifest.csv");
    let manifest =
        std::fs::read(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let mut names = vec!["manifest.csv".to_owned()];
    match set.check {
        FolderCheck::Files => {
            for listed in read_manifest(&manifest)? {
                let bytes = std::fs::read(folder.join(&listed.file))
                    .with_context(|| format!("cannot read {}", listed.file))?;
                // A compressed file may be listed with the checksum of either form.
                ensure!(
                    listed.matches(&bytes),
                    "{} does not match its checksum",
                    listed.file
                );
                output.progress(&listed.file);
                names.push(listed.file);
            }
        }
        FolderCheck::TarMembers => {
            let listed = read_manifest(&manifest)?;
            let mut archives: Vec<String> =
                listed.iter().filter_map(|row| row.archive(set)).collect();
            archives.sort_unstable();
            archives.dedup();
            for archive in archives {
                let bytes = std::fs::read(folder.join(&archive))
                    .with_context(|| format!("cannot read {archive}"))?;
                let members = tar::members(&bytes)?;
                for row in listed
                    .iter()
                    .filter(|r| r.archive(set).as_ref() == Some(&archive))
                {
                    let member = members.iter().find(|m| m.path == row.file);
                    let member = member.with_context(|| format!("{archive} lacks {}", row.file))?;
                    ensure!(
                        row.matches(member.bytes),
                        "{} does not match its checksum",
                        row.file
                    );
                }
                output.progress(&archive);
                names.push(archive);
            }
        }
        FolderCheck::SignalChecksums => {
            for header in headers(folder)? {
                names.extend(verify_record(folder, &header)?);
                output.progress(&header.display().to_string());
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn headers(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(headers(&path)?);
        } else if path.extension().is_some_and(|e| e == "hea") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads one WFDB record with all its checksums, and names its files relative to the set's folder.
fn verify_record(folder: &Path, header: &Path) -> anyhow::Result<Vec<String>> {
    let record = super::intake::read_wfdb(header)?;
    wfdb::read(&record.header, &record.files())
        .with_context(|| format!("the record {}", header.display()))?;
    let beside = header.parent().unwrap_or(folder);
    let names = record
        .names()
        .map(|name| beside.join(name))
        .chain([header.to_owned()]);
    Ok(names
        .filter_map(|path| Some(path.strip_prefix(folder).ok()?.to_str()?.to_owned()))
        .collect())
}
