//! Submitting signed commands and finding what became of them.

use std::sync::PoisonError;

use bytes::Bytes;
use salus_contract::{Rejection, next_sequence};
use salus_crypto::digest::sha256;
use salus_crypto::label;
use salus_proto::api::command::CommandReceipt;
use salus_proto::command::{Action, COMMAND_LIMIT, Command, Entry, SignedCommand};
use salus_proto::encode::{from_bytes, to_bytes};
use salus_proto::ids::PrincipalId;
use salus_runtime::params;

use super::App;
use crate::node::{SubmitError, consortium, decode_entry, members, refusal};
use crate::problem::{Problem, Result, refused};

/// Reads a signed command; whether the signature is right is not looked at.
pub(crate) fn read_command(bytes: &[u8]) -> Result<Command> {
    let malformed = |e| Problem::from(Rejection::Malformed(e));
    let signed: SignedCommand =
        from_bytes(bytes, COMMAND_LIMIT, "a signed command").map_err(malformed)?;
    from_bytes(&signed.command, COMMAND_LIMIT, "a command").map_err(malformed)
}

/// Reads the command of an entry.
pub(crate) fn command_of(entry: &Entry) -> Result<Command> {
    read_command(&entry.signed_command)
}

/// What the API says of a final command.
pub(crate) fn receipt(entry: &Entry) -> CommandReceipt {
    let Entry {
        index,
        height,
        time,
        outcome,
        ..
    } = *entry;
    CommandReceipt {
        entry: index,
        height,
        time,
        outcome,
    }
}

/// How long a command of the organisation stays good, in ms.
const VALIDITY_MS: u64 = 60_000;
/// Times that a sequence number taken by somebody else is tried anew.
const SEQUENCE_TRIES: u32 = 5;

impl App {
    /// Signs an action with the organisation's key and submits it; returns the entry it became, refused
    /// or not.
    pub(crate) async fn act_as_organisation(&self, action: Action) -> Result<Entry> {
        let mut last = Problem::internal();
        for _ in 0..SEQUENCE_TRIES {
            let command = self.sign_as_organisation(action.clone())?;
            match self.ledger.submit(Bytes::from(command)).await {
                Ok(entry) => {
                    self.wait_projected(entry.index + 1).await?;
                    return Ok(entry);
                }
                // The organisation's own people used the number first.
                Err(SubmitError::Rejected(Rejection::Replayed)) => {
                    last = Rejection::Replayed.into();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(last)
    }

    fn sign_as_organisation(&self, action: Action) -> Result<Vec<u8>> {
        let view = self.view()?;
        let principal = PrincipalId(self.organisation.0);
        let sequence = {
            let mut used = self
                .own_sequence
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // One above what the ledger knows, and above what is still on its way from here.
            *used = next_sequence(&*view, principal).max(*used + 1);
            *used
        };
        let command = to_bytes(&Command {
            consortium: consortium(&*view)?,
            principal,
            sequence,
            expires: self.now().plus_ms(VALIDITY_MS),
            action,
        });
        let signature = self.keys.ed25519().sign(label::COMMAND, &command);
        Ok(to_bytes(&SignedCommand { command, signature }))
    }

    /// Submits a command and returns its accepted entry. A command that was ordered before gives
    /// the entry it became, so repeating a request is safe.
    pub(crate) async fn submit(&self, command: &[u8]) -> Result<Entry> {
        let entry = match self.ledger.submit(Bytes::copy_from_slice(command)).await {
            Ok(entry) => entry,
            Err(error) => self.submitted_before(command, error).await?,
        };
        // Whoever acts sees the effect in every list that this node gives afterwards.
        self.wait_projected(entry.index + 1).await?;
        match refusal(&entry) {
            None => Ok(entry),
            Some(refusal) => Err(refused(refusal, entry.index)),
        }
    }

    async fn submitted_before(&self, command: &[u8], error: SubmitError) -> Result<Entry> {
        let repeated = matches!(
            error,
            SubmitError::AlreadyOrdered
                | SubmitError::Rejected(Rejection::Replayed | Rejection::AlreadyRegistered)
        );
        if repeated && let Some((entry, _)) = self.entry_of(command).await? {
            return Ok(entry);
        }
        let problem = Problem::from(error);
        let members = members(&*self.view()?)?;
        Err(problem.name_silent(|id| members.find(id).map(|m| m.name.clone())))
    }

    /// The entry that exactly these bytes became, with its principal.
    pub(crate) async fn entry_of(&self, command: &[u8]) -> Result<Option<(Entry, PrincipalId)>> {
        // The projection may be a few entries behind what was just ordered.
        self.wait_projected(self.view()?.size()).await?;
        let digest = sha256(command);
        let found: Option<(u64,)> = {
            let tx = &mut self.database.read().await?;
            let sql = "SELECT entry FROM listed_command WHERE digest = $1";
            tx.optional(sql, &params![digest]).await
        }?;
        let Some((index,)) = found else {
            return Ok(None);
        };
        let entry = self.entry(index)?;
        let principal = command_of(&entry)?.principal;
        Ok(Some((entry, principal)))
    }

    /// The entry at a position of the log.
    pub(crate) fn entry(&self, index: u64) -> Result<Entry> {
        let found = self.view()?.entries(index, 1)?;
        let found = found.into_iter().find(|(found, _)| *found == index);
        let (_, bytes) = found.ok_or_else(Problem::not_found)?;
        Ok(decode_entry(&bytes)?)
    }

    /// Waits until the listings show the log's first `size` entries.
    pub(crate) async fn wait_projected(&self, size: u64) -> Result<()> {
        let mut projected = self.projected.subscribe();
        projected
            .wait_for(|reached| *reached >= size)
            .await
            .map_err(|_| Problem::internal())?;
        Ok(())
    }
}
