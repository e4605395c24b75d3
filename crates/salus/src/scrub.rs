//! Re-reads stored blobs slowly, for ever, and brings back from other members what is not what was
//! stored. What it finds, the server reports on the ledger.

use core::pin::Pin;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use salus_contract::table::Members;
use salus_crypto::digest::sha256;
use salus_crypto::keys::SecretKeys;
use salus_proto::Digest;
use salus_proto::ids::OrganisationId;
use salus_replica::{Contract, Replica};
use salus_runtime::blob::{ObjectName, SMALL_MAX};
use salus_runtime::clock::Clock;
use salus_vault::{ReplicaSource, SourceFailed, Vault};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use crate::node::connect;
use crate::replication::member_proof;

/// How long to rest after everything was read once.
const REST: Duration = Duration::from_secs(3_600);
/// How long to leave a store alone that failed.
const LEAVE_ALONE: Duration = Duration::from_secs(60);
/// How long a member may take to give a small blob, or to begin with a large one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads one object after another and rests in between, so that people do not notice.
pub(crate) struct Scrubber {
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) others: Others,
    /// Bytes to read in a second, at least 1.
    pub(crate) bytes_per_s: u64,
    /// Where the name of the last object that was read stands, so that a restart goes on behind it.
    pub(crate) position: PathBuf,
}

impl core::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Scrubber").finish_non_exhaustive()
    }
}

impl Scrubber {
    /// Scrubs until the task is ended.
    pub(crate) async fn run(self) {
        // A position that is lost or damaged means reading some objects again.
        let stored = std::fs::read_to_string(&self.position).unwrap_or_default();
        let mut after: Option<ObjectName> = stored.trim().parse().ok();
        loop {
            let rest = match self.vault.scrub_next(after, Some(&self.others)).await {
                Ok(Some((object, scrubbed))) => {
                    for incident in &scrubbed.incidents {
                        let object = &incident.object;
                        if incident.restored {
                            tracing::warn!(object, "damaged bytes came back from another member");
                        } else {
                            tracing::error!(
                                object,
                                "damaged bytes that no other member gives back"
                            );
                        }
                    }
                    after = Some(object);
                    self.note(&object.to_string());
                    Duration::from_secs_f64(scrubbed.bytes as f64 / self.bytes_per_s as f64)
                }
                Ok(None) => {
                    after = None;
                    self.note("");
                    REST
                }
                Err(error) => {
                    tracing::warn!(%error, "stored blobs cannot be read again for now");
                    LEAVE_ALONE
                }
            };
            self.clock.sleep(rest).await;
        }
    }

    fn note(&self, position: &str) {
        if let Err(error) = std::fs::write(&self.position, position) {
            tracing::warn!(%error, "the scrubber's position was not written");
        }
    }
}

/// The other members, each of which may have a blob.
pub(crate) struct Others {
    pub(crate) organisation: OrganisationId,
    pub(crate) keys: Arc<SecretKeys>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ledger: Replica<Contract>,
    /// File with the authorities that their certificates are checked with.
    pub(crate) authority: PathBuf,
    /// Who is asked first the next time: nobody can keep a large blob away by giving a wrong one.
    pub(crate) turn: AtomicUsize,
}

type Stream = Pin<Box<dyn AsyncRead + Send>>;

impl Others {
    /// The blob as this member gives it. A small one is checked here, so that another member can be
    /// asked; a large one where it is stored.
    async fn of(&self, api: &str, digest: Digest, length: u64) -> anyhow::Result<Stream> {
        let path = format!("/peer/blobs/{digest}");
        let now = self.clock.now();
        let proof = member_proof(self.organisation, &self.keys, now, "GET", &path, &[]);
        let node = connect(api, &self.authority)?;
        let stream = node.read_as_member(&path, &proof).await?;
        if length > SMALL_MAX as u64 {
            return Ok(Box::pin(stream));
        }
        let mut bytes = Vec::new();
        stream.take(length + 1).read_to_end(&mut bytes).await?;
        ensure!(sha256(&bytes) == digest, "it gave other bytes");
        Ok(Box::pin(Cursor::new(bytes)))
    }
}

impl ReplicaSource for Others {
    fn fetch(&self, digest: Digest, length: u64) -> BoxFuture<'_, Result<Stream, SourceFailed>> {
        async move {
            let failed = |error: String| SourceFailed(error);
            let mut members = {
                let view = self.ledger.read().map_err(|e| failed(e.to_string()))?;
                let members = Members::of(&view);
                members
                    .ok_or_else(|| failed("the ledger names no members".into()))?
                    .members
            };
            members.retain(|member| member.organisation != self.organisation);
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % members.len().max(1);
            members.rotate_left(turn);
            let mut last = failed("there is no other member".into());
            for member in members {
                match timeout(PATIENCE, self.of(&member.api, digest, length)).await {
                    Ok(Ok(stream)) => return Ok(stream),
                    Ok(Err(error)) => last = failed(format!("{}: {error:#}", member.name)),
                    Err(_) => last = failed(format!("{}: no answer in time", member.name)),
                }
            }
            Err(last)
        }
        .boxed()
    }
}
