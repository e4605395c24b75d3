//! Counts of a hospital's patients over HTTP: exact within, small cells left out and signed outside; and
//! refused attempts as they happen, for those who watch.
#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]

mod support;

use futures_util::StreamExt as _;
use reqwest::Method;
use salus_crypto::hybrid;
use salus_crypto::keys::PeerKeys;
use salus_crypto::label;
use salus_crypto::wrap::Recipient;
use salus_envelope::seal::{BatchBuilder, ClassKey, Item};
use salus_envelope::share::{RecordKeyOf, fresh_class_keys};
use salus_proto::Entropy as _;
use salus_proto::api::batch::BatchAccepted;
use salus_proto::api::consultation::{ConsultationView, RecordWrapBody};
use salus_proto::api::statistics::{ExactCounts, Statistics};
use salus_proto::command::Action;
use salus_proto::encode::{to_base64url, to_bytes};
use salus_proto::ids::{AccessId, BatchId, ConsultationId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::{Content, KeyClass, RecordKind};
use salus_proto::role::Role;
use salus_proto::statistics::{Chart, Counts};
use salus_runtime::SystemEntropy;
use serde_json::json;
use support::person::Person;
use support::{ORGANISATION, TestNode};

fn item(kind: RecordKind, body: Vec<u8>) -> Item {
    Item {
        record: RecordId::random(&mut SystemEntropy),
        version: 1,
        kind,
        class: KeyClass::Medical,
        content: Content {
            media_type: "application/fhir+json".into(),
            title: String::new(),
            salt: SystemEntropy.array(),
            body,
        },
        signed: false,
    }
}

fn condition(code: &str, display: &str) -> Item {
    let coding = json!([{ "system": "http://snomed.info/sct", "code": code, "display": display }]);
    let body = match code {
        "" => json!({ "resourceType": "Condition", "code": { "text": display } }),
        _ => json!({ "resourceType": "Condition", "code": { "coding": coding } }),
    };
    item(RecordKind::Symptom, body.to_string().into_bytes())
}

/// A new patient with these symptoms.
async fn intake(node: &TestNode, staff: &Person, symptoms: &[Item]) -> PatientAlias {
    let entropy = &mut SystemEntropy;
    let alias = PatientAlias::random(entropy);
    staff.act(Action::OpenPatient { alias }).await.unwrap();
    let custodian = PrincipalId(ORGANISATION.0);
    let key = Recipient::parse(&node.genesis.members[0].keys.x_wing).unwrap();
    let fresh = fresh_class_keys(alias, custodian, &key, entropy).unwrap();
    let (batch, now) = (BatchId::random(entropy), node.clock.now());
    let mut builder = BatchBuilder::new(staff.author(), ORGANISATION, alias, batch, now);
    builder.class_wraps(fresh.wraps);
    for symptom in symptoms {
        let class_key = ClassKey {
            epoch: 1,
            key: &fresh.keys[2],
        };
        builder.add(symptom, class_key, entropy).unwrap();
    }
    let sealed = to_bytes(&builder.finish(staff.take_sequence(), None).unwrap());
    let _: BatchAccepted = staff.caller.post_cbor("/batches", sealed).await.unwrap();
    alias
}

/// The patient behind an alias asks a doctor.
async fn consult(node: &TestNode, patient: &Person, alias: PatientAlias, doctor: &Person) {
    let entropy = &mut SystemEntropy;
    let (access, consultation) = (AccessId::random(entropy), ConsultationId::random(entropy));
    let question = item(RecordKind::Question, b"May I run?".to_vec());
    let (batch, now) = (BatchId::random(entropy), node.clock.now());
    let mut builder = BatchBuilder::new(patient.author(), ORGANISATION, alias, batch, now);
    let to_doctor = doctor.keys.x_wing().recipient();
    let recipient = RecordKeyOf {
        recipient: doctor.id,
        key: &to_doctor,
        access: Some(access),
    };
    builder.add_for(&question, &[recipient], entropy).unwrap();
    let sealed = to_bytes(&builder.finish(patient.take_sequence(), None).unwrap());
    let _: BatchAccepted = patient.caller.post_cbor("/batches", sealed).await.unwrap();
    let command = patient.sign(Action::OpenConsultation {
        consultation,
        access,
        alias,
        doctor: doctor.id,
        records: vec![question.record],
        question: batch,
        until: now.plus_ms(3_600_000),
    });
    let none: Vec<RecordWrapBody> = Vec::new();
    let request = json!({ "command": to_base64url(&command), "record_wraps": none });
    let _: ConsultationView = patient
        .caller
        .post("/consultations", &request)
        .await
        .unwrap();
}

/// Asks until everybody is counted.
async fn ask(node: &TestNode, person: &Person) -> Statistics {
    node.settle().await;
    loop {
        let told: Statistics = person.get("/statistics").await.unwrap();
        assert_eq!(told.organisation, ORGANISATION);
        if told.complete {
            return told;
        }
    }
}

fn keys(node: &TestNode) -> PeerKeys {
    PeerKeys::parse(&node.genesis.members[0].keys).unwrap()
}

/// The signed counts of a chart, verified.
fn stated(node: &TestNode, told: &Statistics, chart: Chart) -> Option<Counts> {
    let mut found = told.statements.iter().map(|statement| {
        let payload = hybrid::verify(&keys(node), label::STATISTICS, &statement.0).unwrap();
        Counts::from_bytes(&payload).unwrap()
    });
    found.find(|counts| counts.chart == chart)
}

fn cells(counts: &Counts) -> Vec<(&str, &str, u64)> {
    let cell = |cell: &'_ salus_proto::statistics::SymptomCount| cell.patients;
    let symptoms = counts.symptoms.iter();
    symptoms
        .map(|one| (&*one.code, &*one.display, cell(one)))
        .collect()
}

fn exact(told: &Statistics) -> &ExactCounts {
    told.exact.as_ref().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hospital_counts_exactly_within_and_signs_no_small_cell() {
    let node = TestNode::start().await;
    let staff = node.person(Role::Staff).await;
    let (operator, auditor) = (
        node.person(Role::Operator).await,
        node.person(Role::Auditor).await,
    );
    for role in [Role::Patient, Role::Doctor, Role::DataUser] {
        let refused = node
            .person(role)
            .await
            .get::<Statistics>("/statistics")
            .await;
        assert_eq!(refused.unwrap_err().code, "not-allowed");
    }
    let told = ask(&node, &staff).await;
    assert!(told.statements.is_empty());
    assert_eq!((exact(&told).of, exact(&told).symptoms.len()), (0, 0));

    // Six have fever, four of them a cough as well, one says that it is tired.
    let mut aliases = Vec::new();
    for patient in 0..6 {
        let mut symptoms = vec![condition("386661006", "Fever")];
        if patient < 4 {
            symptoms.push(condition("49727002", "Cough"));
        }
        if patient == 5 {
            symptoms.push(condition("", "tired"));
        }
        aliases.push(intake(&node, &staff, &symptoms).await);
    }
    let told = ask(&node, &staff).await;
    let symptoms: Vec<_> = exact(&told)
        .symptoms
        .iter()
        .map(|cell| (&*cell.display, cell.patients))
        .collect();
    assert_eq!(symptoms, [("Fever", 6), ("Cough", 4)]);
    assert_eq!((exact(&told).patients, exact(&told).uncoded), (6, 1));
    let counts = stated(&node, &told, Chart::Symptoms).unwrap();
    assert_eq!(cells(&counts), [("386661006", "Fever", 5)]);
    assert_eq!((counts.patients, counts.uncoded), (Some(5), None));
    assert_eq!(stated(&node, &told, Chart::Doctors), None);

    // Whoever watches from outside gets that and nothing more, and one altered bit shows.
    for watcher in [&operator, &auditor] {
        let outside = ask(&node, watcher).await;
        assert!(outside.exact.is_none());
        assert_eq!(
            stated(&node, &outside, Chart::Symptoms),
            Some(counts.clone())
        );
        let statement = &outside.statements[0].0;
        for at in (0..statement.len()).step_by(211) {
            let mut altered = statement.clone();
            altered[at] ^= 1;
            assert!(hybrid::verify(&keys(&node), label::STATISTICS, &altered).is_err());
        }
        assert!(hybrid::verify(&keys(&node), label::DOCUMENT, statement).is_err());
    }

    // One more patient: known within at once, and outside only together with as many as make a cell.
    intake(&node, &staff, &[condition("49727002", "Cough")]).await;
    let told = ask(&node, &staff).await;
    assert_eq!(exact(&told).patients, 7);
    assert_eq!(stated(&node, &told, Chart::Symptoms), Some(counts.clone()));
    for _ in 0..4 {
        intake(&node, &staff, &[condition("49727002", "Cough")]).await;
    }
    let told = ask(&node, &operator).await;
    let later = stated(&node, &told, Chart::Symptoms).unwrap();
    assert_eq!(
        cells(&later),
        [("386661006", "Fever", 5), ("49727002", "Cough", 10)]
    );
    assert!(later.entries > counts.entries);

    // Five patients ask the same doctor.
    let (patient, doctor) = (
        node.person(Role::Patient).await,
        node.person(Role::Doctor).await,
    );
    for alias in &aliases[..5] {
        let (alias, patient_id) = (*alias, patient.id);
        staff
            .act(Action::LinkPatient {
                alias,
                patient: patient_id,
            })
            .await
            .unwrap();
        assert_eq!(
            stated(&node, &ask(&node, &operator).await, Chart::Doctors),
            None
        );
        consult(&node, &patient, alias, &doctor).await;
    }
    let told = ask(&node, &operator).await;
    let doctors = stated(&node, &told, Chart::Doctors).unwrap();
    assert_eq!(doctors.doctors.len(), 1);
    assert_eq!(
        (doctors.doctors[0].doctor, doctors.doctors[0].patients),
        (doctor.id, 5)
    );
    let told = ask(&node, &staff).await;
    assert_eq!(
        (exact(&told).consulting, exact(&told).doctors[0].patients),
        (5, 5)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_watch_hear_of_refused_attempts_and_nobody_else_does() {
    let node = TestNode::start().await;
    let (operator, staff) = (
        node.person(Role::Operator).await,
        node.person(Role::Staff).await,
    );
    let mut streams = Vec::new();
    for person in [&operator, &staff] {
        let answer = person
            .caller
            .request(Method::GET, "/events")
            .send()
            .await
            .unwrap();
        let mut stream = answer.bytes_stream();
        let first = stream.next().await.unwrap().unwrap();
        assert!(core::str::from_utf8(&first).unwrap().contains(": open"));
        streams.push(stream);
    }
    let stranger = node.caller();
    assert!(
        stranger
            .get::<serde_json::Value>("/attempts")
            .await
            .is_err()
    );
    let mut heard = String::new();
    while !heard.contains("\"attempt\"") {
        let bytes = streams[0].next().await.unwrap().unwrap();
        heard += core::str::from_utf8(&bytes).unwrap();
    }
    assert!(
        !heard.contains("id: "),
        "an attempt has no place in the log"
    );
    // What everybody of the house hears comes after the attempt.
    let alias = PatientAlias([7; 16]);
    staff.act(Action::OpenPatient { alias }).await.unwrap();
    let mut heard = String::new();
    while !heard.contains("\"patient\"") {
        let bytes = streams[1].next().await.unwrap().unwrap();
        heard += core::str::from_utf8(&bytes).unwrap();
    }
    assert!(!heard.contains("\"attempt\""));
}
