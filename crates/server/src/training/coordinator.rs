//! The coordinator of this organisation's own jobs: opens rounds, adds updates up, publishes.
//!
//! Woken by the ledger, by arrivals and by deadlines. What is in memory can be made again from the
//! ledger and the shelf.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use salus_contract::Refusal;
use salus_contract::table::{Job as Row, JobStage, Jobs, Rounds, Updates, get};
use salus_federated::round::{Effect, Event};
use salus_federated::server::check;
use salus_federated::{Aggregation, Job, Model, Round as Machine, Server, digest};
use salus_proto::Digest;
use salus_proto::api::training::SiteActivity;
use salus_proto::command::{Action, Outcome};
use salus_proto::federated::{RoundClosed, RoundOpened, RoundResult, Survivor, Update};
use salus_proto::ids::{JobId, OrganisationId};

use super::{Desk, job_of, name, not_accepted};
use crate::app::App;
use crate::app::batch::blocking;
use crate::node::LedgerView;
use crate::problem::{Problem, Result};

/// Rounds whose updates and states are kept, so that members can add them up again.
pub(crate) const KEPT_ROUNDS: u32 = 20;
/// Bytes of an update that are added at a time: whole values.
const ADDED_BYTES: u64 = 1 << 20;
/// How long to wait after something failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long to wait where the members' clocks say that a deadline has not come yet.
const CLOCKS_DIFFER: Duration = Duration::from_millis(250);

/// A job whose sums are in memory.
#[derive(Debug)]
pub(crate) struct Running {
    job: Arc<Job>,
    server: Server,
    aggregation: Aggregation,
    /// Whose payloads have been added, with their digests.
    added: BTreeMap<OrganisationId, Digest>,
}

impl Running {
    fn new(job: Arc<Job>, server: Server) -> Self {
        Self {
            aggregation: Aggregation::new(&job),
            added: BTreeMap::new(),
            job,
            server,
        }
    }

    fn forget_updates(&mut self) {
        self.aggregation.clear();
        self.added.clear();
    }
}

