//! People register, wait, are authorised, log in and out; whoever guesses is slowed down.
#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]

mod support;

use reqwest::Method;
use salus_crypto::opaque::ClientLogin;
use salus_proto::api::Page;
use salus_proto::api::account::Profile;
use salus_proto::api::attempt::Attempt;
use salus_proto::api::me::Me;
use salus_proto::api::principal::{Doctor, PrincipalSummary, Standing};
use salus_proto::api::session::{PasswordFinish, PasswordStart, PasswordStarted};
use salus_proto::command::Action;
use salus_proto::role::{Decision, Reason, Role};
use salus_runtime::SeededEntropy;
use salus_server::Limits;
use support::person::{self, Person};
use support::{Setup, TestNode};

fn profile(name: &str) -> Profile {
    Profile {
        name: name.into(),
        specialty: Some("cardiology".into()),
        hospital: Some("North".into()),
        licence: None,
        phone: None,
        email: None,
        address: None,
    }
}

async fn sign_up(node: &TestNode, login: &str, role: Role) -> Person {
    Person::register(&node.caller(), login, role, &profile("Dr Amara Osei"))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_registers_waits_is_authorised_and_stands_in_the_directory() {
    let node = TestNode::start().await;
    let doctor = sign_up(&node, "Amara@Example.org", Role::Doctor).await;
    let me: Me = doctor.get("/me").await.unwrap();
    assert_eq!(me.standing, Standing::Pending);
    assert_eq!(me.profile.unwrap().name, "Dr Amara Osei");

    let refused = doctor.get::<Page<Doctor>>("/doctors").await.unwrap_err();
    assert_eq!(refused.code, "pending-principal");

    let operator = node.person(Role::Operator).await;
    node.settle().await;
    let pending: Page<PrincipalSummary> =
        operator.get("/principals?standing=pending").await.unwrap();
    assert_eq!(pending.items.len(), 1);
    assert_eq!(pending.items[0].principal, doctor.id);
    assert_eq!(
        pending.items[0].profile.as_ref().unwrap().name,
        "Dr Amara Osei"
    );

    let decision = Action::DecidePrincipal {
        principal: doctor.id,
        decision: Decision::Approve,
        reason: Reason::IdentityVerified,
    };
    operator.act(decision).await.unwrap();
    node.settle().await;
    let me: Me = doctor.get("/me").await.unwrap();
    assert!(matches!(me.standing, Standing::Authorised { .. }));

    let patient = node.person(Role::Patient).await;
    let found: Page<Doctor> = patient
        .get("/doctors?query=osei&specialty=CARDIO")
        .await
        .unwrap();
    assert_eq!(found.items.len(), 1);
    assert_eq!(found.items[0].name.as_deref(), Some("Dr Amara Osei"));
    let none: Page<Doctor> = patient.get("/doctors?query=nobody").await.unwrap();
    assert!(none.items.is_empty());

    // The auditor watches but does not decide, so names are not shown.
    let auditor = node.person(Role::Auditor).await;
    let seen: Page<PrincipalSummary> = auditor.get("/principals?role=doctor").await.unwrap();
    assert_eq!(seen.items.len(), 2);
    assert!(seen.items.iter().all(|item| item.profile.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_taken_once_and_sessions_end() {
    let node = TestNode::start().await;
    let person = sign_up(&node, "amara", Role::Patient).await;
    let someone = profile("Someone Else");
    let again = Person::register(&node.caller(), " AMARA ", Role::Patient, &someone).await;
    let refused = again.err().unwrap();
    assert_eq!(refused.code, "login-taken");

    let close = person.caller.request(Method::DELETE, "/sessions/current");
    person::answer::<()>(close).await.unwrap();
    let ended = person.get::<Me>("/me").await.unwrap_err();
    assert_eq!(ended.code, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_login_are_answered_alike_and_slowed_down() {
    let limits = Limits {
        login_attempts: 3,
        ..Limits::default()
    };
    let node = TestNode::with(Setup {
        limits,
        ..Setup::default()
    })
    .await;
    sign_up(&node, "amara", Role::Patient).await;
    let caller = node.caller();
    let entropy = &mut SeededEntropy::new(1);
    let mut codes = Vec::new();
    for login in ["amara", "nobody"] {
        let mut of_login = Vec::new();
        for _ in 0..4 {
            let (_, request) = ClientLogin::start("wrong", entropy).unwrap();
            let start = PasswordStart {
                login: login.into(),
                door: None,
                request: request.into(),
            };
            match caller
                .post::<PasswordStarted>("/sessions/password", &start)
                .await
            {
                Ok(started) => {
                    assert_eq!(started.response.0.len(), 320);
                    assert_eq!(started.handshake.0.len(), 32);
                    let finish = PasswordFinish {
                        handshake: started.handshake,
                        finalization: vec![7; 64].into(),
                    };
                    let refused = caller
                        .post::<serde_json::Value>("/sessions/password/finish", &finish)
                        .await
                        .unwrap_err();
                    of_login.push(refused.code);
                }
                Err(refused) => of_login.push(refused.code),
            }
        }
        codes.push(of_login);
    }
    assert_eq!(codes[0], codes[1]);
    let refused = "login-refused";
    assert_eq!(codes[0], [refused, refused, refused, "too-many-attempts"]);

    let operator = node.person(Role::Operator).await;
    let attempts: Page<Attempt> = operator.get("/attempts").await.unwrap();
    let finished: Vec<_> = attempts
        .items
        .iter()
        .filter(|a| a.what == "POST /api/v1/sessions/password/finish")
        .collect();
    assert_eq!(finished.iter().map(|a| a.count).sum::<u64>(), 6);
    assert!(
        finished
            .iter()
            .all(|a| a.why == "login-refused" && a.place == "127.0.0.1")
    );
    let shown = serde_json::to_string(&attempts).unwrap();
    assert!(!shown.contains("amara") && !shown.contains("nobody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_changes_only_for_who_has_seen_the_last_one() {
    let node = TestNode::start().await;
    let person = sign_up(&node, "amara", Role::Patient).await;
    let caller = &person.caller;
    let read = caller.request(Method::GET, "/me").send().await.unwrap();
    let tag = read.headers()["etag"].to_str().unwrap().to_owned();
    let put = |tag: Option<String>, name: &str| {
        let request = caller
            .request(Method::PUT, "/me/profile")
            .json(&profile(name));
        match tag {
            Some(tag) => request.header("if-match", tag),
            None => request,
        }
        .send()
    };
    assert_eq!(put(None, "A").await.unwrap().status(), 428);
    let changed = put(Some(tag.clone()), "New Name").await.unwrap();
    assert_eq!(changed.status(), 204);
    assert_ne!(changed.headers()["etag"], tag.as_str());
    assert_eq!(put(Some(tag), "B").await.unwrap().status(), 412);
    let me: Me = person.get("/me").await.unwrap();
    assert_eq!(me.profile.unwrap().name, "New Name");
}
