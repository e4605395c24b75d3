//! Federated jobs at this node: the coordinator of its own jobs and the agent of its own site.
//!
//! ```text
//!  ledger ── RoundOpened ──► site: fetch model ─► Trainer ─► upload, header on the ledger
//!    ▲                                                             │
//!    └── closed, published ◄── coordinator: add up ◄───────────────┘
//! ```
//!
//! | Term | Meaning |
//! |---|---|
//! | shelf | the files of jobs: models, states, updates; nothing about a patient |
//! | live | what the coordinator sees of its sites between ledger entries; forgotten at a restart |
//!
//! Both sides are woken by the ledger and hold nothing that it cannot give back: the coordinator's state
//! is the one whose digest the last result names, a site's update the one that it stored before it
//! sent the first byte. So either may be killed at any moment and goes on with the same bits.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use salus_client::node::Node;
use salus_contract::table::{Jobs, Plans, get};
use salus_federated::{Job, Model};
use salus_proto::api::training::{
    CalibrationView, ClassProbability, DataSetRequest, DataSetView, GainView, JobRequest,
    OwnFigures, SiteActivity,
};
use salus_proto::federated::{DataCard, Plan};
use salus_proto::ids::{JobId, OrganisationId};
use salus_runtime::{Shelf, params};
use tokio::sync::watch;

use crate::app::App;
use crate::node::LedgerView;
use crate::problem::{Problem, Result};

pub(crate) mod coordinator;
pub(crate) mod site;

/// Most jobs that a node looks at.
const JOBS_LIMIT: u32 = 1000;

/// What federated jobs need from the node around the server.
#[derive(Clone, Debug)]
pub struct Training {
    /// Where the files of jobs are.
    pub shelf: Shelf,
    /// What opens images, trains and judges.
    pub trainer: Arc<dyn Trainer>,
    /// A node whose certificate authorities vouch for the other members' nodes.
    pub reach: Node,
}

/// The part of a site that sees images: opens them, trains, tests, judges. The server knows neither
/// images nor networks.
pub trait Trainer: Send + Sync + fmt::Debug + 'static {
    /// Opens the hospital's labelled images and says what there is.
    fn offer(&self, wish: DataSetRequest) -> BoxFuture<'_, Result<DataCard, TrainerError>>;

    /// Trains on the site's images, from the round's model.
    fn train(&self, task: Task) -> BoxFuture<'_, Result<Trained, TrainerError>>;

    /// A job is done: keeps its model for judging images and says what the hospital gained.
    fn finish(&self, done: Finished) -> BoxFuture<'_, Result<Gain, TrainerError>>;

    /// Draws up a plan over data sets, and the model that its first round starts from.
    fn draft(
        &self,
        wish: JobRequest,
        sets: Vec<DataSetView>,
    ) -> BoxFuture<'_, Result<Draft, TrainerError>>;

    /// A finished model as a file for other programs (safetensors).
    fn export(&self, job: Arc<Job>, model: Model) -> BoxFuture<'_, Result<Bytes, TrainerError>>;

    /// What the model of a job says of one image.
    fn judge(
        &self,
        job: JobId,
        image: Bytes,
        heat_map: bool,
    ) -> BoxFuture<'_, Result<Judged, TrainerError>>;
}

/// A plan that can be proposed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Everything about the job.
    pub plan: Plan,
    /// The encoded model whose digest the plan names.
    pub model: Bytes,
}

/// A round that a site trains.
#[derive(Clone, Debug)]
pub struct Task {
    /// The job.
    pub job: Arc<Job>,
    /// The site.
    pub site: OrganisationId,
    /// The round.
    pub round: u32,
    /// The model that it starts from.
    pub base: Arc<Model>,
    /// What the site kept after the round that it last trained.
    pub kept: Option<Bytes>,
}

