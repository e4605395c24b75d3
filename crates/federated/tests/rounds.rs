//! Whole rounds through the public interface: order, refusals, quorum, resuming, robustness.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use salus_federated::round::{Effect, Event};
use salus_federated::site::{Assignment, Upload};
use salus_federated::{Aggregation, Job, Model, Refusal, Round, Server, fixed};
use salus_proto::federated::{
    Architecture, Augmentation, LocalTraining, MetricSpec, Micro, Network, Normalisation,
    Optimiser, Plan, RosterEntry, Schedule, Strategy, TensorPolicy, TensorSpec,
};
use salus_proto::ids::{JobId, OrganisationId};
use salus_proto::{Digest, TimestampMs};

const SAMPLES: [u32; 5] = [10, 20, 30, 40, 100];

fn site(i: usize) -> OrganisationId {
    OrganisationId([u8::try_from(i).unwrap() + 1; 16])
}

fn plan(strategy: Strategy) -> Plan {
    let tensor = |name: &str, shape: &[u32], policy| TensorSpec {
        name: name.into(),
        shape: shape.to_vec(),
        policy,
    };
    Plan {
        job: JobId([9; 16]),
        purpose: "test".into(),
        network: Network {
            architecture: Architecture::Small,
            normalisation: Normalisation::Group,
            classes: vec!["a".into(), "b".into()],
            channels: 1,
            size_px: 28,
            input_mean: Micro(0),
            input_deviation: Micro::ONE,
        },
        tensors: vec![
            tensor("w", &[2, 2], TensorPolicy::Shared),
            tensor("home", &[3], TensorPolicy::Local),
            tensor("b", &[2], TensorPolicy::Shared),
        ],
        strategy,
        training: LocalTraining {
            epochs: 1,
            batch: 8,
            optimiser: Optimiser::Sgd { momentum: Micro(0) },
            rate: Micro(10_000),
            weight_decay: Micro(0),
            schedule: Schedule::Constant,
            class_weights: Vec::new(),
            augmentation: Augmentation::default(),
            label_smoothing: Micro(0),
            gradient_norm: Micro(0),
            seed: 0,
        },
        rounds: 3,
        roster: SAMPLES
            .iter()
            .enumerate()
            .map(|(i, n)| RosterEntry {
                site: site(i),
                samples: *n,
                data_set: Digest([0; 32]),
            })
            .collect(),
        quorum: 5,
        round_ms: 1000,
        fraction_bits: 28,
        metrics: vec![MetricSpec {
            name: "loss".into(),
            step: 1000,
            minimum_images: 5,
        }],
        initial_model: Digest([0; 32]),
    }
}

fn start(mut plan: Plan, values: Vec<f32>) -> (Job, Server) {
    let layout = salus_federated::Layout::of(&plan).unwrap();
    let model = Model::new(&layout, values).unwrap();
    plan.initial_model = model.digest();
    let job = Job::new(plan).unwrap();
    let server = Server::new(&job, model).unwrap();
    (job, server)
}

fn upload(job: &Job, server: &Server, i: usize, trained: &[f32]) -> Result<Upload, Refusal> {
    let digest = server.model().digest();
    let assignment = Assignment::new(job, server.round(), digest, server.model())?;
    let controls = vec![0.125; if job.layout().controls() { 6 } else { 0 }];
    assignment.upload(
        job,
        site(i),
        trained,
        &controls,
        SAMPLES[i],
        &[(0.6934, SAMPLES[i])],
    )
}

/// One round with these differences, sites arriving in `order`.
fn round(job: &Job, server: &Server, differences: &[[f32; 6]], order: &[usize]) -> Server {
    let mut aggregation = Aggregation::new(job);
    for &i in order {
        let trained: Vec<f32> = server
            .model()
            .values
            .iter()
            .zip(&differences[i])
            .map(|(x, d)| x + d)
            .collect();
        let upload = upload(job, server, i, &trained).unwrap();
        aggregation
            .add(job, &upload.update, &fixed::to_bytes(&upload.payload))
            .unwrap();
    }
    let mut next = server.clone();
    next.close(job, &aggregation, &order.iter().map(|i| site(*i)).collect())
        .unwrap();
    next
}

const M: fn(i64) -> Micro = Micro;

fn strategies() -> [Strategy; 12] {
    let (rate, beta1, beta2, tau) = (M(100_000), M(900_000), M(990_000), M(1_000));
    [
        Strategy::FedAvg,
        Strategy::FedProx { mu: M(10_000) },
        Strategy::FedAvgM {
            rate: Micro::ONE,
            momentum: M(900_000),
        },
        Strategy::FedAdam {
            rate,
            beta1,
            beta2,
            tau,
        },
        Strategy::FedYogi {
            rate,
            beta1,
            beta2,
            tau,
        },
        Strategy::FedAdagrad { rate, beta1, tau },
        Strategy::Scaffold { rate: Micro::ONE },
        Strategy::FedBn,
        Strategy::Median,
        Strategy::TrimmedMean { trim: 1 },
        Strategy::Krum { byzantine: 1 },
        Strategy::MultiKrum {
            byzantine: 1,
            keep: 2,
        },
    ]
}

