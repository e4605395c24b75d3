//! Somebody with keys and a session, over plain requests: what the server says is seen as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use salus_crypto::digest::salted_commitment;
use salus_crypto::keyring::{DoorSecret, Vault};
use salus_crypto::keys::SecretKeys;
use salus_crypto::label;
use salus_crypto::opaque::{ClientLogin, ClientRegistration};
use salus_proto::api::Binary;
use salus_proto::api::account::{AccountCreated, NewAccount, Profile};
use salus_proto::api::command::{CommandReceipt, CommandSubmission};
use salus_proto::api::me::Me;
use salus_proto::api::problem::Problem;
use salus_proto::api::session::{
    Challenge, KeyLogin, KeySession, PasswordFinish, PasswordSession, PasswordStarted,
};
use salus_proto::command::{Action, Command, SignedCommand};
use salus_proto::encode::{to_base64url, to_bytes};
use salus_proto::ids::PrincipalId;
use salus_proto::role::Role;
use salus_proto::{Entropy as _, TimestampMs};
use salus_runtime::{Clock, SystemClock, SystemEntropy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{CONSORTIUM, ORGANISATION};

/// One node as somebody reaches it.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) token: Option<String>,
}

impl Caller {
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/v1{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        answer(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Problem> {
        answer(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn post_cbor<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, Problem> {
        let request = self.request(Method::POST, path);
        answer(request.header(CONTENT_TYPE, "application/cbor").body(body)).await
    }

    pub(crate) async fn bytes(&self, path: &str) -> Vec<u8> {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        response.bytes().await.unwrap().to_vec()
    }
}

/// The body of a success, or the problem; anything else fails the test.
pub(crate) async fn answer<T: DeserializeOwned>(
    request: reqwest::RequestBuilder,
) -> Result<T, Problem> {
    let response = request.send().await.unwrap();
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).cloned();
    let body = response.bytes().await.unwrap();
    if status.is_success() {
        let body = if status == StatusCode::NO_CONTENT {
            &b"null"[..]
        } else {
            &body
        };
        return Ok(serde_json::from_slice(body).unwrap());
    }
    assert_eq!(kind.unwrap(), "application/problem+json");
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.status, status.as_u16());
    assert_eq!(problem.kind, format!("urn:salus:problem:{}", problem.code));
    assert!(
        problem
            .instance
            .as_ref()
            .unwrap()
            .starts_with("urn:salus:request:")
    );
    Err(problem)
}

/// A principal in a session.
pub(crate) struct Person {
    pub(crate) caller: Caller,
    pub(crate) id: PrincipalId,
    pub(crate) keys: Arc<SecretKeys>,
    sequence: AtomicU64,
}

/// The password of everybody in these tests.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

impl Person {
    /// Registers and logs in.
    pub(crate) async fn register(
        caller: &Caller,
        login: &str,
        role: Role,
        profile: &Profile,
    ) -> Result<Self, Problem> {
        let entropy = &mut SystemEntropy;
        let id = PrincipalId::random(entropy);
        let keys = SecretKeys::generate(entropy).unwrap();
        let (registration, request) = ClientRegistration::start(PASSWORD, entropy).unwrap();
        let start = json!({ "login": login, "request": to_base64url(&request) });
        let started: serde_json::Value = caller.post("/accounts/registrations", &start).await?;
        let response: Binary = serde_json::from_value(started["response"].clone()).unwrap();
        let registered = registration.finish(PASSWORD, &response.0, entropy).unwrap();
        let salt: [u8; 32] = entropy.array();
        let action = Action::Register {
            role,
            organisation: ORGANISATION,
            keys: keys.public().clone(),
            profile: salted_commitment(&salt, &to_bytes(profile)),
        };
        let command = signed(&keys, id, 1, action);
        let door = DoorSecret::Password(&registered.export_key);
        let vault = Vault::create(id.as_bytes(), keys, door, entropy).unwrap();
        let account = NewAccount {
            login: login.into(),
            upload: registered.upload.into(),
            recovery_upload: None,
            keyring: vault.to_sealed_bytes().into(),
            role,
            profile: profile.clone(),
            profile_salt: salt.to_vec().into(),
            command: command.into(),
        };
        let created: AccountCreated = caller.post("/accounts", &account).await?;
        assert_eq!(created.principal, id);
        Self::log_in(caller, login).await
    }

    /// Logs in with the password and opens the keyring.
    pub(crate) async fn log_in(caller: &Caller, login: &str) -> Result<Self, Problem> {
        let entropy = &mut SystemEntropy;
        let (client, request) = ClientLogin::start(PASSWORD, entropy).unwrap();
        let start = json!({ "login": login, "request": to_base64url(&request) });
        let started: PasswordStarted = caller.post("/sessions/password", &start).await?;
        let finished = client
            .finish(PASSWORD, &started.response.0, entropy)
            .unwrap();
        let finish = PasswordFinish {
            handshake: started.handshake,
            finalization: finished.finalization.into(),
        };
        let session: PasswordSession = caller.post("/sessions/password/finish", &finish).await?;
        let door = DoorSecret::Password(&finished.export_key);
        let vault = Vault::open(session.principal.as_bytes(), &session.keyring.0, door).unwrap();
        let keys = SecretKeys::from_keyring_bytes(&vault.keys().to_keyring_bytes()).unwrap();
        let token = to_base64url(&session.token.0);
        Ok(Self::in_session(caller, session.principal, Arc::new(keys), token).await)
    }

    /// Opens a session by signing a challenge.
    pub(crate) async fn with_keys(
        caller: &Caller,
        id: PrincipalId,
        keys: Arc<SecretKeys>,
    ) -> Result<Self, Problem> {
        let challenge: Challenge = caller
            .post("/sessions/challenges", &json!({ "principal": id }))
            .await?;
        let message = [challenge.challenge.0.as_slice(), ORGANISATION.as_bytes()].concat();
        let login = KeyLogin {
            principal: id,
            challenge: challenge.challenge,
            signature: Binary(keys.ed25519().sign(label::SESSION, &message).to_vec()),
        };
        let session: KeySession = caller.post("/sessions/keys", &login).await?;
        Ok(Self::in_session(caller, id, keys, to_base64url(&session.token.0)).await)
    }

    async fn in_session(
        caller: &Caller,
        id: PrincipalId,
        keys: Arc<SecretKeys>,
        token: String,
    ) -> Self {
        let caller = Caller {
            token: Some(token),
            ..caller.clone()
        };
        let me: Me = caller.get("/me").await.unwrap();
        assert_eq!(me.principal, id);
        Self {
            caller,
            id,
            keys,
            sequence: AtomicU64::new(me.next_sequence),
        }
    }

    /// The number of this person's next command.
    pub(crate) fn take_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Signs an action as this person's next command.
    pub(crate) fn sign(&self, action: Action) -> Vec<u8> {
        signed(&self.keys, self.id, self.take_sequence(), action)
    }

    /// Signs and submits.
    pub(crate) async fn act(&self, action: Action) -> Result<CommandReceipt, Problem> {
        let command = CommandSubmission {
            command: self.sign(action).into(),
        };
        self.caller.post("/commands", &command).await
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        self.caller.get(path).await
    }

    pub(crate) fn author(&self) -> salus_envelope::seal::Author<'_> {
        salus_envelope::seal::Author {
            consortium: CONSORTIUM,
            principal: self.id,
            keys: &self.keys,
        }
    }
}

/// A signed command that is good for ten minutes.
pub(crate) fn signed(
    keys: &SecretKeys,
    principal: PrincipalId,
    sequence: u64,
    action: Action,
) -> Vec<u8> {
    let expires = TimestampMs(SystemClock::new().now().0 + 600_000);
    let command = to_bytes(&Command {
        consortium: CONSORTIUM,
        principal,
        sequence,
        expires,
        action,
    });
    let signature = keys.ed25519().sign(label::COMMAND, &command);
    to_bytes(&SignedCommand { command, signature })
}