/// What training came to.
#[derive(Clone, PartialEq)]
pub struct Trained {
    /// The shared values after training.
    pub values: Vec<f32>,
    /// The change of the site's control variate, where the strategy has controls.
    pub controls: Vec<f32>,
    /// Images trained on.
    pub samples: u32,
    /// Figures in the order of the plan's metric schema, with the images behind each.
    pub metrics: Vec<(f64, u32)>,
    /// What stays at the site for its next round: local tensors, its control variate.
    pub kept: Bytes,
}

impl fmt::Debug for Trained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trained")
            .field("values", &self.values.len())
            .field("samples", &self.samples)
            .finish_non_exhaustive()
    }
}

/// A job whose last round has been published.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The job.
    pub job: Arc<Job>,
    /// The site.
    pub site: OrganisationId,
    /// The final model.
    pub model: Arc<Model>,
    /// What the site kept after the round that it last trained.
    pub kept: Option<Bytes>,
}

/// Both models on the hospital's own test images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    /// Test images.
    pub images: u32,
    /// Patients behind them.
    pub patients: u32,
    /// Trained with the others.
    pub together: OwnFigures,
    /// Trained on the hospital's own images only.
    pub alone: OwnFigures,
}

/// What a model says of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The most likely class.
    pub class: String,
    /// Probability of each class.
    pub probabilities: Vec<ClassProbability>,
    /// Why not to rely on it.
    pub warnings: Vec<String>,
    /// How far its probabilities were checked here.
    pub calibration: CalibrationView,
    /// A PNG with the regions that mattered.
    pub heat_map: Option<Vec<u8>>,
    /// A PNG of those regions alone.
    pub heat_layer: Option<Vec<u8>>,
    /// What the model may be used for.
    pub notice: String,
}

/// Why the trainer has no answer. Its text names no patient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrainerError {
    /// What was asked cannot be done with what there is; the text says why.
    #[error("{0}")]
    Refused(String),
    /// There is no such model here.
    #[error("this node has no model of that job")]
    NoModel,
    /// Something failed; it may work later.
    #[error("{0}")]
    Failed(String),
}

impl From<TrainerError> for Problem {
    fn from(error: TrainerError) -> Self {
        match error {
            TrainerError::Refused(why) => Self::invalid([("", why)]),
            TrainerError::NoModel => {
                Self::conflict("no-model", "This node has no model of that job")
            }
            TrainerError::Failed(why) => {
                tracing::error!(why, "training failed");
                Self::unavailable("training-failed", "Training or judging failed; see the log")
            }
        }
    }
}

/// What this node knows of jobs beyond the ledger.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) parts: Training,
    board: Mutex<Board>,
    /// Counts changes of the board and arrivals of models: wakes whoever waits.
    pub(crate) moved: watch::Sender<u64>,
    pub(crate) running: tokio::sync::Mutex<BTreeMap<JobId, coordinator::Running>>,
}

/// What sites were last seen doing, each with the number of that change.
#[derive(Debug, Default)]
struct Board {
    changes: u64,
    live: BTreeMap<(JobId, OrganisationId), (u64, Live)>,
}

/// What a site was last seen doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) round: u32,
    pub(crate) activity: SiteActivity,
    pub(crate) why: Option<String>,
}

impl Desk {
    pub(crate) fn new(parts: Training) -> Self {
        Self {
            parts,
            board: Mutex::default(),
            moved: watch::Sender::new(0),
            running: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.parts.shelf
    }

    /// Notes what a site is doing.
    pub(crate) fn see(
        &self,
        job: JobId,
        site: OrganisationId,
        round: u32,
        activity: SiteActivity,
        why: Option<String>,
    ) {
        let seen = Live {
            round,
            activity,
            why,
        };
        let changed = {
            let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
            let known = board.live.get(&(job, site));
            let changed = known.is_none_or(|(_, known)| *known != seen);
            if changed {
                board.changes += 1;
                let number = board.changes;
                board.live.insert((job, site), (number, seen));
            }
            changed
        };
        if changed {
            self.moved.send_modify(|count| *count += 1);
        }
    }

    /// The number of the last change, and the jobs in which anything changed after number `after`.
    pub(crate) fn changed_since(&self, after: u64) -> (u64, BTreeSet<JobId>) {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = board.live.iter().filter(|(_, (at, _))| *at > after);
        (board.changes, recent.map(|((job, _), _)| *job).collect())
    }

    /// What a site was last seen doing.
    pub(crate) fn seen(&self, job: JobId, site: OrganisationId) -> Option<Live> {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.live.get(&(job, site)).map(|(_, seen)| seen.clone())
    }
}

/// Names of a job's files.
pub(crate) mod name {
    use salus_proto::ids::{JobId, OrganisationId};

