//! A running node and its organisation's place in the consortium: who the members are before the
//! ledger here knows, and what the node does when its organisation's keys are replaced or it leaves.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use salus_crypto::digest::sha256;
use salus_ledger::MemberList;
use salus_ledger::bundle::{Bundle, Proven};
use salus_proto::checkpoint::MEMBERS_STATE_KEY;
use salus_proto::encode::to_bytes;
use salus_proto::ids::OrganisationId;
use salus_proto::member::Genesis;
use salus_replica::{Contract, Replica, engine_public};
use salus_runtime::clock::Clock;
use salus_vault::Vault;

use crate::files::{KeyFiles, NodeKeys};

/// How long to wait after moving key wraps failed.
const PAUSE: Duration = Duration::from_secs(15);

/// Reads a proof of who the members are and checks it, trusting nothing but the genesis file.
pub(crate) fn introduction(path: &Path, genesis: &Genesis) -> anyhow::Result<MemberList> {
    let json = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let bundle = Bundle::from_json(&json);
    let bundle = bundle.with_context(|| format!("{} is not an introduction", path.display()))?;
    introduced(&bundle, genesis).with_context(|| format!("{} is not trusted", path.display()))
}

/// The members that a bundle proves.
pub(crate) fn introduced(bundle: &Bundle, genesis: &Genesis) -> anyhow::Result<MemberList> {
    let report = bundle.verify(&sha256(&to_bytes(genesis)));
    match &report.proven {
        Some(Proven::State {
            key,
            value: Some(value),
        }) if key == MEMBERS_STATE_KEY => Ok(MemberList::from_bytes(value)?),
        Some(_) => bail!("it proves something else than who the members are"),
        None => bail!("it does not verify:\n{report}"),
    }
}

/// Waits until the members in force are to know this organisation by the keys in `files.next`. Until
/// then it says when the organisation is no member.
pub(crate) async fn next_keys_in_force(
    replica: &Replica<Contract>,
    organisation: OrganisationId,
    genesis: &Genesis,
    files: &KeyFiles,
) -> anyhow::Result<()> {
    let mut epoch = 0;
    loop {
        replica.turned(epoch).await?;
        // Who the keys have to sign with until the members before have handed over.
        let handovers = replica.handed_over(u64::MAX).await?;
        let list = match handovers.last() {
            Some(handover) => MemberList::from_bytes(&handover.members)?,
            None => MemberList::new(0, genesis.members.clone())?,
        };
        match list.member(organisation) {
            None => tracing::warn!(
                %organisation,
                "the organisation is no member: this node validates nothing and nobody asks it; \
                 it goes on answering what it knows"
            ),
            Some(member) if files.next.exists() => {
                let next = NodeKeys::load(&files.next)?;
                if engine_public(&next.engine_seed)? == member.engine_key {
                    return Ok(());
                }
            }
            Some(_) => {}
        }
        epoch = u64::try_from(handovers.len())? + 1;
    }
}

/// Moves what is wrapped to the organisation's earlier keys to its current ones, then destroys the
/// earlier ones.
pub(crate) async fn move_key_wraps(
    vault: Vault,
    files: KeyFiles,
    clock: std::sync::Arc<dyn Clock>,
) {
    loop {
        match moved(&vault, &files).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!("moving key wraps to the new keys waits: {error:#}");
                clock.sleep(PAUSE).await;
            }
        }
    }
}

async fn moved(vault: &Vault, files: &KeyFiles) -> anyhow::Result<()> {
    let done = vault.rekey().await?;
    ensure!(
        done.closed == 0,
        "{} key wraps open with neither; the earlier keys stay in {}",
        done.closed,
        files.earlier.display()
    );
    files.forget_earlier()?;
    tracing::info!(
        moved = done.moved,
        "key wraps were moved to the new keys; the earlier ones are destroyed"
    );
    Ok(())
}
