//! The public data sets that Salus knows: where their publishers offer them, on what terms, and how a
//! folder of them is checked. The project carries none of this data.

use salus_proto::Digest;
use sha2::{Digest as _, Sha256};

use crate::sniff::safe_path;
use crate::{Error, Result};

/// Largest manifest, in bytes.
const MANIFEST_LIMIT: usize = 16 << 20;
/// Most rows of a manifest.
const ROWS_LIMIT: usize = 200_000;
/// Most columns of a manifest.
const COLUMNS_LIMIT: usize = 64;

/// One public set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicSet {
    /// Name on the command line.
    pub name: &'static str,
    /// The folder that `--from` looks for.
    pub folder: &'static str,
    /// What it is.
    pub title: &'static str,
    /// Where its publisher offers it.
    pub publisher: &'static str,
    /// Licence or terms, as the publisher states them.
    pub licence: &'static str,
    /// What to name when it is used or passed on.
    pub attribution: &'static str,
    /// Whether the terms let a copy be passed on.
    pub may_be_redistributed: bool,
    /// How a folder is checked.
    pub check: FolderCheck,
}

/// How a folder is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderCheck {
    /// `manifest.csv` names files with SHA-256.
    Files,
    /// `manifest.csv` names members of `SPLIT.tar` with SHA-256, `SPLIT` being a column.
    TarMembers,
    /// The records carry their own checksums, which [`crate::wfdb`] verifies.
    SignalChecksums,
}

/// All sets, by name.
pub const PUBLIC_SETS: [PublicSet; 8] = [
    PublicSet {
        name: "covid-xray",
        folder: "covid-xray",
        title: "Chest X-rays: COVID-19, normal, pneumonia",
        publisher: "https://github.com/muhammedtalo/COVID-19",
        licence: "mixed and partly unclear: images of Cohen et al. as each source states (partly CC BY-NC), \
                  NIH ChestX-ray8 free with credit to the NIH Clinical Center",
        attribution: "Ozturk et al. 2020, doi:10.1016/j.compbiomed.2020.103792; Cohen et al. 2020; \
                      Wang et al. 2017, NIH Clinical Center",
        may_be_redistributed: false,
        check: FolderCheck::Files,
    },
    PublicSet {
        name: "dicom",
        folder: "dicom",
        title: "DICOM test files in eleven transfer syntaxes",
        publisher: "https://github.com/pydicom/pydicom and https://github.com/pydicom/pydicom-data",
        licence: "MIT (pydicom); the NEMA WG04 compression samples (RG*, CT1_*) carry no licence text",
        attribution: "pydicom contributors; NEMA WG04",
        may_be_redistributed: false,
        check: FolderCheck::Files,
    },
    PublicSet {
        name: "ecg-wfdb",
        folder: "ecg-wfdb",
        title: "ECG records: MIT-BIH Arrhythmia, PTB 12-lead, WFDB format samples",
        publisher: "https://physionet.org/content/mitdb/1.0.0/ and https://physionet.org/content/ptbdb/1.0.0/",
        licence: "ODC-By 1.0",
        attribution: "Moody and Mark 2001, IEEE Eng. Med. Biol. 20:45; Bousseljot et al. 1995; \
                      Goldberger et al. 2000, PhysioNet, Circulation 101:e215",
        may_be_redistributed: true,
        check: FolderCheck::SignalChecksums,
    },
    PublicSet {
        name: "fhir-synthea",
        folder: "fhir-synthea",
        title: "FHIR R4 transaction bundles of synthetic patients",
        publisher: "https://github.com/smart-on-fhir/generated-sample-data",
        licence: "Apache-2.0",
        attribution: "Synthea, The MITRE Corporation; SMART Health IT",
        may_be_redistributed: true,
        check: FolderCheck::Files,
    },
    PublicSet {
        name: "medmnist",
        folder: "medmnist",
        title: "PneumoniaMNIST (MedMNIST v2), 28 x 28",
        publisher: "https://medmnist.com",
        licence: "CC BY 4.0",
        attribution: "Yang et al. 2023, MedMNIST v2, doi:10.1038/s41597-022-01721-8; Kermany et al. 2018",
        may_be_redistributed: true,
        check: FolderCheck::Files,
    },
    PublicSet {
        name: "oct",
        folder: "oct-samples",
        title: "Retinal OCT scans, one a class",
        publisher: "https://data.mendeley.com/datasets/rscbjbr9sj",
        licence: "CC BY 4.0",
        attribution: "Kermany, Zhang, Goldbaum 2018, doi:10.17632/rscbjbr9sj",
        may_be_redistributed: true,
        check: FolderCheck::Files,
    },
    PublicSet {
        name: "pneumonia-cxr",
        folder: "pneumonia-cxr-224",
        title: "Paediatric chest X-rays: normal, pneumonia; 224 x 224",
        publisher: "https://data.mendeley.com/datasets/rscbjbr9sj",
        licence: "CC BY 4.0",
        attribution: "Kermany, Zhang, Goldbaum 2018, doi:10.17632/rscbjbr9sj (resized)",
        may_be_redistributed: true,
        check: FolderCheck::TarMembers,
    },
    PublicSet {
        name: "wearables",
        folder: "wearables",
        title: "Wearable exports: Fitbit, Empatica, Faros, Spacelabs, Apple Health, Open mHealth",
        publisher: "https://zenodo.org/records/53894 and https://github.com/openmhealth/schemas",
        licence: "Fitbit CC BY 4.0; devicely and applehealthdata MIT; Open mHealth Apache-2.0",
        attribution: "Furberg, Brinton, Keating, Ortiz 2016, doi:10.5281/zenodo.53894; devicely; Open mHealth",
        may_be_redistributed: true,
        check: FolderCheck::Files,
    },
];

