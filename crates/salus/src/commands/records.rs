//! `salus patients`, `salus records` and `salus access`: what is kept, who may read it, reading it.

use std::path::PathBuf;

use anyhow::Context as _;
use salus_client::records::Reading;
use salus_clinical::sniff::sanitise_name;
use salus_proto::command::Action;
use salus_proto::ids::{AccessId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::KeyClass;
use salus_proto::role::{Decision, Purpose, Reason};
use salus_runtime::entropy::SystemEntropy;
use serde::Serialize;

use super::people::act;
use super::session::{Actor, block_on};
use super::words;
use crate::files;
use crate::output::{Exit, Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum PatientsCommand {
    /// List the patients of a hospital; for a patient, the aliases that are theirs.
    List(Actor),
    /// State which registered patient is behind an alias, after checking the person.
    Link {
        #[command(flatten)]
        actor: Actor,
        /// The alias.
        alias: PatientAlias,
        /// The registered patient.
        patient: PrincipalId,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum RecordsCommand {
    /// List the sealed records of an alias: kind, digest, signer, time, ledger entry.
    List {
        #[command(flatten)]
        actor: Actor,
        /// The alias.
        alias: PatientAlias,
    },
    /// Read records: a signed receipt goes on the ledger, then they are fetched, checked and opened
    /// here.
    Read(Read),
    /// Verify a record, and save its proof bundle for `salus audit verify`.
    ///
    /// Checks what that command checks: changes of membership since genesis, the quorum's checkpoint, the log
    /// entry, the signed manifest, the record's digest in it. Exit code 4 if anything does not verify. Without
    /// the genesis file the bundle is saved unverified.
    Proof {
        #[command(flatten)]
        actor: Actor,
        /// The record.
        record: RecordId,
        /// File to write.
        #[arg(short, long)]
        output: PathBuf,
    },
    /// List who read an alias, when and what for.
    Receipts {
        #[command(flatten)]
        actor: Actor,
        /// The alias.
        alias: PatientAlias,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Read {
    #[command(flatten)]
    actor: Actor,
    /// The alias.
    alias: PatientAlias,
    /// The records; all of the alias if absent.
    records: Vec<RecordId>,
    /// The grant.
    #[arg(long)]
    access: Option<AccessId>,
    /// What for: treatment, patient-request, emergency, research or operations.
    #[arg(long, value_parser = words::word::<Purpose>)]
    purpose: Purpose,
    /// Folder to write the opened records to; must be yours alone.
    #[arg(short, long)]
    output: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum AccessCommand {
    /// Ask the hospital for access to records.
    Request {
        #[command(flatten)]
        actor: Actor,
        /// The alias.
        alias: PatientAlias,
        /// identity, quasi or medical; repeat for more, all if absent.
        #[arg(long = "class", value_parser = words::word::<KeyClass>)]
        classes: Vec<KeyClass>,
        /// What for.
        #[arg(long, default_value = "patient-request", value_parser = words::word::<Purpose>)]
        purpose: Purpose,
        /// For how many days.
        #[arg(long, default_value_t = 365)]
        days: u64,
    },
    /// List accesses: one's own, or with --custodian those that the hospital has to decide on.
    List {
        #[command(flatten)]
        actor: Actor,
        /// Requests at the hospital.
        #[arg(long)]
        custodian: bool,
    },
    /// Approve or refuse a request, as the hospital's staff or organisation.
    Decide {
        #[command(flatten)]
        actor: Actor,
        /// The request.
        access: AccessId,
        /// approve or refuse.
        #[arg(value_parser = words::word::<Decision>)]
        decision: Decision,
        /// Why.
        #[arg(long, default_value = "own-records", value_parser = words::word::<Reason>)]
        reason: Reason,
    },
    /// End an access before its time.
    Revoke {
        #[command(flatten)]
        actor: Actor,
        /// The access.
        access: AccessId,
        /// Why.
        #[arg(long, default_value = "consent-withdrawn", value_parser = words::word::<Reason>)]
        reason: Reason,
    },
}

#[derive(Debug, Serialize)]
struct OpenedFile {
    record: RecordId,
    kind: String,
    media_type: String,
    signed: bool,
    signer: PrincipalId,
    file: PathBuf,
    bytes: usize,
}

#[derive(Debug, Serialize)]
struct Saved {
    file: PathBuf,
    bytes: usize,
    verified: bool,
}

#[derive(Debug, Serialize)]
struct Asked {
    access: AccessId,
}

pub(crate) fn patients(command: PatientsCommand, output: &Output) -> anyhow::Result<Exit> {
    match command {
        PatientsCommand::Link {
            actor,
            alias,
            patient,
        } => act(&actor, Action::LinkPatient { alias, patient }, output),
        PatientsCommand::List(actor) => block_on(async {
            let person = actor.session().await?;
            if person.me().await?.role == salus_proto::role::Role::Patient {
                for own in person.own_aliases().await? {
                    output.report(&own, |o| {
                        format!("{}  {} ({})", o.alias, o.custodian_name, o.api)
                    })?;
                }
                return Ok(Exit::Done);
            }
            for patient in person.patients().await? {
                output.report(&patient, |p| {
                    let name = p.name.as_deref().unwrap_or("(sealed)");
                    format!("{}  {:>5} records  {name}", p.alias, p.records)
                })?;
            }
            Ok(Exit::Done)
        }),
    }
}

pub(crate) fn records(command: RecordsCommand, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        match command {
            RecordsCommand::List { actor, alias } => {
                for record in actor.session().await?.sealed_records(alias).await? {
                    output.report(&record, |r| {
                        format!(
                            "{}  {:<16} {:>9} B  sha256 {}  signed by {} {}  entry {}",
                            r.record,
                            words::of(&r.kind),
                            r.length,
                            r.ciphertext,
                            r.signer,
                            r.signed,
                            r.entry
                        )
                    })?;
                }
            }
            RecordsCommand::Read(arguments) => read(arguments, output).await?,
            RecordsCommand::Proof {
                actor,
                record,
                output: file,
            } => {
                let (bundle, report) = actor.session().await?.proof(record).await?;
                files::write(&file, &bundle, 0o644)?;
                let saved = Saved {
                    bytes: bundle.len(),
                    file,
                    verified: report.is_some(),
                };
                output.report(&saved, |s| {
                    let shown = report.map_or_else(
                        || "Not verified: the genesis file is needed for that.".to_owned(),
                        |report| report.to_string(),
                    );
                    format!("{shown}\n{} ({} bytes)", s.file.display(), s.bytes)
                })?;
            }
            RecordsCommand::Receipts { actor, alias } => {
                for receipt in actor.session().await?.receipts(alias).await? {
                    output.report(&receipt, |r| {
                        format!(
                            "{}  {} {}  {} records  for {}  entry {}",
                            r.at,
                            words::of(&r.reader_role),
                            r.reader,
                            r.records.len(),
                            words::of(&r.purpose),
                            r.entry
                        )
                    })?;
                }
            }
        }
        Ok(Exit::Done)
    })
}

async fn read(arguments: Read, output: &Output) -> anyhow::Result<()> {
    let person = arguments.actor.session().await?;
    let mut records = arguments.records;
    if records.is_empty() {
        let sealed = person.sealed_records(arguments.alias).await?;
        records = sealed.into_iter().map(|r| r.record).collect();
    }
    anyhow::ensure!(!records.is_empty(), "there are no records under this alias");
    for part in records.chunks(salus_proto::command::NAMED_RECORDS_LIMIT) {
        let reading = Reading {
            alias: arguments.alias,
            access: arguments.access,
            records: part.to_vec(),
            purpose: arguments.purpose,
        };
        for opened in person.read(reading).await? {
            let record = opened.anchor.record;
            let name = format!("{record}-{}", sanitise_name(&opened.content.title));
            let file = arguments.output.join(name.trim_end_matches('-'));
            files::write_secret(&file, &opened.content.body)
                .context("the record was read and its receipt is on the ledger")?;
            let opened = OpenedFile {
                record,
                kind: words::of(&opened.anchor.kind),
                media_type: opened.content.media_type.clone(),
                signed: opened.statement.is_some(),
                signer: opened.signer,
                bytes: opened.content.body.len(),
                file,
            };
            output.report(&opened, |o| {
                let signed = if o.signed { "  signature checked" } else { "" };
                format!("{}  {:<16} {}{signed}", o.record, o.kind, o.file.display())
            })?;
        }
    }
    Ok(())
}

pub(crate) fn access(command: AccessCommand, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        match command {
            AccessCommand::Request {
                actor,
                alias,
                classes,
                purpose,
                days,
            } => {
                let person = actor.session().await?;
                let classes = if classes.is_empty() {
                    KeyClass::ALL.to_vec()
                } else {
                    ascending(classes)
                };
                let until = person.now().plus_ms(days.saturating_mul(86_400_000));
                let access = person
                    .request_access(alias, &classes, purpose, until, &mut SystemEntropy)
                    .await?;
                output.report(&Asked { access }, |a| {
                    format!("Asked for access: {}", a.access)
                })?;
            }
            AccessCommand::List { actor, custodian } => {
                let person = actor.session().await?;
                let list = if custodian {
                    person.open_requests().await?
                } else {
                    person.own_accesses().await?
                };
                for access in list {
                    output.report(&access, |a| {
                        let name = a.name.as_deref().unwrap_or_default();
                        format!(
                            "{}  {:<9} for {}  until {}  {name}",
                            a.access,
                            words::of(&a.status),
                            words::of(&a.purpose),
                            a.until
                        )
                    })?;
                }
            }
            AccessCommand::Decide {
                actor,
                access,
                decision,
                reason,
            } => {
                let receipt = actor
                    .session()
                    .await?
                    .decide_access(access, decision, reason)
                    .await?;
                output.report(&receipt, |r| format!("Entry {} of the ledger.", r.entry))?;
            }
            AccessCommand::Revoke {
                actor,
                access,
                reason,
            } => {
                let action = Action::RevokeAccess { access, reason };
                let receipt = actor.session().await?.act(action).await?;
                output.report(&receipt, |r| format!("Entry {} of the ledger.", r.entry))?;
            }
        }
        Ok(Exit::Done)
    })
}

fn ascending(mut classes: Vec<KeyClass>) -> Vec<KeyClass> {
    classes.sort_unstable();
    classes.dedup();
    classes
}
