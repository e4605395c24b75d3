//! Somebody with keys and a session: registering, logging in, signing commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use salus_crypto::keyring::{DoorSecret, RecoveryCode, Vault};
use salus_crypto::keys::SecretKeys;
use salus_crypto::label;
use salus_crypto::opaque::ClientRegistration;
use salus_crypto::wrap::XWingSecret;
use salus_envelope::seal::Author;
use salus_proto::api::Binary;
use salus_proto::api::account::{
    AccountCreated, NewAccount, Profile, RegistrationStart, RegistrationStarted,
};
use salus_proto::api::command::CommandReceipt;
use salus_proto::api::ledger::LedgerStatus;
use salus_proto::api::me::Me;
use salus_proto::api::session::{Challenge, ChallengeRequest, KeyLogin, KeySession};
use salus_proto::command::Action;
use salus_proto::encode::{to_base64url, to_bytes};
use salus_proto::ids::{ConsortiumId, OrganisationId, PrincipalId};
use salus_proto::role::Role;
use salus_proto::{Digest, Entropy, TimestampMs};
use salus_runtime::clock::Clock;
use zeroize::Zeroizing;

use crate::account::{Account, Opener, register_code};
use crate::error::Result;
use crate::node::Node;

/// How long a command stays valid after it was signed.
const COMMAND_VALIDITY_MS: u64 = 10 * 60_000;
/// Times that an action is signed again after another session used its number.
const SEQUENCE_TRIES: u32 = 3;

/// A principal with its keys, in a session at one node. Clones share the session.
#[derive(Clone)]
pub struct Person {
    node: Node,
    inner: Arc<Inner>,
}

struct Inner {
    principal: PrincipalId,
    consortium: ConsortiumId,
    organisation: OrganisationId,
    keys: Arc<SecretKeys>,
    next_sequence: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl core::fmt::Debug for Person {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Person")
            .field("principal", &self.inner.principal)
            .finish_non_exhaustive()
    }
}

/// What a new account gives its owner.
#[derive(Debug)]
pub struct Registered {
    /// The principal; pending until a cloud operator or its organisation decides.
    pub principal: PrincipalId,
    /// The code to print and keep: the only way back in without the password.
    pub recovery_code: Zeroizing<String>,
}

/// What somebody enters to register.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    /// Name of the account on this node.
    pub login: &'a str,
    /// Never leaves this process.
    pub password: &'a str,
    /// The role asked for.
    pub role: Role,
    /// Stays on the account's node, off the ledger.
    pub profile: &'a Profile,
}

/// Registers at the node where the account shall live.
pub async fn register(
    node: &Node,
    wish: Registration<'_>,
    clock: &dyn Clock,
    entropy: &mut (dyn Entropy + Send),
) -> Result<Registered> {
    let status: LedgerStatus = node.status().await?;
    let principal = PrincipalId::random(entropy);
    let keys = SecretKeys::generate(entropy)?;

    let (registration, request) = ClientRegistration::start(wish.password, entropy)?;
    let start = RegistrationStart {
        login: wish.login.to_owned(),
        door: None,
        request: request.into(),
    };
    let started: RegistrationStarted = node.post("/accounts/registrations", &start).await?;
    let registered = registration.finish(wish.password, &started.response.0, entropy)?;
    let code = RecoveryCode::generate(entropy);
    let recovery = register_code(node, wish.login, &code, entropy).await?;

    let mut salt = [0; 32];
    entropy.fill(&mut salt);
    let author = Author {
        consortium: status.consortium,
        principal,
        keys: &keys,
    };
    let action = Action::Register {
        role: wish.role,
        organisation: status.organisation,
        keys: keys.public().clone(),
        profile: profile_digest(&salt, wish.profile),
    };
    let command = author.command(1, clock.now().plus_ms(COMMAND_VALIDITY_MS), action);

    let account = principal.as_bytes();
    let door = DoorSecret::Password(&registered.export_key);
    let mut vault = Vault::create(account, keys, door, entropy)?;
    vault.set_door(DoorSecret::RecoveryCode(&code), entropy)?;
    let account = NewAccount {
        login: wish.login.to_owned(),
        upload: registered.upload.into(),
        recovery_upload: Some(recovery.into()),
        keyring: vault.to_sealed_bytes().into(),
        role: wish.role,
        profile: wish.profile.clone(),
        profile_salt: salt.to_vec().into(),
        command: command.into(),
    };
    let created: AccountCreated = node.post("/accounts", &account).await?;
    Ok(Registered {
        principal: created.principal,
        recovery_code: code.to_text(),
    })
}

/// What the ledger knows of a profile: nothing, without the salt.
pub fn profile_digest(salt: &[u8; 32], profile: &Profile) -> Digest {
    salus_crypto::digest::salted_commitment(salt, &to_bytes(profile))
}

