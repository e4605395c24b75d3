//! Federated jobs between three real nodes over TLS: rounds by quorum, resuming, refusals with
//! their reasons, and adding a round up again. The images are left out: each site moves the model by
//! a constant of its own, so that the right result is known in closed form.
#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]

#[path = "support/counted.rs"]
mod counted;
#[path = "support/lagging.rs"]
mod lagging;
mod support;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use counted::{Counted, in_use};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use lagging::{Hasty, Lag, Lagging};
use salus_client::node::Node;
use salus_client::person::Person;
use salus_crypto::keys::SecretKeys;
use salus_crypto::label;
use salus_crypto::opaque::ServerSetup;
use salus_federated::{Aggregation, Job, Model, Server as State, digest};
use salus_proto::api::training::{
    DataSetRequest, DataSetView, GainView, JobRequest, JobStage, JobView, OwnFigures, RoundView,
    SiteActivity, StrategyName, UpdateView,
};
use salus_proto::command::Action;
use salus_proto::encode::to_bytes;
use salus_proto::federated::{
    Architecture, Augmentation, DataCard, LocalTraining, MetricSpec, Micro, Network, Normalisation,
    Optimiser, Plan, RosterEntry, RoundClosed, RoundOpened, RoundResult, Schedule, Strategy,
    TensorPolicy, TensorSpec, Update,
};
use salus_proto::ids::{ConsortiumId, JobId, OrganisationId, PrincipalId};
use salus_proto::member::{Genesis, Member};
use salus_proto::role::{Decision, NodeRole};
use salus_proto::{Digest, TimestampMs};
use salus_replica::{Config as ReplicaConfig, Contract, NoteSigner, Running, Timing};
use salus_runtime::clock::timeout;
use salus_runtime::table::Database;
use salus_runtime::{BlobStore, Clock, SeededEntropy, Shelf, SystemClock, SystemEntropy};
use salus_server::training::{
    Draft, Finished, Gain, Judged, Task, Trained, Trainer, TrainerError, Training,
};
use salus_server::{Config, Limits, Parts, Policy, Server, TlsFiles};
use salus_vault::Vault;
use tokio::sync::watch;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Values of a model whose update takes more than one piece, and of one that is quickly computed with.
const LARGE: usize = 2_200_000;
const SMALL: usize = 10_000;
/// How long a job may take to get where a test waits for it.
const PATIENCE_MS: u64 = 60_000;
const SAMPLES: [u32; 3] = [100, 101, 102];
/// What tells one job of the test from the others: its id and the size of its model.
#[derive(Clone, Copy, Debug)]
struct Which(JobId, usize);

const TOGETHER: Which = Which(JobId([1; 16]), LARGE);
const DIVERGING: Which = Which(JobId([2; 16]), SMALL);
const REFUSING: Which = Which(JobId([3; 16]), LARGE);
const STOPPING: Which = Which(JobId([4; 16]), SMALL);
const AHEAD: Which = Which(JobId([5; 16]), SMALL);
const LASTING: Which = Which(JobId([6; 16]), 1_000_000);

/// How a site behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Honest,
    Diverges,
    Stalls,
}

/// Moves every value by a constant.
#[derive(Debug)]
struct Mover {
    number: usize,
    manner: watch::Sender<Manner>,
    /// Bytes in use in this process whenever training began, with the job and the round.
    in_use: Mutex<Vec<(JobId, u32, usize)>>,
}