#[test]
fn fedavg_is_the_mean_weighted_by_images() {
    let (job, server) = start(plan(Strategy::FedAvg), vec![0.5; 6]);
    let differences = [[0.1; 6], [-0.2; 6], [0.3; 6], [0.0; 6], [0.05; 6]];
    let next = round(&job, &server, &differences, &[0, 1, 2, 3, 4]);
    let want = 0.5 + (10.0 * 0.1 - 20.0 * 0.2 + 30.0 * 0.3 + 100.0 * 0.05) / 200.0;
    for value in &next.model().values {
        assert!((f64::from(*value) - want).abs() < 1e-7, "{value} {want}");
    }
    assert_eq!(next.round(), 1);
}

#[test]
fn scaffold_moves_the_controls_by_the_weighted_sum() {
    let (job, server) = start(plan(Strategy::Scaffold { rate: Micro::ONE }), vec![0.0; 6]);
    let next = round(&job, &server, &[[0.1; 6]; 5], &[0, 1, 2, 3, 4]);
    assert!(
        next.model()
            .controls
            .iter()
            .all(|c| (c - 0.125).abs() < 1e-7)
    );
    assert!(next.model().values.iter().all(|v| (v - 0.1).abs() < 1e-7));
}

#[test]
fn robust_strategies_shrug_off_a_site_that_lies() {
    for strategy in &strategies()[8..] {
        let (job, server) = start(plan(*strategy), vec![0.0; 6]);
        let differences = [[0.1; 6], [0.11; 6], [-4.0; 6], [0.12; 6], [0.13; 6]];
        let next = round(&job, &server, &differences, &[0, 1, 2, 3, 4]);
        for value in &next.model().values {
            assert!((0.09..0.14).contains(value), "{strategy:?} {value}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_next_state_is_the_same_bits_in_any_order(
        differences in prop::array::uniform5(prop::array::uniform6(-1.0f32..1.0)),
        order in Just(vec![0usize, 1, 2, 3, 4]).prop_shuffle(),
        which in 0usize..12,
    ) {
        let (job, server) = start(plan(strategies()[which]), vec![0.25; 6]);
        let ordered = round(&job, &server, &differences, &[0, 1, 2, 3, 4]);
        let shuffled = round(&job, &server, &differences, &order);
        prop_assert_eq!(ordered.digest(), shuffled.digest());
    }

    #[test]
    fn a_job_resumes_from_its_stored_state_with_the_same_bits(
        differences in prop::array::uniform5(prop::array::uniform6(-1.0f32..1.0)),
        which in 0usize..12,
    ) {
        let (job, server) = start(plan(strategies()[which]), vec![0.25; 6]);
        let first = round(&job, &server, &differences, &[0, 1, 2, 3, 4]);
        let resumed = Server::from_bytes(&job, &first.to_bytes()).unwrap();
        let order = [4, 2, 0, 1, 3];
        prop_assert_eq!(
            round(&job, &first, &differences, &order).digest(),
            round(&job, &resumed, &differences, &order).digest()
        );
    }

    #[test]
    fn bytes_from_outside_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (job, server) = start(plan(strategies()[3]), vec![0.25; 6]);
        prop_assert!(Server::from_bytes(&job, &bytes).is_err());
        let honest = upload(&job, &server, 0, &[0.5; 6]).unwrap();
        prop_assert!(Aggregation::new(&job).add(&job, &honest.update, &bytes).is_err());
        let _ = Plan::from_bytes(&bytes);
    }
}

#[test]
fn a_stored_state_holds_the_model_where_it_says() {
    for strategy in strategies() {
        let (job, server) = start(plan(strategy), vec![0.25; 6]);
        let bytes = server.to_bytes();
        assert_eq!(
            bytes.len() as u64,
            Server::state_bytes(&job),
            "{strategy:?}"
        );
        let range = Server::model_range(&job);
        let place = |at| usize::try_from(at).unwrap();
        let (from, to) = (place(range.start), place(range.end));
        assert_eq!(bytes[from..to], server.model().to_bytes(), "{strategy:?}");
    }
}

#[test]
fn a_stored_state_cut_anywhere_is_refused() {
    let (job, server) = start(plan(strategies()[3]), vec![0.25; 6]);
    let bytes = server.to_bytes();
    for length in 0..bytes.len() {
        assert!(
            Server::from_bytes(&job, &bytes[..length]).is_err(),
            "{length}"
        );
    }
}

#[test]
fn a_model_that_diverged_never_leaves_its_site() {
    let (job, server) = start(plan(Strategy::FedAvg), vec![0.0; 6]);
    let mut trained = [0.0; 6];
    trained[4] = f32::NAN;
    let refusal = upload(&job, &server, 0, &trained).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::NotFinite {
            tensor: "b".into(),
            index: 0
        }
    );
    trained[4] = f32::INFINITY;
    assert!(upload(&job, &server, 0, &trained).is_err());
    assert!(matches!(
        upload(&job, &server, 0, &[0.0; 5]),
        Err(Refusal::WrongLength { .. })
    ));
}

