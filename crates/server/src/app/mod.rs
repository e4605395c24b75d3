//! Use cases, one file per noun: what a request means, without HTTP.

use core::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use salus_contract::state::StateRead;
use salus_contract::table::{Principal, Principals, Standing, get};
use salus_crypto::keys::SecretKeys;
use salus_crypto::opaque::ServerSetup;
use salus_policy::{Operation, Relation, may};
use salus_proto::ids::{OrganisationId, PrincipalId};
use salus_proto::role::Role;
use salus_proto::{Entropy, TimestampMs};
use salus_runtime::Clock;
use salus_runtime::table::Database;
use salus_vault::Vault;
use tokio::sync::watch;

use crate::node::{Ledger, LedgerView};
use crate::problem::{Problem, Result};
use crate::session::Recent;
use crate::statistics::Tally;
use crate::training::Desk;
use crate::watch::Watch;

pub(crate) mod access;
pub(crate) mod account;
pub(crate) mod attempt;
pub(crate) mod batch;
pub(crate) mod command;
pub(crate) mod consultation;
pub(crate) mod job;
pub(crate) mod ledger;
pub(crate) mod me;
pub(crate) mod passkey;
pub(crate) mod patient;
pub(crate) mod peer;
pub(crate) mod principal;
pub(crate) mod proof;
pub(crate) mod proposal;
pub(crate) mod record;
pub(crate) mod statistics;
pub(crate) mod upload;

/// What every use case leans on.
pub(crate) struct App {
    pub(crate) organisation: OrganisationId,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) genesis: bytes::Bytes,
    pub(crate) origin: String,
    pub(crate) database: Database,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Arc<SecretKeys>,
    pub(crate) passwords: ServerSetup,
    pub(crate) watch: Watch,
    /// Requests that may be at work at once.
    pub(crate) in_flight: tokio::sync::Semaphore,
    /// Sessions that were looked up a moment ago.
    pub(crate) recent: Recent,
    /// Entries that the projection has taken in.
    pub(crate) projected: watch::Sender<u64>,
    /// Becomes true when the server stops: ends streams.
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) entropy: Mutex<Box<dyn Entropy + Send>>,
    /// The symptoms of this hospital's patients; whoever asks goes on counting.
    pub(crate) tally: tokio::sync::Mutex<Tally>,
    /// Federated jobs, on a node that takes part in them.
    pub(crate) desk: Option<Desk>,
    /// The highest sequence number that this node has used for its organisation.
    pub(crate) own_sequence: Mutex<u64>,
}

/// What this organisation has decided once and for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether requests of linked patients for their own records are granted at once, without a
    /// person: `own-records = "approve"`.
    pub approve_own_records: bool,
}

/// Bounds that an operator may want to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest life of a session, in ms.
    pub session_ms: u64,
    /// A session unused for so long ends, in ms.
    pub session_idle_ms: u64,
    /// Attempts to log in to one account within a quarter of an hour before waits begin.
    pub login_attempts: u64,
    /// Attempts to log in or register from one address within a quarter of an hour before waits
    /// begin.
    pub address_attempts: u64,
    /// Longest a request may take, in ms; event streams excepted.
    pub request_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            session_ms: 12 * 3_600_000,
            session_idle_ms: 30 * 60_000,
            login_attempts: 10,
            address_attempts: 600,
            request_ms: 60_000,
        }
    }
}

/// A principal behind a session: who acts, as the ledger knows them now.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) id: PrincipalId,
    pub(crate) principal: Principal,
}

impl Actor {
    /// The principal, whatever its standing.
    pub(crate) fn known(view: &dyn StateRead, id: PrincipalId) -> Result<Self> {
        let principal = get::<Principals>(view, &id).ok_or_else(Problem::unauthenticated)?;
        Ok(Self { id, principal })
    }

    /// The principal if it may act at all.
    pub(crate) fn authorised(self, view: &dyn StateRead) -> Result<Self> {
        match self.principal.standing {
            Standing::Authorised { .. } => {}
            Standing::Pending => return Err(Problem::pending()),
            Standing::Refused { .. } | Standing::Revoked { .. } => return Err(Problem::shut_out()),
        }
        let members = crate::node::members(view)?;
        members
            .find(self.organisation())
            .ok_or_else(Problem::shut_out)?;
        Ok(self)
    }

    pub(crate) fn role(&self) -> Role {
        self.principal.role
    }

    pub(crate) fn organisation(&self) -> OrganisationId {
        self.principal.organisation
    }

    /// Whether the role may do it in this relation.
    pub(crate) fn may(&self, operation: Operation, relation: Relation) -> bool {
        may(self.role(), operation, relation)
    }

    /// Refuses with 403 what the role may not do to anything.
    pub(crate) fn must(&self, operation: Operation, relation: Relation) -> Result<()> {
        if self.may(operation, relation) {
            Ok(())
        } else {
            Err(Problem::not_allowed())
        }
    }

    /// Refuses with 404 what the role may not do to this thing, as if it did not exist.
    pub(crate) fn must_or_hidden(&self, operation: Operation, relation: Relation) -> Result<()> {
        if self.may(operation, relation) {
            Ok(())
        } else {
            Err(Problem::hidden())
        }
    }
}

impl App {
    pub(crate) fn now(&self) -> TimestampMs {
        self.clock.now()
    }

    pub(crate) fn view(&self) -> Result<Box<dyn LedgerView>> {
        Ok(self.ledger.view()?)
    }

    /// Random bytes.
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        self.with_entropy(|entropy| {
            let mut bytes = [0; N];
            entropy.fill(&mut bytes);
            bytes
        })
    }

    pub(crate) fn with_entropy<T>(&self, draw: impl FnOnce(&mut dyn Entropy) -> T) -> T {
        let mut entropy = self.entropy.lock().unwrap_or_else(PoisonError::into_inner);
        draw(&mut **entropy)
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("organisation", &self.organisation)
            .finish_non_exhaustive()
    }
}