impl Trainer for Mover {
    fn offer(&self, wish: DataSetRequest) -> BoxFuture<'_, Result<DataCard, TrainerError>> {
        let number = u8::try_from(self.number).unwrap();
        async move {
            Ok(DataCard {
                data_set: Digest([number; 32]),
                records: Digest([100 + number; 32]),
                training_images: vec![SAMPLES[self.number] - 50, 50],
                test_images: vec![5, 5],
                classes: wish.classes,
                channels: wish.channels,
                size_px: wish.size_px,
                pixel_mean: Micro(500_000),
                pixel_deviation: Micro(250_000),
            })
        }
        .boxed()
    }

    fn train(&self, task: Task) -> BoxFuture<'_, Result<Trained, TrainerError>> {
        async move {
            let mut manner = self.manner.subscribe();
            let now = *manner.wait_for(|m| *m != Manner::Stalls).await.unwrap();
            let seen = (task.job.plan().job, task.round, in_use());
            self.in_use.lock().unwrap().push(seen);
            let step = 1e-3 * (self.number as f32 + 1.0);
            let mut values: Vec<f32> = task.base.values.iter().map(|v| v + step).collect();
            if now == Manner::Diverges {
                values[3] = f32::NAN;
            }
            let samples = SAMPLES[self.number];
            Ok(Trained {
                values,
                controls: Vec::new(),
                samples,
                metrics: vec![(0.5, samples)],
                kept: Bytes::new(),
            })
        }
        .boxed()
    }

    fn finish(&self, _: Finished) -> BoxFuture<'_, Result<Gain, TrainerError>> {
        let figures = |accuracy| OwnFigures {
            accuracy,
            balanced_accuracy: accuracy,
            auc: None,
            auc_95: None,
        };
        async move {
            Ok(Gain {
                images: 10,
                patients: 10,
                together: figures(0.9),
                alone: figures(0.8),
            })
        }
        .boxed()
    }

    fn draft(
        &self,
        _: JobRequest,
        _: Vec<DataSetView>,
    ) -> BoxFuture<'_, Result<Draft, TrainerError>> {
        async { Err(TrainerError::Refused("no plan fits".into())) }.boxed()
    }

    fn export(&self, job: Arc<Job>, model: Model) -> BoxFuture<'_, Result<Bytes, TrainerError>> {
        async move {
            Ok(Bytes::from(format!(
                "{} {}",
                job.plan().rounds,
                model.digest()
            )))
        }
        .boxed()
    }

    fn judge(&self, _: JobId, _: Bytes, _: bool) -> BoxFuture<'_, Result<Judged, TrainerError>> {
        async { Err(TrainerError::NoModel) }.boxed()
    }
}

struct Notes(OrganisationId, Arc<SecretKeys>);

impl NoteSigner for Notes {
    fn organisation(&self) -> OrganisationId {
        self.0
    }

    fn sign(&self, text: &[u8]) -> Option<([u8; 64], Vec<u8>)> {
        let ml_dsa_65 = self.1.ml_dsa_65().sign(label::CHECKPOINT, text).ok()?;
        Some((self.1.ed25519().sign_note(text), ml_dsa_65))
    }
}

fn organisation(number: usize) -> OrganisationId {
    OrganisationId([u8::try_from(number).unwrap() + 1; 16])
}