/// The set of this name.
pub fn public_set(name: &str) -> Option<&'static PublicSet> {
    PUBLIC_SETS.iter().find(|set| set.name == name)
}

/// One file (or tar member) that a manifest lists. Its `Debug` shows no patient.
#[derive(Clone, PartialEq, Eq)]
pub struct Listed {
    /// Path below the folder, or inside the archive; checked to stay there.
    pub file: String,
    /// SHA-256 of its bytes; absent where the manifest has no such column.
    pub sha256: Option<Digest>,
    /// Class label.
    pub label: Option<String>,
    /// Whose it is.
    pub patient: Option<String>,
    /// The publisher's split, for example `train`.
    pub split: Option<String>,
}

impl core::fmt::Debug for Listed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Listed")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Listed {
    /// Whether these are the listed bytes. Without a checksum nothing can be said: `false`.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let found: [u8; 32] = Sha256::digest(bytes).into();
        self.sha256 == Some(Digest(found))
    }

    /// The archive that holds it, in a set of tar archives.
    pub fn archive(&self, set: &PublicSet) -> Option<String> {
        let split = self
            .split
            .as_ref()
            .filter(|_| set.check == FolderCheck::TarMembers)?;
        Some(format!("{split}.tar"))
    }
}

/// Reads a `manifest.csv` by its column names: `file` (required), `sha256` or `sha256_gz`, `label`,
/// `patient` or `patient_id`, `split`; others are ignored. Paths must stay inside the folder.
pub fn read_manifest(csv: &[u8]) -> Result<Vec<Listed>> {
    let what = "manifest";
    if csv.len() > MANIFEST_LIMIT {
        let (length, limit) = (csv.len() as u64, MANIFEST_LIMIT as u64);
        return Err(Error::TooLarge {
            what,
            length,
            limit,
        });
    }
    let text = core::str::from_utf8(csv).map_err(|e| Error::Text {
        what,
        charset: "UTF-8",
        offset: e.valid_up_to(),
    })?;
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let header = cells(lines.next().ok_or(Error::Missing {
        what: "header of the manifest",
    })?)?;
    let column = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| header.iter().position(|h| h == name))
    };
    let file = column(&["file"]).ok_or(Error::Missing {
        what: "column `file` of the manifest",
    })?;
    let sum = column(&["sha256", "sha256_gz"]);
    let (label, patient) = (column(&["label"]), column(&["patient", "patient_id"]));
    let split = column(&["split"]);
    let mut listed = Vec::new();
    for line in lines {
        let bad = |reason| Error::Malformed {
            what,
            reason,
            offset: listed.len() + 1,
        };
        if listed.len() == ROWS_LIMIT {
            return Err(bad("more rows than allowed"));
        }
        let row = cells(line)?;
        if row.len() != header.len() {
            return Err(bad("a row of another length than the header"));
        }
        let cell = |at: Option<usize>| {
            at.and_then(|at| row.get(at))
                .filter(|c| !c.is_empty())
                .cloned()
        };
        let sha256 = cell(sum).map(|text| text.parse()).transpose();
        let split = cell(split);
        if split
            .as_ref()
            .is_some_and(|name| !name.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            return Err(bad("a split that is not a word"));
        }
        listed.push(Listed {
            file: safe_path(&cell(Some(file)).unwrap_or_default())?,
            sha256: sha256.map_err(|_| bad("a checksum that is not SHA-256 in hexadecimal"))?,
            label: cell(label),
            patient: cell(patient),
            split,
        });
    }
    Ok(listed)
}

