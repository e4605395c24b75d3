//! Federated jobs: offered data, where jobs stand, their rounds and files, what came of them.

use core::ops::Range;
use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use salus_contract::table::{
    DataSets, Job as Row, JobStage as Stage, Jobs, Offered, Rounds, Updates, get,
};
use salus_federated::{Job, Server};
use salus_policy::{Operation, Relation};
use salus_proto::Digest;
use salus_proto::api::training::{
    DataSetRequest, DataSetView, GainView, JobStage, JobView, LineageView, MetricView,
    PredictionRequest, PredictionView, RoundSummary, RoundView, SiteActivity, SiteView,
    TrainingUpload,
};
use salus_proto::api::{Binary, Page};
use salus_proto::command::{Action, Outcome};
use salus_proto::federated::{Metric, Update};
use salus_proto::ids::{JobId, OrganisationId};
use salus_proto::role::NodeRole;
use salus_runtime::shelf::Appended;
use salus_runtime::{clock, params};

use super::command::read_command;
use super::principal::signed;
use super::{Actor, App};
use crate::http::extract::{Paging, page};
use crate::node::{LedgerView, members};
use crate::problem::{Problem, Result, refused};
use crate::training::{coordinator, job_of, name};

/// How long a caller may wait for a job to change.
const WAIT: Duration = Duration::from_secs(25);
/// How far this node's copy of the ledger may be behind a site's.
const BEHIND: Duration = Duration::from_secs(10);
/// Rounds of a job's history, and uses of a model, that are told.
const HISTORY_LIMIT: u32 = 1000;

impl App {
    /// Opens the hospital's labelled images and offers them.
    pub(crate) async fn offer_data(
        &self,
        actor: &Actor,
        wish: DataSetRequest,
    ) -> Result<DataSetView> {
        let relation = self.house(actor);
        actor.must(Operation::OfferData, relation)?;
        let desk = self.desk()?;
        let card = desk.parts.trainer.offer(wish).await?;
        let data_set = card.data_set;
        let entry = self
            .act_as_organisation(Action::OfferData { data: card })
            .await?;
        if let Outcome::Refused(refusal) = entry.outcome {
            return Err(refused(refusal, entry.index));
        }
        let offered = get::<DataSets>(&*self.view()?, &data_set);
        offered.map(data_set_view).ok_or_else(Problem::internal)
    }

    /// Data sets that hospitals offer.
    pub(crate) async fn data_sets(
        &self,
        actor: &Actor,
        paging: &Paging,
    ) -> Result<Page<DataSetView>> {
        actor.must(Operation::SeeJobs, Relation::Stranger)?;
        let (limit, after) = (paging.limit()?, paging.after()?);
        let rows: Vec<(Digest, u64)> = self
            .database
            .read()
            .await?
            .all(
                "SELECT data_set, entry FROM listed_data_set WHERE entry > $1
                 ORDER BY entry LIMIT $2",
                &params![signed(after), limit + 1],
            )
            .await?;
        let view = self.view()?;
        Ok(page(
            rows,
            limit,
            |(_, entry)| *entry,
            |(data_set, _)| get::<DataSets>(&*view, &data_set).map(data_set_view),
        ))
    }

    /// The federated jobs.
    pub(crate) async fn jobs(&self, actor: &Actor, paging: &Paging) -> Result<Page<JobView>> {
        actor.must(Operation::SeeJobs, Relation::Stranger)?;
        let (limit, after) = (paging.limit()?, paging.after()?);
        let rows: Vec<(JobId, u64)> = self
            .database
            .read()
            .await?
            .all(
                "SELECT job, entry FROM listed_job WHERE entry > $1 ORDER BY entry LIMIT $2",
                &params![signed(after), limit + 1],
            )
            .await?;
        let view = self.view()?;
        Ok(page(
            rows,
            limit,
            |(_, entry)| *entry,
            |(job, _)| self.job_view(&*view, job).ok(),
        ))
    }