/// What a member's engine key is made of.
fn engine_key(number: usize) -> u8 {
    u8::try_from(number).unwrap() + 1
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Three hospitals; the first one coordinates too.
struct Consortium {
    genesis: Genesis,
    keys: Vec<Arc<SecretKeys>>,
    clock: Arc<dyn Clock>,
    authority: String,
    movers: Vec<Arc<Mover>>,
    nodes: Vec<Option<(Server, Running<Contract>)>>,
    /// What holds the coordinator's copy of the ledger back.
    lag: Arc<Lag>,
    folder: tempfile::TempDir,
}

impl Consortium {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let keys: Vec<Arc<SecretKeys>> = (0..3)
            .map(|n| Arc::new(SecretKeys::generate(&mut SeededEntropy::with_stream(3, n)).unwrap()))
            .collect();
        let member = |number: usize| Member {
            organisation: organisation(number),
            name: format!("Hospital {number}"),
            roles: match number {
                0 => vec![NodeRole::Hospital, NodeRole::Coordinator],
                _ => vec![NodeRole::Hospital],
            },
            keys: keys[number].public().clone(),
            engine_key: salus_replica::engine_public(&[engine_key(number); 32]).unwrap(),
            engine_address: free_address().to_string(),
            api: format!("https://localhost:{}", free_address().port()),
        };
        let genesis = Genesis {
            version: 1,
            consortium: ConsortiumId([9; 16]),
            name: "training".into(),
            created: clock.now(),
            members: (0..3).map(member).collect(),
            founders: Vec::new(),
        };
        let authority = support::certificates(folder.path());
        let mover = |number| {
            Arc::new(Mover {
                number,
                manner: watch::Sender::new(Manner::Honest),
                in_use: Mutex::default(),
            })
        };
        let mut consortium = Self {
            genesis,
            keys,
            clock,
            authority,
            movers: (0..3).map(mover).collect(),
            nodes: vec![None, None, None],
            lag: Lag::none(),
            folder,
        };
        for number in 0..3 {
            consortium.start_node(number).await;
        }
        consortium
    }

    async fn start_node(&mut self, number: usize) {
        let member = &self.genesis.members[number];
        let home = self.folder.path().join(number.to_string());
        std::fs::create_dir_all(&home).unwrap();
        let genesis_bytes = to_bytes(&self.genesis);
        let keys = self.keys[number].clone();
        let replica = ReplicaConfig {
            engine_key: [engine_key(number); 32],
            signer: Arc::new(Notes(member.organisation, keys.clone())),
            listen: member.engine_address.parse().unwrap(),
            directory: home.join("ledger"),
            genesis: salus_crypto::digest::sha256(&genesis_bytes),
            origin: self.genesis.origin(),
            founded_ms: self.genesis.created.0,
            timing: Timing::default(),
            introduction: None,
        };
        let running = salus_replica::start(replica, Contract::new(self.genesis.clone())).unwrap();
        // The coordinator's ledger can be held back, the others' never is.
        let lag = match number {
            0 => self.lag.clone(),
            _ => Lag::none(),
        };
        let clock: Arc<dyn Clock> = Arc::new(Hasty {
            clock: self.clock.clone(),
            lag: lag.clone(),
        });
        let url = format!("sqlite:{}", home.join("salus.db").display());
        let database = Database::open(&url).await.unwrap();
        let vault = Vault::new(salus_vault::Parts {
            database: database.clone(),
            blobs: BlobStore::local(&home.join("blobs")).await.unwrap(),
            clock: self.clock.clone(),
            entropy: Box::new(SystemEntropy),
            organisation: member.organisation,
            keys: keys.clone(),
        });
        let port = member.api.rsplit(':').next().unwrap();
        let config = Config {
            listen: format!("127.0.0.1:{port}").parse().unwrap(),
            tls: Some(TlsFiles {
                certificates: self.folder.path().join("node.pem"),
                key: self.folder.path().join("node.key"),
            }),
            organisation: member.organisation,
            policy: Policy {
                approve_own_records: true,
            },
            limits: Limits::default(),
        };
        let parts = Parts {
            ledger: Arc::new(Lagging {
                ledger: running.replica(),
                lag,
            }),
            vault,
            database,
            keys,
            passwords: ServerSetup::generate(&mut SeededEntropy::new(5)),
            genesis: genesis_bytes.into(),
            clock,
            entropy: Box::new(SystemEntropy),
            training: Some(Training {
                shelf: Shelf::open(&home.join("training")).await.unwrap(),
                trainer: self.movers[number].clone(),
                reach: Node::new(&member.api, self.authority.as_bytes()).unwrap(),
            }),
        };
        let server = Server::start(config, parts).await.unwrap();
        self.nodes[number] = Some((server, running));
    }

    /// Ends a node without letting anything finish.
    async fn stop_node(&mut self, number: usize) {
        let (server, running) = self.nodes[number].take().unwrap();
        drop(server);
        tokio::task::spawn_blocking(move || running.stop())
            .await
            .unwrap()
            .unwrap();
    }

    /// The organisation in a session at its own node.
    async fn house(&self, number: usize) -> Person {
        let api = &self.genesis.members[number].api;
        let node = Node::new(api, self.authority.as_bytes()).unwrap();
        let principal = PrincipalId(organisation(number).0);
        let keys = self.keys[number].clone();
        Person::with_keys(&node, principal, keys, self.clock.clone())
            .await
            .unwrap()
    }

    /// Offers, proposes, uploads the first model; nobody has decided yet.
    async fn propose(&self, which: Which, rounds: u32, quorum: u16, round_ms: u64) -> Job {
        for number in 0..3 {
            let wish = DataSetRequest {
                classes: vec!["a".into(), "b".into()],
                channels: 1,
                size_px: 28,
                test_percent: 20,
            };
            let house = self.house(number).await;
            let deadline = self.clock.now().plus_ms(PATIENCE_MS);
            let view: DataSetView = loop {
                match house.node().post("/data-sets", &wish).await {
                    // The members have not all found each other yet.
                    Err(salus_client::Error::Unavailable(problem)) => {
                        assert!(self.clock.now() < deadline, "{problem:?}");
                    }
                    answer => break answer.unwrap(),
                }
            };
            assert_eq!(view.owner, organisation(number));
        }
        let plan = plan(which, rounds, quorum, round_ms);
        let model = vec![0; which.1 * 4];
        let house = self.house(0).await;
        let job = Job::new(plan.clone()).unwrap();
        house
            .act(Action::ProposeJob {
                plan: Box::new(plan),
            })
            .await
            .unwrap();
        let path = format!("/jobs/{}/model", which.0);
        for at in (0..model.len()).step_by(8 << 20) {
            let end = model.len().min(at + (8 << 20));
            let piece = Bytes::copy_from_slice(&model[at..end]);
            let (node, so_far) = (house.node(), digest(&model[..end]));
            node.put_piece(&path, at as u64, piece, &so_far)
                .await
                .unwrap();
        }
        house.node().post_empty(&path).await.unwrap();
        job
    }

    async fn approve(&self, number: usize, job: &Job) {
        let house = self.house(number).await;
        house.act(decision(job, Decision::Approve)).await.unwrap();
    }

    /// Waits until the job looks as asked for at a node.
    async fn until(
        &self,
        which: Which,
        number: usize,
        wanted: impl Fn(&JobView) -> bool,
    ) -> JobView {
        let house = self.house(number).await;
        let mut version = 0;
        let deadline = self.clock.now().plus_ms(PATIENCE_MS);
        loop {
            let path = format!("/jobs/{}?after={version}", which.0);
            let view: JobView = house.node().get(&path).await.unwrap();
            if wanted(&view) {
                return view;
            }
            assert!(self.clock.now() < deadline, "{view:?}");
            version = view.version;
        }
    }
}

