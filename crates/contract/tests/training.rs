//! Federated jobs: offers, plans, decisions, the records of a round, and uses of the model.

mod support;

use salus_contract::table::{DataSets, JobStage, Jobs, Rounds};
use salus_federated::digest;
use salus_proto::Digest;
use salus_proto::command::{Action, Refusal as R};
use salus_proto::encode::to_bytes;
use salus_proto::federated::{
    Architecture, Augmentation, DataCard, LocalTraining, Metric, MetricSpec, Micro, Network,
    Normalisation, Optimiser, Plan, RosterEntry, RoundClosed, RoundOpened, RoundResult, Schedule,
    Strategy, Survivor, TensorPolicy, TensorSpec, Update,
};
use salus_proto::ids::{AccessId, JobId, RecordId};
use salus_proto::member::MembershipChange;
use salus_proto::record::KeyClass;
use salus_proto::role::{Basis, Decision, NodeRole, Purpose, Reason};
use support::Who::{self, *};
use support::{ALIAS, World};

const JOB: JobId = JobId([0x70; 16]);
const MODEL: Digest = Digest([1; 32]);
const NEXT: Digest = Digest([2; 32]);

fn data_set(who: Who) -> Digest {
    Digest([who as u8; 32])
}

fn card(who: Who) -> DataCard {
    DataCard {
        data_set: data_set(who),
        records: Digest([0x99; 32]),
        classes: vec!["normal".into(), "pneumonia".into()],
        channels: 1,
        size_px: 64,
        training_images: vec![30, 10],
        test_images: vec![3, 1],
        pixel_mean: Micro(500_000),
        pixel_deviation: Micro(250_000),
    }
}

fn offer(who: Who) -> Action {
    Action::OfferData { data: card(who) }
}

fn plan() -> Plan {
    let mut roster: Vec<RosterEntry> = [North, South, West]
        .into_iter()
        .map(|who| RosterEntry {
            site: who.organisation(),
            samples: 40,
            data_set: data_set(who),
        })
        .collect();
    roster.sort_by_key(|entry| entry.site);
    Plan {
        job: JOB,
        purpose: "pneumonia triage".into(),
        network: Network {
            architecture: Architecture::Small,
            normalisation: Normalisation::Group,
            classes: vec!["normal".into(), "pneumonia".into()],
            channels: 1,
            size_px: 64,
            input_mean: Micro(500_000),
            input_deviation: Micro(250_000),
        },
        tensors: vec![TensorSpec {
            name: "fc.bias".into(),
            shape: vec![2],
            policy: TensorPolicy::Shared,
        }],
        strategy: Strategy::FedAvg,
        training: LocalTraining {
            epochs: 1,
            batch: 8,
            optimiser: Optimiser::Adam,
            rate: Micro(1_000),
            weight_decay: Micro(0),
            schedule: Schedule::Constant,
            class_weights: Vec::new(),
            augmentation: Augmentation::default(),
            label_smoothing: Micro(0),
            gradient_norm: Micro(0),
            seed: 1,
        },
        rounds: 1,
        roster,
        quorum: 2,
        round_ms: 60_000,
        fraction_bits: 28,
        metrics: vec![MetricSpec {
            name: "loss".into(),
            step: 1_000,
            minimum_images: 10,
        }],
        initial_model: MODEL,
    }
}

fn propose(plan: Plan) -> Action {
    Action::ProposeJob {
        plan: Box::new(plan),
    }
}

fn decide(decision: Decision) -> Action {
    Action::DecideJob {
        job: JOB,
        plan: digest(&plan().to_bytes()),
        decision,
    }
}

fn opened(world: &World) -> RoundOpened {
    RoundOpened {
        job: JOB,
        round: 0,
        model: MODEL,
        deadline: world.now.plus_ms(60_000),
    }
}

fn update(who: Who) -> Update {
    Update {
        job: JOB,
        round: 0,
        site: who.organisation(),
        base: MODEL,
        payload: Digest([5; 32]),
        payload_bytes: 8,
        samples: 40,
        clipped: 0,
        metrics: vec![Metric {
            metric: 0,
            value: Micro(if who == North { 400_000 } else { 600_000 }),
            images: 40,
        }],
    }
}

fn closed(sites: &[Who]) -> RoundClosed {
    let survivor = |who: &Who| Survivor {
        site: who.organisation(),
        update: digest(&to_bytes(&update(*who))),
    };
    let mut survivors: Vec<Survivor> = sites.iter().map(survivor).collect();
    survivors.sort_by_key(|s| s.site);
    RoundClosed {
        job: JOB,
        round: 0,
        survivors,
    }
}

fn result(mean: i64) -> RoundResult {
    RoundResult {
        job: JOB,
        round: 0,
        model: NEXT,
        state: Digest([3; 32]),
        metrics: vec![Metric {
            metric: 0,
            value: Micro(mean),
            images: 80,
        }],
    }
}

