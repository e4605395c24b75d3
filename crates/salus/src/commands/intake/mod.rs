//! `salus intake`: a hospital's files, sealed here and anchored on the ledger.

mod form;
mod journal;
mod source;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use salus_client::intake::pieces::{OfPatient, Piece};
use salus_client::intake::{Intake, Profile, Stored, Subject};
use salus_proto::Digest;
use salus_proto::ids::PatientAlias;
use salus_runtime::clock::{Clock as _, SystemClock};
use salus_runtime::entropy::SystemEntropy;
use serde::Serialize;

pub(crate) use self::journal::check as check_journal;
use self::journal::{Journal, Known, Line};
pub(crate) use self::source::read_wfdb;
use self::source::{Source, Sources};
use crate::config::{self, NodeConfig};
use crate::files::NodeKeys;
use crate::node;
use crate::output::{Exit, Output};

/// Sources that are on their way at the same time.
const IN_FLIGHT: usize = 16;
/// How long a source waits before it is tried again, while too few members answer or the node is overloaded;
/// twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// After a pause of this length it counts as failed.
const LAST_PAUSE: Duration = Duration::from_secs(8);

/// Take records in: seal them in this process, upload them, anchor them on the ledger.
///
/// Takes FHIR R4 bundles (JSON, also gzip), WFDB ECG records (name the .hea file), DICOM, PNG, JPEG and PDF
/// files, and folders of them; what a file is is told from its bytes. A folder's manifest.csv may
/// name each file's patient. Everything but the patient's name is sealed before it leaves this
/// process. An import that was interrupted goes on where it stopped when it is run again; what was
/// taken in before is not taken in twice. A file that cannot be read is reported and the rest goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  salus intake --config north/node.toml fhir/
  salus intake --config north/node.toml --patient 8a4f ecg/100.hea report.pdf chest.dcm
  salus intake --config north/node.toml --form --patient P-17 --name 'Maya Osei' --pulse 72 \\
    --phone '+49 30 1234' --symptom '386661006|Fever' --ecg 100.hea report.pdf")]
pub(crate) struct Arguments {
    /// The hospital's node configuration: its keys seal and sign.
    #[arg(long)]
    config: PathBuf,
    /// Files and folders.
    paths: Vec<PathBuf>,
    /// Whose the files are, where they do not say it themselves: the hospital's own patient number.
    #[arg(long)]
    patient: Option<String>,
    #[command(flatten)]
    form: form::Form,
}

/// One source's fate, one line with `--json`.
#[derive(Debug, Serialize)]
struct Line1 {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The other patient for whom the same file was taken in before.
    #[serde(skip_serializing_if = "Option::is_none")]
    belongs_to: Option<PatientAlias>,
}

/// Refusal: the same file is on the ledger as somebody else's.
#[derive(Debug, thiserror::Error)]
#[error(
    "it was taken in before, for another patient, whose alias is {alias}; one of the two is wrong: \
     find out whose it is"
)]
struct OfAnother {
    alias: PatientAlias,
}

/// The import's summary.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// Files looked at.
    pub(crate) files: usize,
    /// Records that are on the ledger because of this run.
    pub(crate) records: usize,
    /// Records that had been taken in before.
    pub(crate) known: usize,
    /// Files that could not be taken in.
    pub(crate) failed: usize,
    /// Those of them for which too few members answered, or the node did not serve, for too long.
    pub(crate) unavailable: usize,
    /// Wall time.
    pub(crate) seconds: f64,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let config = NodeConfig::load(&arguments.config)?;
    let mut sources = Sources::default();
    if let Some(source) = arguments.form.source(arguments.patient.as_deref())? {
        sources.add_form(source);
    }
    for path in &arguments.paths {
        sources.walk(path, arguments.patient.as_deref())?;
    }
    anyhow::ensure!(
        !sources.is_empty(),
        "nothing to take in; name files or folders, or use --form"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let summary = runtime.block_on(import(&config, sources, output))?;
    output.report(&summary, |s| {
        let rate = s.records as f64 / s.seconds.max(1e-3);
        let known =
            if s.known > 0 { format!(", {} taken in before", s.known) } else { String::new() };
        let failed =
            if s.failed > 0 { format!(", {} files not taken in", s.failed) } else { String::new() };
        format!(
            "{} files: {} records sealed and anchored{known}{failed}, {:.1} s ({rate:.0} records/s).",
            s.files, s.records, s.seconds
        )
    })?;
    Ok(match (summary.failed, summary.unavailable) {
        (0, _) => Exit::Done,
        (failed, unavailable) if failed == unavailable => Exit::Unavailable,
        _ => Exit::Failed,
    })
}