fn decision(job: &Job, decision: Decision) -> Action {
    Action::DecideJob {
        job: job.plan().job,
        plan: job.digest(),
        decision,
    }
}

fn plan(Which(job, values): Which, rounds: u32, quorum: u16, round_ms: u64) -> Plan {
    Plan {
        job,
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
        tensors: vec![TensorSpec {
            name: "w".into(),
            shape: vec![u32::try_from(values).unwrap()],
            policy: TensorPolicy::Shared,
        }],
        strategy: Strategy::FedAvgM {
            rate: Micro::ONE,
            momentum: Micro(500_000),
        },
        training: LocalTraining {
            epochs: 1,
            batch: 8,
            optimiser: Optimiser::Adam,
            rate: Micro(10_000),
            weight_decay: Micro(0),
            schedule: Schedule::Constant,
            class_weights: Vec::new(),
            augmentation: Augmentation::default(),
            label_smoothing: Micro(0),
            gradient_norm: Micro(0),
            seed: 0,
        },
        rounds,
        roster: (0..3)
            .map(|number| RosterEntry {
                site: organisation(number),
                samples: SAMPLES[number],
                data_set: Digest([u8::try_from(number).unwrap(); 32]),
            })
            .collect(),
        quorum,
        round_ms,
        fraction_bits: 28,
        metrics: vec![MetricSpec {
            name: "loss".into(),
            step: 1000,
            minimum_images: 5,
        }],
        initial_model: digest(&vec![0; values * 4]),
    }
}

