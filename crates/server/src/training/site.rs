//! The agent of this organisation's site: whenever a round is open in which the hospital takes part,
//! fetches the model, has it trained, uploads the update and vouches for it on the ledger.
//!
//! It dials out and is woken by its own copy of the ledger; nobody calls it and nothing is polled.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use salus_client::node::Node;
use salus_client::person::Person;
use salus_contract::table::{Job as Row, JobStage, Jobs, Rounds, Updates, get};
use salus_crypto::digest::Sha256;
use salus_federated::site::Assignment;
use salus_federated::{Job, Model};
use salus_proto::api::training::{SiteActivity, TrainingUpload};
use salus_proto::command::{Action, Outcome};
use salus_proto::federated::{RECORD_LIMIT_BYTES, Update};
use salus_proto::ids::{JobId, PrincipalId};
use salus_runtime::Error;
use salus_runtime::shelf::Appended;

use super::{Desk, Finished, Task, Trained, TrainerError, job_of, name};
use crate::app::App;
use crate::app::batch::blocking;
use crate::node::members;
use crate::problem::{Problem, Result};

/// How long to wait before a coordinator that did not answer is tried again: at first, and at most.
const WAIT_FIRST: Duration = Duration::from_millis(500);
const WAIT_MOST: Duration = Duration::from_secs(15);
/// Bytes of a model or an update that travel at a time.
const PIECE: u64 = 2 << 20;
/// How often an upload may be thrown back before it waits.
const SPOILT_LIMIT: u32 = 3;
/// Largest file that a site keeps after a round: 4 GiB.
const KEPT_LIMIT: u64 = 4 << 30;
/// Rounds back that are looked at for what the site kept last.
const KEPT_ROUNDS_BACK: u32 = 100;