/// Follows the jobs until the server stops.
pub(crate) async fn follow(app: Arc<App>) {
    let Ok(desk) = app.desk() else { return };
    let mut stopping = app.stopping.subscribe();
    let mut projected = app.projected.subscribe();
    let mut moved = desk.moved.subscribe();
    loop {
        projected.mark_unchanged();
        moved.mark_unchanged();
        let wait = match look(&app, desk).await {
            Ok(wait) => wait,
            Err(problem) => {
                tracing::warn!(code = problem.code(), "a federated job is held up");
                Some(PAUSE)
            }
        };
        let deadline = async {
            match wait {
                Some(wait) => app.clock.sleep(wait).await,
                None => core::future::pending().await,
            }
        };
        tokio::select! {
            changed = projected.changed() => if changed.is_err() { return },
            changed = moved.changed() => if changed.is_err() { return },
            () = deadline => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Moves every job as far as it goes; returns when to look again if nothing happens before.
async fn look(app: &App, desk: &Desk) -> Result<Option<Duration>> {
    let mut next = None;
    for id in app.job_ids().await? {
        loop {
            let view = app.view()?;
            let Some(row) = get::<Jobs>(&*view, &id) else {
                break;
            };
            if row.coordinator != app.organisation || row.stage == JobStage::Done {
                desk.running.lock().await.remove(&id);
                break;
            }
            let wait = match step(app, desk, &*view, id, &row).await {
                Ok(Step::Moved) => continue,
                Ok(Step::Waits) => break,
                Ok(Step::Until(wait)) => wait,
                // The other jobs go on.
                Err(problem) => {
                    tracing::warn!(job = %id, code = problem.code(), "a federated job is held up");
                    PAUSE
                }
            };
            next = Some(next.map_or(wait, |n: Duration| n.min(wait)));
            break;
        }
    }
    Ok(next)
}

enum Step {
    Moved,
    Waits,
    Until(Duration),
}

async fn step(app: &App, desk: &Desk, view: &dyn LedgerView, id: JobId, row: &Row) -> Result<Step> {
    match row.stage {
        JobStage::Between => open(app, desk, view, id, row).await,
        JobStage::Open => close(app, desk, view, id, row).await,
        JobStage::Closed => publish(app, desk, view, id, row).await,
        JobStage::Done => Ok(Step::Waits),
    }
}

async fn open(app: &App, desk: &Desk, view: &dyn LedgerView, id: JobId, row: &Row) -> Result<Step> {
    let mut running = desk.running.lock().await;
    let Some(running) = load(desk, &mut running, view, id, row).await? else {
        return Ok(Step::Waits);
    };
    let plan = running.job.plan();
    if row.participants().count() < usize::from(plan.quorum) {
        return Ok(Step::Waits);
    }
    let opened = RoundOpened {
        job: id,
        round: row.round,
        model: row.model,
        deadline: app.now().plus_ms(plan.round_ms),
    };
    act(app, Action::OpenRound { opened }).await
}

async fn close(
    app: &App,
    desk: &Desk,
    view: &dyn LedgerView,
    id: JobId,
    row: &Row,
) -> Result<Step> {
    let round = get::<Rounds>(view, &(id, row.round)).ok_or_else(Problem::internal)?;
    let mut running = desk.running.lock().await;
    let Some(running) = load(desk, &mut running, view, id, row).await? else {
        return Ok(Step::Waits);
    };
    let vouched = updates(view, &running.job, id, row.round);
    add_missing(desk, running, id, row.round, &vouched).await?;
    let survivors: Vec<Survivor> = vouched
        .values()
        .filter(|update| running.added.get(&update.site) == Some(&update.payload))
        .map(|update| Survivor {
            site: update.site,
            update: digest(&update.to_bytes()),
        })
        .collect();
    let complete = row
        .participants()
        .all(|site| survivors.iter().any(|s| s.site == site));
    if survivors.len() < usize::from(running.job.plan().quorum) {
        return Ok(Step::Waits);
    }
    let now = app.now();
    if !complete && now < round.opened.deadline {
        let wait = round.opened.deadline.0 - now.0;
        return Ok(Step::Until(Duration::from_millis(wait)));
    }
    let closed = RoundClosed {
        job: id,
        round: row.round,
        survivors,
    };
    act(app, Action::CloseRound { closed }).await
}

async fn publish(
    app: &App,
    desk: &Desk,
    view: &dyn LedgerView,
    id: JobId,
    row: &Row,
) -> Result<Step> {
    let round = get::<Rounds>(view, &(id, row.round)).ok_or_else(Problem::internal)?;
    let survivors = round.closed.iter().flat_map(|closed| &closed.survivors);
    let survivors: BTreeSet<OrganisationId> = survivors.map(|s| s.site).collect();
    let mut jobs = desk.running.lock().await;
    let Some(running) = load(desk, &mut jobs, view, id, row).await? else {
        return Ok(Step::Waits);
    };
    let mut vouched = updates(view, &running.job, id, row.round);
    vouched.retain(|site, _| survivors.contains(site));
    let exactly = |running: &Running| {
        running.added.len() == vouched.len()
            && vouched
                .values()
                .all(|update| running.added.get(&update.site) == Some(&update.payload))
    };
    if !exactly(running) {
        running.forget_updates();
        add_missing(desk, running, id, row.round, &vouched).await?;
    }
    // Taken out while it is computed with: a failure leaves nothing half done in memory.
    let Some(running) = jobs.remove(&id) else {
        return Ok(Step::Waits);
    };
    drop(jobs);
    let running = blocking(move || {
        let mut running = running;
        let closed = running
            .server
            .close(&running.job, &running.aggregation, &survivors);
        closed.map_err(|refusal| {
            tracing::error!(%refusal, "a round cannot be added up");
            Problem::internal()
        })?;
        running.forget_updates();
        Ok(running)
    })
    .await?;
    let stored = name::state(id, row.round + 1);
    let (state_digest, (running, model)) = desk
        .shelf()
        .put_pieces(&stored, move |take| {
            running.server.pieces(take);
            let model = running.server.model().digest();
            (running, model)
        })
        .await?;
    let machine = Machine::Closed {
        opened: round.opened.clone(),
        updates: vouched,
    };
    let event = Event::Publish {
        model,
        state: state_digest,
    };
    let applied = machine.apply(&running.job, event, app.now());
    let Ok((_, Effect::Publish(result))) = applied else {
        return Err(Problem::internal());
    };
    let roster: Vec<OrganisationId> = running.job.plan().roster.iter().map(|e| e.site).collect();
    let done = act(app, Action::PublishRound { result }).await?;
    desk.running.lock().await.insert(id, running);
    discard(desk, id, row.round, &roster).await?;
    Ok(done)
}

/// Throws away what is too old to be added up again.
async fn discard(desk: &Desk, id: JobId, round: u32, roster: &[OrganisationId]) -> Result<()> {
    let Some(old) = round.checked_sub(KEPT_ROUNDS) else {
        return Ok(());
    };
    desk.shelf().remove(&name::state(id, old)).await?;
    for site in roster {
        desk.shelf().remove(&name::received(id, old, *site)).await?;
    }
    Ok(())
}

/// The job in memory, made from ledger and shelf where it is not or is behind; `None` while the initial
/// model has not arrived.
async fn load<'a>(
    desk: &Desk,
    jobs: &'a mut BTreeMap<JobId, Running>,
    view: &dyn LedgerView,
    id: JobId,
    row: &Row,
) -> Result<Option<&'a mut Running>> {
    let current = jobs
        .get(&id)
        .is_some_and(|running| running.server.round() == row.round);
    if !current {
        jobs.remove(&id);
        let (job, _) = job_of(view, id)?;
        let Some(server) = state_before(desk, view, &job, row.round).await? else {
            return Ok(None);
        };
        jobs.insert(id, Running::new(Arc::new(job), server));
    }
    Ok(jobs.get_mut(&id))
}

/// The coordinator's state before a round, checked against the ledger.
pub(crate) async fn state_before(
    desk: &Desk,
    view: &dyn LedgerView,
    job: &Job,
    round: u32,
) -> Result<Option<Server>> {
    let id = job.plan().job;
    let damaged = |refusal| {
        tracing::error!(%refusal, "a stored state of a job is not usable");
        Problem::internal()
    };
    let Some(before) = round.checked_sub(1) else {
        let limit = job.layout().payload_bytes();
        let expected = job.plan().initial_model;
        let found = desk
            .shelf()
            .get_checked(&name::initial(id), expected, limit)
            .await?;
        let Some(bytes) = found else { return Ok(None) };
        let model = Model::from_bytes(job.layout(), &bytes).map_err(damaged)?;
        return Server::new(job, model).map(Some).map_err(damaged);
    };
    let published = get::<Rounds>(view, &(id, before)).and_then(|round| round.result);
    let result: RoundResult = published.ok_or_else(Problem::internal)?;
    let limit = Server::state_bytes(job);
    let found = desk
        .shelf()
        .get_checked(&name::state(id, round), result.state, limit)
        .await?;
    let bytes = found.ok_or_else(|| {
        tracing::error!(%id, round, "the state of a job is not on the shelf");
        Problem::internal()
    })?;
    Server::from_bytes(job, &bytes).map(Some).map_err(damaged)
}

/// The updates that sites vouched for in a round.
pub(crate) fn updates(
    view: &dyn LedgerView,
    job: &Job,
    id: JobId,
    round: u32,
) -> BTreeMap<OrganisationId, Update> {
    let roster = job.plan().roster.iter();
    roster
        .filter_map(|entry| get::<Updates>(view, &(id, round, entry.site)))
        .map(|update| (update.site, update))
        .collect()
}

/// Adds what was vouched for and is on the shelf but not in the sum. A payload that is missing, damaged
/// or out of range leaves its site out.
async fn add_missing(
    desk: &Desk,
    running: &mut Running,
    id: JobId,
    round: u32,
    vouched: &BTreeMap<OrganisationId, Update>,
) -> Result<()> {
    // A payload that was replaced after it had been added is still in the sum.
    let replaced = |update: &Update| {
        running
            .added
            .get(&update.site)
            .is_some_and(|added| *added != update.payload)
    };
    if vouched.values().any(replaced) {
        running.forget_updates();
    }
    for update in vouched.values() {
        if running.added.contains_key(&update.site) {
            continue;
        }
        let name = name::received(id, round, update.site);
        let look = in_range(&running.job, update.site);
        let found = desk.shelf().check(&name, update.payload, Ok(()), look);
        match found.await {
            Ok(Some(Ok(()))) => add(desk, running, update, &name).await?,
            Ok(Some(Err(refusal))) => {
                tracing::warn!(site = %update.site, %refusal, "an update is left out");
            }
            Ok(None) => tracing::warn!(site = %update.site, "an update has no payload here"),
            Err(error) => {
                tracing::warn!(site = %update.site, %error, "an update's payload is not usable");
            }
        }
    }
    Ok(())
}

type Verdict = core::result::Result<(), salus_federated::Refusal>;

/// Looks at the pieces of a payload: the first value that the site may not send is its verdict.
fn in_range(
    job: &Arc<Job>,
    site: OrganisationId,
) -> impl Fn(&mut Verdict, u64, &[u8]) + Send + 'static {
    let job = Arc::clone(job);
    move |verdict, at, piece| {
        if verdict.is_ok() {
            let from = usize::try_from(at / 4).unwrap_or(usize::MAX);
            *verdict = check(&job, site, from, piece);
        }
    }
}