/// What the model must be after rounds with these survivors.
fn expected(job: &Job, survivors: &[BTreeSet<usize>]) -> Vec<Model> {
    let first = Model::new(job.layout(), vec![0.0; job.layout().values()]).unwrap();
    let mut state = State::new(job, first).unwrap();
    let mut models = Vec::new();
    for sites in survivors {
        let mut aggregation = Aggregation::new(job);
        let (base, round) = (state.model().clone(), state.round());
        let named = base.digest();
        let assignment = salus_federated::site::Assignment::new(job, round, named, &base).unwrap();
        for &number in sites {
            let step = 1e-3 * (number as f32 + 1.0);
            let values: Vec<f32> = base.values.iter().map(|v| v + step).collect();
            let samples = SAMPLES[number];
            let upload = assignment
                .upload(job, organisation(number), &values, &[], samples, &[])
                .unwrap();
            let bytes = salus_federated::fixed::to_bytes(&upload.payload);
            aggregation.add(job, &upload.update, &bytes).unwrap();
        }
        let sites = sites.iter().map(|n| organisation(*n)).collect();
        state.close(job, &aggregation, &sites).unwrap();
        models.push(state.model().clone());
    }
    models
}

fn all() -> BTreeSet<usize> {
    (0..3).collect()
}

/// One consortium for all of it: three replicas take their time to find each other.
#[tokio::test(flavor = "multi_thread")]
async fn hospitals_train_together_through_refusals_absences_and_restarts() {
    let mut consortium = Consortium::start().await;
    three_hospitals_train_together_and_any_of_them_adds_the_rounds_up_again(&consortium).await;
    a_round_goes_on_without_the_site_that_diverges_and_says_why(&consortium).await;
    coordinator_and_site_may_stop_at_any_moment_and_the_job_ends_with_the_same_bits(
        &mut consortium,
    )
    .await;
    a_site_that_is_ahead_of_its_coordinator_comes_again(&consortium).await;
    memory_does_not_grow_with_the_rounds(&consortium).await;
    what_does_not_belong_is_refused_with_its_reason(&consortium).await;
}

/// The site sees the round open, the coordinator does not yet and says that it is over. Nothing happens on the
/// ledger afterwards that would wake the site.
async fn a_site_that_is_ahead_of_its_coordinator_comes_again(consortium: &Consortium) {
    let job = consortium.propose(AHEAD, 1, 1, 600_000).await;
    consortium.lag.hold_before_the_next_round();
    consortium.approve(1, &job).await;
    let patience = core::time::Duration::from_millis(PATIENCE_MS);
    let again = consortium.lag.has_refused(2);
    let again = timeout(&*consortium.clock, patience, again).await;
    consortium.lag.release();
    again.unwrap();
    let done = consortium
        .until(AHEAD, 1, |view| view.stage == JobStage::Done)
        .await;
    assert_eq!(done.model, expected(&job, &[[1].into()])[0].digest());
}

/// Counted where nothing is under way: the one site has fetched its model and begins to train.
async fn memory_does_not_grow_with_the_rounds(consortium: &Consortium) {
    const EARLY: usize = 2;
    const LATE: usize = 8;
    let job = consortium.propose(LASTING, 9, 1, 600_000).await;
    consortium.approve(1, &job).await;
    for round in 1..=9 {
        let reached = consortium.until(LASTING, 1, |view| view.round >= round);
        reached.await;
    }
    let mut seen = consortium.movers[1].in_use.lock().unwrap().clone();
    seen.retain(|(job, _, _)| *job == LASTING.0);
    let rounds: Vec<u32> = seen.iter().map(|(_, round, _)| *round).collect();
    assert_eq!(rounds, (0..9).collect::<Vec<u32>>());
    let (early, late) = (seen[EARLY].2, seen[LATE].2);
    // One buffer of the model's size kept back in each round would be three times as much.
    let model = LASTING.1 * 4;
    assert!(late < early + (LATE - EARLY) / 3 * model, "{seen:?}");
}