/// Why a round was not finished.
enum Stop {
    /// The coordinator or the ledger does not answer; worth another try.
    Later(String),
    /// The update is not accepted; this round is over for this site.
    Refused(String),
    /// Something else happened to the job meanwhile.
    Moved,
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Later(problem.code().to_owned())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<TrainerError> for Stop {
    fn from(error: TrainerError) -> Self {
        match error {
            TrainerError::Failed(why) => Self::Later(why),
            TrainerError::Refused(_) | TrainerError::NoModel => Self::Refused(error.to_string()),
        }
    }
}

impl From<salus_client::Error> for Stop {
    fn from(error: salus_client::Error) -> Self {
        match error.code() {
            // The coordinator's copy of the ledger may be ahead of ours.
            Some("round-over") => Self::Moved,
            Some(
                "stale-model" | "already-exists" | "invalid" | "not-allowed" | "malformed-request",
            ) => Self::Refused(error.to_string()),
            _ => Self::Later(error.to_string()),
        }
    }
}

/// Follows the jobs until the server stops.
pub(crate) async fn follow(app: Arc<App>) {
    let Ok(desk) = app.desk() else { return };
    let mut agent = Agent {
        app: &app,
        desk,
        session: None,
        refused: BTreeMap::new(),
    };
    let mut stopping = app.stopping.subscribe();
    let mut projected = app.projected.subscribe();
    let mut wait = WAIT_FIRST;
    loop {
        projected.mark_unchanged();
        let stop = tokio::select! {
            done = agent.look() => done.err(),
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let again = match stop {
            None => {
                wait = WAIT_FIRST;
                None
            }
            Some(problem) => {
                tracing::warn!(why = problem, "a federated job waits");
                let now = wait;
                wait = (wait * 2).min(WAIT_MOST);
                Some(now)
            }
        };
        let pause = async {
            match again {
                Some(wait) => app.clock.sleep(wait).await,
                None => core::future::pending().await,
            }
        };
        tokio::select! {
            changed = projected.changed() => if changed.is_err() { return },
            () = pause => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

struct Agent<'a> {
    app: &'a App,
    desk: &'a Desk,
    session: Option<Person>,
    /// The round of a job in which nothing more can be done here.
    refused: BTreeMap<JobId, u32>,
}

impl Agent<'_> {
    /// Does whatever the ledger asks of this site; `Err` says why something has to wait.
    async fn look(&mut self) -> core::result::Result<(), String> {
        let own = self.app.organisation;
        let ids = self.app.job_ids().await;
        let mut waits = None;
        for id in ids.map_err(|problem| problem.code().to_owned())? {
            let Ok(view) = self.app.view() else { continue };
            let Some(row) = get::<Jobs>(&*view, &id) else {
                continue;
            };
            if !row.takes_part(own) {
                continue;
            }
            let outcome = match row.stage {
                JobStage::Open if self.refused.get(&id) != Some(&row.round) => {
                    self.round(id, &row).await
                }
                JobStage::Done => self.finish(id, &row).await,
                JobStage::Between | JobStage::Open | JobStage::Closed => Ok(()),
            };
            match outcome {
                // What moved there has not moved here: the coordinator's copy of the ledger is behind, and
                // nothing may ever happen here that wakes this site.
                Err(Stop::Moved) if self.still_open(id, row.round).is_ok() => {
                    waits = Some("the coordinator is behind".into());
                }
                Ok(()) | Err(Stop::Moved) => {}
                Err(Stop::Refused(why)) => {
                    tracing::warn!(job = %id, round = row.round, why, "not in this round");
                    self.refused.insert(id, row.round);
                    self.see(id, row.round, SiteActivity::Waiting, Some(why));
                }
                Err(Stop::Later(why)) => {
                    self.session = None;
                    self.see(id, row.round, SiteActivity::Training, Some(why.clone()));
                    waits = Some(why);
                }
            }
        }
        waits.map_or(Ok(()), Err)
    }

    fn see(&self, id: JobId, round: u32, activity: SiteActivity, why: Option<String>) {
        self.desk
            .see(id, self.app.organisation, round, activity, why);
    }

    /// One round, from wherever it was interrupted.
    async fn round(&mut self, id: JobId, row: &Row) -> core::result::Result<(), Stop> {
        let (app, own, number) = (self.app, self.app.organisation, row.round);
        let (job, opened) = {
            let view = app.view()?;
            if get::<Updates>(&*view, &(id, number, own)).is_some() {
                return Ok(());
            }
            let (job, _) = job_of(&*view, id)?;
            let round = get::<Rounds>(&*view, &(id, number)).ok_or(Stop::Moved)?;
            (Arc::new(job), round.opened)
        };
        let stored = self.stored_header(id, number).await?;
        let update = match stored.filter(|update| update.base == opened.model) {
            Some(update) if self.whole(&update).await? => update,
            _ => {
                self.see(id, number, SiteActivity::Training, None);
                let base = self.model(id, number, opened.model, &job, row).await?;
                self.train(&job, number, opened.model, base).await?
            }
        };
        self.still_open(id, number)?;
        self.see(id, number, SiteActivity::Uploading, None);
        self.upload(id, number, &update, row).await?;
        let action = Action::SendUpdate { update };
        let entry = app.act_as_organisation(action).await?;
        match entry.outcome {
            Outcome::Accepted => {
                self.see(id, number, SiteActivity::Sent, None);
                self.tidy(id, number).await?;
                Ok(())
            }
            Outcome::Refused(refusal) => Err(Stop::Refused(refusal.to_string())),
        }
    }

    /// That the round still takes updates.
    fn still_open(&self, id: JobId, number: u32) -> core::result::Result<(), Stop> {
        let row = get::<Jobs>(&*self.app.view()?, &id).ok_or(Stop::Moved)?;
        let open = row.stage == JobStage::Open && row.round == number;
        open.then_some(()).ok_or(Stop::Moved)
    }

    /// The header of an update that was trained before a restart.
    async fn stored_header(&self, id: JobId, round: u32) -> Result<Option<Update>> {
        let limit = RECORD_LIMIT_BYTES as u64;
        let found = self
            .desk
            .shelf()
            .get(&name::header(id, round), limit)
            .await?;
        Ok(found.and_then(|bytes| Update::from_bytes(&bytes).ok()))
    }

    /// Whether the payload of a stored update is whole: a power cut may have spoilt it.
    async fn whole(&self, update: &Update) -> Result<bool> {
        let file = name::own(update.job, update.round);
        let shelf = self.desk.shelf();
        match shelf.check(&file, update.payload, (), |(), _, _| {}).await {
            Ok(found) => Ok(found.is_some()),
            Err(Error::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A fetched model if it is here and whole; what a power cut has spoilt is thrown away.
    async fn fetched(
        &self,
        file: &str,
        expected: salus_proto::Digest,
        length: u64,
    ) -> Result<Option<Bytes>> {
        match self.desk.shelf().get_checked(file, expected, length).await {
            Err(Error::Corrupt { .. }) => {
                self.desk.shelf().remove(file).await?;
                Ok(None)
            }
            found => Ok(found?),
        }
    }

    /// The round's model, fetched from the coordinator and checked against the ledger. What had arrived
    /// before an interruption is not fetched again.
    async fn model(
        &mut self,
        id: JobId,
        round: u32,
        expected: salus_proto::Digest,
        job: &Job,
        row: &Row,
    ) -> core::result::Result<Arc<Model>, Stop> {
        let shelf = self.desk.shelf().clone();
        let (file, length) = (name::base(id, round), job.layout().payload_bytes());
        let bytes = match self.fetched(&file, expected, length).await? {
            Some(bytes) => bytes,
            None => {
                let path = format!("/jobs/{id}/rounds/{round}/model");
                let mut at = shelf.arrived(&file).await?;
                while at < length {
                    let last = length.min(at.saturating_add(PIECE)) - 1;
                    let coordinator = self.coordinator(row).await?;
                    let piece = coordinator.node().bytes(&path, Some((at, last))).await?;
                    if piece.is_empty() {
                        return Err(Stop::Later("the model is not complete".into()));
                    }
                    at = match shelf.append(&file, at, vec![piece], length, None).await? {
                        Appended::Now(arrived)
                        | Appended::Expected(arrived)
                        | Appended::Spoilt(arrived) => arrived,
                    };
                }
                let whole = shelf.complete_loosely(&file, expected).await?;
                let arrived = match whole {
                    true => shelf.get(&file, length).await?,
                    false => None,
                };
                arrived.ok_or_else(|| Stop::Later("the model did not arrive".into()))?
            }
        };
        let model = Model::from_bytes(job.layout(), &bytes)
            .map_err(|refusal| Stop::Refused(refusal.to_string()))?;
        Ok(Arc::new(model))
    }

    /// Trains and stores the update before a byte of it is sent.
    async fn train(
        &self,
        job: &Arc<Job>,
        round: u32,
        expected: salus_proto::Digest,
        base: Arc<Model>,
    ) -> core::result::Result<Update, Stop> {
        let (id, site) = (job.plan().job, self.app.organisation);
        let task = Task {
            job: Arc::clone(job),
            site,
            round,
            base: Arc::clone(&base),
            kept: self.kept_before(id, round).await?,
        };
        let trained = self.desk.parts.trainer.train(task).await?;
        let kept = trained.kept.clone();
        let job = Arc::clone(job);
        let (update, payload) = blocking(move || {
            let made = encode(&job, round, expected, &base, site, &trained);
            Ok(made.map_err(|refusal| refusal.to_string()))
        })
        .await?
        .map_err(Stop::Refused)?;
        let shelf = self.desk.shelf();
        // Trained again, it would be the same bits.
        shelf.put_loosely(&name::own(id, round), payload).await?;
        shelf.put(&name::kept(id, round), kept).await?;
        shelf
            .put(&name::header(id, round), update.to_bytes().into())
            .await?;
        Ok(update)
    }

    /// What the site kept after the last round that it trained before this one.
    async fn kept_before(&self, id: JobId, round: u32) -> Result<Option<Bytes>> {
        let first = round.saturating_sub(KEPT_ROUNDS_BACK);
        for earlier in (first..round).rev() {
            let name = name::kept(id, earlier);
            if let Some(kept) = self.desk.shelf().get(&name, KEPT_LIMIT).await? {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    async fn upload(
        &mut self,
        id: JobId,
        round: u32,
        update: &Update,
        row: &Row,
    ) -> core::result::Result<(), Stop> {
        let shelf = self.desk.shelf().clone();
        let file = name::own(id, round);
        let path = format!("/jobs/{id}/rounds/{round}/update");
        let node = self.coordinator(row).await?.node().clone();
        let state: TrainingUpload = node.get(&path).await?;
        let mut at = state.arrived;
        let (mut hasher, mut hashed, mut backwards) = (Sha256::new(), 0, 0);
        while !state.complete && at < update.payload_bytes {
            if hashed > at {
                (hasher, hashed) = (Sha256::new(), 0);
            }
            // What has arrived before.
            while hashed < at {
                let end = at.min(hashed.saturating_add(PIECE));
                let piece = shelf.range(&file, hashed..end).await?;
                hasher.update(&piece);
                hashed = end;
            }
            let piece = shelf.range(&file, at..at.saturating_add(PIECE)).await?;
            hasher.update(&piece);
            hashed += piece.len() as u64;
            let so_far = hasher.clone().finish();
            let answer = node.put_piece(&path, at, piece, &so_far).await?;
            if answer.arrived <= at {
                backwards += 1;
                if backwards > SPOILT_LIMIT {
                    return Err(Stop::Later("the update is spoilt on its way".into()));
                }
            }
            at = answer.arrived;
            self.still_open(id, round)?;
        }
        node.post_cbor::<serde_json::Value>(&path, update.to_bytes().into())
            .await?;
        Ok(())
    }

    /// Throws away what earlier rounds need no more.
    async fn tidy(&self, id: JobId, round: u32) -> Result<()> {
        let shelf = self.desk.shelf();
        shelf.remove(&name::base(id, round)).await?;
        if let Some(before) = round.checked_sub(1) {
            for name in [
                name::base(id, before),
                name::own(id, before),
                name::header(id, before),
                name::kept(id, before),
            ] {
                shelf.remove(&name).await?;
            }
        }
        Ok(())
    }

    /// A session at the coordinator's node.
    async fn coordinator(&mut self, row: &Row) -> core::result::Result<Person, Stop> {
        let app = self.app;
        let api = members(&*app.view()?)
            .map_err(Problem::from)?
            .find(row.coordinator)
            .map(|member| member.api.clone())
            .ok_or_else(|| Stop::Refused("the coordinator has left the consortium".into()))?;
        if let Some(session) = self.session.as_ref().filter(|s| s.node().base() == api) {
            return Ok(session.clone());
        }
        let node: Node = self.desk.parts.reach.other(&api);
        let principal = PrincipalId(app.organisation.0);
        let (keys, clock) = (Arc::clone(&app.keys), Arc::clone(&app.clock));
        let session = Person::with_keys(&node, principal, keys, clock).await?;
        Ok(self.session.insert(session).clone())
    }

    /// Keeps the finished job's model and measures what the hospital gained.
    async fn finish(&mut self, id: JobId, row: &Row) -> core::result::Result<(), Stop> {
        let file = name::gain(id);
        if self.desk.shelf().length(&file).await?.is_some() {
            return Ok(());
        }
        if self.refused.get(&id) == Some(&row.round) {
            return Ok(());
        }
        let (job, _) = job_of(&*self.app.view()?, id)?;
        let job = Arc::new(job);
        let model = self.model(id, row.round, row.model, &job, row).await?;
        let finished = Finished {
            job: Arc::clone(&job),
            site: self.app.organisation,
            model,
            kept: self.kept_before(id, row.round).await?,
        };
        let gain = self.desk.parts.trainer.finish(finished).await?;
        let json = serde_json::to_vec(&super::gain_view(id, &gain))
            .map_err(|error| Stop::Refused(error.to_string()))?;
        self.desk.shelf().put(&file, json.into()).await?;
        self.see(id, row.round, SiteActivity::Waiting, None);
        Ok(())
    }
}

fn encode(
    job: &Job,
    round: u32,
    expected: salus_proto::Digest,
    base: &Model,
    site: salus_proto::ids::OrganisationId,
    trained: &Trained,
) -> core::result::Result<(Update, Bytes), salus_federated::Refusal> {
    let assignment = Assignment::verified(job, round, expected, base)?;
    let upload = assignment.upload(
        job,
        site,
        &trained.values,
        &trained.controls,
        trained.samples,
        &trained.metrics,
    )?;
    Ok((upload.update, upload.bytes.into()))
}
