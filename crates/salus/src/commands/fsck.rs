//! `salus fsck`: re-verifies everything that a stopped node has stored, values included.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use salus_contract::table::{Keys, Members, get};
use salus_crypto::digest::sha256;
use salus_proto::encode::to_bytes;
use salus_proto::ids::PrincipalId;
use salus_proto::member::Genesis;
use salus_replica::Contract;
use salus_runtime::clock::SystemClock;
use salus_runtime::entropy::SystemEntropy;
use salus_runtime::table::Database;
use salus_server::TlsFiles;
use salus_vault::Vault;
use serde::Serialize;

use super::intake::check_journal;
use super::session::block_on;
use crate::config::NodeConfig;
use crate::files::{self, KeyFiles, NodeKeys};
use crate::node::{blobs, read_password_setup, tables};
use crate::output::{Exit, Output};

/// Re-verify a stopped node's whole store, values included, and name what is wrong.
///
/// Replays the ledger from genesis (every signature, every entry, the state key by key, the
/// certified checkpoints), compares the tables with it, reads every stored blob against its digest,
/// opens every key wrap of this hospital's patients, and reads the node's other files. Prints one
/// line for each thing that is wrong, with what to do about it. Changes nothing. Exit code 4 if
/// anything is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The node's configuration file.
    #[arg(long)]
    config: PathBuf,
}

/// One thing that is wrong.
#[derive(Debug, Serialize)]
struct Finding {
    /// Where: genesis, keys, tls, passwords, intake, ledger or store.
    part: &'static str,
    /// What, by name.
    thing: String,
    finding: String,
    remedy: &'static str,
}

/// What was looked at.
#[derive(Debug, Default, Serialize)]
struct Summary {
    sound: bool,
    findings: usize,
    entries: u64,
    state_keys: u64,
    checkpoints: u64,
    batches: u64,
    records: u64,
    objects: u64,
    /// What could not be checked because of what is wrong.
    unchecked: Vec<&'static str>,
}

const LEDGER_REMEDY: &str = "keep a copy of ledger/ as evidence, empty the folder and start the node: \
    the ledger comes again from the other members, verified; a node alone restores ledger/ from a backup";
const TABLES_REMEDY: &str = "restore the tables from a backup";
const KEYS_REMEDY: &str = "restore it from one of its off-line copies; without it this organisation's records stay sealed";
const BLOB_REMEDY: &str = "start the node: it fetches the sealed bytes from a member that has a replica; \
    without one, restore blobs/ from a backup";

pub(crate) fn run(arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let config = NodeConfig::load(&arguments.config)?;
    let mut check = Check {
        output,
        config: &config,
        summary: Summary::default(),
    };
    block_on(check.everything())?;
    let mut summary = check.summary;
    summary.sound = summary.findings == 0;
    output.report(&summary, |s| {
        let unchecked = s.unchecked.iter().map(|u| format!("\nNot checked: {u}."));
        format!(
            "{}: {} entries, {} state keys, {} checkpoints, {} batches, {} records, {} stored objects.{}",
            match s.findings {
                0 => "Nothing is wrong".to_owned(),
                1 => "1 thing is wrong".to_owned(),
                n => format!("{n} things are wrong"),
            },
            s.entries,
            s.state_keys,
            s.checkpoints,
            s.batches,
            s.records,
            s.objects,
            unchecked.collect::<String>()
        )
    })?;
    Ok(if summary.sound {
        Exit::Done
    } else {
        Exit::NotVerified
    })
}

/// The engine's own files: votes of the last rounds, and blocks that other members have too.
const ENGINE: &str = "ledger/engine, the consensus engine's own files";
/// What federated training keeps.
const TRAINING: &str = "training, the files of federated jobs";

/// The ledger's state in memory.
type State = BTreeMap<Vec<u8>, Vec<u8>>;

struct Check<'a> {
    output: &'a Output,
    config: &'a NodeConfig,
    summary: Summary,
}

