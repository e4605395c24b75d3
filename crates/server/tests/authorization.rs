//! Every endpoint, without credentials and in every role: the answers are committed as text.
//!
//! The thing asked about is always a stranger's: an alias, an access and a consultation that have
//! nothing to do with whoever asks, except that staff and the organisation belong to the hospital.
//! What each role may do with its own things is the business of the other tests.
#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]

mod support;

use std::fmt::Write as _;

use reqwest::Method;
use salus_envelope::seal::{BatchBuilder, Item};
use salus_envelope::share::RecordKeyOf;
use salus_proto::api::account::Profile;
use salus_proto::api::problem::Problem;
use salus_proto::command::{Action, IncidentKind};
use salus_proto::encode::{to_base64url, to_bytes};
use salus_proto::ids::{AccessId, BatchId, ConsultationId, JobId, PatientAlias, RecordId};
use salus_proto::record::{Content, KeyClass, RecordKind};
use salus_proto::role::{Basis, Decision, Purpose, Reason, Role};
use salus_proto::{Digest, Entropy as _};
use salus_runtime::SystemEntropy;
use serde_json::{Value, json};
use support::person::{Caller, Person};
use support::{ORGANISATION, TestNode};

/// The things that the requests are about.
struct Things {
    alias: PatientAlias,
    access: AccessId,
    record: RecordId,
}

/// What a request carries.
enum Body {
    None,
    Json(Value),
    Cbor(Vec<u8>),
    Part(Vec<u8>),
}

fn command(person: &Person, action: Action) -> Value {
    json!({ "command": to_base64url(&person.sign(action)) })
}

/// The body with which `person` makes a request as well formed as can be; `None` for an operation
/// that this test does not know.
fn body(operation: &str, person: &Person, things: &Things, node: &TestNode) -> Option<Body> {
    let until = node.clock.now().plus_ms(60_000);
    let entropy = &mut SystemEntropy;
    let action = match operation {
        "POST /commands" => Action::ReportIncident {
            kind: IncidentKind::Intrusion,
            evidence: Digest([1; 32]),
        },
        "POST /records/releases" => Action::ReadRecords {
            alias: things.alias,
            access: None,
            records: vec![things.record],
            purpose: Purpose::Operations,
        },
        "POST /accesses/{id}/decision" => Action::DecideAccess {
            access: things.access,
            decision: Decision::Refuse,
            reason: Reason::Duplicate,
            basis: Basis::Person,
        },
        "POST /consultations" => Action::OpenConsultation {
            consultation: ConsultationId::random(entropy),
            access: AccessId::random(entropy),
            alias: things.alias,
            doctor: node.people[&Role::Doctor].0,
            records: vec![things.record],
            question: BatchId([3; 16]),
            until,
        },
        "POST /consultations/{id}/answer" => Action::AnswerConsultation {
            consultation: ConsultationId([2; 16]),
            answer: BatchId([3; 16]),
            prescriptions: 0,
        },
        "POST /batches" | "POST /peer/batches" => {
            return Some(Body::Cbor(batch(person, things, node)));
        }
        "POST /uploads" => {
            return Some(Body::Json(
                json!({ "digest": Digest([4; 32]), "length": 100 }),
            ));
        }
        "POST /uploads/{id}/complete" => {
            return Some(Body::Json(json!({ "digest": Digest([4; 32]) })));
        }
        "PUT /uploads/{id}/parts/{number}" => return Some(Body::Part(vec![0; 100])),
        "POST /data-sets" => {
            return Some(Body::Json(json!({
                "classes": ["a", "b"], "channels": 1, "size_px": 28, "test_percent": 20,
            })));
        }
        "POST /jobs" => {
            return Some(Body::Json(json!({
                "purpose": "triage", "data_sets": [Digest([4; 32])], "network": "small",
                "strategy": "fedavg", "rounds": 1, "local_epochs": 1, "batch": 8, "rate": 0.001,
                "class_weights": false, "flip": false, "quorum": 1, "round_ms": 60_000, "seed": 0,
            })));
        }
        "PUT /jobs/{job}/model" | "PUT /jobs/{job}/rounds/{round}/update" => {
            return Some(Body::Part(vec![0; 100]));
        }
        "POST /jobs/{job}/rounds/{round}/update" => return Some(Body::Cbor(vec![0xa0])),
        "POST /jobs/{job}/model" => return Some(Body::None),
        "POST /predictions" => Action::UseModel {
            job: JobId([2; 16]),
            model: Digest([3; 32]),
            alias: things.alias,
            access: None,
            record: things.record,
        },
        "POST /prescriptions/{record}/evidence" => {
            return Some(Body::Json(json!({ "content": Digest([5; 32]) })));
        }
        "PUT /me/profile" => return Some(Body::Json(json!({ "name": "X" }))),
        // Public by nature, and of no use without a protocol run: tested by themselves.
        "PUT /me/password"
        | "POST /accounts"
        | "POST /accounts/registrations"
        | "POST /sessions/password"
        | "POST /sessions/password/finish"
        | "POST /sessions/keys" => return Some(Body::Json(json!({}))),
        "POST /me/passkeys/challenges" | "POST /sessions/passkeys/challenges" => {
            return Some(Body::None);
        }
        "POST /me/passkeys" => {
            return Some(Body::Json(json!({
                "name": "X", "client_data": "AA", "authenticator_data": "AA",
            })));
        }
        "POST /sessions/passkeys" => {
            return Some(Body::Json(json!({
                "credential": "AA", "client_data": "AA", "authenticator_data": "AA",
                "signature": "AA", "user_handle": "AA",
            })));
        }
        "DELETE /me/passkeys/{credential}" => return Some(Body::None),
        "POST /sessions/challenges" => {
            return Some(Body::Json(json!({ "principal": person.id })));
        }
        _ if operation.starts_with("GET ") => return Some(Body::None),
        "DELETE /sessions/current" => return Some(Body::None),
        _ => return None,
    };
    let mut body = command(person, action);
    if operation == "POST /consultations" {
        body["record_wraps"] = json!([]);
    }
    if operation == "POST /predictions" {
        body["image"] = json!("AAAA");
    }
    Some(Body::Json(body))
}

