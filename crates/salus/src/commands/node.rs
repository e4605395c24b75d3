//! `salus node`: runs one member's node until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;

use salus_proto::ids::OrganisationId;
use salus_runtime::clock::SystemClock;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::NodeConfig;
use crate::files::KeyFiles;
use crate::node::RunningNode;
use crate::output::{Exit, Output};

/// Run a node until SIGTERM or Ctrl-C.
///
/// Keeps everything below the configured data folder; a node that was killed goes on where it was.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The node's configuration file.
    #[arg(long)]
    config: PathBuf,
}

#[derive(Debug, Serialize)]
struct Ready {
    organisation: OrganisationId,
    name: String,
    api: String,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let config = NodeConfig::load(&arguments.config)?;
    keep_pages_small();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        loop {
            let node = RunningNode::start(&config, Arc::new(SystemClock::new())).await?;
            let ready = Ready {
                organisation: node.member.organisation,
                name: node.member.name.clone(),
                api: format!("https://{}", node.address()),
            };
            output.report(&ready, |r| format!("{} serves at {}", r.name, r.api))?;
            let replaced = tokio::select! {
                _ = terminate.recv() => None,
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    None
                }
                files = keys_replaced(&node) => Some(files),
            };
            node.stop().await?;
            match replaced {
                Some(files) => files.promote()?,
                None => return Ok(Exit::Done),
            }
        }
    })
}

/// The allocator asks for huge pages. A node lives long and its threads take turns, so that much of what such
/// pages hold is free again, which is worth more to it than the faster access.
#[cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "only libc has this call of the system")
)]
fn keep_pages_small() {
    #[cfg(target_os = "linux")]
    // SAFETY: PR_SET_THP_DISABLE takes four integers and touches no memory of ours (prctl(2)).
    let refused = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    #[cfg(target_os = "linux")]
    if refused != 0 {
        tracing::debug!("huge pages stay allowed");
    }
}

/// Waits until the node has to go on with other keys; for ever if its ledger fails before.
async fn keys_replaced(node: &RunningNode) -> KeyFiles {
    match node.keys_replaced().await {
        Ok(files) => files.clone(),
        Err(error) => {
            tracing::warn!("the membership is not followed any more: {error:#}");
            std::future::pending().await
        }
    }
}
