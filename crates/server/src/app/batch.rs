//! Taking in sealed batches: checked, made durable here, anchored on the ledger, listed.

use std::sync::Arc;

use bytes::Bytes;
use salus_proto::api::batch::BatchAccepted;
use salus_vault::{Checked, Staged};

use super::{Actor, App};
use crate::problem::{Problem, Result};

impl App {
    /// Takes in a batch. Repeating it gives the same answer.
    pub(crate) async fn accept_batch(
        self: &Arc<Self>,
        actor: &Actor,
        body: Bytes,
    ) -> Result<BatchAccepted> {
        let app = self.clone();
        let checked = blocking(move || Ok(app.vault.check(&body, &*app.view()?)?)).await?;
        if checked.manifest().signer != actor.id {
            return Err(Problem::not_yours());
        }
        let batch = checked.manifest().batch;
        let command = checked.command().to_vec();
        let entry = match self.vault.stage(checked).await? {
            Staged::Anchored(entry) => entry,
            Staged::Waiting => match self.submit(&command).await {
                Ok(entry) => {
                    self.vault.anchored(batch, entry.index).await?;
                    entry.index
                }
                Err(problem) => {
                    // A refusal is final; anything else may still become an entry.
                    if problem.status().is_client_error() {
                        self.vault.discard(batch).await?;
                    }
                    return Err(problem);
                }
            },
        };
        Ok(BatchAccepted { batch, entry })
    }

    /// Takes in a replica of a batch that its custodian has anchored.
    pub(crate) async fn accept_replica(
        self: &Arc<Self>,
        from: salus_proto::ids::OrganisationId,
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