/// One line of RFC 4180; a quoted cell may hold commas and doubled quotes but no line break.
fn cells(line: &str) -> Result<Vec<String>> {
    let mut row = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        let Some(cell) = row.last_mut() else { break };
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            ',' if !quoted => {
                if row.len() == COLUMNS_LIMIT {
                    let limit = COLUMNS_LIMIT as u64;
                    return Err(Error::TooLarge {
                        what: "manifest columns",
                        length: limit + 1,
                        limit,
                    });
                }
                row.push(String::new());
            }
            other => cell.push(other),
        }
    }
    if quoted {
        return Err(Error::Truncated {
            what: "quoted cell of a manifest",
        });
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn sets_have_unique_names_and_complete_terms() {
        assert!(
            PUBLIC_SETS
                .windows(2)
                .all(|pair| pair[0].name < pair[1].name)
        );
        for set in PUBLIC_SETS {
            assert!(set.publisher.starts_with("https://"), "{}", set.name);
            assert!(!set.licence.is_empty() && !set.attribution.is_empty());
            assert_eq!(public_set(set.name), Some(&set));
        }
    }

    #[test]
    fn manifests_are_read_by_column_name() {
        let sum = "0123456789abcdef".repeat(4);
        let csv =
            format!("split,file,note,sha256,label\ntest,a/b.jpg,\"x, \"\"y\"\"\",{sum},normal\r\n");
        let listed = read_manifest(csv.as_bytes()).unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].file.as_str(), listed[0].label.as_deref()),
            ("a/b.jpg", Some("normal"))
        );
        assert_eq!(
            listed[0].archive(&PUBLIC_SETS[6]).as_deref(),
            Some("test.tar")
        );
        assert_eq!(listed[0].archive(&PUBLIC_SETS[0]), None);
        assert!(!listed[0].matches(b""));
    }

    #[test]
    fn hostile_manifests_are_refused() {
        for csv in [
            "",
            "name\nx\n",
            "file\n../../etc/passwd\n",
            "file\n/etc/passwd\n",
            "file\n\n\"open\n",
            "file,sha256\na,xyz\n",
            "file,sha256\na\n",
            "file,split\na,../up\n",
        ] {
            assert!(read_manifest(csv.as_bytes()).is_err(), "{csv:?}");
        }
        assert!(read_manifest(b"file\n\xff\n").is_err());
        assert!(read_manifest("a,".repeat(100).as_bytes()).is_err());
    }

    #[test]
    fn the_real_folders_match_their_manifests() {
        let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
        if !data.is_dir() {
            println!("skipped: the public samples are not beside the repository");
            return;
        }
        for set in PUBLIC_SETS
            .iter()
            .filter(|s| s.check != FolderCheck::SignalChecksums)
        {
            let folder = data.join(set.folder);
            let listed =
                read_manifest(&std::fs::read(folder.join("manifest.csv")).unwrap()).unwrap();
            assert!(!listed.is_empty(), "{}", set.name);
            // The large sets by sample, so that the test stays short.
            for row in listed.iter().step_by(1 + listed.len() / 40) {
                let matches = match row.archive(set) {
                    None => row.matches(&std::fs::read(folder.join(&row.file)).unwrap()),
                    Some(archive) => {
                        let tar = std::fs::read(folder.join(archive)).unwrap();
                        let members = crate::tar::members(&tar).unwrap();
                        members
                            .iter()
                            .any(|m| m.path == row.file && row.matches(m.bytes))
                    }
                };
                assert!(matches, "{} {}", set.name, row.file);
            }
        }
    }
}