async fn three_hospitals_train_together_and_any_of_them_adds_the_rounds_up_again(
    consortium: &Consortium,
) {
    let job_id = TOGETHER.0;
    let job = consortium.propose(TOGETHER, 2, 3, 600_000).await;
    let proposed = consortium
        .until(TOGETHER, 1, |view| view.sites.len() == 3)
        .await;
    assert_eq!(proposed.stage, JobStage::Proposed);
    assert!(
        proposed
            .sites
            .iter()
            .all(|site| site.activity == SiteActivity::Undecided)
    );
    for number in 0..3 {
        consortium.approve(number, &job).await;
    }
    let done = consortium
        .until(TOGETHER, 2, |view| view.stage == JobStage::Done)
        .await;
    let expected = expected(&job, &[all(), all()]);
    assert_eq!(done.model, expected[1].digest());
    assert_eq!(done.history.len(), 2);
    assert_eq!(done.history[0].model, expected[0].digest());
    assert!((done.history[0].metrics[0].value - 0.5).abs() < 1e-9);
    assert!(done.sites.iter().all(|site| site.counted == 2));

    // A member that did not coordinate adds the second round up again.
    let own = consortium.house(1).await;
    let there = own.at(&done.coordinator_api).await.unwrap();
    let round: RoundView = own
        .node()
        .get(&format!("/jobs/{job_id}/rounds/1"))
        .await
        .unwrap();
    let plan = own
        .node()
        .bytes(&format!("/jobs/{job_id}/plan"), None)
        .await
        .unwrap();
    assert_eq!(digest(&plan), done.plan);
    let state = there
        .node()
        .bytes(&format!("/jobs/{job_id}/rounds/1/state"), None)
        .await
        .unwrap();
    assert_eq!(Some(digest(&state)), round.state);
    let mut state = State::from_bytes(&job, &state).unwrap();
    let mut aggregation = Aggregation::new(&job);
    for header in &round.updates {
        let update = Update::from_bytes(&header.0).unwrap();
        let path = format!("/jobs/{job_id}/rounds/1/updates/{}", update.site);
        let payload = there.node().bytes(&path, None).await.unwrap();
        aggregation.add(&job, &update, &payload).unwrap();
    }
    what_left_each_hospital_is_listed_and_the_model_is_a_file(consortium, &job, &done, &round)
        .await;
    let closed = RoundClosed::from_bytes(&round.closed.unwrap().0).unwrap();
    let survivors = closed.survivors.iter().map(|s| s.site).collect();
    state.close(&job, &aggregation, &survivors).unwrap();
    let result = RoundResult::from_bytes(&round.result.unwrap().0).unwrap();
    assert_eq!(
        (state.model().digest(), state.digest()),
        (result.model, result.state)
    );

    // Each hospital sees its own gain, nobody else's.
    let gain = format!("/jobs/{job_id}/gain");
    let seen = consortium
        .until(TOGETHER, 1, |view| {
            let own = view.sites.iter().find(|s| s.site == organisation(1));
            own.is_some_and(|site| site.activity == SiteActivity::Waiting)
        })
        .await;
    assert_eq!(seen.stage, JobStage::Done);
    let stranger: Result<GainView, _> = there.node().get(&gain).await;
    assert_eq!(stranger.unwrap_err().code(), Some("not-allowed"));
}