impl Person {
    /// Logs in at the account's node and opens the keyring here.
    pub async fn login(
        node: &Node,
        login: &str,
        password: &str,
        clock: Arc<dyn Clock>,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<Self> {
        let opener = Opener::Password(password);
        let account = Account::open(node, login, opener, clock, entropy).await?;
        Ok(account.into_person())
    }

    /// Opens a session with keys that the ledger knows: an organisation at its own node, or a person
    /// at a node that holds no account of theirs.
    pub async fn with_keys(
        node: &Node,
        principal: PrincipalId,
        keys: Arc<SecretKeys>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let status = node.status().await?;
        let challenge: Challenge = node
            .post("/sessions/challenges", &ChallengeRequest { principal })
            .await?;
        let message = [
            challenge.challenge.0.as_slice(),
            status.organisation.as_bytes(),
        ]
        .concat();
        let login = KeyLogin {
            principal,
            challenge: challenge.challenge,
            signature: Binary(keys.ed25519().sign(label::SESSION, &message).to_vec()),
        };
        let session: KeySession = node.post("/sessions/keys", &login).await?;
        let node = node.with_token(&to_base64url(&session.token.0));
        Self::in_session(node, principal, keys, clock).await
    }

    /// The same person in a session at another member's node.
    pub async fn at(&self, base: &str) -> Result<Self> {
        if base.trim_end_matches('/') == self.node.base() {
            return Ok(self.clone());
        }
        let node = self.node.other(base);
        let keys = Arc::clone(&self.inner.keys);
        Self::with_keys(
            &node,
            self.inner.principal,
            keys,
            Arc::clone(&self.inner.clock),
        )
        .await
    }

    pub(crate) async fn in_session(
        node: Node,
        principal: PrincipalId,
        keys: Arc<SecretKeys>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let status: LedgerStatus = node.status().await?;
        let me: Me = node.get("/me").await?;
        let inner = Inner {
            principal,
            consortium: status.consortium,
            organisation: me.organisation,
            keys,
            next_sequence: AtomicU64::new(me.next_sequence),
            clock,
        };
        Ok(Self {
            node,
            inner: Arc::new(inner),
        })
    }

    /// The node of this session.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Who this is.
    pub fn principal(&self) -> PrincipalId {
        self.inner.principal
    }

    /// The person's own organisation: where the account lives.
    pub fn organisation(&self) -> OrganisationId {
        self.inner.organisation
    }

    /// The keys, which stay here.
    pub fn keys(&self) -> &SecretKeys {
        &self.inner.keys
    }

    /// Unwraps with the key that opens what is wrapped now, or with one that it has replaced.
    pub fn unwrap<T, E>(
        &self,
        unwrap: impl Fn(&XWingSecret) -> core::result::Result<T, E>,
    ) -> core::result::Result<T, E> {
        let current = unwrap(self.keys().x_wing());
        current.or_else(|error| {
            let mut former = self.keys().x_wings().skip(1);
            former.find_map(|key| unwrap(key).ok()).ok_or(error)
        })
    }

    /// The time by this person's clock.
    pub fn now(&self) -> TimestampMs {
        self.inner.clock.now()
    }

    /// Role, standing and profile as the node tells them.
    pub async fn me(&self) -> Result<Me> {
        self.node.get("/me").await
    }

    /// The person as author of batches and commands.
    pub fn author(&self) -> Author<'_> {
        Author {
            consortium: self.inner.consortium,
            principal: self.inner.principal,
            keys: &self.inner.keys,
        }
    }

    /// A sequence number that this session has not used.
    pub fn next_sequence(&self) -> u64 {
        self.inner.next_sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Signs an action.
    pub fn sign(&self, action: Action) -> Vec<u8> {
        let expires = self.now().plus_ms(COMMAND_VALIDITY_MS);
        self.author().command(self.next_sequence(), expires, action)
    }

    /// Signs an action, submits it and waits until it is final. Where another session of the same
    /// principal has used the number meanwhile, it is signed again with a fresh one.
    pub async fn act(&self, action: Action) -> Result<CommandReceipt> {
        for _ in 0..SEQUENCE_TRIES {
            match self.node.submit(self.sign(action.clone())).await {
                Err(error) if error.code() == Some("replayed") => self.catch_up().await?,
                other => return other,
            }
        }
        self.node.submit(self.sign(action)).await
    }

    /// Moves to a sequence number that no session has used yet.
    async fn catch_up(&self) -> Result<()> {
        let next = self.me().await?.next_sequence;
        self.inner.next_sequence.fetch_max(next, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the session.
    pub async fn log_out(self) -> Result<()> {
        self.node.delete("/sessions/current").await
    }
}
