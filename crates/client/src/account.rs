//! An account that its owner has opened: its password, its recovery code and its keys are changed here.

use std::sync::Arc;

use salus_contract::principals::possession_message;
use salus_crypto::keyring::{DoorSecret, RecoveryCode, Vault};
use salus_crypto::keys::SecretKeys;
use salus_crypto::label;
use salus_crypto::opaque::{ClientLogin, ClientRegistration};
use salus_proto::api::account::{RegistrationStart, RegistrationStarted};
use salus_proto::api::command::CommandReceipt;
use salus_proto::api::me::PasswordChange;
use salus_proto::api::session::{
    Door, PasswordFinish, PasswordSession, PasswordStart, PasswordStarted,
};
use salus_proto::command::Action;
use salus_proto::encode::to_base64url;
use salus_proto::{Digest, Entropy};
use salus_runtime::clock::Clock;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::node::Node;
use crate::person::Person;

/// What an account's owner has in hand. `Debug` shows neither.
#[derive(Clone, Copy)]
pub enum Opener<'a> {
    /// The password.
    Password(&'a str),
    /// The printed code.
    RecoveryCode(&'a RecoveryCode),
}

impl core::fmt::Debug for Opener<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Opener(password)",
            Self::RecoveryCode(_) => "Opener(recovery code)",
        })
    }
}

/// An opened account in a session at its node.
pub struct Account {
    login: String,
    vault: Vault,
    person: Person,
    clock: Arc<dyn Clock>,
}

impl core::fmt::Debug for Account {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Account")
            .field("person", &self.person)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// Logs in at the account's node and opens the keyring here.
    pub async fn open(
        node: &Node,
        login: &str,
        opener: Opener<'_>,
        clock: Arc<dyn Clock>,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<Self> {
        let (secret, door) = match opener {
            Opener::Password(password) => (Zeroizing::new(password.to_owned()), None),
            Opener::RecoveryCode(code) => (code.to_text(), Some(Door::RecoveryCode)),
        };
        let (client, request) = ClientLogin::start(&secret, entropy)?;
        let start = PasswordStart {
            login: login.to_owned(),
            door,
            request: request.into(),
        };
        let started: PasswordStarted = node.post("/sessions/password", &start).await?;
        let finished = client
            .finish(&secret, &started.response.0, entropy)
            .map_err(refused)?;
        let finish = PasswordFinish {
            handshake: started.handshake,
            finalization: finished.finalization.into(),
        };
        let session: PasswordSession = node.post("/sessions/password/finish", &finish).await?;
        let door = match opener {
            Opener::Password(_) => DoorSecret::Password(&finished.export_key),
            Opener::RecoveryCode(code) => DoorSecret::RecoveryCode(code),
        };
        let account = session.principal.as_bytes();
        let mut vault = Vault::open(account, &session.keyring.0, door)?;
        let node = node.with_token(&to_base64url(&session.token.0));
        // Keys that were about to be replaced when a process ended: the ledger knows whether they were.
        if let Some(next) = vault.keys().replaced()?
            && node.principal(session.principal).await?.keys.ed25519
                == Digest(next.public().ed25519).to_string()
        {
            vault.set_keys(next, entropy)?;
        }
        let person = Person::in_session(
            node,
            session.principal,
            shared(vault.keys())?,
            Arc::clone(&clock),
        )
        .await?;
        Ok(Self {
            login: login.to_owned(),
            vault,
            person,
            clock,
        })
    }

    /// Whose account it is, in the same session.
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// As [`Account::person`], when nothing is to be changed.
    pub fn into_person(self) -> Person {
        self.person
    }

    /// Sets a new password and ends every other session.
    pub async fn change_password(
        &mut self,
        new: &str,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<()> {
        let (registration, request) = ClientRegistration::start(new, entropy)?;
        let start = RegistrationStart {
            login: self.login.clone(),
            door: None,
            request: request.into(),
        };
        let node = self.person.node();
        let started: RegistrationStarted = node.post("/accounts/registrations", &start).await?;
        let registered = registration.finish(new, &started.response.0, entropy)?;
        self.vault
            .set_door(DoorSecret::Password(&registered.export_key), entropy)?;
        self.store(Some(registered.upload), None).await
    }

    /// Makes a new recovery code in place of the old one and ends every other session.
    pub async fn renew_recovery_code(
        &mut self,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<Zeroizing<String>> {
        let code = RecoveryCode::generate(entropy);
        let upload = register_code(self.person.node(), &self.login, &code, entropy).await?;
        self.vault
            .set_door(DoorSecret::RecoveryCode(&code), entropy)?;
        self.store(None, Some(upload)).await?;
        Ok(code.to_text())
    }

    /// Replaces all three keys. Whatever was wrapped to the old ones still opens, and both are kept
    /// until the ledger has the new ones, so that a crash at any moment loses neither.
    pub async fn rotate_keys(
        &mut self,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<CommandReceipt> {
        let mut keys = SecretKeys::from_keyring_bytes(&self.vault.keys().to_keyring_bytes())?;
        keys.prepare_next(entropy)?;
        let next = keys.replaced()?.ok_or(salus_crypto::Error::TooManyKeys)?;
        self.vault.set_keys(keys, entropy)?;
        self.store(None, None).await?;
        let consortium = self.person.author().consortium;
        let message = possession_message(consortium, self.person.principal(), next.public());
        let receipt = self
            .person
            .act(Action::RotateKeys {
                keys: next.public().clone(),
                proof: next.ed25519().sign(label::KEY_POSSESSION, &message),
            })
            .await?;
        self.vault.set_keys(next, entropy)?;
        self.store(None, None).await?;
        self.person = Person::in_session(
            self.person.node().clone(),
            self.person.principal(),
            shared(self.vault.keys())?,
            Arc::clone(&self.clock),
        )
        .await?;
        Ok(receipt)
    }

    async fn store(&self, password: Option<Vec<u8>>, recovery: Option<Vec<u8>>) -> Result<()> {
        let change = PasswordChange {
            upload: password.map(Into::into),
            recovery_upload: recovery.map(Into::into),
            keyring: self.vault.to_sealed_bytes().into(),
        };
        self.person.node().put_json("/me/password", &change).await
    }
}

/// Runs the registration of a recovery code; the record for the node to keep.
pub(crate) async fn register_code(
    node: &Node,
    login: &str,
    code: &RecoveryCode,
    entropy: &mut (dyn Entropy + Send),
) -> Result<Vec<u8>> {
    let text = code.to_text();
    let (registration, request) = ClientRegistration::start(&text, entropy)?;
    let start = RegistrationStart {
        login: login.to_owned(),
        door: Some(Door::RecoveryCode),
        request: request.into(),
    };
    let started: RegistrationStarted = node.post("/accounts/registrations", &start).await?;
    let registered = registration.finish(&text, &started.response.0, entropy)?;
    Ok(registered.upload)
}

fn shared(keys: &SecretKeys) -> Result<Arc<SecretKeys>> {
    let keys = SecretKeys::from_keyring_bytes(&keys.to_keyring_bytes())?;
    Ok(Arc::new(keys))
}

/// A wrong password and an unknown login look the same.
fn refused(error: salus_crypto::Error) -> Error {
    match error {
        salus_crypto::Error::LoginRefused => Error::LoginRefused,
        other => other.into(),
    }
}
