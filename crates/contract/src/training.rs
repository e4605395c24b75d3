//! Federated jobs: offered data, plans, the sites' decisions, and the four records of a round.
//!
//! ```text
//!  OfferData ──► ProposeJob ──► DecideJob × sites ──► OpenRound ──► SendUpdate × sites
//!                                                         ▲              │
//!                                                         └ PublishRound ◄┴ CloseRound
//! ```
//!
//! What the members can check without a model in hand is checked here, by all of them: that the plan
//! does not contradict itself, that only sites which take part are counted, that a header belongs to the
//! round, that the survivors are those who vouched, that the figures are their means. Whether the
//! published model is the sum of the updates is for whoever adds the round up again.

use std::collections::BTreeMap;

use salus_federated::round::{Effect, Event};
use salus_federated::{Job as Checked, Refusal as Reason, Round as Machine, digest};
use salus_policy::{Operation, Relation, may};
use salus_proto::command::Refusal;
use salus_proto::encode::to_bytes;
use salus_proto::federated::{
    DataCard, Plan, RoundClosed, RoundOpened, RoundResult, Survivor, Update,
};
use salus_proto::ids::{JobId, OrganisationId};
use salus_proto::role::{Decision, NodeRole, Role};
use salus_proto::{Digest, TimestampMs};

use crate::apply::{Actor, BlockContext};
use crate::state::{Overlay, StateRead};
use crate::table::{
    DataSets, Job, JobStage, Jobs, Members, Offered, Plans, Round, Rounds, SiteDecision, Updates,
    get, put,
};

/// How far a deadline may lie beyond the plan's time for a round, counted from the block: clocks
/// differ and blocks take a moment, in ms.
const DEADLINE_SLACK_MS: u64 = 60_000;
/// Longest class name, bytes.
const NAME_LIMIT: usize = 64;
/// Most classes of a data set.
const CLASSES_LIMIT: usize = 1000;

pub(crate) fn offer(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    card: &DataCard,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let owner = actor.principal.organisation;
    let hospital =
        Members::roles(state, owner).is_some_and(|roles| roles.contains(&NodeRole::Hospital));
    if !hospital
        || !may(
            actor.principal.role,
            Operation::OfferData,
            Relation::Custodian,
        )
    {
        return Err(Refusal::NotAllowed);
    }
    let classes = card.classes.len();
    let name = |name: &String| !name.is_empty() && name.len() <= NAME_LIMIT;
    let fits = (2..=CLASSES_LIMIT).contains(&classes)
        && card.classes.iter().all(name)
        && card.training_images.len() == classes
        && card.test_images.len() == classes
        && matches!(card.channels, 1 | 3)
        && (28..=256).contains(&card.size_px)
        && card.pixel_deviation.0 > 0
        && (1..=u64::from(u32::MAX)).contains(&card.samples());
    if !fits {
        return Err(Refusal::OutOfRange);
    }
    match get::<DataSets>(state, &card.data_set) {
        // Offering the same again changes nothing; the same images of another hospital are a copy.
        Some(known) if known.owner == owner => Ok(()),
        Some(_) => Err(Refusal::AlreadyExists),
        None => {
            let offered = Offered {
                owner,
                card: card.clone(),
                at: now,
            };
            put::<DataSets>(state, &card.data_set, &offered);
            Ok(())
        }
    }
}

pub(crate) fn propose(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    plan: &Plan,
    context: BlockContext,
) -> Result<(), Refusal> {
    let coordinator = actor.principal.organisation;
    let coordinates = Members::roles(state, coordinator)
        .is_some_and(|roles| roles.contains(&NodeRole::Coordinator));
    if !coordinates
        || !may(
            actor.principal.role,
            Operation::CoordinateJob,
            Relation::Own,
        )
    {
        return Err(Refusal::NotAllowed);
    }
    if get::<Jobs>(state, &plan.job).is_some() {
        return Err(Refusal::AlreadyExists);
    }
    let checked = Checked::new(plan.clone()).map_err(|_| Refusal::OutOfRange)?;
    for entry in &plan.roster {
        let offered = get::<DataSets>(state, &entry.data_set).ok_or(Refusal::NotFound)?;
        let network = &plan.network;
        let card = &offered.card;
        let fits = offered.owner == entry.site
            && card.samples() == u64::from(entry.samples)
            && card.classes == network.classes
            && (card.channels, card.size_px) == (network.channels, network.size_px);
        if !fits || Members::roles(state, entry.site).is_none() {
            return Err(Refusal::OutOfRange);
        }
    }
    let job = Job {
        coordinator,
        plan: checked.digest(),
        proposed: context.time,
        decisions: Vec::new(),
        stage: JobStage::Between,
        round: 0,
        model: plan.initial_model,
        changed: context.index,
    };
    put::<Plans>(state, &plan.job, plan);
    put::<Jobs>(state, &plan.job, &job);
    Ok(())
}