/// A batch under the alias, signed by the person and sealed to themselves.
fn batch(person: &Person, things: &Things, node: &TestNode) -> Vec<u8> {
    let entropy = &mut SystemEntropy;
    let (batch, now) = (BatchId::random(entropy), node.clock.now());
    let mut builder = BatchBuilder::new(person.author(), ORGANISATION, things.alias, batch, now);
    let content = Content {
        media_type: "text/plain".into(),
        title: String::new(),
        salt: entropy.array(),
        body: b"x".to_vec(),
    };
    let item = Item {
        record: RecordId::random(entropy),
        version: 1,
        kind: RecordKind::Other,
        class: KeyClass::Medical,
        content,
        signed: false,
    };
    let key = person.keys.x_wing().recipient();
    let own = RecordKeyOf {
        recipient: person.id,
        key: &key,
        access: None,
    };
    builder.add_for(&item, &[own], entropy).unwrap();
    to_bytes(&builder.finish(person.take_sequence(), None).unwrap())
}

/// The path with its parameters filled in.
fn filled(put: bool, path: &str, things: &Things) -> String {
    let id = match path {
        _ if path.starts_with("/accesses") => things.access.to_string(),
        _ if path.starts_with("/uploads") => "05".repeat(16),
        _ if path.starts_with("/principals") => "0a".repeat(16),
        _ => "02".repeat(16),
    };
    let path = path
        .replace("{alias}", &things.alias.to_string())
        .replace("{record}", &things.record.to_string())
        .replace("{id}", &id)
        .replace("{index}", "0")
        .replace("{number}", "0")
        .replace("{job}", &"02".repeat(16))
        .replace("{round}", "0")
        .replace("{credential}", "AA")
        .replace("{site}", &"02".repeat(16))
        .replace("{key}", "00")
        .replace("{digest}", &"06".repeat(32))
        .replace("{level}", "0")
        .replace("entries/{path}", "entries/000.p/1")
        .replace("{path}", "000.p/1");
    match path.as_str() {
        _ if path.ends_with("/sealed") => path + "?receipt=0",
        "/ledger/consistency" => path + "?from=0&to=1",
        _ if path.starts_with("/jobs/") && put => path + "?at=0",
        _ => path,
    }
}

