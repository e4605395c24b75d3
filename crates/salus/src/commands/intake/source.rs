//! Finding files, telling what they are, reading them into pieces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use salus_client::intake::pieces::{self, OfPatient, Piece};
use salus_clinical::catalogue::{Listed, read_manifest};
use salus_clinical::fhir::Identity;
use salus_clinical::sniff::{Kind, sniff};
use salus_clinical::wfdb;
use salus_crypto::digest::{Sha256, sha256};
use salus_proto::Digest;

/// Largest file that is taken in: 2 GiB.
const FILE_LIMIT: u64 = 2 << 30;
/// Deepest folder below the named one.
const DEPTH_LIMIT: usize = 16;

/// Something to take in.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    origin: Origin,
    /// The hospital's own number of the patient, where the file itself does not say.
    patient: Option<String>,
    /// What an image shows and what it is for, by the manifest.
    label: Option<(String, Option<String>)>,
}

#[derive(Clone, Debug)]
enum Origin {
    File(PathBuf),
    /// A FHIR bundle made from a filled-in form.
    Form(Vec<u8>),
}

/// What a source holds.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) patients: Vec<OfPatient>,
    pub(super) directory: Vec<(Vec<Identity>, Piece)>,
    /// Whether somebody had to say, or the file itself says as a whole, whose it is: then it is one
    /// patient's and nobody else's.
    pub(super) of_one: bool,
}

/// All sources of an import, in order.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    sources: Vec<Source>,
}

impl IntoIterator for Sources {
    type Item = Source;
    type IntoIter = std::vec::IntoIter<Source>;

    fn into_iter(self) -> Self::IntoIter {
        self.sources.into_iter()
    }
}

impl Sources {
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    /// A bundle that a form was turned into.
    pub(super) fn add_form(&mut self, bundle: Vec<u8>) {
        self.sources.push(Source {
            origin: Origin::Form(bundle),
            patient: None,
            label: None,
        });
    }

    /// Adds a file, or every file below a folder.
    pub(crate) fn walk(&mut self, path: &Path, patient: Option<&str>) -> anyhow::Result<()> {
        let about =
            std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        if about.is_dir() {
            return self.folder(path, patient, &BTreeMap::new(), 0);
        }
        self.file(path.to_owned(), patient, None);
        Ok(())
    }

    fn file(
        &mut self,
        path: PathBuf,
        patient: Option<&str>,
        label: Option<(String, Option<String>)>,
    ) {
        let patient = patient.map(str::to_owned);
        self.sources.push(Source {
            origin: Origin::File(path),
            patient,
            label,
        });
    }

    fn folder(
        &mut self,
        path: &Path,
        patient: Option<&str>,
        above: &BTreeMap<PathBuf, Listed>,
        depth: usize,
    ) -> anyhow::Result<()> {
        ensure!(
            depth <= DEPTH_LIMIT,
            "{} is nested too deeply",
            path.display()
        );
        let own = manifest(path);
        let listed = if own.is_empty() { above } else { &own };
        let mut entries = std::fs::read_dir(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.folder(&path, patient, listed, depth + 1)?;
            } else if kind.is_file() && !is_companion(&path) {
                let row = listed.get(&path);
                let named = row.and_then(|row| row.patient.as_deref()).or(patient);
                let label = row.and_then(|row| row.label.clone());
                let label = label.map(|label| (label, row.and_then(|row| row.split.clone())));
                let named = named.map(str::to_owned);
                self.file(path, named.as_deref(), label);
            }
        }
        Ok(())
    }
}

/// Files that explain others or belong to a WFDB header.
fn is_companion(path: &Path) -> bool {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    let extension = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    name.starts_with('.')
        || matches!(
            name.as_str(),
            "manifest.csv" | "readme.md" | "readme" | "license"
        )
        || matches!(extension.as_str(), "dat" | "atr" | "mat" | "xws" | "csv")
        || (extension.len() == 2 && extension.starts_with('d') && !extension.ends_with('m'))
}

/// What a folder's manifest says of each file.
fn manifest(folder: &Path) -> BTreeMap<PathBuf, Listed> {
    let Ok(csv) = std::fs::read(folder.join("manifest.csv")) else {
        return BTreeMap::new();
    };
    // A manifest of another shape says nothing; the files may say it themselves.
    let Ok(rows) = read_manifest(&csv) else {
        return BTreeMap::new();
    };
    let rows = rows.into_iter();
    rows.map(|row| (folder.join(&row.file), row)).collect()
}

