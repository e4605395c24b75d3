//! The story of care over HTTP: intake, access, reading with receipts, consultation, prescription,
//! revocation, proof.
#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]

mod support;

use core::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Method;
use salus_crypto::digest::sha256;
use salus_crypto::keys::PeerKeys;
use salus_crypto::wrap::Recipient;
use salus_envelope::open::{check_statement, key_wrap_context, open, record_context, record_key};
use salus_envelope::seal::{BatchBuilder, ClassKey, Item, content_digest};
use salus_envelope::share::{RecordKeyOf, fresh_class_keys, unwrap_class_key, unwrap_record_key};
use salus_ledger::bundle::{BUNDLE_LIMIT, Bundle, Claim};
use salus_proto::api::Page;
use salus_proto::api::access::{AccessStatus, AccessView};
use salus_proto::api::batch::BatchAccepted;
use salus_proto::api::command::CommandReceipt;
use salus_proto::api::consultation::{
    ConsultationView, PrescriptionEvidence, PrescriptionView, RecordWrapBody,
};
use salus_proto::api::patient::{OwnAlias, PatientSummary, Receipt, SealedRecordView};
use salus_proto::api::record::Release;
use salus_proto::command::Action;
use salus_proto::encode::{from_bytes, to_base64url, to_bytes};
use salus_proto::ids::{AccessId, BatchId, ConsultationId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::{ClassWrap, Content, KeyClass, RecordAnchor, RecordKind, RecordWrap};
use salus_proto::role::{Basis, Purpose, Reason, Role};
use salus_proto::{Digest, Entropy as _, TimestampMs};
use salus_runtime::SystemEntropy;
use serde_json::json;
use support::person::Person;
use support::{ORGANISATION, TestNode};

const NAME: &str = "Maya Osei";
const PULSE: &[u8] = b"{\"resourceType\":\"Observation\",\"valueQuantity\":{\"value\":72}}";

fn content(body: &[u8]) -> Content {
    Content {
        media_type: "application/fhir+json".into(),
        title: String::new(),
        salt: SystemEntropy.array(),
        body: body.to_vec(),
    }
}

fn item(kind: RecordKind, body: &[u8]) -> Item {
    Item {
        record: RecordId::random(&mut SystemEntropy),
        version: 1,
        kind,
        class: KeyClass::Medical,
        content: content(body),
        signed: true,
    }
}

fn hour_ahead(node: &TestNode) -> TimestampMs {
    node.clock.now().plus_ms(3_600_000)
}

/// The hospital opens an alias, links the patient and takes one record in.
async fn intake(node: &TestNode, staff: &Person, patient: &Person) -> (PatientAlias, RecordId) {
    let entropy = &mut SystemEntropy;
    let alias = PatientAlias::random(entropy);
    staff.act(Action::OpenPatient { alias }).await.unwrap();
    staff
        .act(Action::LinkPatient {
            alias,
            patient: patient.id,
        })
        .await
        .unwrap();
    let custodian = PrincipalId(ORGANISATION.0);
    let key = Recipient::parse(&node.genesis.members[0].keys.x_wing).unwrap();
    let fresh = fresh_class_keys(alias, custodian, &key, entropy).unwrap();
    let batch = BatchId::random(entropy);
    let now = node.clock.now();
    let mut builder = BatchBuilder::new(staff.author(), ORGANISATION, alias, batch, now);
    builder.name(NAME.into());
    builder.class_wraps(fresh.wraps);
    let pulse = item(RecordKind::Vitals, PULSE);
    let class_key = ClassKey {
        epoch: 1,
        key: &fresh.keys[2],
    };
    builder.add(&pulse, class_key, entropy).unwrap();
    let sealed = to_bytes(&builder.finish(staff.take_sequence(), None).unwrap());
    let first: BatchAccepted = staff
        .caller
        .post_cbor("/batches", sealed.clone())
        .await
        .unwrap();
    let again: BatchAccepted = staff.caller.post_cbor("/batches", sealed).await.unwrap();
    assert_eq!((first.batch, first.entry), (batch, again.entry));
    (alias, pulse.record)
}

/// Reads one record as somebody who gets it under a class key.
async fn read_pulse(
    reader: &Person,
    alias: PatientAlias,
    record: RecordId,
    access: Option<AccessId>,
    purpose: Purpose,
) -> Content {
    let command = reader.sign(Action::ReadRecords {
        alias,
        access,
        records: vec![record],
        purpose,
    });
    let request = json!({ "command": to_base64url(&command) });
    let release: Release = reader
        .caller
        .post("/records/releases", &request)
        .await
        .unwrap();
    // Asking again with the same command, as after a lost answer, gives the same receipt.
    let again: Release = reader
        .caller
        .post("/records/releases", &request)
        .await
        .unwrap();
    assert_eq!(release.entry, again.entry);
    let wrap = &release.class_wraps[0];
    let wrap = ClassWrap {
        alias,
        class: wrap.class,
        epoch: wrap.epoch,
        recipient: reader.id,
        access,
        wrap: wrap.wrap.0.clone(),
    };
    let class_key = unwrap_class_key(&wrap, reader.keys.x_wing()).unwrap();
    let released = &release.records[0];
    let anchor: RecordAnchor = from_bytes(&released.anchor.0, 1024, "anchor").unwrap();
    assert_eq!(released.key_epoch, Some(wrap.epoch));
    let context = key_wrap_context(alias, &anchor, wrap.epoch);
    let key = record_key(&context, &class_key, &released.key_wrap.as_ref().unwrap().0).unwrap();
    let path = format!("/records/{record}/sealed?receipt={}", release.entry);
    let sealed = reader.caller.bytes(&path).await;
    let part = reader
        .caller
        .request(Method::GET, &path)
        .header("range", "bytes=4-11");
    let part = part.send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(
        part.headers()["content-range"],
        format!("bytes 4-11/{}", sealed.len()).as_str()
    );
    assert_eq!(part.bytes().await.unwrap(), sealed[4..12]);
    open(
        &record_context(alias, released.signer, &anchor),
        &anchor,
        &key,
        &sealed,
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_gets_their_records_by_policy_and_sees_every_reading() {
    let node = TestNode::start().await;
    let (staff, patient) = (
        node.person(Role::Staff).await,
        node.person(Role::Patient).await,
    );
    let (alias, record) = intake(&node, &staff, &patient).await;

    let found: Page<PatientSummary> = staff.get("/patients?query=maya").await.unwrap();
    assert_eq!(found.items[0].name.as_deref(), Some(NAME));
    assert_eq!(
        (found.items[0].records, found.items[0].patient),
        (1, Some(patient.id))
    );
    let listed: Page<SealedRecordView> = staff
        .get(&format!("/patients/{alias}/records"))
        .await
        .unwrap();
    assert_eq!(
        (listed.items[0].record, listed.items[0].signer),
        (record, staff.id)
    );

    node.settle().await;
    let mine: Page<OwnAlias> = patient.get("/patients/mine").await.unwrap();
    assert_eq!(
        (mine.items[0].alias, mine.items[0].custodian_name.as_str()),
        (alias, "North")
    );

    // The policy answers a patient's request for their own records at once.
    let access = AccessId::random(&mut SystemEntropy);
    let request = Action::RequestAccess {
        access,
        alias,
        classes: vec![KeyClass::Medical],
        purpose: Purpose::PatientRequest,
        until: hour_ahead(&node),
    };
    patient.act(request).await.unwrap();
    let decided = loop {
        let view: AccessView = patient.get(&format!("/accesses/{access}")).await.unwrap();
        if view.status != AccessStatus::Requested {
            break view;
        }
        tokio::task::yield_now().await;
    };
    assert!(decided.open);
    assert!(matches!(
        decided.status,
        AccessStatus::Approved {
            basis: Basis::Policy,
            ..
        }
    ));

    let purpose = Purpose::PatientRequest;
    let opened = read_pulse(&patient, alias, record, Some(access), purpose).await;
    assert_eq!(opened.body, PULSE);
    let opened = read_pulse(&staff, alias, record, None, Purpose::Operations).await;
    assert_eq!(opened.body, PULSE);

    node.settle().await;
    let receipts: Page<Receipt> = patient
        .get(&format!("/patients/{alias}/receipts"))
        .await
        .unwrap();
    let readers: Vec<_> = receipts
        .items
        .iter()
        .map(|r| (r.reader, r.purpose))
        .collect();
    assert_eq!(
        readers,
        [(patient.id, purpose), (staff.id, Purpose::Operations)]
    );

    // Nobody gets bytes under somebody else's receipt.
    let stolen = format!(
        "/records/{record}/sealed?receipt={}",
        receipts.items[0].entry
    );
    assert_eq!(
        staff.get::<()>(&stolen).await.unwrap_err().code,
        "not-found"
    );

    // The bundle proves the record offline, from the genesis digest alone.
    let bundle = patient
        .caller
        .bytes(&format!("/ledger/proofs/records/{record}"))
        .await;
    assert!(bundle.len() <= BUNDLE_LIMIT);
    let report = Bundle::from_json(&bundle)
        .unwrap()
        .verify(&sha256(&to_bytes(&node.genesis)));
    assert!(report.verified(), "{report:?}");
    let entry = patient.caller.bytes("/ledger/proofs/entries/0").await;
    let report = Bundle::from_json(&entry)
        .unwrap()
        .verify(&sha256(&to_bytes(&node.genesis)));
    assert!(report.verified(), "{report:?}");
    let state = patient.caller.bytes("/ledger/proofs/state/00ff").await;
    let report = Bundle::from_json(&state)
        .unwrap()
        .verify(&sha256(&to_bytes(&node.genesis)));
    assert!(report.verified(), "{report:?}");

    // Once the grant ends, nothing more is given out, not even under the old receipt.
    let old = format!(
        "/records/{record}/sealed?receipt={}",
        receipts.items[0].entry
    );
    let revoke = Action::RevokeAccess {
        access,
        reason: Reason::ConsentWithdrawn,
    };
    patient.act(revoke).await.unwrap();
    assert_eq!(patient.get::<()>(&old).await.unwrap_err().code, "not-found");
    let command = patient.sign(Action::ReadRecords {
        alias,
        access: Some(access),
        records: vec![record],
        purpose,
    });
    let request = json!({ "command": to_base64url(&command) });
    let refused = patient
        .caller
        .post::<Release>("/records/releases", &request)
        .await;
    assert_eq!(refused.unwrap_err().code, "not-granted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_reads_what_was_sent_answers_and_prescribes() {
    let node = TestNode::start().await;
    let (staff, patient) = (
        node.person(Role::Staff).await,
        node.person(Role::Patient).await,
    );
    let doctor = node.person(Role::Doctor).await;
    let (alias, pulse) = intake(&node, &staff, &patient).await;
    let entropy = &mut SystemEntropy;

    // What changed reaches the doctor as it happens.
    let stream = doctor
        .caller
        .request(Method::GET, "/events")
        .send()
        .await
        .unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut stream = stream.bytes_stream();
    let first = stream.next().await.unwrap().unwrap();
    assert!(core::str::from_utf8(&first).unwrap().contains(": open"));

    let (access, consultation) = (AccessId::random(entropy), ConsultationId::random(entropy));
    let to_doctor = doctor.keys.x_wing().recipient();
    let to_patient = patient.keys.x_wing().recipient();
    let recipient = |person: &Person, key, access| RecordKeyOf {
        recipient: person.id,
        key,
        access,
    };
    let question = item(RecordKind::Question, b"May I run?");
    let batch = BatchId::random(entropy);
    let now = node.clock.now();
    let mut builder = BatchBuilder::new(patient.author(), ORGANISATION, alias, batch, now);
    let recipients = [
        recipient(&doctor, &to_doctor, Some(access)),
        recipient(&patient, &to_patient, None),
    ];
    builder.add_for(&question, &recipients, entropy).unwrap();
    let sealed = to_bytes(&builder.finish(patient.take_sequence(), None).unwrap());
    let _: BatchAccepted = patient.caller.post_cbor("/batches", sealed).await.unwrap();
    let command = patient.sign(Action::OpenConsultation {
        consultation,
        access,
        alias,
        doctor: doctor.id,
        records: vec![question.record],
        question: batch,
        until: hour_ahead(&node),
    });
    let none: Vec<RecordWrapBody> = Vec::new();
    let request = json!({ "command": to_base64url(&command), "record_wraps": none });
    let opened: ConsultationView = patient
        .caller
        .post("/consultations", &request)
        .await
        .unwrap();
    assert_eq!(opened.question_records, [question.record]);
    assert_eq!(opened.custodian, ORGANISATION);

    let mut seen = String::new();
    while !seen.contains("\"consultation\"") {
        seen += core::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap();
    }
    assert!(seen.contains(&consultation.to_string()));
    assert!(!seen.contains(NAME));

    let command = doctor.sign(Action::ReadRecords {
        alias,
        access: Some(access),
        records: vec![question.record],
        purpose: Purpose::Treatment,
    });
    let request = json!({ "command": to_base64url(&command) });
    let release: Release = doctor
        .caller
        .post("/records/releases", &request)
        .await
        .unwrap();
    let wrap = RecordWrap {
        record: question.record,
        recipient: doctor.id,
        access: Some(access),
        wrap: release.records[0].record_wrap.as_ref().unwrap().0.clone(),
    };
    let key = unwrap_record_key(&wrap, doctor.keys.x_wing()).unwrap();
    let path = format!(
        "/records/{}/sealed?receipt={}",
        question.record, release.entry
    );
    let sealed = doctor.caller.bytes(&path).await;
    let anchor: RecordAnchor = from_bytes(&release.records[0].anchor.0, 1024, "anchor").unwrap();
    let read = open(
        &record_context(alias, patient.id, &anchor),
        &anchor,
        &key,
        &sealed,
    )
    .unwrap();
    assert_eq!(read.body, b"May I run?");

    let batch = BatchId::random(entropy);
    let now = node.clock.now();
    let mut builder = BatchBuilder::new(doctor.author(), ORGANISATION, alias, batch, now);
    let recipients = [
        recipient(&patient, &to_patient, None),
        recipient(&doctor, &to_doctor, None),
    ];
    let prescription = item(
        RecordKind::Prescription,
        b"{\"resourceType\":\"MedicationRequest\"}",
    );
    let reply = item(RecordKind::Answer, b"Yes.");
    builder.add_for(&reply, &recipients, entropy).unwrap();
    builder
        .add_for(&prescription, &recipients, entropy)
        .unwrap();
    let sealed = to_bytes(
        &builder
            .finish(doctor.take_sequence(), Some(consultation))
            .unwrap(),
    );
    let _: BatchAccepted = doctor.caller.post_cbor("/batches", sealed).await.unwrap();
    let command = doctor.sign(Action::AnswerConsultation {
        consultation,
        answer: batch,
        prescriptions: 1,
    });
    let request = json!({ "command": to_base64url(&command) });
    let path = format!("/consultations/{consultation}/answer");
    let _: CommandReceipt = doctor.caller.post(&path, &request).await.unwrap();

    node.settle().await;
    for person in [&doctor, &patient] {
        let list: Page<PrescriptionView> = person.get("/prescriptions").await.unwrap();
        assert_eq!(list.items[0].record, prescription.record);
        let list: Page<ConsultationView> = person.get("/consultations").await.unwrap();
        assert_eq!(list.items[0].answer.as_ref().unwrap().prescriptions, 1);
    }
    let other = staff
        .get::<ConsultationView>(&format!("/consultations/{consultation}"))
        .await;
    assert_eq!(other.unwrap_err().code, "not-found");

    // The doctor's grant names the question alone; what the doctor signed is theirs to prove.
    let own = format!("/ledger/proofs/records/{}", prescription.record);
    let bundle = doctor.caller.bytes(&own).await;
    let report = Bundle::from_json(&bundle)
        .unwrap()
        .verify(&sha256(&to_bytes(&node.genesis)));
    assert!(report.verified(), "{report}");

    // A pharmacy has the paper and no account.
    let pharmacy = node.caller();
    let about = content_digest(&prescription.content);
    let evidence = async |record: RecordId, content: Digest| {
        let path = format!("/prescriptions/{record}/evidence");
        let answer: Result<PrescriptionEvidence, _> =
            pharmacy.post(&path, &json!({ "content": content })).await;
        answer.map_err(|problem| problem.code)
    };
    let found = evidence(prescription.record, about).await.unwrap();
    let genesis = sha256(&to_bytes(&node.genesis));
    for bundle in [&found.proof, &found.doctor] {
        let report = Bundle::from_json(bundle.as_bytes())
            .unwrap()
            .verify(&genesis);
        assert!(report.verified(), "{report}");
    }
    let Claim::Record(claim) = Bundle::from_json(found.proof.as_bytes()).unwrap().claim else {
        panic!("the proof is of a record");
    };
    let anchor: RecordAnchor = from_bytes(&claim.anchor, 1024, "anchor").unwrap();
    assert_eq!(anchor.record, prescription.record);
    let public = PeerKeys::parse(doctor.keys.public()).unwrap();
    let envelope = &found.statement.0;
    check_statement(&anchor, envelope, &public, Some(&prescription.content)).unwrap();
    // Other words, other records and records that are no prescriptions get one answer.
    for (record, content) in [
        (prescription.record, Digest([9; 32])),
        (RecordId([9; 16]), about),
        (reply.record, content_digest(&reply.content)),
        (pulse, about),
    ] {
        let refused = evidence(record, content).await;
        assert_eq!(refused.unwrap_err(), "not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_does_a_write_once_and_belongs_to_one_request() {
    let node = TestNode::start().await;
    let staff = node.person(Role::Staff).await;
    let alias = PatientAlias::random(&mut SystemEntropy);
    let submit = |command: Vec<u8>| {
        let body = json!({ "command": to_base64url(&command) });
        let request = staff.caller.request(Method::POST, "/commands");
        request.header("idempotency-key", "one").json(&body).send()
    };
    let first = staff.sign(Action::OpenPatient { alias });
    let answered = submit(first.clone()).await.unwrap();
    assert_eq!(answered.status(), 200);
    let answered = answered.bytes().await.unwrap();
    let again = submit(first).await.unwrap();
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.bytes().await.unwrap(), answered);
    let other = staff.sign(Action::OpenPatient { alias });
    let refused = submit(other).await.unwrap();
    assert_eq!(refused.status(), 422);
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "idempotency-mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_resume_after_the_last_event_and_end_with_the_server() {
    let mut node = TestNode::start().await;
    let staff = node.person(Role::Staff).await;
    for _ in 0..3 {
        let alias = PatientAlias::random(&mut SystemEntropy);
        staff.act(Action::OpenPatient { alias }).await.unwrap();
    }
    node.settle().await;
    let request = staff
        .caller
        .request(Method::GET, "/events")
        .header("last-event-id", "0");
    let mut stream = request.send().await.unwrap().bytes_stream();
    let mut seen = String::new();
    while !seen.contains("id: 2") {
        seen += core::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap();
    }
    assert!(seen.contains("id: 1") && !seen.contains("id: 0"));
    assert!(seen.contains("retry: 2000"));
    let ended = tokio::spawn(async move { while stream.next().await.is_some() {} });
    tokio::time::timeout(Duration::from_secs(30), node.stop())
        .await
        .unwrap();
    ended.await.unwrap();
}