#[test]
fn a_payload_beyond_the_sites_share_is_refused() {
    let (job, server) = start(plan(Strategy::FedAvg), vec![0.0; 6]);
    let mut honest = upload(&job, &server, 0, &[9.0; 6]).unwrap();
    assert_eq!(honest.update.clipped, 6);
    let mut aggregation = Aggregation::new(&job);
    let bytes = fixed::to_bytes(&honest.payload);
    assert_eq!(aggregation.add(&job, &honest.update, &bytes), Ok(()));
    assert_eq!(
        aggregation.add(&job, &honest.update, &bytes),
        Err(Refusal::Duplicate(site(0)))
    );

    honest.payload[3] += 2;
    let bytes = fixed::to_bytes(&honest.payload);
    let mut aggregation = Aggregation::new(&job);
    assert_eq!(
        aggregation.add(&job, &honest.update, &bytes),
        Err(Refusal::WrongPayload)
    );
    honest.update.payload = salus_federated::digest(&bytes);
    let refusal = aggregation.add(&job, &honest.update, &bytes).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::OutOfRange {
            site: site(0),
            index: 3
        }
    );
    assert!(aggregation.sites().is_empty());
}

#[test]
fn a_round_refuses_what_does_not_belong_and_says_why() {
    let (job, server) = start(plan(Strategy::FedAvg), vec![0.0; 6]);
    let now = TimestampMs(5);
    let round = Round::open(&job, &server, now).unwrap();
    let honest = upload(&job, &server, 0, &[0.1; 6]).unwrap().update;
    let refusal = |change: fn(&mut salus_proto::federated::Update)| {
        let mut update = honest.clone();
        change(&mut update);
        round
            .apply(&job, Event::Upload(update), now)
            .expect_err("refused")
    };
    assert_eq!(refusal(|u| u.job = JobId([0; 16])), Refusal::WrongJob);
    assert!(matches!(
        refusal(|u| u.round = 1),
        Refusal::WrongRound {
            expected: 0,
            found: 1
        }
    ));
    assert!(matches!(
        refusal(|u| u.base = Digest([1; 32])),
        Refusal::StaleBase { .. }
    ));
    let stranger = OrganisationId([0xEE; 16]);
    assert_eq!(
        refusal(|u| u.site = OrganisationId([0xEE; 16])),
        Refusal::NotOnRoster(stranger)
    );
    assert!(matches!(
        refusal(|u| u.payload_bytes = 20),
        Refusal::WrongLength { .. }
    ));
    assert!(matches!(
        refusal(|u| u.samples = 11),
        Refusal::WrongSamples { .. }
    ));
    assert!(matches!(
        refusal(|u| u.samples = 0),
        Refusal::WrongSamples { .. }
    ));
    assert_eq!(refusal(|u| u.metrics[0].metric = 1), Refusal::Metric(1));
    assert_eq!(
        refusal(|u| u.metrics[0].value = Micro(1)),
        Refusal::Metric(0)
    );
    assert_eq!(refusal(|u| u.metrics[0].images = 4), Refusal::Metric(0));
    assert_eq!(
        refusal(|u| u.metrics.push(u.metrics[0].clone())),
        Refusal::Metric(0)
    );
}