    /// The model that round 0 starts from.
    pub(crate) fn initial(job: JobId) -> String {
        format!("{job}.initial")
    }

    /// The coordinator's state before a round; `round` above 0.
    pub(crate) fn state(job: JobId, round: u32) -> String {
        format!("{job}.{round}.state")
    }

    /// A site's update as the coordinator received it.
    pub(crate) fn received(job: JobId, round: u32, site: OrganisationId) -> String {
        format!("{job}.{round}.{site}")
    }

    /// The model of a round as a site fetched it.
    pub(crate) fn base(job: JobId, round: u32) -> String {
        format!("{job}.{round}.base")
    }

    /// A site's own update.
    pub(crate) fn own(job: JobId, round: u32) -> String {
        format!("{job}.{round}.own")
    }

    /// The header of a site's own update; written last.
    pub(crate) fn header(job: JobId, round: u32) -> String {
        format!("{job}.{round}.header")
    }

    /// What a site keeps after a round.
    pub(crate) fn kept(job: JobId, round: u32) -> String {
        format!("{job}.{round}.kept")
    }

    /// What a hospital gained by a job.
    pub(crate) fn gain(job: JobId) -> String {
        format!("{job}.gain")
    }
}

impl App {
    /// The jobs' desk, or 404 on a node without one.
    pub(crate) fn desk(&self) -> Result<&Desk> {
        self.desk.as_ref().ok_or_else(Problem::not_found)
    }

    /// Ids of the jobs on the ledger, oldest first.
    pub(crate) async fn job_ids(&self) -> Result<Vec<JobId>> {
        let rows: Vec<(JobId,)> = self
            .database
            .read()
            .await?
            .all(
                "SELECT job FROM listed_job ORDER BY entry DESC LIMIT $1",
                &params![JOBS_LIMIT],
            )
            .await?;
        Ok(rows.into_iter().rev().map(|(job,)| job).collect())
    }
}

/// The checked plan of a job and where the ledger says it stands.
pub(crate) fn job_of(
    view: &dyn LedgerView,
    id: JobId,
) -> Result<(Job, salus_contract::table::Job)> {
    let plan = get::<Plans>(view, &id).ok_or_else(Problem::not_found)?;
    let row = get::<Jobs>(view, &id).ok_or_else(Problem::not_found)?;
    let job = Job::new(plan).map_err(|_| Problem::internal())?;
    Ok((job, row))
}

/// What was gained, as the API says it.
pub(crate) fn gain_view(job: JobId, gain: &Gain) -> GainView {
    GainView {
        job,
        images: gain.images,
        patients: gain.patients,
        together: gain.together,
        alone: gain.alone,
    }
}

/// Problem of an update that is not accepted: the site is told why.
pub(crate) fn not_accepted(refusal: &salus_federated::Refusal) -> Problem {
    use salus_federated::Refusal as R;
    let (code, title) = match refusal {
        R::StaleBase { .. } => ("stale-model", "The update starts from another model"),
        R::WrongRound { .. } | R::Closed => ("round-over", "That round is not open"),
        R::Duplicate(_) => ("already-exists", "The site has sent another update"),
        _ => {
            return Problem::invalid([("", refusal.to_string())]);
        }
    };
    Problem::conflict(code, title).detail(refusal.to_string())
}
