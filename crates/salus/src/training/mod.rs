//! The hospital's side of a federated job that sees images: opens them inside the node, trains, tests,
//! keeps the finished models and judges images with them.

mod images;
mod recipe;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use salus_imaging::calibration::{Calibration, Warning};
use salus_imaging::metrics::{Report, figures, report};
use salus_imaging::model::{Lineage, Model};
use salus_imaging::network::Blueprint;
use salus_imaging::predict::Predictor;
use salus_imaging::site::{Kept, Site, assemble};
use salus_imaging::train::{Engine, Judge};
use salus_imaging::weights::Weights;
use salus_proto::Digest;
use salus_proto::api::training::{
    CalibrationView, ClassProbability, DataSetRequest, DataSetView, JobRequest, OwnFigures,
};
use salus_proto::federated::{DataCard, TensorPolicy};
use salus_proto::ids::{JobId, OrganisationId};
use salus_server::training::{Draft, Finished, Gain, Judged, Task, Trained, Trainer, TrainerError};
use salus_vault::Vault;

use self::images::Images;
pub(crate) use self::recipe::{Recipe, Terms, plan};

/// Data sets and models that stay in memory.
const CACHED: usize = 4;

/// A site's trainer. Clones share what is cached.
#[derive(Debug, Clone)]
pub(crate) struct SiteTrainer {
    vault: Vault,
    folder: PathBuf,
    cache: Arc<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    images: Mutex<BTreeMap<Digest, Arc<Images>>>,
    models: Mutex<BTreeMap<JobId, Arc<Model>>>,
}

impl SiteTrainer {
    /// A trainer that keeps data set lists and models below `folder`.
    pub(crate) fn new(vault: Vault, folder: &Path) -> Self {
        Self {
            vault,
            folder: folder.to_owned(),
            cache: Arc::default(),
        }
    }

    async fn images(&self, data_set: Digest) -> Result<Arc<Images>, TrainerError> {
        if let Some(images) = recall(&self.cache.images, &data_set) {
            return Ok(images);
        }
        let images = images::load(&self.vault, &self.folder, data_set).await?;
        Ok(keep(&self.cache.images, data_set, images))
    }

    fn model(&self, job: JobId) -> Result<Arc<Model>, TrainerError> {
        if let Some(model) = recall(&self.cache.models, &job) {
            return Ok(model);
        }
        let folder = self.model_folder(job);
        if !folder.is_dir() {
            return Err(TrainerError::NoModel);
        }
        let model = Model::open(&folder).map_err(failed)?;
        Ok(keep(&self.cache.models, job, model))
    }

    fn model_folder(&self, job: JobId) -> PathBuf {
        self.folder.join("models").join(job.to_string())
    }
}

fn recall<K: Ord, T>(cache: &Mutex<BTreeMap<K, Arc<T>>>, key: &K) -> Option<Arc<T>> {
    let cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    cache.get(key).cloned()
}

fn keep<K: Ord, T>(cache: &Mutex<BTreeMap<K, Arc<T>>>, key: K, value: T) -> Arc<T> {
    let value = Arc::new(value);
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= CACHED {
        cache.pop_first();
    }
    cache.insert(key, Arc::clone(&value));
    value
}

fn failed(error: salus_imaging::Error) -> TrainerError {
    use salus_imaging::Error;
    match error {
        Error::Diverged | Error::Image(_) | Error::DataSet(_) | Error::Setting(_) => {
            TrainerError::Refused(error.to_string())
        }
        Error::Refused(refusal) => TrainerError::Refused(refusal.to_string()),
        Error::File { .. } | Error::Model(_) | Error::Device(_) => {
            TrainerError::Failed(error.to_string())
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TrainerError> + Send + 'static,
) -> Result<T, TrainerError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(TrainerError::Failed("training was interrupted".into())))
}

fn kept(stored: Option<Bytes>) -> Result<Kept, TrainerError> {
    stored.map_or_else(
        || Ok(Kept::default()),
        |bytes| Kept::from_bytes(&bytes).map_err(failed),
    )
}