#[test]
fn a_round_closes_when_all_have_sent_or_at_the_deadline_by_quorum() {
    let mut small = plan(Strategy::FedAvg);
    small.quorum = 2;
    let (job, server) = start(small, vec![0.0; 6]);
    let sent = |i| Event::Upload(upload(&job, &server, i, &[0.1; 6]).unwrap().update);
    let open = Round::open(&job, &server, TimestampMs(0)).unwrap();

    let (one, effect) = open.apply(&job, sent(0), TimestampMs(1)).unwrap();
    assert_eq!(effect, Effect::None);
    assert_eq!(one.missing(&job), [site(1), site(2), site(3), site(4)]);
    let (one, effect) = one.apply(&job, sent(0), TimestampMs(1)).unwrap();
    assert_eq!(effect, Effect::AlreadyCounted);

    // Below quorum the deadline closes nothing, and the late second site completes the quorum.
    let (one, effect) = one.apply(&job, Event::Time, TimestampMs(1000)).unwrap();
    assert_eq!(effect, Effect::None);
    let (two, effect) = one.apply(&job, sent(3), TimestampMs(1001)).unwrap();
    let Effect::Close(closed) = effect else {
        panic!("{effect:?}")
    };
    assert_eq!(
        closed.survivors.iter().map(|s| s.site).collect::<Vec<_>>(),
        [site(0), site(3)]
    );
    let refusal = two.apply(&job, sent(1), TimestampMs(1002)).unwrap_err();
    assert_eq!(refusal, Refusal::Closed);
    let publish = Event::Publish {
        model: Digest([1; 32]),
        state: Digest([2; 32]),
    };
    let (done, effect) = two.apply(&job, publish, TimestampMs(1003)).unwrap();
    let Effect::Publish(result) = effect else {
        panic!("{effect:?}")
    };
    assert_eq!(result.metrics[0].value, Micro(693_000));
    assert_eq!(result.metrics[0].images, 50);
    assert!(done.missing(&job).is_empty());

    let mut round = open;
    for i in 0..5 {
        let (next, effect) = round.apply(&job, sent(i), TimestampMs(i as u64)).unwrap();
        assert_eq!(matches!(effect, Effect::Close(_)), i == 4, "{i}");
        round = next;
    }
}

#[test]
fn survivors_that_were_not_added_or_are_too_few_make_no_model() {
    let mut small = plan(Strategy::FedAvg);
    small.quorum = 2;
    let (job, mut server) = start(small, vec![0.0; 6]);
    let before = server.clone();
    let mut aggregation = Aggregation::new(&job);
    let honest = upload(&job, &server, 0, &[0.1; 6]).unwrap();
    aggregation
        .add(&job, &honest.update, &fixed::to_bytes(&honest.payload))
        .unwrap();
    let both: BTreeSet<_> = [site(0), site(1)].into();
    assert_eq!(
        server.close(&job, &aggregation, &both),
        Err(Refusal::WrongSurvivors)
    );
    let one: BTreeSet<_> = [site(0)].into();
    assert_eq!(
        server.close(&job, &aggregation, &one),
        Err(Refusal::TooFew {
            needed: 2,
            found: 1
        })
    );
    assert_eq!(server, before);
}

#[test]
fn a_plan_that_contradicts_itself_is_refused() {
    let refused = |change: fn(&mut Plan)| {
        let mut plan = plan(Strategy::FedAvg);
        change(&mut plan);
        Job::new(plan).expect_err("refused")
    };
    refused(|p| p.roster.swap(0, 1));
    refused(|p| p.roster.clear());
    refused(|p| p.roster[0].samples = 0);
    refused(|p| p.quorum = 6);
    refused(|p| p.quorum = 0);
    refused(|p| p.rounds = 0);
    refused(|p| p.fraction_bits = 31);
    refused(|p| p.tensors[2].name = "w".into());
    refused(|p| p.tensors.truncate(0));
    refused(|p| p.tensors[0].shape = vec![u32::MAX, u32::MAX]);
    refused(|p| p.tensors[0].shape = vec![0]);
    refused(|p| p.metrics[0].step = 0);
    refused(|p| p.network.size_px = 27);
    refused(|p| p.network.classes.truncate(1));
    refused(|p| p.training.rate = Micro(0));
    refused(|p| p.training.augmentation.zoom = Micro(500_001));
    refused(|p| p.strategy = Strategy::TrimmedMean { trim: 3 });
    refused(|p| p.strategy = Strategy::Krum { byzantine: 2 });
    refused(|p| {
        p.strategy = Strategy::MultiKrum {
            byzantine: 1,
            keep: 3,
        }
    });
    refused(|p| {
        p.strategy = Strategy::Scaffold { rate: Micro::ONE };
        p.training.optimiser = Optimiser::Adam;
    });
}

#[test]
fn a_known_round_ends_in_this_very_state() {
    let (job, server) = start(
        plan(strategies()[3]),
        vec![0.25, -1.0, 0.5, 2.0, -0.125, 1.0],
    );
    let differences = [[0.1; 6], [-0.2; 6], [0.3; 6], [0.4; 6], [0.05; 6]];
    let next = round(&job, &server, &differences, &[0, 1, 2, 3, 4]);
    assert_eq!(next.digest().to_string(), GOLDEN_FEDADAM_STATE);
}

const GOLDEN_FEDADAM_STATE: &str =
    "428afdbe074bf018fcda3e080767bb6fede4f292511ed972aa721cfb0e28cc54";
