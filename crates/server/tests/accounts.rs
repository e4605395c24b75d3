//! People register, wait, are authorised, log in and out; whoever guesses is slowed down.
#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]

mod support;

use reqwest::Method;
use salus_crypto::digest::sha256;
use salus_crypto::opaque::ClientLogin;
use salus_crypto::sign::Ed25519Signer;
use salus_proto::api::Page;
use salus_proto::api::account::Profile;
use salus_proto::api::attempt::Attempt;
use salus_proto::api::me::Me;
use salus_proto::api::passkey::{
    NewPasskey, Passkey, PasskeyChallenge, PasskeyLogin, PasskeySession, Passkeys, StoredKeyring,
};
use salus_proto::api::principal::{Doctor, PrincipalSummary, Standing};
use salus_proto::api::session::{PasswordFinish, PasswordStart, PasswordStarted};
use salus_proto::command::Action;
use salus_proto::encode::{to_base64url, to_bytes};
use salus_proto::role::{Decision, Reason, Role};
use salus_proto::sealed::{DoorKind, SealedKeyring};
use salus_runtime::SeededEntropy;
use salus_server::Limits;
use serde_json::json;
use support::person::{self, Caller, Person};
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

/// An authenticator in software: an Ed25519 key that counts, for pages of `https://localhost`.
struct Authenticator {
    key: Ed25519Signer,
    credential: Vec<u8>,
    counter: u32,
}

impl Authenticator {
    fn new(credential: &[u8]) -> Self {
        Self {
            key: Ed25519Signer::from_seed(&[0x5a; 32]).unwrap(),
            credential: credential.to_vec(),
            counter: 0,
        }
    }

    fn client(kind: &str, challenge: &PasskeyChallenge, origin: &str) -> Vec<u8> {
        let challenge = to_base64url(&challenge.challenge.0);
        json!({ "type": kind, "challenge": challenge, "origin": origin })
            .to_string()
            .into_bytes()
    }

    fn data(&mut self, flags: u8) -> Vec<u8> {
        self.counter += 1;
        let mut out = sha256(b"localhost").0.to_vec();
        out.push(flags);
        out.extend(self.counter.to_be_bytes());
        out
    }

    fn create(&mut self, challenge: &PasskeyChallenge, keyring: Option<Vec<u8>>) -> NewPasskey {
        let mut data = self.data(0x45);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.credential.len()).unwrap().to_be_bytes());
        data.extend(&self.credential);
        data.extend([0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32]);
        data.extend(self.key.public());
        NewPasskey {
            name: "telephone".into(),
            client_data: Self::client("webauthn.create", challenge, "https://localhost").into(),
            authenticator_data: data.into(),
            keyring: keyring.map(Into::into),
        }
    }

    fn get(&mut self, challenge: &PasskeyChallenge, origin: &str, whose: &Person) -> PasskeyLogin {
        let client = Self::client("webauthn.get", challenge, origin);
        let data = self.data(0x05);
        let message = [data.as_slice(), &sha256(&client).0].concat();
        PasskeyLogin {
            credential: self.credential.clone().into(),
            client_data: client.into(),
            authenticator_data: data.into(),
            signature: self.key.sign_note(&message).to_vec().into(),
            user_handle: whose.id.as_bytes().to_vec().into(),
        }
    }
}