/// The site's number and data set on a plan's roster.
fn seat(
    plan: &salus_proto::federated::Plan,
    site: OrganisationId,
) -> Result<(u64, Digest), TrainerError> {
    let mut seats = (0_u64..).zip(&plan.roster);
    let seat = seats.find(|(_, entry)| entry.site == site);
    let (number, entry) =
        seat.ok_or_else(|| TrainerError::Refused("this hospital is not on the roster".into()))?;
    Ok((number, entry.data_set))
}

impl Trainer for SiteTrainer {
    fn offer(&self, wish: DataSetRequest) -> BoxFuture<'_, Result<DataCard, TrainerError>> {
        async move {
            let images = images::collect(&self.vault, wish).await?;
            let card = images.card();
            images.remember(&self.folder)?;
            keep(&self.cache.images, card.data_set, images);
            Ok(card)
        }
        .boxed()
    }

    fn train(&self, task: Task) -> BoxFuture<'_, Result<Trained, TrainerError>> {
        async move {
            let (number, data_set) = seat(task.job.plan(), task.site)?;
            let images = self.images(data_set).await?;
            blocking(move || train(&task, number, &images)).await
        }
        .boxed()
    }

    fn finish(&self, done: Finished) -> BoxFuture<'_, Result<Gain, TrainerError>> {
        async move {
            let (number, data_set) = seat(done.job.plan(), done.site)?;
            let images = self.images(data_set).await?;
            let folder = self.model_folder(done.job.plan().job);
            blocking(move || finish(&done, number, &images, &folder)).await
        }
        .boxed()
    }

    fn draft(
        &self,
        wish: JobRequest,
        sets: Vec<DataSetView>,
    ) -> BoxFuture<'_, Result<Draft, TrainerError>> {
        // Whatever does not fit is in what was asked for.
        blocking(move || {
            recipe::draft(&wish, &sets).map_err(|e| TrainerError::Refused(format!("{e:#}")))
        })
        .boxed()
    }

    fn export(
        &self,
        job: Arc<salus_federated::Job>,
        model: salus_federated::Model,
    ) -> BoxFuture<'_, Result<Bytes, TrainerError>> {
        blocking(move || {
            let plan = job.plan();
            if plan.tensors.iter().any(|t| t.policy == TensorPolicy::Local) {
                return Err(TrainerError::Refused(
                    "parts of this model stay at each site; there is no whole one to take along"
                        .into(),
                ));
            }
            let blueprint = Blueprint::new(&plan.network).map_err(failed)?;
            let weights = assemble(&blueprint, plan, &model, &Kept::default());
            weights.to_safetensors().map(Bytes::from).map_err(failed)
        })
        .boxed()
    }

    fn judge(
        &self,
        job: JobId,
        image: Bytes,
        heat_map: bool,
    ) -> BoxFuture<'_, Result<Judged, TrainerError>> {
        async move {
            let trainer = self.clone();
            blocking(move || judge(&*trainer.model(job)?, &image, heat_map)).await
        }
        .boxed()
    }
}

fn train(task: &Task, number: u64, images: &Images) -> Result<Trained, TrainerError> {
    let plan = task.job.plan();
    let (blueprint, engine) = (
        Blueprint::new(&plan.network).map_err(failed)?,
        Engine::cpu(),
    );
    let kept = kept(task.kept.clone())?;
    let site = Site {
        blueprint: &blueprint,
        engine: &engine,
        data: &images.data,
        training: &images.training,
        number,
    };
    let trained = site
        .train(&task.job, task.round, &task.base, &kept)
        .map_err(failed)?;
    // The model that the round starts from, on the hospital's own test images.
    let weights = assemble(&blueprint, plan, &task.base, &kept);
    let judge = Judge::new(&blueprint, &weights, &engine);
    let scored = judge
        .score(&images.data, &images.test, 1.0)
        .map_err(failed)?;
    let classes = images.data.classes.len();
    let tested = figures(&scored.iter().collect::<Vec<_>>(), classes);
    let (samples, tests) = (count(images.training.len()), count(images.test.len()));
    let metrics = plan.metrics.iter().map(|spec| match spec.name.as_str() {
        "loss" => (trained.loss, samples),
        "auc" => (tested.auc.unwrap_or(f64::NAN), tests),
        "accuracy" if tests > 0 => (tested.accuracy, tests),
        _ => (f64::NAN, 0),
    });
    Ok(Trained {
        metrics: metrics.collect(),
        samples,
        kept: trained.kept.to_bytes().into(),
        values: trained.values,
        controls: trained.controls,
    })
}

