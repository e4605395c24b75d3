//! Consultations and the prescriptions given in them.

use salus_contract::table::{Accesses, Batches, Consultation, Consultations, Patients, get};
use salus_proto::api::Page;
use salus_proto::api::command::CommandReceipt;
use salus_proto::api::consultation::{
    AnswerView, ConsultationRequest, ConsultationSide, ConsultationView, PrescriptionView,
};
use salus_proto::command::Action;
use salus_proto::ids::{BatchId, ConsultationId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::{RecordKind, RecordWrap};
use salus_proto::role::Role;
use salus_runtime::params;
use salus_vault::{RecordCursor, RecordFilter, SealedItem};

use super::command::{read_command, receipt};
use super::principal::signed;
use super::{Actor, App};
use crate::http::extract::{Paging, page};
use crate::problem::{Problem, Result};

/// Most records of a question's or an answer's batch that are looked at.
const BATCH_SHOWN: u32 = 500;

impl App {
    /// Opens a consultation and stores the keys that the patient wrapped to the doctor. Repeating
    /// the request after a lost answer stores them again.
    pub(crate) async fn open_consultation(
        &self,
        actor: &Actor,
        request: ConsultationRequest,
    ) -> Result<ConsultationView> {
        let command = read_command(&request.command.0)?;
        if command.principal != actor.id {
            return Err(Problem::not_yours());
        }
        let Action::OpenConsultation {
            consultation,
            access,
            alias,
            records,
            ..
        } = command.action
        else {
            return Err(Problem::field("/command", "does not open a consultation"));
        };
        let patient = get::<Patients>(&*self.view()?, &alias).ok_or_else(Problem::hidden)?;
        if patient.custodian != self.organisation {
            return Err(Problem::hidden());
        }
        if request.record_wraps.len() > records.len() {
            return Err(Problem::field(
                "/record_wraps",
                "more than the records that are sent",
            ));
        }
        self.submit(&request.command.0).await?;
        let wraps = request
            .record_wraps
            .into_iter()
            .map(|wrap| RecordWrap {
                record: wrap.record,
                recipient: wrap.recipient,
                access: Some(access),
                wrap: wrap.wrap.0,
            })
            .collect();
        self.vault
            .share_records(&*self.view()?, access, wraps)
            .await?;
        self.consultation(actor, consultation).await
    }

    /// Consultations that the actor asked or is asked.
    pub(crate) async fn consultations(
        &self,
        actor: &Actor,
        side: Option<ConsultationSide>,
        paging: &Paging,
    ) -> Result<Page<ConsultationView>> {
        let listed = self.listed(actor, side, paging, 0).await?;
        let mut items = Vec::with_capacity(listed.items.len());
        for id in listed.items {
            items.push(self.consultation(actor, id).await?);
        }
        Ok(Page {
            items,
            next: listed.next,
        })
    }

    async fn listed(
        &self,
        actor: &Actor,
        side: Option<ConsultationSide>,
        paging: &Paging,
        prescriptions: u32,
    ) -> Result<Page<ConsultationId>> {
        let (limit, after) = (paging.limit()?, signed(paging.after()?));
        let side = side.unwrap_or(match actor.role() {
            Role::Doctor => ConsultationSide::Doctor,
            _ => ConsultationSide::Patient,
        });
        let values = params![actor.id, after, prescriptions, limit + 1];
        let mut tx = self.database.read().await?;
        let rows: Vec<(ConsultationId, u64)> = match side {
            ConsultationSide::Patient => {
                tx.all(
                    "SELECT consultation, entry FROM listed_consultation
                     WHERE patient = $1 AND entry > $2 AND prescriptions >= $3
                     ORDER BY entry LIMIT $4",
                    &values,
                )
                .await?
            }
            ConsultationSide::Doctor => {
                tx.all(
                    "SELECT consultation, entry FROM listed_consultation
                     WHERE doctor = $1 AND entry > $2 AND prescriptions >= $3
                     ORDER BY entry LIMIT $4",
                    &values,
                )
                .await?
            }
        };
        Ok(page(rows, limit, |(_, entry)| *entry, |(id, _)| Some(id)))
    }

    /// One consultation, for the two who hold it.
    pub(crate) async fn consultation(
        &self,
        actor: &Actor,
        id: ConsultationId,
    ) -> Result<ConsultationView> {
        let (row, access, patient) = {
            let view = self.view()?;
            let row = get::<Consultations>(&*view, &id).ok_or_else(Problem::not_found)?;
            let access = get::<Accesses>(&*view, &row.access).ok_or_else(Problem::not_found)?;
            let patient = get::<Patients>(&*view, &row.alias).ok_or_else(Problem::not_found)?;
            (row, access, patient)
        };
        concerns(actor, &row)?;
        let question = self.batch_records(row.alias, row.question).await?;
        let answer = match row.answer {
            None => None,
            Some(answer) => {
                let records = self.batch_records(row.alias, answer.batch).await?;
                Some(AnswerView {
                    batch: answer.batch,
                    records: records.iter().map(|item| item.anchor.record).collect(),
                    prescriptions: answer.prescriptions,
                    at: answer.at,
                })
            }
        };
        Ok(ConsultationView {
            consultation: id,
            alias: row.alias,
            custodian: patient.custodian,
            patient: row.patient,
            doctor: row.doctor,
            access: row.access,
            records: access.records.unwrap_or_default(),
            question: row.question,
            question_records: question.iter().map(|item| item.anchor.record).collect(),
            opened: row.opened,
            until: access.until,
            answer,
        })
    }

    /// The records of an anchored batch that are here, in order.
    async fn batch_records(&self, alias: PatientAlias, batch: BatchId) -> Result<Vec<SealedItem>> {
        let Some(entry) = get::<Batches>(&*self.view()?, &batch).map(|row| row.entry) else {
            return Ok(Vec::new());
        };
        let before = entry.checked_sub(1);
        let after = before.map(|entry| RecordCursor {
            entry,
            position: u32::MAX,
        });
        let rows = self
            .vault
            .records(alias, RecordFilter::default(), after, BATCH_SHOWN)
            .await?;
        Ok(rows.into_iter().filter(|row| row.batch == batch).collect())
    }

    /// Answers a consultation.
    pub(crate) async fn answer_consultation(
        &self,
        actor: &Actor,
        id: ConsultationId,
        command: &[u8],
    ) -> Result<CommandReceipt> {
        let answer = read_command(command)?;
        if answer.principal != actor.id {
            return Err(Problem::not_yours());
        }
        let fits = matches!(&answer.action,
            Action::AnswerConsultation { consultation, .. } if *consultation == id);
        if !fits {
            return Err(Problem::field(
                "/command",
                "does not answer this consultation",
            ));
        }
        Ok(receipt(&self.submit(command).await?))
    }

    /// Prescriptions that the actor gave or got. A page covers so many consultations.
    pub(crate) async fn prescriptions(
        &self,
        actor: &Actor,
        side: Option<ConsultationSide>,
        paging: &Paging,
    ) -> Result<Page<PrescriptionView>> {
        let listed = self.listed(actor, side, paging, 1).await?;
        let mut items = Vec::new();
        for id in listed.items {
            let row = get::<Consultations>(&*self.view()?, &id).ok_or_else(Problem::internal)?;
            let Some(answer) = &row.answer else { continue };
            for item in self.batch_records(row.alias, answer.batch).await? {
                if item.anchor.kind == RecordKind::Prescription {
                    items.push(prescription(id, &row, item.anchor.record, answer.at));
                }
            }
        }
        Ok(Page {
            items,
            next: listed.next,
        })
    }
}

fn prescription(
    consultation: ConsultationId,
    row: &Consultation,
    record: RecordId,
    at: salus_proto::TimestampMs,
) -> PrescriptionView {
    let (alias, patient, doctor) = (row.alias, Some(row.patient), row.doctor);
    PrescriptionView {
        record,
        consultation,
        alias,
        patient,
        doctor,
        at,
    }
}

fn concerns(actor: &Actor, row: &Consultation) -> Result<()> {
    let people: [PrincipalId; 2] = [row.patient, row.doctor];
    if people.contains(&actor.id) {
        Ok(())
    } else {
        Err(Problem::hidden())
    }
}