/// The stored keyring with one more door.
fn with_door(stored: &[u8], credential: &[u8]) -> Vec<u8> {
    let mut sealed = SealedKeyring::from_bytes(stored).unwrap();
    let mut door = sealed.doors[0].clone();
    (door.kind, door.name) = (DoorKind::Passkey, credential.to_vec());
    sealed.doors.push(door);
    to_bytes(&sealed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_added_opens_a_session_once_a_challenge_and_is_removed() {
    let node = TestNode::start().await;
    let person = sign_up(&node, "amara", Role::Patient).await;
    let (caller, own) = (node.caller(), "https://localhost");
    let ask = async |path: &str| -> PasskeyChallenge {
        let asking = if path.starts_with("/me") {
            &person.caller
        } else {
            &caller
        };
        asking.post(path, &json!({})).await.unwrap()
    };
    let add = async |new: &NewPasskey| person.caller.post::<Passkey>("/me/passkeys", new).await;
    let enter = async |login: &PasskeyLogin| {
        let opened = caller.post::<PasskeySession>("/sessions/passkeys", login);
        opened.await.map_err(|problem| problem.code)
    };
    let mut authenticator = Authenticator::new(b"first");

    let stored: StoredKeyring = person.get("/me/keyring").await.unwrap();
    let challenge = ask("/me/passkeys/challenges").await;
    assert_eq!(challenge.relying_party, "localhost");
    let keyring = with_door(&stored.keyring.0, b"first");
    let new = authenticator.create(&challenge, Some(keyring.clone()));
    let foreign = NewPasskey {
        client_data: Authenticator::client("webauthn.create", &challenge, "https://evil").into(),
        ..new.clone()
    };
    assert_eq!(add(&foreign).await.unwrap_err().code, "invalid");
    let added = add(&new).await.unwrap();
    assert!(added.opens_keyring);
    // The challenge was good for one use, and the keyring has its door already.
    assert_eq!(add(&new).await.unwrap_err().code, "challenge-used");
    let challenge = ask("/me/passkeys/challenges").await;
    assert_eq!(challenge.credentials.len(), 1);
    let again = Authenticator::new(b"second").create(&challenge, Some(keyring));
    assert_eq!(add(&again).await.unwrap_err().code, "keyring-changed");

    let asked = "/sessions/passkeys/challenges";
    let challenge = ask(asked).await;
    let login = authenticator.get(&challenge, own, &person);
    let session = enter(&login).await.unwrap();
    assert_eq!(
        (session.principal, session.login.as_str()),
        (person.id, "amara")
    );
    let inside = Caller {
        token: Some(to_base64url(&session.token.0)),
        ..node.caller()
    };
    assert_eq!(inside.get::<Me>("/me").await.unwrap().principal, person.id);
    let listed: Passkeys = inside.get("/me/passkeys").await.unwrap();
    assert!(listed.items[0].opens_keyring && listed.items[0].used.is_some());

    let refused = Err("passkey-refused".to_owned());
    assert_eq!(enter(&login).await.map(drop), refused, "a replay");
    let challenge = ask(asked).await;
    let login = authenticator.get(&challenge, "https://localhost.evil", &person);
    assert_eq!(enter(&login).await.map(drop), refused, "another origin");
    let challenge = ask(asked).await;
    let mut login = authenticator.get(&challenge, own, &person);
    login.user_handle = vec![1; 16].into();
    assert_eq!(enter(&login).await.map(drop), refused, "another person");
    let challenge = ask(asked).await;
    let mut login = authenticator.get(&challenge, own, &person);
    login.signature.0[9] ^= 1;
    assert_eq!(enter(&login).await.map(drop), refused, "another signature");
    let challenge = ask(asked).await;
    authenticator.counter = 1;
    let login = authenticator.get(&challenge, own, &person);
    assert_eq!(enter(&login).await.map(drop), refused, "a copy");
    // A challenge for adding one opens no session.
    let challenge = ask("/me/passkeys/challenges").await;
    authenticator.counter = 50;
    let login = authenticator.get(&challenge, own, &person);
    assert_eq!(enter(&login).await.map(drop), refused, "another purpose");
    // Removed by its owner alone, with its door.
    let path = format!("/me/passkeys/{}", to_base64url(b"first"));
    let stranger = node.person(Role::Doctor).await;
    let theirs = stranger.caller.request(Method::DELETE, &path);
    let hidden = person::answer::<()>(theirs).await.unwrap_err();
    assert_eq!(hidden.code, "not-found");
    person::answer::<()>(person.caller.request(Method::DELETE, &path))
        .await
        .unwrap();
    let challenge = ask(asked).await;
    let login = authenticator.get(&challenge, own, &person);
    assert_eq!(enter(&login).await.map(drop), refused, "removed");
    let after: StoredKeyring = person.get("/me/keyring").await.unwrap();
    assert_eq!(after.keyring, stored.keyring);
}