async fn what_left_each_hospital_is_listed_and_the_model_is_a_file(
    consortium: &Consortium,
    job: &Job,
    done: &JobView,
    second: &RoundView,
) {
    let own = consortium.house(1).await;
    let path = format!("/jobs/{}", done.job);
    let left: Vec<UpdateView> = own.node().all(&format!("{path}/updates")).await.unwrap();
    let sent: BTreeSet<(u32, OrganisationId)> = left.iter().map(|u| (u.round, u.site)).collect();
    assert_eq!((left.len(), sent.len()), (6, 6));
    assert!(left.windows(2).all(|pair| pair[0].entry < pair[1].entry));
    for update in &left {
        assert_eq!(update.counted, Some(true));
        assert_eq!(update.payload_bytes, job.layout().payload_bytes());
        assert!((update.metrics[0].value - 0.5).abs() < 1e-9);
    }
    for header in &second.updates {
        let header = Update::from_bytes(&header.0).unwrap();
        let listed = left.iter().find(|u| (u.round, u.site) == (1, header.site));
        assert_eq!(listed.map(|u| u.payload), Some(header.payload));
    }

    let coordinator = consortium.house(0).await;
    let export = format!("{path}/export");
    let file = coordinator.node().bytes(&export, None).await.unwrap();
    assert_eq!(file, format!("2 {}", done.model).as_bytes());
    let elsewhere = own.node().bytes(&export, None).await;
    assert_eq!(elsewhere.unwrap_err().code(), Some("not-found"));

    // A plan that cannot be drawn up says why; a member that does not coordinate cannot ask for one.
    let wish = JobRequest {
        purpose: "triage".into(),
        data_sets: vec![Digest([0; 32])],
        network: Architecture::Small,
        strategy: StrategyName::Fedavg,
        rounds: 1,
        local_epochs: 1,
        batch: 8,
        rate: 0.001,
        class_weights: false,
        flip: false,
        quorum: 1,
        round_ms: 60_000,
        seed: 0,
    };
    let refused: Result<JobView, _> = coordinator.node().post("/jobs", &wish).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Some("invalid"));
    let other: Result<JobView, _> = own.node().post("/jobs", &wish).await;
    assert_eq!(other.unwrap_err().code(), Some("not-allowed"));
}

async fn a_round_goes_on_without_the_site_that_diverges_and_says_why(consortium: &Consortium) {
    let job = consortium.propose(DIVERGING, 2, 2, 4_000).await;
    consortium.movers[2].manner.send_replace(Manner::Diverges);
    for number in 0..3 {
        consortium.approve(number, &job).await;
    }
    let told = consortium
        .until(DIVERGING, 2, |view| {
            view.sites.iter().any(|site| site.why.is_some())
        })
        .await;
    let why = told.sites.iter().find_map(|site| site.why.clone()).unwrap();
    assert!(why.contains("not finite"), "{why}");
    let first = consortium.until(DIVERGING, 1, |view| view.round == 1).await;
    let two: BTreeSet<usize> = [0, 1].into();
    assert_eq!(first.history[0].sites, 2);
    // It comes back in the next round.
    consortium.movers[2].manner.send_replace(Manner::Honest);
    let done = consortium
        .until(DIVERGING, 1, |view| view.stage == JobStage::Done)
        .await;
    let next = match done.history[1].sites {
        3 => all(),
        _ => two.clone(),
    };
    assert_eq!(done.model, expected(&job, &[two, next])[1].digest());
}

async fn coordinator_and_site_may_stop_at_any_moment_and_the_job_ends_with_the_same_bits(
    consortium: &mut Consortium,
) {
    let job = consortium.propose(STOPPING, 3, 3, 600_000).await;
    for number in 0..3 {
        consortium.approve(number, &job).await;
    }
    // Stopped wherever it happens to be in a round, first a site, then the coordinator.
    consortium
        .until(STOPPING, 0, |view| {
            view.round >= 1 || view.sites.iter().any(|s| s.activity == SiteActivity::Sent)
        })
        .await;
    consortium.stop_node(2).await;
    consortium.start_node(2).await;
    consortium.until(STOPPING, 1, |view| view.round >= 1).await;
    consortium.stop_node(0).await;
    consortium.start_node(0).await;
    let done = consortium
        .until(STOPPING, 1, |view| view.stage == JobStage::Done)
        .await;
    let expected = expected(&job, &[all(), all(), all()]);
    assert_eq!(done.model, expected[2].digest());
    assert!(done.history.iter().all(|round| round.sites == 3));
}