/// Adds a payload that is on the shelf and in range, a piece at a time.
async fn add(desk: &Desk, running: &mut Running, update: &Update, name: &str) -> Result<()> {
    let mut at = 0;
    while at < update.payload_bytes {
        let end = update.payload_bytes.min(at + ADDED_BYTES);
        let added = match desk.shelf().range(name, at..end).await {
            Ok(piece) => {
                let from = usize::try_from(at / 4).unwrap_or(usize::MAX);
                let aggregation = &mut running.aggregation;
                let added = aggregation.add_piece(&running.job, update.site, from, &piece);
                added.map_err(|refusal| not_accepted(&refusal))
            }
            Err(error) => Err(error.into()),
        };
        if let Err(problem) = added {
            // Half an update is in the sum.
            running.forget_updates();
            return Err(problem);
        }
        at = end;
    }
    running.added.insert(update.site, update.payload);
    Ok(())
}

/// Submits what the coordinator decided. A refusal means that the ledger has moved on, or that the
/// members' clocks are a little behind.
async fn act(app: &App, action: Action) -> Result<Step> {
    let entry = app.act_as_organisation(action).await?;
    match entry.outcome {
        Outcome::Accepted => Ok(Step::Moved),
        Outcome::Refused(Refusal::WrongState) => Ok(Step::Until(CLOCKS_DIFFER)),
        Outcome::Refused(refusal) => {
            tracing::warn!(%refusal, "the members refused a step of a job");
            Ok(Step::Until(PAUSE))
        }
    }
}

