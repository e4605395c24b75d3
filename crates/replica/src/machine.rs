//! What a replica runs: the deterministic state machine behind the engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use salus_contract::{BlockContext, Overlay, Rejection, StateRead};
use salus_crypto::sign::Ed25519Verifier;
use salus_proto::encode::to_bytes;
use salus_proto::member::Genesis;
use salus_proto::{Digest, TimestampMs};

use crate::Error;
use crate::replica::lock;

/// Most parsed keys that are remembered.
const KEYS_LIMIT: usize = 1 << 14;

/// The state machine that every member runs over the same commands.
///
/// `prepare` keeps rubbish out of the pool; only `apply` decides, and it must give the same bytes on
/// every machine for the same state, command and context. The state's value under
/// [`MEMBERS_STATE_KEY`](salus_proto::checkpoint::MEMBERS_STATE_KEY) is the encoded
/// [`MemberList`](salus_ledger::MemberList) that orders and signs from the next turn of the membership
/// on.
pub trait Machine: Send + Sync + 'static {
    /// A decoded command whose signature was found good.
    type Prepared: Send + Sync + 'static;
    /// Why a command is turned away before it is ordered.
    type Refusal: std::error::Error + Clone + Send + Sync + 'static;

    /// Admission: size, encoding, signature, and whatever else can be refused without ordering.
    /// Runs once on each node for each command.
    ///
    /// # Errors
    /// Why the command is turned away.
    fn prepare(
        &self,
        command: &[u8],
        state: &dyn StateRead,
        now: TimestampMs,
    ) -> Result<Ready<Self::Prepared>, Self::Refusal>;

    /// Applies one finalised command and returns the log entry it becomes, or `None` for bytes that
    /// may not become an entry; then `state` must be unchanged. `prepared` is what this node's
    /// admission made of it, possibly under an older state; the result must not depend on whether
    /// it is there.
    fn apply(
        &self,
        state: &mut Overlay<'_>,
        command: &[u8],
        prepared: Option<&Self::Prepared>,
        context: BlockContext,
    ) -> Option<Vec<u8>>;

    /// Writes the state before the first block, the members among it.
    ///
    /// # Errors
    /// [`Error::Configuration`] if there can be no such state.
    fn genesis(&self, state: &mut Overlay<'_>) -> Result<(), Error>;
}

/// A command that passed admission.
#[derive(Debug)]
pub struct Ready<P> {
    /// Whose command it is; a pool keeps each principal's commands in sequence order.
    pub principal: [u8; 16],
    /// The principal's own number for it.
    pub sequence: u64,
    /// Later than that it is not proposed any more.
    pub expires: TimestampMs,
    /// What [`Machine::apply`] needs not do again.
    pub prepared: Arc<P>,
}

impl<P> Clone for Ready<P> {
    fn clone(&self) -> Self {
        let Self {
            principal,
            sequence,
            expires,
            prepared,
        } = self;
        Self {
            principal: *principal,
            sequence: *sequence,
            expires: *expires,
            prepared: prepared.clone(),
        }
    }
}

/// The consortium's contract as a machine.
#[derive(Debug)]
pub struct Contract {
    genesis: Genesis,
    /// Parsing a key takes a tenth of checking a signature with it.
    keys: Mutex<BTreeMap<[u8; 32], Ed25519Verifier>>,
}

impl Contract {
    /// The contract of the consortium that this genesis founds.
    pub fn new(genesis: Genesis) -> Self {
        Self {
            genesis,
            keys: Mutex::default(),
        }
    }

    /// Parses a key, or remembers that it did.
    fn key(&self, key: &[u8; 32]) -> Result<Ed25519Verifier, salus_crypto::Error> {
        if let Some(known) = lock(&self.keys).get(key) {
            return Ok(known.clone());
        }
        let parsed = Ed25519Verifier::parse(key)?;
        let mut keys = lock(&self.keys);
        if keys.len() >= KEYS_LIMIT {
            keys.clear();
        }
        keys.insert(*key, parsed.clone());
        Ok(parsed)
    }
}

impl Machine for Contract {
    type Prepared = salus_contract::Prepared;
    type Refusal = Rejection;

    fn prepare(
        &self,
        command: &[u8],
        state: &dyn StateRead,
        now: TimestampMs,
    ) -> Result<Ready<Self::Prepared>, Rejection> {
        let parse = |key: &[u8; 32]| self.key(key);
        let prepared = salus_contract::apply::prepare_with(state, command, parse)?;
        salus_contract::apply::admissible(state, &prepared, now)?;
        let (principal, sequence, expires) = {
            let command = prepared.command();
            (command.principal.0, command.sequence, command.expires)
        };
        Ok(Ready {
            principal,
            sequence,
            expires,
            prepared: Arc::new(prepared),
        })
    }

    fn apply(
        &self,
        state: &mut Overlay<'_>,
        command: &[u8],
        prepared: Option<&Self::Prepared>,
        context: BlockContext,
    ) -> Option<Vec<u8>> {
        let entry = match prepared {
            Some(prepared) => salus_contract::apply(state, prepared, context),
            None => {
                let prepared = salus_contract::prepare(state, command).ok()?;
                salus_contract::apply(state, &prepared, context)
            }
        };
        Some(to_bytes(&entry.ok()?))
    }

    fn genesis(&self, state: &mut Overlay<'_>) -> Result<(), Error> {
        let written = salus_contract::genesis(&self.genesis)
            .map_err(|error| Error::Configuration(error.to_string()))?;
        for (key, value) in written {
            state.put(key, value);
        }
        Ok(())
    }
}

/// The identity of a command within pools and blocks: SHA-256 of its bytes.
pub fn command_id(command: &[u8]) -> Digest {
    salus_ledger::state::value_digest(command)
}
