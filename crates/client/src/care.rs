//! Access and care: asking for access, sending records to a doctor, answering, prescribing.

use salus_crypto::wrap::Recipient;
use salus_envelope::seal::{BatchBuilder, Item};
use salus_envelope::share::{RecordKeyOf, wrap_record_key};
use salus_proto::api::access::{AccessView, DecisionRequest};
use salus_proto::api::command::CommandReceipt;
use salus_proto::api::consultation::{
    AnswerRequest, ConsultationRequest, ConsultationView, PrescriptionView, RecordWrapBody,
};
use salus_proto::api::principal::Doctor;
use salus_proto::command::Action;
use salus_proto::ids::{
    AccessId, BatchId, ConsultationId, OrganisationId, PatientAlias, PrincipalId, RecordId,
};
use salus_proto::record::{Content, KeyClass, RecordKind};
use salus_proto::role::{Basis, Decision, Purpose, Reason};
use salus_proto::{Entropy, TimestampMs};

use crate::error::Result;
use crate::person::Person;
use crate::records::Opened;

/// A question to a doctor.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whose records: the asking patient's alias.
    pub alias: PatientAlias,
    /// The hospital that keeps them.
    pub custodian: OrganisationId,
    /// The doctor.
    pub doctor: PrincipalId,
    /// The question in the patient's words.
    pub text: &'a str,
    /// The records that go with it, opened.
    pub records: &'a [Opened],
    /// Until when the doctor may read.
    pub until: TimestampMs,
}

/// A doctor's answer.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The consultation.
    pub consultation: &'a ConsultationView,
    /// The hospital that keeps the patient's records.
    pub custodian: OrganisationId,
    /// The answer in words.
    pub text: &'a str,
    /// Prescriptions, each a FHIR R4 `MedicationRequest` in JSON.
    pub prescriptions: &'a [Vec<u8>],
}