/// North, South and West are hospitals, the cloud coordinates; a patient of North is linked.
fn consortium() -> World {
    let mut world = World::with_patient();
    let mut member = support::member(Cloud, NodeRole::Cloud, 0);
    member.roles.push(NodeRole::Coordinator);
    let proposal = salus_proto::ids::ProposalId([1; 16]);
    let change = MembershipChange::Replace(member);
    world.accepted(Cloud, Action::ProposeMembership { proposal, change });
    for who in [North, South] {
        world.accepted(who, Action::ApproveMembership { proposal });
    }
    world
}

fn with_job() -> World {
    let mut world = consortium();
    for who in [North, South, West] {
        world.accepted(who, offer(who));
    }
    world.accepted(Cloud, propose(plan()));
    world
}

fn with_round() -> World {
    let mut world = with_job();
    world.accepted(North, decide(Decision::Approve));
    world.accepted(SouthStaff, decide(Decision::Approve));
    let opened = opened(&world);
    world.accepted(Cloud, Action::OpenRound { opened });
    world
}

fn send(update: Update) -> Action {
    Action::SendUpdate { update }
}

fn close(closed: RoundClosed) -> Action {
    Action::CloseRound { closed }
}

fn publish(result: RoundResult) -> Action {
    Action::PublishRound { result }
}

#[test]
fn hospitals_offer_their_own_images_in_numbers_that_make_sense() {
    let mut world = consortium();
    world.accepted(Staff, offer(North));
    world.accepted(North, offer(North));
    assert_eq!(
        world.get::<DataSets>(&data_set(North)).owner,
        North.organisation()
    );
    world.refused(South, offer(North), R::AlreadyExists);
    world.refused(Doctor, offer(South), R::NotAllowed);
    world.refused(Cloud, offer(South), R::NotAllowed);
    let changed = |change: fn(&mut DataCard)| {
        let mut data = card(South);
        change(&mut data);
        Action::OfferData { data }
    };
    world.refused(South, changed(|c| c.classes.truncate(1)), R::OutOfRange);
    world.refused(South, changed(|c| c.classes[0].clear()), R::OutOfRange);
    world.refused(South, changed(|c| c.training_images.push(1)), R::OutOfRange);
    world.refused(South, changed(|c| c.training_images.fill(0)), R::OutOfRange);
    world.refused(
        South,
        changed(|c| c.pixel_deviation = Micro(0)),
        R::OutOfRange,
    );
    world.refused(South, changed(|c| c.size_px = 1000), R::OutOfRange);
}

#[test]
fn a_plan_names_offered_data_and_comes_from_a_coordinator() {
    let mut world = consortium();
    for who in [North, South] {
        world.accepted(who, offer(who));
    }
    world.refused(Cloud, propose(plan()), R::NotFound);
    world.accepted(West, offer(West));
    world.refused(North, propose(plan()), R::NotAllowed);
    world.refused(Operator, propose(plan()), R::NotAllowed);
    let changed = |change: fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        propose(plan)
    };
    world.refused(Cloud, changed(|p| p.quorum = 4), R::OutOfRange);
    world.refused(Cloud, changed(|p| p.roster[0].samples = 39), R::OutOfRange);
    world.refused(Cloud, changed(|p| p.network.size_px = 28), R::OutOfRange);
    world.refused(
        Cloud,
        changed(|p| p.roster[0].data_set = data_set(South)),
        R::OutOfRange,
    );
    world.accepted(Cloud, propose(plan()));
    world.refused(Cloud, propose(plan()), R::AlreadyExists);
}

#[test]
fn each_hospital_decides_for_itself_and_may_change_its_mind() {
    let mut world = with_job();
    world.refused(Cloud, decide(Decision::Approve), R::NotFound);
    world.refused(Doctor, decide(Decision::Approve), R::NotAllowed);
    let other = Action::DecideJob {
        job: JOB,
        plan: Digest([8; 32]),
        decision: Decision::Approve,
    };
    world.refused(North, other, R::OutOfRange);
    world.accepted(North, decide(Decision::Approve));
    let action = Action::OpenRound {
        opened: opened(&world),
    };
    world.refused(Cloud, action, R::WrongState);
    world.accepted(SouthStaff, decide(Decision::Approve));
    world.accepted(West, decide(Decision::Refuse));
    let job = world.get::<Jobs>(&JOB);
    assert_eq!(job.participants().count(), 2);
    assert!(!job.takes_part(West.organisation()));
    world.accepted(North, decide(Decision::Refuse));
    assert!(!world.get::<Jobs>(&JOB).takes_part(North.organisation()));
}