impl App {
    /// Takes a whole update: checks header and payload, makes it durable, adds it to the sum. The site
    /// vouches for it on the ledger afterwards.
    pub(crate) async fn take_update(
        &self,
        site: OrganisationId,
        id: JobId,
        round: u32,
        update: &Update,
    ) -> Result<()> {
        let desk = self.desk()?;
        let outcome = self.check_update(desk, site, id, round, update).await;
        let (activity, why) = match &outcome {
            Ok(()) => (SiteActivity::Uploading, None),
            Err(problem) => (SiteActivity::Training, problem.reason()),
        };
        desk.see(id, site, round, activity, why);
        outcome
    }

    async fn check_update(
        &self,
        desk: &Desk,
        site: OrganisationId,
        id: JobId,
        round: u32,
        update: &Update,
    ) -> Result<()> {
        self.see_round(id, round).await?;
        let view = self.view()?;
        let (job, row) = job_of(&*view, id)?;
        self.must_coordinate(&row)?;
        if update.site != site || !row.takes_part(site) {
            return Err(Problem::not_allowed());
        }
        if row.stage != JobStage::Open || row.round != round {
            return Err(not_accepted(&salus_federated::Refusal::Closed));
        }
        let opened = get::<Rounds>(&*view, &(id, round)).ok_or_else(Problem::internal)?;
        let machine = Machine::Open {
            opened: opened.opened,
            updates: BTreeMap::new(),
        };
        let event = Event::Upload(update.clone());
        let (_, _effect) = machine
            .apply(&job, event, self.now())
            .map_err(|refusal| not_accepted(&refusal))?;
        let name = name::received(id, round, site);
        let job = Arc::new(job);
        let (look, shelf) = (in_range(&job, site), desk.shelf());
        let arrived = shelf.complete(&name, update.payload, Ok(()), look).await?;
        let verdict = match arrived {
            Some(verdict) => verdict,
            // Sent again after an answer was lost.
            None => shelf
                .check(&name, update.payload, Ok(()), in_range(&job, site))
                .await?
                .ok_or_else(|| Problem::conflict("incomplete", "Upload the update first"))?,
        };
        if let Err(refusal) = verdict {
            shelf.remove(&name).await?;
            return Err(not_accepted(&refusal));
        }
        let mut jobs = desk.running.lock().await;
        let Some(running) = load(desk, &mut jobs, &*view, id, &row).await? else {
            return Err(Problem::internal());
        };
        if running.added.get(&site) == Some(&update.payload) {
            return Ok(());
        }
        if running.added.contains_key(&site) {
            running.forget_updates();
        }
        add(desk, running, update, &name).await
    }

    /// Refuses, as if it did not exist, a job that another member coordinates.
    pub(crate) fn must_coordinate(&self, row: &Row) -> Result<()> {
        let own = row.coordinator == self.organisation;
        own.then_some(()).ok_or_else(Problem::not_found)
    }
}