/// Takes sources in as the organisation whose configuration this is.
pub(crate) async fn import(
    config: &NodeConfig,
    sources: Sources,
    output: &Output,
) -> anyhow::Result<Summary> {
    let clock = Arc::new(SystemClock::new());
    let started = clock.now();
    let person = node::organisation_session(config, Arc::clone(&clock) as _).await?;
    let token_secret = NodeKeys::load(&config.keys)?.token_secret();
    let profile = match config.policy.profile {
        config::Profile::Default => Profile::Default,
        config::Profile::Strict => Profile::Strict,
    };
    let journal = Journal::open(&config.data.join("intake.journal"))?;
    let import = Arc::new(Import {
        intake: Intake::with_secret(person, profile, token_secret),
        journal: Mutex::new(journal),
        claims: Mutex::default(),
        directory: tokio::sync::Mutex::new(()),
    });
    let total = sources.len();
    let queue = Arc::new(Mutex::new(sources.into_iter()));
    let done = Arc::new(AtomicUsize::new(0));
    let (sender, mut lines) = tokio::sync::mpsc::channel(IN_FLIGHT);
    for _ in 0..IN_FLIGHT.min(total.max(1)) {
        let (queue, import, sender) = (Arc::clone(&queue), Arc::clone(&import), sender.clone());
        let clock = Arc::clone(&clock);
        tokio::spawn(async move {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(source) = next else { return };
                let name = source.name();
                let outcome = import.take_patiently(source, &clock).await;
                if sender.send((name, outcome)).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut summary = Summary {
        files: total,
        ..Summary::default()
    };
    while let Some((file, outcome)) = lines.recv().await {
        let at = done.fetch_add(1, Ordering::Relaxed) + 1;
        let line = match outcome {
            Ok(stored) => {
                summary.records += stored.records;
                summary.known += stored.known;
                Line1 {
                    file,
                    records: Some(stored.records),
                    known: Some(stored.known),
                    error: None,
                    belongs_to: None,
                }
            }
            Err(error) => {
                summary.failed += 1;
                summary.unavailable += usize::from(is_unavailable(&error));
                let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
                let belongs_to = error.downcast_ref::<OfAnother>().map(|other| other.alias);
                Line1 {
                    file,
                    records: None,
                    known: None,
                    error: Some(causes.join(": ")),
                    belongs_to,
                }
            }
        };
        output.progress(&format!("{at}/{total} files, {} records", summary.records));
        if output.is_json() || line.error.is_some() {
            output.progress_done();
            output.report(&line, |l| {
                format!("{}: {}", l.file, l.error.as_deref().unwrap_or_default())
            })?;
        }
    }
    output.progress_done();
    summary.seconds = (clock.now().0 - started.0) as f64 / 1e3;
    Ok(summary)
}

/// Whether trying again later may help.
fn is_unavailable(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(salus_client::Error::Unavailable(_))
    )
}

/// What becomes of a source that was taken in before.
fn before(records: usize) -> Stored {
    Stored {
        records: 0,
        known: records,
    }
}

struct Import {
    intake: Intake,
    journal: Mutex<Journal>,
    /// Whose the files are that this run takes in, by their tokens: two at once know of each other.
    claims: Mutex<BTreeMap<Digest, PatientAlias>>,
    /// One batch of shared resources at a time, so that none is stored twice.
    directory: tokio::sync::Mutex<()>,
}

impl Import {
    /// Takes a source in, also when the node cannot serve for a moment, or has found and finished what an
    /// import that was cut short had left: what a try has stored, the next one finds there.
    async fn take_patiently(&self, source: Source, clock: &SystemClock) -> anyhow::Result<Stored> {
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = self.take(source.clone()).await;
            let passes = outcome.as_ref().is_err_and(|error| {
                let left = error.downcast_ref::<salus_client::Error>();
                is_unavailable(error) || left.and_then(|e| e.code()) == Some("already-exists")
            });
            if !passes || pause > LAST_PAUSE {
                return outcome;
            }
            clock.sleep(pause).await;
            pause *= 2;
        }
    }

    async fn take(&self, source: Source) -> anyhow::Result<Stored> {
        let bytes = source.digest()?;
        let token = self.intake.token("source", &[bytes.as_bytes()]);
        let known = self.journal(|j| j.source(&token));
        if let Some(Known {
            records,
            alias: None,
        }) = known
        {
            return Ok(before(records));
        }
        // Parsing takes long for large files; other sources go on meanwhile.
        let read = tokio::task::spawn_blocking(move || source.read()).await??;
        let mut alias = None;
        if let ([patient], true) = (&read.patients[..], read.of_one) {
            let whose = self.intake.token("patient", &[patient.patient.as_bytes()]);
            if let Some(alias) = known.and_then(|known| known.alias)
                && self.journal(|j| j.patient(&whose)) != Some(alias)
            {
                return Err(OfAnother { alias }.into());
            }
            let subject = self.subject("patient", &patient.patient)?;
            self.claim(token, subject.alias)?;
            alias = Some(subject.alias);
        }
        if let Some(Known { records, .. }) = known {
            return Ok(before(records));
        }
        let mut stored = Stored::default();
        for patient in read.patients {
            let part = self.store(&bytes, patient).await?;
            stored.records += part.records;
            stored.known += part.known;
        }
        let shared = self.store_directory(&bytes, read.directory).await?;
        stored.records += shared.records;
        stored.known += shared.known;
        let records = stored.records + stored.known;
        self.note(&[Line::Source(token, Known { records, alias })])?;
        Ok(stored)
    }

    /// Makes sure that this run takes a file in for one patient only.
    fn claim(&self, token: Digest, whose: PatientAlias) -> Result<(), OfAnother> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let alias = *claims.entry(token).or_insert(whose);
        if alias == whose {
            Ok(())
        } else {
            Err(OfAnother { alias })
        }
    }

    async fn store(&self, source: &Digest, patient: OfPatient) -> anyhow::Result<Stored> {
        let subject = self.subject("patient", &patient.patient)?;
        let name = patient.name.as_deref();
        let stored = self
            .intake
            .store(&subject, source, name, patient.pieces, &mut SystemEntropy)
            .await?;
        Ok(stored)
    }

    /// Stores the shared resources that no earlier source brought.
    async fn store_directory(
        &self,
        source: &Digest,
        directory: Vec<(Vec<salus_clinical::fhir::Identity>, Piece)>,
    ) -> anyhow::Result<Stored> {
        if directory.is_empty() {
            return Ok(Stored::default());
        }
        let _alone = self.directory.lock().await;
        let mut lines = Vec::new();
        let mut pieces = Vec::new();
        let mut known = 0;
        for (identities, piece) in directory {
            let tokens: Vec<Digest> = identities
                .iter()
                .map(|i| {
                    let parts = [
                        i.resource_type.as_bytes(),
                        i.system.as_bytes(),
                        i.value.as_bytes(),
                    ];
                    self.intake.token("directory", &parts)
                })
                .collect();
            let seen = |token: &Digest| {
                self.journal(|j| j.has_directory(token))
                    || lines
                        .iter()
                        .any(|l| matches!(l, Line::Directory(t) if t == token))
            };
            if tokens.iter().any(seen) {
                known += 1;
                continue;
            }
            lines.extend(tokens.into_iter().map(Line::Directory));
            pieces.push(piece);
        }
        let mut stored = Stored { records: 0, known };
        if !pieces.is_empty() {
            let subject = self.subject("directory", "")?;
            let part = self
                .intake
                .store(&subject, source, None, pieces, &mut SystemEntropy)
                .await?;
            stored.records += part.records;
            stored.known += part.known;
            self.note(&lines)?;
        }
        Ok(stored)
    }

    /// The alias of a patient, made up and written down when it is new.
    fn subject(&self, kind: &str, patient: &str) -> anyhow::Result<Subject> {
        let token = self.intake.token(kind, &[patient.as_bytes()]);
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        // An alias in the journal may not be open on the ledger yet; opening it again is harmless.
        let alias = match journal.patient(&token) {
            Some(alias) => alias,
            None => {
                let alias = PatientAlias::random(&mut SystemEntropy);
                journal.add(&[Line::Patient(token, alias)])?;
                alias
            }
        };
        Ok(Subject { alias, fresh: true })
    }

    fn journal<T>(&self, ask: impl FnOnce(&Journal) -> T) -> T {
        ask(&self.journal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, lines: &[Line]) -> anyhow::Result<()> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal
            .add(lines)
            .context("the records are stored, but the journal could not be written")
    }
}
