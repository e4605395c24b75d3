//! `salus consult`: asking a doctor, answering a patient, listing prescriptions.

use std::path::PathBuf;

use anyhow::Context as _;
use salus_client::care::{Question, Reply};
use salus_client::records::Reading;
use salus_proto::api::patient::OwnAlias;
use salus_proto::ids::{AccessId, ConsultationId, PatientAlias, PrincipalId, RecordId};
use salus_proto::role::Purpose;
use salus_runtime::entropy::SystemEntropy;
use serde::Serialize;

use super::session::{Actor, block_on};
use crate::output::{Exit, Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the authorised doctors.
    Doctors(Actor),
    /// Send records with a question to a doctor.
    Ask(Ask),
    /// List consultations.
    List(Actor),
    /// Answer a consultation with words and prescriptions.
    Answer(Answer),
    /// List prescriptions given or received.
    Prescriptions(Actor),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ask {
    #[command(flatten)]
    actor: Actor,
    /// The patient's own alias.
    #[arg(long)]
    alias: PatientAlias,
    /// The patient's own access to these records.
    #[arg(long)]
    access: AccessId,
    /// The doctor.
    #[arg(long)]
    doctor: PrincipalId,
    /// The question.
    #[arg(long)]
    question: String,
    /// For how many days the doctor may read.
    #[arg(long, default_value_t = 30)]
    days: u64,
    /// Exactly these records go along.
    #[arg(required = true)]
    records: Vec<RecordId>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Answer {
    #[command(flatten)]
    actor: Actor,
    /// The consultation.
    consultation: ConsultationId,
    /// The answer.
    #[arg(long)]
    text: String,
    /// A prescription: a file with a FHIR R4 MedicationRequest in JSON; repeat for more.
    #[arg(long = "prescription", value_name = "FILE")]
    prescriptions: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Asked {
    consultation: ConsultationId,
}

pub(crate) fn run(command: Command, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        match command {
            Command::Doctors(actor) => {
                for doctor in actor.session().await?.doctors().await? {
                    output.report(&doctor, |d| {
                        let words = [&d.name, &d.specialty, &d.hospital];
                        let words: Vec<&str> =
                            words.into_iter().filter_map(|w| w.as_deref()).collect();
                        format!("{}  {}", d.principal, words.join(", "))
                    })?;
                }
            }
            Command::Ask(arguments) => ask(arguments, output).await?,
            Command::List(actor) => {
                for one in actor.session().await?.consultations().await? {
                    output.report(&one, |c| {
                        let state = if c.answer.is_some() {
                            "answered"
                        } else {
                            "open"
                        };
                        format!("{}  {state:<8} {} records", c.consultation, c.records.len())
                    })?;
                }
            }
            Command::Answer(arguments) => answer(arguments, output).await?,
            Command::Prescriptions(actor) => {
                for one in actor.session().await?.prescriptions().await? {
                    output.report(&one, |p| {
                        format!("{}  {}  consultation {}", p.record, p.at, p.consultation)
                    })?;
                }
            }
        }
        Ok(Exit::Done)
    })
}

async fn ask(arguments: Ask, output: &Output) -> anyhow::Result<()> {
    let person = arguments.actor.session().await?;
    let own: Vec<OwnAlias> = person.own_aliases().await?;
    let home = own.iter().find(|o| o.alias == arguments.alias);
    let home = home.context("this alias is not yours")?;
    let person = person.at(&home.api).await?;
    let opened = person
        .read(Reading {
            alias: arguments.alias,
            access: Some(arguments.access),
            records: arguments.records,
            purpose: Purpose::PatientRequest,
        })
        .await?;
    let question = Question {
        alias: arguments.alias,
        custodian: home.custodian,
        doctor: arguments.doctor,
        text: &arguments.question,
        records: &opened,
        until: person
            .now()
            .plus_ms(arguments.days.saturating_mul(86_400_000)),
    };
    let consultation = person.ask(question, &mut SystemEntropy).await?;
    output.report(&Asked { consultation }, |a| {
        format!("Asked: {}", a.consultation)
    })
}

async fn answer(arguments: Answer, output: &Output) -> anyhow::Result<()> {
    let person = arguments.actor.session().await?;
    let consultation = person.consultation(arguments.consultation).await?;
    let mut prescriptions = Vec::new();
    for path in &arguments.prescriptions {
        let text =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let fhir: serde_json::Value = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not JSON", path.display()))?;
        anyhow::ensure!(
            fhir.get("resourceType").and_then(|t| t.as_str()) == Some("MedicationRequest"),
            "{} is not a FHIR MedicationRequest",
            path.display()
        );
        prescriptions.push(text);
    }
    // Consultations are answered at the hospital that keeps the records.
    let custodian = person.node().status().await?.organisation;
    let reply = Reply {
        consultation: &consultation,
        custodian,
        text: &arguments.text,
        prescriptions: &prescriptions,
    };
    let receipt = person.answer(reply, &mut SystemEntropy).await?;
    output.report(&receipt, |r| {
        format!("Answered: entry {} of the ledger.", r.entry)
    })
}