pub(crate) fn decide(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    id: JobId,
    plan: Digest,
    decision: Decision,
    context: BlockContext,
) -> Result<(), Refusal> {
    let site = actor.principal.organisation;
    if !may(
        actor.principal.role,
        Operation::DecideJob,
        Relation::Custodian,
    ) {
        return Err(Refusal::NotAllowed);
    }
    let mut job = get::<Jobs>(state, &id).ok_or(Refusal::NotFound)?;
    let stored = get::<Plans>(state, &id).ok_or(Refusal::NotFound)?;
    if !stored.roster.iter().any(|entry| entry.site == site) {
        return Err(Refusal::NotFound);
    }
    if job.plan != plan {
        return Err(Refusal::OutOfRange);
    }
    if job.stage == JobStage::Done {
        return Err(Refusal::WrongState);
    }
    let row = SiteDecision {
        site,
        decision,
        by: actor.id,
        at: context.time,
    };
    match job.decisions.binary_search_by_key(&site, |d| d.site) {
        Ok(at) => job.decisions[at] = row,
        Err(at) => job.decisions.insert(at, row),
    }
    job.changed = context.index;
    put::<Jobs>(state, &id, &job);
    Ok(())
}

pub(crate) fn open(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    opened: &RoundOpened,
    context: BlockContext,
) -> Result<(), Refusal> {
    let (mut job, plan) = coordinated(state, actor, opened.job)?;
    if job.stage != JobStage::Between || opened.round != job.round {
        return Err(Refusal::WrongState);
    }
    if opened.model != job.model {
        return Err(Refusal::StaleModel);
    }
    if job.participants().count() < usize::from(plan.quorum) {
        return Err(Refusal::WrongState);
    }
    let latest = context
        .time
        .plus_ms(plan.round_ms)
        .plus_ms(DEADLINE_SLACK_MS);
    if opened.deadline <= context.time || opened.deadline > latest {
        return Err(Refusal::OutOfRange);
    }
    let round = Round {
        opened: opened.clone(),
        opened_at: context.time,
        closed: None,
        result: None,
        published_at: None,
    };
    put::<Rounds>(state, &(opened.job, opened.round), &round);
    job.stage = JobStage::Open;
    job.changed = context.index;
    put::<Jobs>(state, &opened.job, &job);
    Ok(())
}

pub(crate) fn update(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    update: &Update,
    context: BlockContext,
) -> Result<(), Refusal> {
    let site = actor.principal.organisation;
    if actor.principal.role != Role::Organisation || update.site != site {
        return Err(Refusal::NotAllowed);
    }
    let mut job = get::<Jobs>(state, &update.job).ok_or(Refusal::NotFound)?;
    if !job.takes_part(site) {
        return Err(Refusal::NotAllowed);
    }
    if job.stage != JobStage::Open {
        return Err(Refusal::RoundOver);
    }
    let (checked, row) = current(state, &job, update.job)?;
    let mut known = BTreeMap::new();
    if let Some(former) = get::<Updates>(state, &(update.job, job.round, site)) {
        known.insert(site, former);
    }
    let machine = Machine::Open {
        opened: row.opened,
        updates: known,
    };
    let event = Event::Upload(update.clone());
    match machine.apply(&checked, event, context.time) {
        Ok((_, Effect::AlreadyCounted)) => return Ok(()),
        Ok(_) => {}
        Err(reason) => return Err(refusal(&reason)),
    }
    put::<Updates>(state, &(update.job, update.round, site), update);
    job.changed = context.index;
    put::<Jobs>(state, &update.job, &job);
    Ok(())
}

