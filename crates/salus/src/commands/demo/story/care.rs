//! Steps about access and care: the patient's grant, strangers, reading, a consultation, receipts.

use anyhow::{Context as _, ensure};
use salus_client::care::{Question, Reply};
use salus_client::intake::pieces;
use salus_client::person::Person;
use salus_client::records::{Opened, Reading};
use salus_proto::api::patient::{OwnAlias, PatientSummary};
use salus_proto::command::Action;
use salus_proto::ids::{AccessId, RecordId};
use salus_proto::record::{KeyClass, RecordKind};
use salus_proto::role::{Decision, Purpose, Reason};
use salus_runtime::entropy::SystemEntropy;

use super::{CAST, DAY_MS, LOOK_EVERY, SOON_MS, Story, expect_refused};

impl Story<'_> {
    pub(super) async fn approve(&mut self) -> anyhow::Result<Vec<String>> {
        let (_, name) = self.first_patient()?;
        let north = self.process(0)?;
        let api = north.node.base().to_owned();
        let stan = self.person("stan")?.clone();
        let patients: Vec<PatientSummary> = stan.patients().await?;
        let found = patients
            .iter()
            .find(|p| p.name.as_deref() == Some(name.as_str()));
        let alias = found
            .context("the patient is listed under the clear name")?
            .alias;
        self.alias = Some(alias);
        let patient = self.principal("maya")?;
        stan.act(Action::LinkPatient { alias, patient }).await?;

        let maya = self.person("maya")?;
        // Her account's node learns of the link as soon as it has executed the block.
        let deadline = self.clock.now().plus_ms(SOON_MS);
        loop {
            let own: Vec<OwnAlias> = maya.own_aliases().await?;
            if own.iter().any(|o| o.alias == alias && o.api == api) {
                break;
            }
            ensure!(self.clock.now() < deadline, "maya does not see her alias");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let maya = maya.at(&api).await?;
        let until = self.clock.now().plus_ms(365 * DAY_MS);
        let purpose = Purpose::PatientRequest;
        let access = maya
            .request_access(alias, &KeyClass::ALL, purpose, until, &mut SystemEntropy)
            .await?;
        let decided = self.decided(&maya, access).await?;
        ensure!(decided == "approved", "her request was {decided}");
        self.access = Some(access);

        // Another purpose is a person's decision; this one is refused, and she sees why.
        let asked = maya
            .request_access(
                alias,
                &[KeyClass::Medical],
                Purpose::Research,
                until,
                &mut SystemEntropy,
            )
            .await?;
        let waiting = stan.open_requests().await?;
        ensure!(
            waiting.iter().any(|a| a.access == asked),
            "staff do not see the request"
        );
        stan.decide_access(asked, Decision::Refuse, Reason::TooBroad)
            .await?;
        let answer = maya.access(asked).await?;
        let answer = serde_json::to_value(answer.status)?;
        let reason = answer
            .get("reason")
            .and_then(|r| r.as_str())
            .unwrap_or_default()
            .to_owned();
        ensure!(reason == "too-broad", "the reason shown is `{reason}`");
        self.people.insert("maya", maya);
        Ok(vec![
            "her own records: approved by the hospital's policy".into(),
            "a broader request: refused by staff, and she sees the reason".into(),
        ])
    }

    /// Waits until a request is no longer open.
    pub(super) async fn decided(
        &self,
        person: &Person,
        access: AccessId,
    ) -> anyhow::Result<String> {
        let deadline = self.clock.now().plus_ms(SOON_MS);
        loop {
            let status = serde_json::to_value(person.access(access).await?.status)?;
            let word = status
                .get("status")
                .and_then(|s| s.as_str())
                .unwrap_or_default();
            if word != "requested" {
                return Ok(word.to_owned());
            }
            ensure!(self.clock.now() < deadline, "nobody decided on the request");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(super) fn reading(&self, records: Vec<RecordId>) -> anyhow::Result<Reading> {
        Ok(Reading {
            alias: self.alias.context("an alias")?,
            access: self.access,
            records,
            purpose: Purpose::PatientRequest,
        })
    }

    pub(super) async fn strangers(&mut self) -> anyhow::Result<Vec<String>> {
        let alias = self.alias.context("an alias")?;
        let api = self.process(0)?.node.base().to_owned();
        let sealed = self.person("stan")?.sealed_records(alias).await?;
        let record = sealed.first().context("a record")?.record;
        for login in ["noah", "dana", "olive"] {
            let stranger = self.person(login)?.at(&api).await?;
            let read = stranger.read(self.reading(vec![record])?).await;
            expect_refused(read, "a stranger read a record")?;
            let mut without = self.reading(vec![record])?;
            without.access = None;
            expect_refused(
                stranger.read(without).await,
                "a stranger read without a grant",
            )?;
            let path = format!("/records/{record}/sealed?receipt=0");
            expect_refused(
                stranger.node().bytes(&path, None).await,
                "sealed bytes left the node",
            )?;
        }
        let noah = self.person("noah")?.at(&api).await?;
        expect_refused(
            noah.sealed_records(alias).await,
            "another patient saw her list",
        )?;
        Ok(vec![
            "another patient, a doctor and the operator get nothing, not even a list".into(),
        ])
    }

    pub(super) async fn patient_reads(&mut self) -> anyhow::Result<Vec<String>> {
        let alias = self.alias.context("an alias")?;
        let maya = self.person("maya")?.clone();
        let sealed = maya.sealed_records(alias).await?;
        let records: Vec<RecordId> = sealed.iter().map(|r| r.record).collect();
        let opened = maya.read(self.reading(records)?).await?;
        ensure!(
            opened.len() == sealed.len(),
            "{} of {} opened",
            opened.len(),
            sealed.len()
        );
        self.reads += 1;

        let mut expected = 0;
        for path in &self.samples.attachments {
            let bytes = std::fs::read(path)?;
            let whole = opened.iter().any(|o| o.content.body == bytes);
            let wave = path.extension().is_some_and(|e| e == "hea");
            ensure!(
                whole || wave,
                "{} did not come back as it was",
                path.display()
            );
            expected += usize::from(whole);
        }
        let ecgs = opened
            .iter()
            .filter(|o| o.anchor.kind == RecordKind::Ecg)
            .count();
        let is_document = |o: &&Opened| o.anchor.kind == RecordKind::Document;
        let documents = opened.iter().filter(is_document).count();
        let signed = opened
            .iter()
            .filter(is_document)
            .all(|d| d.statement.is_some());
        ensure!(signed, "a document is not signed");
        let bundle = self.samples.shares.first().and_then(|s| s.bundles.first());
        let source = pieces::fhir(&std::fs::read(bundle.context("a bundle")?)?)?;
        let pieces = &source.patients.first().context("a patient")?.pieces;
        for piece in pieces {
            let same = opened.iter().any(|o| o.content.body == piece.body);
            ensure!(
                same,
                "a resource of kind {:?} did not come back as it was",
                piece.kind
            );
        }
        self.read = opened;
        Ok(vec![
            format!(
                "{} records opened here, each checked against its anchor",
                sealed.len()
            ),
            format!(
                "{} FHIR resources and {expected} files came back byte for byte, {ecgs} ECG, \
                 {documents} documents with both signatures checked",
                pieces.len()
            ),
        ])
    }

    pub(super) async fn ask(&mut self) -> anyhow::Result<Vec<String>> {
        let maya = self.person("maya")?.clone();
        let doctors = self.at_home("maya").await?.doctors().await?;
        let dana = self.principal("dana")?;
        ensure!(
            doctors.iter().any(|d| d.principal == dana),
            "dana is not in the directory"
        );
        let mallory = self.principal("mallory")?;
        ensure!(
            doctors.iter().all(|d| d.principal != mallory),
            "a refused doctor is listed"
        );
        let chosen: Vec<Opened> = std::mem::take(&mut self.read)
            .into_iter()
            .filter(|o| matches!(o.anchor.kind, RecordKind::Ecg | RecordKind::Symptom))
            .take(3)
            .collect();
        ensure!(!chosen.is_empty(), "there is nothing to send");
        let custodian = self
            .process(0)?
            .organisation(&self.clock)
            .await?
            .organisation();
        let question = Question {
            alias: self.alias.context("an alias")?,
            custodian,
            doctor: dana,
            text: "My heart races at night. What does the ECG say?",
            records: &chosen,
            until: self.clock.now().plus_ms(30 * DAY_MS),
        };
        let consultation = maya.ask(question, &mut SystemEntropy).await?;
        self.consultation = Some(consultation);
        let sent = chosen.len();
        self.read = chosen;
        Ok(vec![format!(
            "a question and exactly {sent} records sent to one doctor"
        )])
    }

    /// The same person in a session at the node where the account is.
    pub(super) async fn at_home(&self, login: &str) -> anyhow::Result<Person> {
        let one = CAST
            .iter()
            .find(|c| c.login == login)
            .context("a known person")?;
        let home = self.process(one.home)?.node.base().to_owned();
        Ok(self.person(login)?.at(&home).await?)
    }

    pub(super) async fn answer(&mut self) -> anyhow::Result<Vec<String>> {
        let api = self.process(0)?.node.base().to_owned();
        let id = self.consultation.context("a consultation")?;
        let dana = self.person("dana")?.at(&api).await?;
        let consultation = dana.consultation(id).await?;
        let reading = |records: Vec<RecordId>| Reading {
            alias: consultation.alias,
            access: Some(consultation.access),
            records,
            purpose: Purpose::Treatment,
        };
        let opened = dana.read(reading(consultation.records.clone())).await?;
        self.reads += 1;
        let question = opened
            .iter()
            .find(|o| o.anchor.kind == RecordKind::Question);
        let question = question.context("the question came along")?;
        ensure!(question.statement.is_some(), "the question is not signed");
        for sent in &self.read {
            let same = opened.iter().any(|o| o.content.body == sent.content.body);
            ensure!(same, "a record that was sent did not arrive");
        }
        // Nothing but what was sent, and nobody but her.
        let all = self
            .person("stan")?
            .sealed_records(consultation.alias)
            .await?;
        let other = all
            .iter()
            .find(|r| !consultation.records.contains(&r.record));
        let other = other.context("a record that was not sent")?.record;
        expect_refused(
            dana.read(reading(vec![other])).await,
            "a doctor read more than was sent",
        )?;
        let emil = self.person("emil")?.at(&api).await?;
        let stolen = emil.read(reading(consultation.records.clone())).await;
        expect_refused(stolen, "another doctor read the consultation")?;
        expect_refused(
            emil.consultation(id).await,
            "another doctor saw the consultation",
        )?;

        let prescription = serde_json::json!({
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": { "coding": [{
                "system": "http://www.nlm.nih.gov/research/umls/rxnorm",
                "code": "866427", "display": "metoprolol succinate 25 MG",
            }] },
            "dosageInstruction": [{ "text": "one tablet every morning for 28 days" }],
        });
        let custodian = self
            .process(0)?
            .organisation(&self.clock)
            .await?
            .organisation();
        let reply = Reply {
            consultation: &consultation,
            custodian,
            text: "Sinus rhythm with frequent premature beats. Take this and come back in a month.",
            prescriptions: &[prescription.to_string().into_bytes()],
        };
        dana.answer(reply, &mut SystemEntropy).await?;
        let given = dana.prescriptions().await?;
        ensure!(
            given.iter().any(|p| p.consultation == id),
            "dana does not see her prescription"
        );
        Ok(vec![
            format!(
                "the doctor opened {} records, and none that was not sent",
                opened.len()
            ),
            "another doctor opened nothing; answer and prescription are signed and listed".into(),
        ])
    }

    pub(super) async fn reads_answer(&mut self) -> anyhow::Result<Vec<String>> {
        let maya = self.person("maya")?.clone();
        let id = self.consultation.context("a consultation")?;
        let consultation = maya.consultation(id).await?;
        let answer = consultation.answer.as_ref().context("there is no answer")?;
        let opened = maya.read(self.reading(answer.records.clone())?).await?;
        self.reads += 1;
        let kinds: Vec<RecordKind> = opened.iter().map(|o| o.anchor.kind).collect();
        ensure!(
            kinds.contains(&RecordKind::Answer),
            "the answer did not arrive"
        );
        ensure!(
            kinds.contains(&RecordKind::Prescription),
            "the prescription did not arrive"
        );
        let dana = self.principal("dana")?;
        let signed = opened
            .iter()
            .all(|o| o.statement.is_some() && o.signer == dana);
        ensure!(signed, "answer or prescription is not signed by the doctor");
        Ok(vec![
            "both opened; Ed25519 and ML-DSA-65 signatures of the doctor verified".into(),
        ])
    }

    pub(super) async fn receipts(&mut self) -> anyhow::Result<Vec<String>> {
        let alias = self.alias.context("an alias")?;
        let receipts = self.person("maya")?.receipts(alias).await?;
        let (maya, dana) = (self.principal("maya")?, self.principal("dana")?);
        let by = |who| receipts.iter().filter(|r| r.reader == who).count();
        let reads = by(maya) + by(dana);
        ensure!(
            reads == self.reads,
            "{reads} receipts for {} reads",
            self.reads
        );
        ensure!(by(dana) == 1, "{} receipts of the doctor", by(dana));
        let purpose = receipts
            .iter()
            .find(|r| r.reader == dana)
            .map(|r| r.purpose);
        ensure!(
            purpose == Some(Purpose::Treatment),
            "the doctor's purpose is not shown"
        );
        Ok(vec![format!(
            "{} receipts: who, when, what, what for; one for every read that happened",
            receipts.len()
        )])
    }
}
