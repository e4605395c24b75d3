//! Adding a round up again: at any member, in fixed point, against what the ledger says.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use salus_client::node::Node;
use salus_client::person::Person;
use salus_federated::{Aggregation, Job, Model, Server, digest};
use salus_proto::Digest;
use salus_proto::api::training::{JobView, RoundView};
use salus_proto::federated::{Plan, RoundClosed, RoundResult, Update};
use salus_proto::ids::{JobId, OrganisationId};
use serde::Serialize;

use super::super::session::{Actor, block_on};
use crate::output::{Ended, Exit, Output};

/// Bytes fetched at once.
const PIECE: u64 = 8 << 20;

/// Add a round up again and compare with what was published.
///
/// Plan, headers and results come from the ledger of the caller's own node, the updates and the state
/// before the round from the coordinator; each is checked against its digest. For members. The last 20
/// rounds can be added up.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  salus federated verify --config south/node.toml 8a4f... 3")]
pub(crate) struct Verify {
    #[command(flatten)]
    actor: Actor,
    /// The job.
    job: JobId,
    /// The round, from 1.
    round: u32,
}

#[derive(Debug, Serialize)]
struct Verified {
    job: JobId,
    round: u32,
    sites: usize,
    values: usize,
    model: Digest,
    state: Digest,
    verified: bool,
}

pub(super) fn run(verify: &Verify, output: &Output) -> anyhow::Result<Exit> {
    let number = verify.round.checked_sub(1);
    let number = number.context("rounds are counted from 1")?;
    block_on(async {
        let person = verify.actor.session().await?;
        let verified = add_up(&person, verify.job, number).await?;
        output.report(&verified, |v| {
            format!(
                "Round {}: {} updates of {} values add up to the published model {}.",
                verify.round, v.sites, v.values, v.model
            )
        })?;
        Ok(Exit::Done)
    })
}

/// What does not verify ends the program with its own code.
fn wrong(what: &str) -> anyhow::Error {
    Ended {
        exit: Exit::NotVerified,
        message: format!("does not verify: {what}"),
    }
    .into()
}

async fn add_up(person: &Person, id: JobId, number: u32) -> anyhow::Result<Verified> {
    let own = person.node();
    let path = format!("/jobs/{id}");
    let view: JobView = own.get(&path).await?;
    let plan = own.bytes(&format!("{path}/plan"), None).await?;
    if digest(&plan) != view.plan {
        return Err(wrong("the plan has another digest"));
    }
    let plan = Plan::from_bytes(&plan).map_err(|_| wrong("the plan is malformed"))?;
    let job = Job::new(plan).map_err(|refusal| wrong(&refusal.to_string()))?;
    let path = format!("{path}/rounds/{number}");
    let round: RoundView = own.get(&path).await?;
    let (Some(closed), Some(result)) = (&round.closed, &round.result) else {
        bail!("the round has not been published yet");
    };
    let malformed = |_| wrong("a record of the round is malformed");
    let closed = RoundClosed::from_bytes(&closed.0).map_err(malformed)?;
    let result = RoundResult::from_bytes(&result.0).map_err(malformed)?;
    let there = person.at(&view.coordinator_api).await?;
    let there = there.node();
    let mut server = before(there, &path, &job, &round).await?;
    if server.model().digest() != round.model {
        return Err(wrong("the state before the round holds another model"));
    }
    let mut aggregation = Aggregation::new(&job);
    for survivor in &closed.survivors {
        let header = round
            .updates
            .iter()
            .find(|header| digest(&header.0) == survivor.update);
        let header = header.ok_or_else(|| wrong("a survivor has no update on the ledger"))?;
        let update = Update::from_bytes(&header.0).map_err(malformed)?;
        if update.site != survivor.site {
            return Err(wrong("an update is of another site than the survivor"));
        }
        let length = job.layout().payload_bytes();
        let path = format!("{path}/updates/{}", update.site);
        let payload = fetch(there, &path, length).await?;
        aggregation
            .add(&job, &update, &payload)
            .map_err(|refusal| wrong(&refusal.to_string()))?;
    }
    let survivors: BTreeSet<OrganisationId> = closed.survivors.iter().map(|s| s.site).collect();
    server
        .close(&job, &aggregation, &survivors)
        .map_err(|refusal| wrong(&refusal.to_string()))?;
    let (model, state) = (server.model().digest(), server.digest());
    if (model, state) != (result.model, result.state) {
        return Err(wrong("the updates add up to another model"));
    }
    Ok(Verified {
        job: id,
        round: number,
        sites: survivors.len(),
        values: job.layout().values(),
        model,
        state,
        verified: true,
    })
}

/// The coordinator's state before the round.
async fn before(node: &Node, path: &str, job: &Job, round: &RoundView) -> anyhow::Result<Server> {
    let damaged = |_| wrong("the state before the round is damaged");
    let Some(expected) = round.state else {
        let length = job.layout().payload_bytes();
        let model = fetch(node, &format!("{path}/model"), length).await?;
        let model = Model::from_bytes(job.layout(), &model).map_err(damaged)?;
        return Server::new(job, model).map_err(damaged);
    };
    let length = Server::state_bytes(job);
    let state = fetch(node, &format!("{path}/state"), length).await?;
    if digest(&state) != expected {
        return Err(wrong("the state before the round has another digest"));
    }
    Server::from_bytes(job, &state).map_err(damaged)
}

/// A file of the job, in pieces.
async fn fetch(node: &Node, path: &str, length: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        let at = bytes.len() as u64;
        let last = length.min(at + PIECE) - 1;
        let piece = node
            .bytes(path, Some((at, last)))
            .await
            .context("the coordinator does not have it any more")?;
        if piece.is_empty() {
            return Err(wrong("a file of the coordinator is too short"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