#[test]
fn a_round_opens_counts_closes_and_publishes() {
    let mut world = with_job();
    world.accepted(North, decide(Decision::Approve));
    world.accepted(South, decide(Decision::Approve));
    let changed = |world: &World, change: fn(&mut RoundOpened)| {
        let mut opened = opened(world);
        change(&mut opened);
        Action::OpenRound { opened }
    };
    let stale = changed(&world, |o| o.model = NEXT);
    world.refused(Cloud, stale, R::StaleModel);
    let later = changed(&world, |o| o.round = 1);
    world.refused(Cloud, later, R::WrongState);
    let endless = changed(&world, |o| o.deadline.0 += 120_000);
    world.refused(Cloud, endless, R::OutOfRange);
    let foreign = changed(&world, |_| {});
    world.refused(North, foreign.clone(), R::NotAllowed);
    world.accepted(Cloud, foreign);

    // The sites' headers.
    world.refused(South, send(update(North)), R::NotAllowed);
    world.refused(Staff, send(update(North)), R::NotAllowed);
    world.refused(West, send(update(West)), R::NotAllowed);
    let wrong = |change: fn(&mut Update)| {
        let mut update = update(North);
        change(&mut update);
        send(update)
    };
    world.refused(North, wrong(|u| u.base = NEXT), R::StaleModel);
    world.refused(North, wrong(|u| u.round = 1), R::RoundOver);
    world.refused(North, wrong(|u| u.samples = 41), R::OutOfRange);
    world.refused(North, wrong(|u| u.payload_bytes = 4), R::OutOfRange);
    world.refused(
        North,
        wrong(|u| u.metrics[0].value = Micro(1)),
        R::OutOfRange,
    );
    world.accepted(North, send(update(North)));
    world.accepted(North, send(update(North)));
    world.refused(North, wrong(|u| u.samples = 39), R::AlreadyExists);

    // Too early: South takes part and is missing, and one is no quorum.
    world.refused(Cloud, close(closed(&[North])), R::WrongState);
    world.refused(Cloud, close(closed(&[North, South])), R::OutOfRange);
    world.refused(Cloud, publish(result(400_000)), R::WrongState);
    world.accepted(South, send(update(South)));
    world.refused(North, close(closed(&[North, South])), R::NotAllowed);
    let mut other = closed(&[North, South]);
    other.survivors[0].update = Digest([0; 32]);
    world.refused(Cloud, close(other), R::OutOfRange);
    world.accepted(Cloud, close(closed(&[North, South])));
    world.refused(South, send(update(South)), R::RoundOver);

    // The figures must be the means of those that count.
    world.refused(Cloud, publish(result(400_000)), R::OutOfRange);
    world.accepted(Cloud, publish(result(500_000)));
    let job = world.get::<Jobs>(&JOB);
    assert_eq!((job.stage, job.round, job.model), (JobStage::Done, 1, NEXT));
    let round = world.get::<Rounds>(&(JOB, 0));
    assert_eq!(round.closed.unwrap().survivors.len(), 2);
    world.refused(North, decide(Decision::Refuse), R::WrongState);
}

#[test]
fn past_its_deadline_a_round_closes_with_a_quorum() {
    let mut world = with_round();
    world.accepted(West, decide(Decision::Approve));
    world.accepted(North, send(update(North)));
    world.accepted(South, send(update(South)));
    world.refused(Cloud, close(closed(&[North, South])), R::WrongState);
    world.now = world.now.plus_ms(60_001);
    world.refused(Cloud, close(closed(&[North])), R::WrongState);
    world.accepted(Cloud, close(closed(&[North, South])));
}

#[test]
fn the_model_judges_what_its_user_may_read_once_the_job_is_done() {
    let mut world = with_round();
    let access = AccessId([4; 16]);
    let judge = |model, access| Action::UseModel {
        job: JOB,
        model,
        alias: ALIAS,
        access,
        record: RecordId([6; 16]),
    };
    world.accepted(
        Doctor,
        Action::RequestAccess {
            access,
            alias: ALIAS,
            classes: vec![KeyClass::Medical],
            purpose: Purpose::Treatment,
            until: world.now.plus_ms(3_600_000),
        },
    );
    world.accepted(
        North,
        Action::DecideAccess {
            access,
            decision: Decision::Approve,
            reason: Reason::IdentityVerified,
            basis: Basis::Person,
        },
    );
    world.refused(Doctor, judge(MODEL, Some(access)), R::WrongState);
    world.accepted(North, send(update(North)));
    world.accepted(South, send(update(South)));
    world.accepted(Cloud, close(closed(&[North, South])));
    world.accepted(Cloud, publish(result(500_000)));
    world.refused(Doctor, judge(MODEL, Some(access)), R::StaleModel);
    world.refused(Doctor, judge(NEXT, None), R::NotGranted);
    world.refused(OtherDoctor, judge(NEXT, Some(access)), R::NotGranted);
    world.refused(Patient, judge(NEXT, None), R::NotAllowed);
    world.refused(South, judge(NEXT, None), R::NotGranted);
    world.accepted(Doctor, judge(NEXT, Some(access)));
    world.accepted(Staff, judge(NEXT, None));
}
