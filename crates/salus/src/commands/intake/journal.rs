//! What an import has done, on the hospital's own disk: so that a killed import goes on with nothing
//! twice and nothing lost.
//!
//! A text file of lines, each durable before what it announces is sent:
//!
//! ```text
//! patient TOKEN ALIAS       the alias that was made up for a patient
//! source TOKEN RECORDS      a source whose records are all on the ledger
//! directory TOKEN           a shared organisation or practitioner that is on the ledger
//! ```
//!
//! Tokens are keyed digests: the file names nobody. It is the erasable link between a hospital's
//! own patient numbers and the ledger's random aliases.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use salus_proto::Digest;
use salus_proto::ids::PatientAlias;

/// The journal, open and locked.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    patients: BTreeMap<Digest, PatientAlias>,
    sources: BTreeMap<Digest, Known>,
    directory: BTreeSet<Digest>,
}

/// A source that was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) records: usize,
    /// The one patient whose it is.
    pub(super) alias: Option<PatientAlias>,
}

/// One line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Line {
    Patient(Digest, PatientAlias),
    Source(Digest, Known),
    Directory(Digest),
}

impl Journal {
    /// Opens the journal, waits for nobody: two imports at once would not know of each other.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if let Err(error) = file.try_lock() {
            bail!("another import is running with {}: {error}", path.display());
        }
        let mut text = String::new();
        file.read_to_string(&mut text)
            .with_context(|| format!("{} is damaged", path.display()))?;
        // A line without its end was being written when the process ended: it announced nothing yet.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
        }
        let mut journal = Self {
            path: path.to_owned(),
            file,
            patients: BTreeMap::new(),
            sources: BTreeMap::new(),
            directory: BTreeSet::new(),
        };
        for line in text.get(..whole).unwrap_or_default().lines() {
            let line = parse(line).with_context(|| format!("{} is damaged", path.display()))?;
            journal.note(line);
        }
        Ok(journal)
    }

    pub(super) fn patient(&self, token: &Digest) -> Option<PatientAlias> {
        self.patients.get(token).copied()
    }

    pub(super) fn source(&self, token: &Digest) -> Option<Known> {
        self.sources.get(token).copied()
    }

    pub(super) fn has_directory(&self, token: &Digest) -> bool {
        self.directory.contains(token)
    }

    /// Writes lines durably.
    pub(super) fn add(&mut self, lines: &[Line]) -> anyhow::Result<()> {
        let text: String = lines.iter().map(Line::text).collect();
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        lines.iter().for_each(|line| self.note(*line));
        Ok(())
    }

    fn note(&mut self, line: Line) {
        match line {
            Line::Patient(token, alias) => drop(self.patients.insert(token, alias)),
            Line::Source(token, known) => drop(self.sources.insert(token, known)),
            Line::Directory(token) => drop(self.directory.insert(token)),
        }
    }
}

impl Line {
    fn text(&self) -> String {
        match self {
            Self::Patient(token, alias) => format!("patient {token} {alias}\n"),
            Self::Source(token, Known { records, alias }) => {
                let alias = alias.map_or_else(String::new, |alias| format!(" {alias}"));
                format!("source {token} {records}{alias}\n")
            }
            Self::Directory(token) => format!("directory {token}\n"),
        }
    }
}

/// Reads a journal without opening it for an import: whether every whole line is one of ours.
pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).context("it cannot be read as text")?;
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let lines = text.get(..whole).unwrap_or_default().lines();
    for (number, line) in (1..).zip(lines) {
        parse(line).with_context(|| format!("line {number}"))?;
    }
    Ok(())
}

fn parse(line: &str) -> anyhow::Result<Line> {
    let words: Vec<&str> = line.split(' ').collect();
    Ok(match words.as_slice() {
        ["patient", token, alias] => Line::Patient(token.parse()?, alias.parse()?),
        ["source", token, records, whose @ ..] if whose.len() < 2 => {
            let alias = whose.first().map(|alias| alias.parse()).transpose()?;
            let records = records.parse()?;
            Line::Source(token.parse()?, Known { records, alias })
        }
        ["directory", token] => Line::Directory(token.parse()?),
        _ => bail!("a line that is none of ours"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_dropped_and_the_rest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("intake.journal");
        let (token, alias) = (Digest([1; 32]), PatientAlias([2; 16]));
        let known = Known {
            records: 3,
            alias: Some(alias),
        };
        let mut journal = Journal::open(&path).unwrap();
        journal
            .add(&[Line::Patient(token, alias), Line::Source(token, known)])
            .unwrap();
        assert!(Journal::open(&path).is_err(), "a second import is kept out");
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().source(&token), Some(known));
        check(&path).unwrap();

        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            let first_line = whole.iter().position(|&b| b == b'\n').unwrap() + 1;
            assert_eq!(
                journal.patient(&token).is_some(),
                cut >= first_line,
                "cut at {cut}"
            );
            assert!(journal.source(&token).is_none(), "cut at {cut}");
            journal.add(&[Line::Directory(token)]).unwrap();
            drop(journal);
            assert!(
                Journal::open(&path).unwrap().has_directory(&token),
                "cut at {cut}"
            );
        }
    }
}