/// Status and code of the answer; every error must be a problem document.
async fn ask(caller: &Caller, method: &Method, path: &str, body: Body) -> String {
    let request = caller.request(method.clone(), path);
    let response = match body {
        Body::None => request,
        Body::Json(json) => request.json(&json),
        Body::Cbor(bytes) => request
            .header("content-type", "application/cbor")
            .body(bytes),
        Body::Part(bytes) => request
            .header("content-type", "application/octet-stream")
            .body(bytes),
    }
    .send()
    .await
    .unwrap();
    let status = response.status().as_u16();
    if status < 400 {
        return status.to_string();
    }
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json",
        "{method} {path}"
    );
    let problem: Problem = response.json().await.unwrap();
    assert_eq!(problem.status, status);
    format!("{status} {}", problem.code)
}

/// Another session of the same person, or none for who has none.
async fn throw_away_session(node: &TestNode, person: &Person) -> Caller {
    match &person.caller.token {
        None => person.caller.clone(),
        Some(_) => {
            let caller = node.caller();
            let fresh = Person::with_keys(&caller, person.id, person.keys.clone()).await;
            fresh.unwrap().caller
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_answers_every_role_as_committed() {
    let node = TestNode::start().await;
    let house = node.organisation().await;
    let alias = PatientAlias([7; 16]);
    house.act(Action::OpenPatient { alias }).await.unwrap();
    let doctor = node.person(Role::Doctor).await;
    let access = AccessId([8; 16]);
    doctor
        .act(Action::RequestAccess {
            access,
            alias,
            classes: vec![KeyClass::Medical],
            purpose: Purpose::Treatment,
            until: node.clock.now().plus_ms(3_600_000),
        })
        .await
        .unwrap();
    let things = Things {
        alias,
        access,
        record: RecordId([9; 16]),
    };
    node.settle().await;
    // The access's holder would not be a stranger to it.
    let profile = Profile {
        name: "Another Doctor".into(),
        specialty: None,
        hospital: None,
        licence: None,
        phone: None,
        email: None,
        address: None,
    };
    let other = Person::register(&node.caller(), "other", Role::Doctor, &profile)
        .await
        .unwrap();
    let operator = node.person(Role::Operator).await;
    let approve = |principal| Action::DecidePrincipal {
        principal,
        decision: Decision::Approve,
        reason: Reason::IdentityVerified,
    };
    operator.act(approve(other.id)).await.unwrap();
    let pending = Person::register(&node.caller(), "pending", Role::DataUser, &profile)
        .await
        .unwrap();

    let mut nobody = node.person(Role::DataUser).await;
    nobody.caller = node.caller();
    let columns = [
        ("nobody", nobody),
        ("pending", pending),
        ("patient", node.person(Role::Patient).await),
        ("doctor", other),
        ("staff", node.person(Role::Staff).await),
        ("operator", operator),
        ("data-user", node.person(Role::DataUser).await),
        ("auditor", node.person(Role::Auditor).await),
        ("organisation", house),
    ];
    let document: Value = serde_json::from_str(salus_server::openapi_document()).unwrap();
    let mut grid = String::from(
        "What every endpoint answers to whom, about things that are a stranger's to them.\n",
    );
    let mut uncovered = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/api/v1").unwrap();
        for method in item.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let operation = format!("{method} {path}");
            let _ = writeln!(grid, "\n{operation}");
            for (column, person) in &columns {
                let Some(body) = body(&operation, person, &things, &node) else {
                    uncovered.push(operation.clone());
                    break;
                };
                let caller = match operation.as_str() {
                    // Its own session would be gone for the rows that follow.
                    "DELETE /sessions/current" => throw_away_session(&node, person).await,
                    _ => person.caller.clone(),
                };
                let answer = ask(
                    &caller,
                    &method,
                    &filled(method == Method::PUT, path, &things),
                    body,
                )
                .await;
                let _ = writeln!(grid, "    {column:<13} {answer}");
            }
        }
    }
    assert!(
        uncovered.is_empty(),
        "not covered by this test: {uncovered:?}"
    );
    let expected = include_str!("expected/authorization.txt");
    if grid != expected {
        let fresh = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("authorization.txt");
        std::fs::write(&fresh, &grid).unwrap();
        panic!(
            "the answers changed: look at {} and commit it",
            fresh.display()
        );
    }
}