fn finish(
    done: &Finished,
    number: u64,
    images: &Images,
    folder: &Path,
) -> Result<Gain, TrainerError> {
    let plan = done.job.plan();
    let (blueprint, engine) = (
        Blueprint::new(&plan.network).map_err(failed)?,
        Engine::cpu(),
    );
    let kept = kept(done.kept.clone())?;
    let together = assemble(&blueprint, plan, &done.model, &kept);
    let site = Site {
        blueprint: &blueprint,
        engine: &engine,
        data: &images.data,
        training: &images.training,
        number,
    };
    let alone = site.alone(plan).map_err(failed)?;
    let tested = |weights: &Weights| -> Result<Report, TrainerError> {
        let judge = Judge::new(&blueprint, weights, &engine);
        let scored = judge
            .score(&images.data, &images.test, 1.0)
            .map_err(failed)?;
        Ok(report(
            &scored,
            images.data.classes.len(),
            plan.training.seed,
        ))
    };
    let (with, without) = (tested(&together)?, tested(&alone)?);
    let judge = Judge::new(&blueprint, &together, &engine);
    let all: Vec<usize> = (0..images.data.samples.len()).collect();
    let calibration =
        Calibration::measure_with(&judge, &images.data, &images.test, &all).map_err(failed)?;
    let lineage = Lineage {
        training: "federated".into(),
        plan: Some(done.job.digest().to_string()),
        rounds: plan.rounds,
        data: plan
            .roster
            .iter()
            .map(|entry| entry.data_set.to_string())
            .collect(),
        model: Some(done.model.digest().to_string()),
        seed: plan.training.seed,
    };
    Model::new(blueprint, together, calibration, lineage)
        .save(folder)
        .map_err(failed)?;
    Ok(Gain {
        images: count(with.images),
        patients: count(with.patients),
        together: own_figures(&with),
        alone: own_figures(&without),
    })
}

fn judge(model: &Model, image: &[u8], heat_map: bool) -> Result<Judged, TrainerError> {
    let engine = Engine::cpu();
    let predictor = Predictor::new(model, &engine);
    let picture = predictor.picture(image).map_err(failed)?;
    let prediction = predictor.predict(&picture).map_err(failed)?;
    let (heat_map, heat_layer) = if heat_map {
        let whole = predictor.heat_map(&picture).map_err(failed)?;
        let layer = predictor.heat_layer(&picture).map_err(failed)?;
        (Some(whole), Some(layer))
    } else {
        (None, None)
    };
    let calibration = &model.config.calibration;
    let probabilities = prediction.probabilities.into_iter();
    Ok(Judged {
        class: prediction.class,
        probabilities: probabilities
            .map(|p| ClassProbability {
                class: p.class,
                probability: p.probability,
            })
            .collect(),
        warnings: prediction.warnings.into_iter().map(word).collect(),
        calibration: CalibrationView {
            calibrated: calibration.temperature.is_some(),
            images: calibration.images.iter().map(|n| count(*n)).collect(),
        },
        heat_map,
        heat_layer,
        notice: model.config.notice.clone(),
    })
}

/// A warning's word in JSON.
fn word(warning: Warning) -> String {
    let json = serde_json::to_value(warning).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}

fn own_figures(report: &Report) -> OwnFigures {
    OwnFigures {
        accuracy: report.figures.accuracy,
        balanced_accuracy: report.figures.balanced_accuracy,
        auc: report.figures.auc,
        auc_95: report.auc_95,
    }
}

fn count(images: usize) -> u32 {
    u32::try_from(images).unwrap_or(u32::MAX)
}