async fn what_does_not_belong_is_refused_with_its_reason(consortium: &Consortium) {
    let job_id = REFUSING.0;
    let job = consortium.propose(REFUSING, 1, 2, 600_000).await;
    let code = |outcome: Result<salus_proto::api::command::CommandReceipt, salus_client::Error>| {
        outcome.unwrap_err().code().map(str::to_owned).unwrap()
    };
    consortium.movers[1].manner.send_replace(Manner::Stalls);
    consortium.movers[2].manner.send_replace(Manner::Stalls);
    let (coordinator, site, other) = (
        consortium.house(0).await,
        consortium.house(1).await,
        consortium.house(2).await,
    );
    // Not before a quorum of sites has agreed, and only by the coordinator.
    let opened = |model| RoundOpened {
        job: REFUSING.0,
        round: 0,
        model,
        deadline: TimestampMs(consortium.clock.now().0 + 60_000),
    };
    let model = job.plan().initial_model;
    let open = |model| Action::OpenRound {
        opened: opened(model),
    };
    assert_eq!(code(coordinator.act(open(model)).await), "wrong-state");
    assert_eq!(code(site.act(open(model)).await), "not-allowed");
    consortium.approve(1, &job).await;
    consortium.approve(2, &job).await;
    consortium
        .until(REFUSING, 1, |view| view.stage == JobStage::Open)
        .await;

    let update = |round, base, samples| Update {
        job: REFUSING.0,
        round,
        site: organisation(1),
        base,
        payload: Digest([1; 32]),
        payload_bytes: job.layout().payload_bytes(),
        samples,
        clipped: 0,
        metrics: Vec::new(),
    };
    let send = |update| Action::SendUpdate { update };
    let samples = SAMPLES[1];
    let stale = site.act(send(update(0, Digest([9; 32]), samples))).await;
    assert_eq!(code(stale), "stale-model");
    let early = site.act(send(update(1, model, samples))).await;
    assert_eq!(code(early), "round-over");
    let many = site.act(send(update(0, model, samples + 1))).await;
    assert_eq!(code(many), "out-of-range");
    let foreign = other.act(send(update(0, model, samples))).await;
    assert_eq!(code(foreign), "not-allowed");
    let there = site.at(&consortium.genesis.members[0].api).await.unwrap();
    let path = format!("/jobs/{job_id}/rounds/0/update");
    let wrong = update(0, model, samples).to_bytes();
    let nothing = there
        .node()
        .post_cbor::<serde_json::Value>(&path, wrong.into())
        .await;
    assert_eq!(nothing.unwrap_err().code(), Some("incomplete"));
    // Beyond what the site's share allows: the bytes are refused and the site is told where.
    let loud = salus_federated::fixed::to_bytes(&vec![i32::MAX; LARGE]);
    let mut header = update(0, model, samples);
    header.payload = digest(&loud);
    for at in (0..loud.len()).step_by(8 << 20) {
        let end = loud.len().min(at + (8 << 20));
        let piece = Bytes::copy_from_slice(&loud[at..end]);
        let (node, from, so_far) = (there.node(), at as u64, digest(&loud[..end]));
        let state = node.put_piece(&path, from, piece.clone(), &so_far);
        assert_eq!(state.await.unwrap().arrived, end as u64);
        // The same piece again changes nothing and says where to go on.
        let state = node.put_piece(&path, from, piece, &so_far);
        assert_eq!(state.await.unwrap().arrived, end as u64);
    }
    let refused = there
        .node()
        .post_cbor::<serde_json::Value>(&path, header.to_bytes().into())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some("invalid"));
    let view = consortium
        .until(REFUSING, 0, |view| {
            view.sites.iter().any(|site| site.why.is_some())
        })
        .await;
    let why = view.sites.iter().find_map(|site| site.why.clone()).unwrap();
    assert!(why.contains("clip bound"), "{why}");

    // Vouched for but never uploaded: it does not count, and the round does not close on it.
    site.act(send(update(0, model, samples))).await.unwrap();
    let view = consortium.until(REFUSING, 0, |_| true).await;
    assert_eq!((view.stage, view.round), (JobStage::Open, 0));
}