pub(crate) fn close(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    closed: &RoundClosed,
    context: BlockContext,
) -> Result<(), Refusal> {
    let (mut job, plan) = coordinated(state, actor, closed.job)?;
    if job.stage != JobStage::Open || closed.round != job.round {
        return Err(Refusal::WrongState);
    }
    let key = (closed.job, closed.round);
    let mut row = get::<Rounds>(state, &key).ok_or(Refusal::NotFound)?;
    let ascending = closed.survivors.is_sorted_by(|a, b| a.site < b.site);
    let vouched = |survivor: &Survivor| {
        get::<Updates>(state, &(closed.job, closed.round, survivor.site))
            .is_some_and(|update| digest(&to_bytes(&update)) == survivor.update)
    };
    if !ascending || !closed.survivors.iter().all(vouched) {
        return Err(Refusal::OutOfRange);
    }
    let counts = |site: OrganisationId| closed.survivors.iter().any(|s| s.site == site);
    let complete = job.participants().all(counts);
    let due = context.time >= row.opened.deadline;
    if closed.survivors.len() < usize::from(plan.quorum) || !(complete || due) {
        return Err(Refusal::WrongState);
    }
    row.closed = Some(closed.clone());
    put::<Rounds>(state, &key, &row);
    job.stage = JobStage::Closed;
    job.changed = context.index;
    put::<Jobs>(state, &closed.job, &job);
    Ok(())
}

pub(crate) fn publish(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    result: &RoundResult,
    context: BlockContext,
) -> Result<(), Refusal> {
    let (mut job, plan) = coordinated(state, actor, result.job)?;
    if job.stage != JobStage::Closed || result.round != job.round {
        return Err(Refusal::WrongState);
    }
    let (checked, mut row) = current(state, &job, result.job)?;
    let updates: BTreeMap<OrganisationId, Update> = row
        .closed
        .iter()
        .flat_map(|closed| &closed.survivors)
        .filter_map(|s| get::<Updates>(state, &(result.job, result.round, s.site)))
        .map(|update| (update.site, update))
        .collect();
    let machine = Machine::Closed {
        opened: row.opened.clone(),
        updates,
    };
    let event = Event::Publish {
        model: result.model,
        state: result.state,
    };
    match machine.apply(&checked, event, context.time) {
        Ok((_, Effect::Publish(expected))) if expected == *result => {}
        _ => return Err(Refusal::OutOfRange),
    }
    row.result = Some(result.clone());
    row.published_at = Some(context.time);
    put::<Rounds>(state, &(result.job, result.round), &row);
    job.round += 1;
    job.model = result.model;
    job.stage = if job.round == plan.rounds {
        JobStage::Done
    } else {
        JobStage::Between
    };
    job.changed = context.index;
    put::<Jobs>(state, &result.job, &job);
    Ok(())
}

/// That a job has ended with this model.
pub(crate) fn model_of(state: &dyn StateRead, job: JobId, model: Digest) -> Result<(), Refusal> {
    let job = get::<Jobs>(state, &job).ok_or(Refusal::NotFound)?;
    if job.stage != JobStage::Done {
        return Err(Refusal::WrongState);
    }
    (job.model == model)
        .then_some(())
        .ok_or(Refusal::StaleModel)
}

/// A job that the actor coordinates, and its plan.
fn coordinated(state: &dyn StateRead, actor: Actor<'_>, id: JobId) -> Result<(Job, Plan), Refusal> {
    let job = get::<Jobs>(state, &id).ok_or(Refusal::NotFound)?;
    let relation = if job.coordinator == actor.principal.organisation {
        Relation::Own
    } else {
        Relation::Stranger
    };
    if !may(actor.principal.role, Operation::CoordinateJob, relation) {
        return Err(Refusal::NotAllowed);
    }
    let plan = get::<Plans>(state, &id).ok_or(Refusal::NotFound)?;
    Ok((job, plan))
}

/// The checked plan and the round that a job is in.
fn current(state: &dyn StateRead, job: &Job, id: JobId) -> Result<(Checked, Round), Refusal> {
    let plan = get::<Plans>(state, &id).ok_or(Refusal::NotFound)?;
    let checked = Checked::new(plan).map_err(|_| Refusal::OutOfRange)?;
    let round = get::<Rounds>(state, &(id, job.round)).ok_or(Refusal::NotFound)?;
    Ok((checked, round))
}

/// What the ledger calls the reason for which an update does not count.
fn refusal(reason: &Reason) -> Refusal {
    match reason {
        Reason::StaleBase { .. } => Refusal::StaleModel,
        Reason::WrongRound { .. } | Reason::Closed => Refusal::RoundOver,
        Reason::Duplicate(_) => Refusal::AlreadyExists,
        Reason::NotOnRoster(_) => Refusal::NotAllowed,
        Reason::WrongJob => Refusal::NotFound,
        Reason::Plan(_)
        | Reason::WrongLength { .. }
        | Reason::WrongPayload
        | Reason::WrongSamples { .. }
        | Reason::Metric(_)
        | Reason::NotFinite { .. }
        | Reason::OutOfRange { .. }
        | Reason::TooFew { .. }
        | Reason::WrongSurvivors
        | Reason::Shape(_)
        | Reason::State => Refusal::OutOfRange,
    }
}