    /// One job; with `after` the answer waits until anything has changed since that version.
    pub(crate) async fn job(
        &self,
        actor: &Actor,
        id: JobId,
        after: Option<u64>,
    ) -> Result<JobView> {
        actor.must(Operation::SeeJobs, Relation::Stranger)?;
        let moved = self.desk.as_ref().map(|desk| desk.moved.subscribe());
        let mut projected = self.projected.subscribe();
        let mut stopping = self.stopping.subscribe();
        let mut moved = moved;
        let changed = async {
            loop {
                projected.mark_unchanged();
                if let Some(moved) = &mut moved {
                    moved.mark_unchanged();
                }
                let now = self.job_view(&*self.view()?, id)?;
                if after.is_none_or(|version| version != now.version) {
                    return Ok(now);
                }
                let live = async {
                    match &mut moved {
                        Some(moved) => drop(moved.changed().await),
                        None => core::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = projected.changed() => {}
                    () = live => {}
                    _ = stopping.wait_for(|stop| *stop) => return Ok(now),
                }
            }
        };
        match clock::timeout(&*self.clock, WAIT, changed).await {
            Ok(view) => view,
            Err(_) => self.job_view(&*self.view()?, id),
        }
    }

    /// The encoded plan: its digest is the one that the job names.
    pub(crate) fn plan(&self, actor: &Actor, id: JobId) -> Result<Vec<u8>> {
        actor.must(Operation::SeeJobs, Relation::Stranger)?;
        let (job, _) = job_of(&*self.view()?, id)?;
        Ok(job.plan().to_bytes())
    }

    /// One round of a job.
    pub(crate) fn round(&self, actor: &Actor, id: JobId, number: u32) -> Result<RoundView> {
        actor.must(Operation::SeeJobs, Relation::Stranger)?;
        let view = self.view()?;
        let (job, _) = job_of(&*view, id)?;
        let round = get::<Rounds>(&*view, &(id, number)).ok_or_else(Problem::not_found)?;
        let before = number
            .checked_sub(1)
            .and_then(|before| get::<Rounds>(&*view, &(id, before))?.result);
        let updates = coordinator::updates(&*view, &job, id, number);
        Ok(RoundView {
            job: id,
            round: number,
            model: round.opened.model,
            state: before.map(|result| result.state),
            opened: round.opened_at,
            deadline: round.opened.deadline,
            updates: updates
                .values()
                .map(|update| Binary(update.to_bytes()))
                .collect(),
            closed: round.closed.map(|closed| Binary(closed.to_bytes())),
            result: round.result.map(|result| Binary(result.to_bytes())),
        })
    }

    /// Where a model comes from.
    pub(crate) async fn lineage(&self, actor: &Actor, id: JobId) -> Result<LineageView> {
        actor.must(Operation::SeeJobs, Relation::Stranger)?;
        let uses: Vec<(u64,)> = self
            .database
            .read()
            .await?
            .all(
                "SELECT entry FROM listed_use WHERE job = $1 ORDER BY entry DESC LIMIT $2",
                &params![id, HISTORY_LIMIT],
            )
            .await?;
        let job = self.job_view(&*self.view()?, id)?;
        Ok(LineageView {
            job: id,
            plan: job.plan,
            purpose: job.purpose,
            model: job.model,
            sites: job.sites,
            rounds: job.history,
            uses: uses.into_iter().rev().map(|(entry,)| entry).collect(),
        })
    }

    /// What the hospital gained by a job.
    pub(crate) async fn gain(&self, actor: &Actor, id: JobId) -> Result<GainView> {
        let relation = self.house(actor);
        actor.must(Operation::SeeGain, relation)?;
        let stored = self.desk()?.shelf().get(&name::gain(id), 64 << 10).await?;
        let stored = stored.ok_or_else(Problem::not_found)?;
        serde_json::from_slice(&stored).map_err(|_| Problem::internal())
    }

    /// Refuses, before a large body is read, who may not have images judged here.
    pub(crate) fn may_predict(&self, actor: &Actor) -> Result<()> {
        actor.must(Operation::UseModel, Relation::Holder)?;
        // A node that keeps nothing but replicas never sees an opened image.
        let hospital = members(&*self.view()?)?
            .find(self.organisation)
            .is_some_and(|member| member.roles.contains(&NodeRole::Hospital));
        if hospital && self.desk.is_some() {
            return Ok(());
        }
        Err(Problem::not_allowed()
            .detail("images are judged at a hospital's node or in your own client"))
    }

    /// Has a model judge an image: the receipt becomes final, then the judgement is given out.
    pub(crate) async fn predict(
        &self,
        actor: &Actor,
        request: PredictionRequest,
    ) -> Result<PredictionView> {
        self.may_predict(actor)?;
        let command = read_command(&request.command.0)?;
        let Action::UseModel {
            job,
            model,
            alias,
            access,
            record,
        } = command.action
        else {
            return Err(Problem::field("/command", "not a use of a model"));
        };
        if command.principal != actor.id {
            return Err(Problem::not_yours());
        }
        // Judged first, so that no receipt is left of a judgement that nobody gets.
        let image = Bytes::from(request.image.0);
        let trainer = &self.desk()?.parts.trainer;
        let judged = trainer.judge(job, image, request.heat_map).await?;
        let entry = self.submit(&request.command.0).await?;
        Ok(PredictionView {
            entry: entry.index,
            record,
            alias,
            access,
            class: judged.class,
            probabilities: judged.probabilities,
            warnings: judged.warnings,
            calibration: judged.calibration,
            heat_map: judged.heat_map.map(Binary),
            heat_layer: judged.heat_layer.map(Binary),
            job,
            model,
            notice: judged.notice,
        })
    }

    /// A file of a job at its coordinator.
    pub(crate) async fn job_file(
        &self,
        actor: &Actor,
        id: JobId,
        wanted: JobFile,
    ) -> Result<StoredFile> {
        actor.must(Operation::FetchTraining, Relation::Stranger)?;
        let desk = self.desk()?;
        let view = self.view()?;
        let (job, row) = job_of(&*view, id)?;
        self.must_coordinate(&row)?;
        let (file, range) = match wanted {
            JobFile::Model(0) => (name::initial(id), 0..job.layout().payload_bytes()),
            JobFile::Model(round) => (name::state(id, round), Server::model_range(&job)),
            JobFile::State(round) => (name::state(id, round), 0..Server::state_bytes(&job)),
            JobFile::Update(round, site) => {
                let update = get::<Updates>(&*view, &(id, round, site));
                let update = update.ok_or_else(Problem::not_found)?;
                (name::received(id, round, site), 0..update.payload_bytes)
            }
        };
        let stored = desk.shelf().length(&file).await?;
        if stored.is_none_or(|length| length < range.end) {
            return Err(Problem::not_found());
        }
        let site = actor.organisation();
        let begins = wanted == JobFile::Model(row.round) && row.stage == Stage::Open;
        if begins && row.takes_part(site) {
            desk.see(id, site, row.round, SiteActivity::Training, None);
        }
        Ok(StoredFile { file, range })
    }

    /// Bytes of a stored file, counted from where it begins for the caller.
    pub(crate) async fn file_range(&self, file: &StoredFile, range: Range<u64>) -> Result<Bytes> {
        let start = file.range.start + range.start;
        let end = (file.range.start + range.end).min(file.range.end);
        Ok(self.desk()?.shelf().range(&file.file, start..end).await?)
    }

    /// Waits, for a moment, until this node's copy of the ledger has come to a round that a site has seen
    /// opened before.
    pub(crate) async fn see_round(&self, id: JobId, round: u32) -> Result<()> {
        let mut projected = self.projected.subscribe();
        let reached = async {
            loop {
                projected.mark_unchanged();
                let row = get::<Jobs>(&*self.view()?, &id).ok_or_else(Problem::not_found)?;
                let seen = row.round > round || row.round == round && row.stage != Stage::Between;
                if seen || row.round + 1 < round || projected.changed().await.is_err() {
                    return Ok(());
                }
            }
        };
        let waited = clock::timeout(&*self.clock, BEHIND, reached).await;
        waited.unwrap_or(Ok(()))
    }

    /// Refuses, before a body is read, a piece from who sends none.
    pub(crate) async fn may_send(
        &self,
        actor: &Actor,
        id: JobId,
        round: Option<u32>,
    ) -> Result<Arriving> {
        if let Some(round) = round {
            actor.must(Operation::FetchTraining, Relation::Stranger)?;
            self.see_round(id, round).await?;
        }
        self.arriving(actor, id, round)
    }

    /// How far the caller's upload is.
    pub(crate) async fn training_upload(
        &self,
        actor: &Actor,
        id: JobId,
        round: Option<u32>,
    ) -> Result<TrainingUpload> {
        let Arriving { file, .. } = self.may_send(actor, id, round).await?;
        let shelf = self.desk()?.shelf();
        Ok(TrainingUpload {
            arrived: shelf.arrived(&file).await?,
            complete: shelf.length(&file).await?.is_some(),
        })
    }

    /// Writes the next bytes of an upload, in parts, and returns how many have arrived then. Bytes that
    /// begin elsewhere change nothing; where all up to their end has not the announced digest, what is not
    /// as announced is thrown away.
    pub(crate) async fn append(
        &self,
        arriving: &Arriving,
        at: u64,
        parts: Vec<Bytes>,
        announced: Option<Digest>,
    ) -> Result<u64> {
        let Arriving { file, length, .. } = arriving;
        let shelf = self.desk()?.shelf();
        let appended = shelf.append(file, at, parts, *length, announced).await?;
        let (Appended::Now(arrived) | Appended::Expected(arrived) | Appended::Spoilt(arrived)) =
            appended;
        Ok(arrived)
    }

    /// What the sender of a piece is told.
    pub(crate) fn arrived(&self, arriving: &Arriving, arrived: u64) -> TrainingUpload {
        if let (Ok(desk), Some((job, round, site))) = (self.desk(), arriving.site) {
            desk.see(job, site, round, SiteActivity::Uploading, None);
        }
        TrainingUpload {
            arrived,
            complete: false,
        }
    }

    /// Takes a whole update of the caller's site.
    pub(crate) async fn put_update(
        &self,
        actor: &Actor,
        id: JobId,
        round: u32,
        header: &[u8],
    ) -> Result<()> {
        actor.must(Operation::FetchTraining, Relation::Stranger)?;
        let update = Update::from_bytes(header)?;
        self.take_update(actor.organisation(), id, round, &update)
            .await
    }

    /// Takes the whole model that a job's first round starts from.
    pub(crate) async fn put_initial_model(&self, actor: &Actor, id: JobId) -> Result<()> {
        let Arriving { file, length, .. } = self.arriving(actor, id, None)?;
        let desk = self.desk()?;
        let (job, _) = job_of(&*self.view()?, id)?;
        let expected = job.plan().initial_model;
        let arrived = desk.shelf().complete(&file, expected, (), |(), _, _| {});
        if arrived.await?.is_none() && desk.shelf().length(&file).await? != Some(length) {
            return Err(Problem::conflict("incomplete", "Upload the model first"));
        }
        desk.moved.send_modify(|count| *count += 1);
        Ok(())
    }

    /// The file that an upload of the caller makes.
    fn arriving(&self, actor: &Actor, id: JobId, round: Option<u32>) -> Result<Arriving> {
        actor.must(Operation::FetchTraining, Relation::Stranger)?;
        let (job, row) = job_of(&*self.view()?, id)?;
        self.must_coordinate(&row)?;
        let site = actor.organisation();
        let length = job.layout().payload_bytes();
        match round {
            None if site == row.coordinator => Ok(Arriving {
                file: name::initial(id),
                length,
                site: None,
            }),
            None => Err(Problem::not_allowed()),
            Some(_) if !row.takes_part(site) => Err(Problem::not_allowed()),
            Some(round) if row.stage == Stage::Open && row.round == round => Ok(Arriving {
                file: name::received(id, round, site),
                length,
                site: Some((id, round, site)),
            }),
            Some(_) => Err(crate::training::not_accepted(
                &salus_federated::Refusal::Closed,
            )),
        }
    }

    /// How the caller stands to this node's organisation.
    pub(crate) fn house(&self, actor: &Actor) -> Relation {
        match actor.organisation() == self.organisation {
            true => Relation::Custodian,
            false => Relation::Stranger,
        }
    }

    pub(crate) fn job_view(&self, view: &dyn LedgerView, id: JobId) -> Result<JobView> {
        let (job, row) = job_of(view, id)?;
        let plan = job.plan();
        let members = members(view)?;
        let name_of = |id: OrganisationId| {
            let found = members.find(id);
            found.map_or_else(|| id.to_string(), |member| member.name.clone())
        };
        let open = get::<Rounds>(view, &(id, row.round));
        let first = row.round.saturating_sub(HISTORY_LIMIT);
        let mut history = Vec::new();
        let mut counted: BTreeMap<OrganisationId, u32> = BTreeMap::new();
        for number in first..row.round {
            let Some(round) = get::<Rounds>(view, &(id, number)) else {
                continue;
            };
            for survivor in round.closed.iter().flat_map(|closed| &closed.survivors) {
                *counted.entry(survivor.site).or_default() += 1;
            }
            let (Some(result), Some(published)) = (&round.result, round.published_at) else {
                continue;
            };
            history.push(RoundSummary {
                round: number,
                sites: round
                    .closed
                    .map_or(0, |c| u32::try_from(c.survivors.len()).unwrap_or(u32::MAX)),
                metrics: metrics(&job, &result.metrics),
                took_ms: published.0.saturating_sub(round.opened_at.0),
                model: result.model,
            });
        }
        let sites = plan.roster.iter().map(|entry| {
            let decided = row.decisions.iter().find(|d| d.site == entry.site);
            let (activity, why) = self.activity(view, id, &row, entry.site);
            SiteView {
                site: entry.site,
                name: name_of(entry.site),
                samples: entry.samples,
                data_set: entry.data_set,
                decision: decided.map(|d| d.decision),
                activity,
                counted: counted.get(&entry.site).copied().unwrap_or(0),
                why,
            }
        });
        let stage = match row.stage {
            Stage::Between if row.participants().count() < usize::from(plan.quorum) => {
                JobStage::Proposed
            }
            Stage::Between => JobStage::Between,
            Stage::Open => JobStage::Open,
            Stage::Closed => JobStage::Closed,
            Stage::Done => JobStage::Done,
        };
        let live = self.desk.as_ref().map_or(0, |desk| *desk.moved.borrow());
        Ok(JobView {
            job: id,
            plan: row.plan,
            purpose: plan.purpose.clone(),
            coordinator: row.coordinator,
            coordinator_name: name_of(row.coordinator),
            coordinator_api: members
                .find(row.coordinator)
                .map(|member| member.api.clone())
                .unwrap_or_default(),
            stage,
            round: row.round,
            rounds: plan.rounds,
            quorum: plan.quorum,
            deadline: open
                .filter(|_| row.stage == Stage::Open)
                .map(|round| round.opened.deadline),
            model: row.model,
            sites: sites.collect(),
            remaining_ms: remaining(&history, plan.rounds - row.round),
            history,
            proposed: row.proposed,
            // The ledger's part first, so that versions of one process count up.
            version: (row.changed << 20) | (live & 0xF_FFFF),
        })
    }

    fn activity(
        &self,
        view: &dyn LedgerView,
        id: JobId,
        row: &Row,
        site: OrganisationId,
    ) -> (SiteActivity, Option<String>) {
        let decided = row.decisions.iter().any(|d| d.site == site);
        if !decided {
            return (SiteActivity::Undecided, None);
        }
        if !row.takes_part(site) {
            return (SiteActivity::Refused, None);
        }
        let seen = self
            .desk
            .as_ref()
            .and_then(|desk| desk.seen(id, site))
            .filter(|seen| seen.round == row.round);
        let why = seen.as_ref().and_then(|seen| seen.why.clone());
        if matches!(row.stage, Stage::Open | Stage::Closed) {
            if get::<Updates>(view, &(id, row.round, site)).is_some() {
                return (SiteActivity::Sent, None);
            }
            let activity = seen.map_or(SiteActivity::Missing, |seen| seen.activity);
            return (activity, why);
        }
        (SiteActivity::Waiting, why)
    }
}

/// Which file of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobFile {
    /// The model that a round starts from; that of the number of rounds is the final one.
    Model(u32),
    /// The coordinator's state before a round, from 1.
    State(u32),
    /// A site's update in a round.
    Update(u32, OrganisationId),
}

