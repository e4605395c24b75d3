//! Taking in sealed batches: checked, made durable here, anchored on the ledger, listed.

use std::sync::Arc;

use bytes::Bytes;
use salus_contract::table::{Batches, get};
use salus_proto::api::batch::BatchAccepted;
use salus_proto::ids::{BatchId, OrganisationId, PrincipalId};
use salus_vault::{Checked, Error, Staged};

use super::{Actor, App};
use crate::problem::{Problem, Result};

impl App {
    /// Takes in a batch. Repeating it gives the same answer. Goes on when whoever asks goes away: a batch
    /// that is staged here and not anchored would be in the way of the next attempt.
    pub(crate) async fn accept_batch(
        self: &Arc<Self>,
        actor: &Actor,
        body: Bytes,
    ) -> Result<BatchAccepted> {
        let (app, sender) = (self.clone(), actor.id);
        tokio::spawn(async move { app.take_in(sender, body).await })
            .await
            .unwrap_or_else(|_| Err(Problem::internal()))
    }

    async fn take_in(self: Arc<Self>, sender: PrincipalId, body: Bytes) -> Result<BatchAccepted> {
        let mut again = true;
        loop {
            let (app, bytes) = (self.clone(), body.clone());
            let work = move || Ok(app.vault.check(&bytes, &*app.view()?));
            let checked = match blocking(work).await? {
                Err(Error::BatchTaken { batch }) => {
                    self.finish(batch).await?;
                    return Err(Error::BatchTaken { batch }.into());
                }
                checked => checked?,
            };
            if checked.manifest().signer != sender {
                return Err(Problem::not_yours());
            }
            let batch = checked.manifest().batch;
            let command = checked.command().to_vec();
            let entry = match self.vault.stage(checked).await {
                // What an interrupted attempt left is seen to its end first.
                Err(Error::BatchTaken { .. }) if again && !self.finish(batch).await? => {
                    again = false;
                    continue;
                }
                Ok(Staged::Waiting) => self.anchor(batch, &command).await?,
                Ok(Staged::Anchored(entry)) => entry,
                Err(error) => return Err(error.into()),
            };
            return Ok(BatchAccepted { batch, entry });
        }
    }

    /// Submits a staged batch's command and marks the batch; a batch that the ledger refuses is given up.
    async fn anchor(&self, batch: BatchId, command: &[u8]) -> Result<u64> {
        match self.submit(command).await {
            Ok(entry) => {
                self.vault.anchored(batch, entry.index).await?;
                Ok(entry.index)
            }
            Err(problem) => {
                // A refusal is final; anything else may still become an entry.
                if problem.status().is_client_error() {
                    self.vault.discard(batch).await?;
                }
                Err(problem)
            }
        }
    }

    /// Sees a batch to its end whose anchoring was interrupted; whether it is on the ledger then.
    async fn finish(&self, batch: BatchId) -> Result<bool> {
        let anchored = get::<Batches>(&*self.view()?, &batch).map(|row| row.entry);
        let mut staged = self.vault.staged().await?;
        staged.retain(|staged| staged.batch == batch);
        let Some(staged) = staged.pop() else {
            return Ok(true);
        };
        match anchored {
            Some(entry) => self.vault.anchored(batch, entry).await?,
            None => match self.anchor(batch, &staged.command).await {
                Ok(_) => {}
                Err(problem) if problem.status().is_client_error() => return Ok(false),
                Err(problem) => return Err(problem),
            },
        }
        Ok(true)
    }

    /// Sees every batch to its end whose anchoring was interrupted.
    pub(crate) async fn finish_batches(&self) -> Result<()> {
        for staged in self.vault.staged().await? {
            self.finish(staged.batch).await?;
        }
        Ok(())
    }

    /// Takes in a replica of a batch that its custodian has anchored.
    pub(crate) async fn accept_replica(
        self: &Arc<Self>,
        from: OrganisationId,
        body: Bytes,
    ) -> Result<BatchAccepted> {
        let app = self.clone();
        let checked: Checked =
            blocking(move || Ok(app.vault.check_replica(&body, &*app.view()?)?)).await?;
        if checked.manifest().organisation != from {
            return Err(Problem::hidden());
        }
        let batch = checked.manifest().batch;
        match self.vault.stage(checked).await? {
            Staged::Anchored(entry) => Ok(BatchAccepted { batch, entry }),
            Staged::Waiting => Err(Problem::internal()),
        }
    }
}

/// Runs work that takes long on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Problem::internal()))
}