impl Person {
    /// Asks for access to an alias.
    pub async fn request_access(
        &self,
        alias: PatientAlias,
        classes: &[KeyClass],
        purpose: Purpose,
        until: TimestampMs,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<AccessId> {
        let access = AccessId::random(entropy);
        let classes = classes.to_vec();
        self.act(Action::RequestAccess {
            access,
            alias,
            classes,
            purpose,
            until,
        })
        .await?;
        Ok(access)
    }

    /// A request for access and what became of it.
    pub async fn access(&self, access: AccessId) -> Result<AccessView> {
        self.node().get(&format!("/accesses/{access}")).await
    }

    /// Requests that this person's hospital has to decide on.
    pub async fn open_requests(&self) -> Result<Vec<AccessView>> {
        self.node()
            .all("/accesses?as=custodian&status=requested")
            .await
    }

    /// Accesses that this person holds or asked for.
    pub async fn own_accesses(&self) -> Result<Vec<AccessView>> {
        self.node().all("/accesses?as=holder").await
    }

    /// Decides on a request; on approval the hospital's node re-wraps the class keys to the holder.
    pub async fn decide_access(
        &self,
        access: AccessId,
        decision: Decision,
        reason: Reason,
    ) -> Result<CommandReceipt> {
        let basis = Basis::Person;
        let command = self.sign(Action::DecideAccess {
            access,
            decision,
            reason,
            basis,
        });
        let path = format!("/accesses/{access}/decision");
        self.node()
            .post(
                &path,
                &DecisionRequest {
                    command: command.into(),
                },
            )
            .await
    }

    /// The directory of authorised doctors.
    pub async fn doctors(&self) -> Result<Vec<Doctor>> {
        self.node().all("/doctors").await
    }

    /// Sends records with a question to a doctor. Must be in a session at the custodian's node.
    pub async fn ask(
        &self,
        question: Question<'_>,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<ConsultationId> {
        let access = AccessId::random(entropy);
        let doctor = self.node().public_keys(question.doctor).await?;
        let doctor_key = Recipient::parse(&doctor.x_wing)?;
        let to_doctor = RecordKeyOf {
            recipient: question.doctor,
            key: &doctor_key,
            access: Some(access),
        };
        let custodian = self.custodian_key(question.custodian).await?;
        let own_key = self.keys().x_wing().recipient();

        let question_record = RecordId::random(entropy);
        let batch = BatchId::random(entropy);
        let mut builder = BatchBuilder::new(
            self.author(),
            question.custodian,
            question.alias,
            batch,
            self.now(),
        );
        let content = text_content(question.text, entropy);
        let item = Item {
            record: question_record,
            version: 1,
            kind: RecordKind::Question,
            class: KeyClass::Medical,
            content,
            signed: true,
        };
        let recipients = [
            to_doctor,
            RecordKeyOf {
                recipient: self.principal(),
                key: &own_key,
                access: None,
            },
            RecordKeyOf {
                recipient: PrincipalId(question.custodian.0),
                key: &custodian,
                access: None,
            },
        ];
        builder.add_for(&item, &recipients, entropy)?;
        self.upload(builder.finish(self.next_sequence(), None)?)
            .await?;

        let mut record_wraps = Vec::with_capacity(question.records.len());
        let mut records = vec![question_record];
        for opened in question.records {
            let wrap = wrap_record_key(opened.anchor.record, &opened.key, &to_doctor, entropy)?;
            record_wraps.push(RecordWrapBody {
                record: wrap.record,
                recipient: wrap.recipient,
                wrap: wrap.wrap.into(),
            });
            records.push(opened.anchor.record);
        }
        records.sort_unstable();
        records.dedup();
        let consultation = ConsultationId::random(entropy);
        let command = self.sign(Action::OpenConsultation {
            consultation,
            access,
            alias: question.alias,
            doctor: question.doctor,
            records,
            question: batch,
            until: question.until,
        });
        let request = ConsultationRequest {
            command: command.into(),
            record_wraps,
        };
        let _: serde_json::Value = self.node().post("/consultations", &request).await?;
        Ok(consultation)
    }

    /// Consultations of this person, as patient or as doctor.
    pub async fn consultations(&self) -> Result<Vec<ConsultationView>> {
        self.node().all("/consultations").await
    }

    /// One consultation.
    pub async fn consultation(&self, id: ConsultationId) -> Result<ConsultationView> {
        self.node().get(&format!("/consultations/{id}")).await
    }

    /// Answers a consultation with signed answer and prescription records that the patient, the
    /// doctor and the hospital can open.
    pub async fn answer(
        &self,
        reply: Reply<'_>,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<CommandReceipt> {
        let consultation = reply.consultation;
        let patient = self.node().public_keys(consultation.patient).await?;
        let patient_key = Recipient::parse(&patient.x_wing)?;
        let custodian = self.custodian_key(reply.custodian).await?;
        let own_key = self.keys().x_wing().recipient();
        let recipients = [
            RecordKeyOf {
                recipient: consultation.patient,
                key: &patient_key,
                access: None,
            },
            RecordKeyOf {
                recipient: self.principal(),
                key: &own_key,
                access: None,
            },
            RecordKeyOf {
                recipient: PrincipalId(reply.custodian.0),
                key: &custodian,
                access: None,
            },
        ];

        let batch = BatchId::random(entropy);
        let mut builder = BatchBuilder::new(
            self.author(),
            reply.custodian,
            consultation.alias,
            batch,
            self.now(),
        );
        let answer = (RecordKind::Answer, text_content(reply.text, entropy));
        let prescriptions = reply.prescriptions.iter().map(|fhir| {
            (
                RecordKind::Prescription,
                content("application/fhir+json", "", fhir.clone()),
            )
        });
        for (kind, mut content) in std::iter::once(answer).chain(prescriptions) {
            entropy.fill(&mut content.salt);
            let item = Item {
                record: RecordId::random(entropy),
                version: 1,
                kind,
                class: KeyClass::Medical,
                content,
                signed: true,
            };
            builder.add_for(&item, &recipients, entropy)?;
        }
        let prescriptions = u32::try_from(reply.prescriptions.len()).unwrap_or(u32::MAX);
        let sealed = builder.finish(self.next_sequence(), Some(consultation.consultation))?;
        self.upload(sealed).await?;
        let command = self.sign(Action::AnswerConsultation {
            consultation: consultation.consultation,
            answer: batch,
            prescriptions,
        });
        let path = format!("/consultations/{}/answer", consultation.consultation);
        self.node()
            .post(
                &path,
                &AnswerRequest {
                    command: command.into(),
                },
            )
            .await
    }

    /// Prescriptions that this person gave or received.
    pub async fn prescriptions(&self) -> Result<Vec<PrescriptionView>> {
        self.node().all("/prescriptions").await
    }

    /// The key that a hospital's records are sealed to.
    pub async fn custodian_key(&self, organisation: OrganisationId) -> Result<Recipient> {
        let keys = self.node().public_keys(PrincipalId(organisation.0)).await?;
        Ok(Recipient::parse(&keys.x_wing)?)
    }
}

fn text_content(text: &str, entropy: &mut dyn Entropy) -> Content {
    let mut content = content("text/plain; charset=utf-8", "", text.as_bytes().to_vec());
    entropy.fill(&mut content.salt);
    content
}

fn content(media_type: &str, title: &str, body: Vec<u8>) -> Content {
    Content {
        media_type: media_type.to_owned(),
        title: title.to_owned(),
        salt: [0; 16],
        body,
    }
}