/// An upload on its way in: the file that it makes and how long that will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arriving {
    file: String,
    length: u64,
    /// Job, round and site of an update.
    site: Option<(JobId, u32, OrganisationId)>,
}

/// A file that may be read, and which part of it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredFile {
    file: String,
    range: Range<u64>,
}

impl StoredFile {
    /// Its length for the caller, bytes.
    pub(crate) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

pub(crate) fn data_set_view(offered: Offered) -> DataSetView {
    let card = offered.card;
    DataSetView {
        data_set: card.data_set,
        owner: offered.owner,
        classes: card.classes,
        channels: card.channels,
        size_px: card.size_px,
        training_images: card.training_images,
        test_images: card.test_images,
        pixel_mean: card.pixel_mean.0,
        pixel_deviation: card.pixel_deviation.0,
        offered: offered.at,
    }
}

pub(crate) fn metrics(job: &Job, metrics: &[Metric]) -> Vec<MetricView> {
    metrics
        .iter()
        .filter_map(|metric| {
            let spec = job.plan().metrics.get(usize::from(metric.metric))?;
            Some(MetricView {
                name: spec.name.clone(),
                value: metric.value.to_f64(),
                images: metric.images,
            })
        })
        .collect()
}

/// Mean time of the last ten rounds times the rounds that are left.
fn remaining(history: &[RoundSummary], left: u32) -> Option<u64> {
    let last = &history[history.len().saturating_sub(10)..];
    let mean = last.iter().map(|round| round.took_ms).sum::<u64>()
        / u64::try_from(last.len()).ok()?.max(1);
    (!last.is_empty()).then(|| mean.saturating_mul(u64::from(left)))
}
