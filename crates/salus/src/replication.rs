//! Sends this hospital's anchored batches to the members that keep replicas, without any key.
//!
//! Nothing is lost when a replica is away: what it has acknowledged is stored, and the rest is sent
//! when it answers again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use salus_client::node::Node;
use salus_client::person::Person;
use salus_contract::table::Members;
use salus_crypto::digest::sha256;
use salus_crypto::keys::SecretKeys;
use salus_crypto::label;
use salus_proto::TimestampMs;
use salus_proto::api::batch::BatchAccepted;
use salus_proto::encode::to_base64url;
use salus_proto::ids::{OrganisationId, PrincipalId};
use salus_proto::member::Member;
use salus_replica::{Contract, Replica};
use salus_runtime::clock::Clock;
use salus_vault::Vault;

use crate::node::connect;

/// How often the outbox is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a replica that failed is left alone.
const LEAVE_ALONE: Duration = Duration::from_secs(15);
/// Batches sent between two looks.
const AT_ONCE: u32 = 64;
/// The path that is signed; the API's base path stands before it.
const PATH: &str = "/peer/batches";

/// One replica to keep up to date.
pub(crate) struct Outbox {
    pub(crate) vault: Vault,
    pub(crate) organisation: OrganisationId,
    pub(crate) keys: Arc<SecretKeys>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where members are looked up: they join, leave and move.
    pub(crate) ledger: Replica<Contract>,
    /// Name of the member that keeps the replica.
    pub(crate) replica: String,
    /// File with the authorities that its certificate is checked with.
    pub(crate) authority: PathBuf,
}

impl core::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Outbox")
            .field("replica", &self.replica)
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// Sends until the task is ended.
    pub(crate) async fn run(self) {
        let mut place: Option<(Member, Node)> = None;
        let mut missed = false;
        loop {
            let sent = match self.member() {
                Ok(Some(member)) => {
                    missed = false;
                    self.send_to(member, &mut place).await
                }
                Ok(None) => {
                    if !std::mem::replace(&mut missed, true) {
                        tracing::warn!(replica = %self.replica, "no member of this name");
                    }
                    Ok(())
                }
                Err(error) => Err(error),
            };
            match sent {
                Ok(()) => self.clock.sleep(LOOK_EVERY).await,
                Err(error) => {
                    // The next try reads the authorities anew.
                    place = None;
                    tracing::warn!(replica = %self.replica, "replication waits: {error:#}");
                    self.clock.sleep(LEAVE_ALONE).await;
                }
            }
        }
    }

    fn member(&self) -> anyhow::Result<Option<Member>> {
        let members = Members::of(&self.ledger.read()?).context("the ledger has no members")?;
        Ok(members.members.into_iter().find(|m| m.name == self.replica))
    }

    async fn send_to(
        &self,
        member: Member,
        place: &mut Option<(Member, Node)>,
    ) -> anyhow::Result<()> {
        if place.as_ref().is_none_or(|(known, _)| *known != member) {
            let node = connect(&member.api, &self.authority)?;
            *place = Some((member, node));
        }
        match place {
            Some((member, node)) => self.send(member.organisation, node).await,
            None => Ok(()),
        }
    }

    async fn send(&self, replica: OrganisationId, node: &Node) -> anyhow::Result<()> {
        let mut session = None;
        for outgoing in self.vault.outgoing(replica, AT_ONCE).await? {
            let (batch, large) = self.vault.replica_batch(outgoing.batch).await?;
            for (digest, _) in large {
                let session = match &mut session {
                    Some(session) => session,
                    none => none.insert(self.session(node).await?),
                };
                let mut stream = std::pin::pin!(self.vault.blob_stream(digest).await?);
                let mut bytes = Vec::new();
                while let Some(chunk) = stream.next().await {
                    bytes.extend_from_slice(&chunk?);
                }
                session
                    .upload_blob(digest, bytes.into())
                    .await
                    .context("a large blob was not taken")?;
            }
            let proof = self.proof(&batch);
            let _: BatchAccepted = node.post_as_member(PATH, &proof, batch.into()).await?;
            self.vault.replicated(replica, outgoing.place).await?;
        }
        Ok(())
    }

    async fn session(&self, node: &Node) -> anyhow::Result<Person> {
        let principal = PrincipalId(self.organisation.0);
        let (keys, clock) = (Arc::clone(&self.keys), Arc::clone(&self.clock));
        Ok(Person::with_keys(node, principal, keys, clock).await?)
    }

    fn proof(&self, body: &[u8]) -> String {
        let now = self.clock.now();
        member_proof(self.organisation, &self.keys, now, "POST", PATH, body)
    }
}

/// The header that shows which member sends a request: method, path, time and body digest, signed.
pub(crate) fn member_proof(
    organisation: OrganisationId,
    keys: &SecretKeys,
    now: TimestampMs,
    method: &str,
    path: &str,
    body: &[u8],
) -> String {
    let digest = sha256(body);
    let message = [
        method.as_bytes(),
        path.as_bytes(),
        now.0.to_string().as_bytes(),
        digest.as_bytes(),
    ]
    .concat();
    let signature = keys.ed25519().sign(label::PEER, &message);
    format!("{organisation};{};{}", now.0, to_base64url(&signature))
}