impl Source {
    /// For messages: the file's path.
    pub(super) fn name(&self) -> String {
        match &self.origin {
            Origin::File(path) => path.display().to_string(),
            Origin::Form(_) => "form".to_owned(),
        }
    }

    /// Digest of the content, streamed: tells whether it was taken in before.
    pub(super) fn digest(&self) -> anyhow::Result<Digest> {
        let mut hash = Sha256::new();
        match &self.origin {
            Origin::Form(bundle) => hash.update(bundle),
            Origin::File(path) => {
                let mut file = open(path)?;
                let mut buffer = vec![0; 1 << 20];
                loop {
                    let n = std::io::Read::read(&mut file, &mut buffer)
                        .with_context(|| format!("cannot read {}", path.display()))?;
                    if n == 0 {
                        break;
                    }
                    hash.update(buffer.get(..n).unwrap_or_default());
                }
            }
        }
        Ok(hash.finish())
    }

    /// Reads and decodes it. Nothing of a source that fails is taken in.
    pub(super) fn read(self) -> anyhow::Result<Read> {
        let path = match self.origin {
            Origin::Form(bundle) => return Ok(of_bundle(pieces::fhir(&bundle)?)),
            Origin::File(path) => path,
        };
        let title = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let bytes = read_file(&path)?;
        let finding = self
            .label
            .map(|(label, split)| pieces::finding(&sha256(&bytes), &label, split.as_deref()));
        let piece = match sniff(&bytes) {
            Kind::Json | Kind::Gzip => return Ok(of_bundle(pieces::fhir(&bytes)?)),
            Kind::Dicom => {
                let mut of = pieces::dicom_file(&title, bytes)?;
                if let Some(patient) = self.patient {
                    // Whoever names the patient knows the name as well.
                    of.patient = patient;
                    of.name = None;
                }
                ensure!(!of.patient.is_empty(), "it names no patient; use --patient");
                of.name = of.name.filter(|name| !name.is_empty());
                of.pieces.extend(finding);
                return Ok(Read {
                    patients: vec![of],
                    directory: Vec::new(),
                    of_one: true,
                });
            }
            Kind::Png | Kind::Jpeg => pieces::picture(&title, bytes)?,
            Kind::Pdf => pieces::document(&title, bytes)?,
            Kind::WfdbHeader => {
                let record = read_wfdb(&path)?;
                pieces::ecg(&title, &record.header, &record.files())?
            }
            Kind::Tar | Kind::Xml | Kind::Unknown => {
                bail!("it is none of FHIR JSON, WFDB header, DICOM, PNG, JPEG and PDF")
            }
        };
        let patient = self
            .patient
            .context("it does not say whose it is; use --patient")?;
        let of = OfPatient {
            patient,
            name: None,
            pieces: std::iter::once(piece).chain(finding).collect(),
        };
        Ok(Read {
            patients: vec![of],
            directory: Vec::new(),
            of_one: true,
        })
    }
}

fn of_bundle(bundle: pieces::OfBundle) -> Read {
    Read {
        patients: bundle.patients,
        directory: bundle.directory,
        of_one: false,
    }
}

fn open(path: &Path) -> anyhow::Result<std::fs::File> {
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let length = file.metadata()?.len();
    ensure!(
        length <= FILE_LIMIT,
        "it has {length} bytes; at most {FILE_LIMIT} are taken in"
    );
    Ok(file)
}

fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = std::io::Read::take(open(path)?, FILE_LIMIT);
    std::io::Read::read_to_end(&mut file, &mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// A WFDB record's files in memory.
#[derive(Debug)]
pub(crate) struct WfdbRecord {
    pub(crate) header: Vec<u8>,
    others: BTreeMap<String, Vec<u8>>,
}

impl WfdbRecord {
    /// The files that the header names, by name.
    pub(crate) fn files(&self) -> wfdb::Files<'_> {
        self.others
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect()
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.others.keys().map(String::as_str)
    }
}

/// Reads a WFDB header and the files that it names, which lie beside it.
pub(crate) fn read_wfdb(path: &Path) -> anyhow::Result<WfdbRecord> {
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let header = read_file(path)?;
    let mut wanted = wfdb::Header::parse(&header)?.files();
    let mut others = BTreeMap::new();
    while let Some(name) = wanted.pop() {
        if others.contains_key(&name) {
            continue;
        }
        let bytes = read_file(&folder.join(&name))
            .with_context(|| format!("{} names the file {name}", path.display()))?;
        // The header of a segment names files of its own.
        if name.ends_with(".hea") {
            wanted.extend(wfdb::Header::parse(&bytes)?.files());
        }
        others.insert(name, bytes);
    }
    Ok(WfdbRecord { header, others })
}