impl Check<'_> {
    async fn everything(&mut self) -> anyhow::Result<()> {
        let genesis = self.genesis()?;
        let keys = self.keys()?;
        self.small_files()?;
        let state = match &genesis {
            Some(genesis) => self.ledger(genesis)?,
            None => None,
        };
        if state.is_none() {
            let what = "the records against the ledger, because the ledger cannot be followed";
            self.summary.unchecked.push(what);
        }
        self.summary.unchecked.push(ENGINE);
        if self.config.data.join("training").exists() {
            self.summary.unchecked.push(TRAINING);
        }
        let Some(keys) = keys else {
            let what = "tables and blobs, because there is no key file";
            self.summary.unchecked.push(what);
            return Ok(());
        };
        let fits = match &state {
            Some(state) => self.keys_fit(&keys, state)?,
            None => true,
        };
        if !fits {
            let what = "the records against the ledger, because the key file is not this member's";
            self.summary.unchecked.push(what);
        }
        self.store(keys, state.as_ref().filter(|_| fits)).await
    }

    fn wrong(
        &mut self,
        part: &'static str,
        thing: impl Into<String>,
        finding: impl Into<String>,
        remedy: &'static str,
    ) -> anyhow::Result<()> {
        self.summary.findings += 1;
        let finding = Finding {
            part,
            thing: thing.into(),
            finding: finding.into(),
            remedy,
        };
        self.output.report(&finding, |f| {
            format!(
                "{}: {}: {}. Remedy: {}.",
                f.part, f.thing, f.finding, f.remedy
            )
        })
    }

    /// A file's part of the check: what is wrong with it is a finding.
    fn file(
        &mut self,
        part: &'static str,
        path: &Path,
        checked: anyhow::Result<()>,
        remedy: &'static str,
    ) -> anyhow::Result<()> {
        match checked {
            Ok(()) => Ok(()),
            Err(error) => self.wrong(
                part,
                path.display().to_string(),
                format!("{error:#}"),
                remedy,
            ),
        }
    }

    fn genesis(&mut self) -> anyhow::Result<Option<Genesis>> {
        let path = &self.config.genesis;
        match files::read_genesis(path) {
            Ok(genesis) => Ok(Some(genesis)),
            Err(error) => {
                let remedy = "get the file from another member and compare its digest with the published one";
                self.file("genesis", &path.clone(), Err(error), remedy)?;
                Ok(None)
            }
        }
    }

    fn keys(&mut self) -> anyhow::Result<Option<NodeKeys>> {
        match NodeKeys::load(&self.config.keys) {
            Ok(keys) => Ok(Some(keys)),
            Err(error) => {
                let path = self.config.keys.clone();
                self.file("keys", &path, Err(error), KEYS_REMEDY)?;
                Ok(None)
            }
        }
    }

    /// Whether the key file is that of a member as the ledger knows it.
    fn keys_fit(&mut self, keys: &NodeKeys, state: &State) -> anyhow::Result<bool> {
        // Voted in, and to be taken at the next start.
        let next = NodeKeys::load(&KeyFiles::around(&self.config.keys).next);
        let keys = match &next {
            Ok(next) if knows(state, next) => next,
            _ => keys,
        };
        let of_ledger = get::<Keys>(state, &PrincipalId(keys.organisation.0));
        let member =
            Members::of(state).and_then(|members| members.find(keys.organisation).cloned());
        let engine = salus_replica::engine_public(&keys.engine_seed).ok();
        let what = match (of_ledger, member) {
            (None, _) => "it is of an organisation that the ledger does not know",
            (Some(known), _) if known != *keys.keys.public() => {
                "its keys are not those that the ledger has for this organisation"
            }
            (_, Some(member)) if Some(member.engine_key) != engine => {
                "its engine key is not the one that the ledger has for this member"
            }
            _ => return Ok(true),
        };
        let path = self.config.keys.display().to_string();
        self.wrong("keys", path, what, KEYS_REMEDY)?;
        Ok(false)
    }

    fn small_files(&mut self) -> anyhow::Result<()> {
        let api = self.config.api.clone();
        let tls = TlsFiles {
            certificates: api.certificate.clone(),
            key: api.private_key,
        };
        let remedy =
            "have the certificate and its key issued again by an authority of authority.pem";
        let checked = tls.check().map_err(anyhow::Error::from);
        self.file("tls", &api.certificate, checked, remedy)?;
        let checked = std::fs::read(&api.authority)
            .map_err(anyhow::Error::from)
            .and_then(
                |pem| Ok(salus_client::node::Node::new("https://localhost", &pem).map(drop)?),
            );
        let remedy = "get the file from another member";
        self.file("tls", &api.authority, checked, remedy)?;

        let passwords = self.config.data.join("passwords.setup");
        if passwords.exists() {
            let checked = read_password_setup(&passwords).map(drop);
            let remedy = "restore it from a backup; without it every password login is gone";
            self.file("passwords", &passwords, checked, remedy)?;
        }
        let journal = self.config.data.join("intake.journal");
        if journal.exists() {
            let remedy = "restore it from a backup; without it imports take patients in again under new aliases";
            self.file("intake", &journal, check_journal(&journal), remedy)?;
        }
        Ok(())
    }

    fn ledger(&mut self, genesis: &Genesis) -> anyhow::Result<Option<State>> {
        let folder = self.config.data.join("ledger");
        if !folder.join("ledger.redb").is_file() {
            let path = folder.display().to_string();
            self.wrong("ledger", path, "there is no ledger here", LEDGER_REMEDY)?;
            return Ok(None);
        }
        let machine = Arc::new(Contract::new(genesis.clone()));
        let checked = salus_replica::fsck(
            &folder,
            &machine,
            // The file's own digest: a decoder takes one encoding of a value only.
            &sha256(&to_bytes(genesis)),
            &genesis.origin(),
            genesis.created.0,
        );
        let report = match checked {
            Err(salus_replica::Error::Locked) => {
                bail!("the node is running; stop it first")
            }
            report => report.context("the ledger cannot be read")?,
        };
        self.summary.entries = report.entries;
        self.summary.state_keys = report.keys;
        self.summary.checkpoints = report.checkpoints;
        for finding in &report.findings {
            let (part, remedy) = match finding {
                salus_replica::Finding::Genesis => (
                    "genesis",
                    "get the file from another member and compare its digest with the published one",
                ),
                _ => ("ledger", LEDGER_REMEDY),
            };
            self.wrong(part, finding.thing(), finding.to_string(), remedy)?;
        }
        Ok(report.state)
    }

    async fn store(&mut self, keys: NodeKeys, state: Option<&State>) -> anyhow::Result<()> {
        let local = self.config.data.join("tables.sqlite");
        if self.config.storage.tables == "sqlite" && !local.is_file() {
            let path = local.display().to_string();
            return self.wrong("store", path, "there are no tables here", TABLES_REMEDY);
        }
        let database = match Database::open(&tables(self.config)).await {
            Ok(database) => database,
            Err(
                error @ (salus_runtime::Error::Corrupt { .. } | salus_runtime::Error::Bug { .. }),
            ) => {
                let found = error.to_string();
                return self.wrong("store", "the tables", found, TABLES_REMEDY);
            }
            Err(error) => return Err(error).context("the tables do not open"),
        };
        let earlier = KeyFiles::around(&self.config.keys).earlier;
        let earlier = match earlier.exists() {
            true => Some(NodeKeys::load(&earlier)?.keys),
            false => None,
        };
        let parts = salus_vault::Parts {
            database: database.clone(),
            blobs: blobs(self.config)
                .await
                .context("the blob store does not open")?,
            clock: Arc::new(SystemClock::new()),
            entropy: Box::new(SystemEntropy),
            organisation: keys.organisation,
            keys: Arc::new(keys.keys),
        };
        let vault = Vault::replacing(parts, earlier);
        let checked = match state {
            Some(state) => vault.fsck(state).await,
            None => vault.fsck_bytes().await,
        };
        database.close().await;
        use salus_runtime::Error as E;
        let report = match checked {
            Ok(report) => report,
            // A row that no program of ours wrote.
            Err(
                error @ (salus_vault::Error::Damaged { .. }
                | salus_vault::Error::Malformed(_)
                | salus_vault::Error::Runtime(E::Corrupt { .. } | E::Bug { .. })),
            ) => {
                return self.wrong("store", "the tables", error.to_string(), TABLES_REMEDY);
            }
            Err(error) => return Err(error).context("the store cannot be read"),
        };
        self.summary.batches = report.batches;
        self.summary.records = report.records;
        self.summary.objects = report.objects;
        for finding in &report.findings {
            use salus_vault::Finding as F;
            let remedy = match finding {
                F::Database { .. } | F::Batch { .. } | F::Record { .. } => TABLES_REMEDY,
                F::Sealed { .. } | F::Object { .. } => BLOB_REMEDY,
            };
            self.wrong("store", finding.thing(), finding.to_string(), remedy)?;
        }
        Ok(())
    }
}

/// Whether the ledger has exactly these keys for their organisation.
fn knows(state: &State, keys: &NodeKeys) -> bool {
    get::<Keys>(state, &PrincipalId(keys.organisation.0))
        .is_some_and(|known| known == *keys.keys.public())
}
