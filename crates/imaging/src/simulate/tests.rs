//! Small federations and baselines on discs, which a network learns in a few passes.

use salus_proto::federated::{Architecture, Augmentation, Optimiser as Kind, Schedule};

use super::*;
use crate::calibration::Warning;
use crate::checkpoint;
use crate::dataset::testing::discs;
use crate::picture::Picture;
use crate::predict::Predictor;
use crate::random::Seeded;

struct Silent<'a>(&'a mut dyn FnMut(&RoundReport));

impl Watch for Silent<'_> {
    fn seconds(&mut self) -> f64 {
        0.0
    }

    fn round(&mut self, round: &RoundReport) {
        (self.0)(round);
    }
}

fn settings(strategy: Strategy) -> Settings {
    Settings {
        sites: 3,
        deal: Deal::Dirichlet(2.0),
        seed: 5,
        rounds: 3,
        strategy,
        training: LocalTraining {
            epochs: 1,
            batch: 16,
            optimiser: Kind::Sgd { momentum: Micro(0) },
            rate: Micro(30_000),
            weight_decay: Micro(0),
            schedule: Schedule::Cosine,
            class_weights: Vec::new(),
            augmentation: Augmentation::default(),
            label_smoothing: Micro(0),
            gradient_norm: Micro(2_000_000),
            seed: 0,
        },
        class_weights: true,
        architecture: Architecture::Small,
        normalisation: Normalisation::Group,
        validation: 0.25,
        absent: 0,
        fold: None,
        patience: None,
    }
}

fn simulate(data: &DataSet, settings: &Settings, out: &Path) -> Result<RunReport, Error> {
    federated(
        data,
        settings,
        &Engine::cpu(),
        out,
        &mut Silent(&mut |_| {}),
    )
}

#[test]
fn a_federation_learns_writes_its_model_and_resumes_with_the_same_bits() {
    let data = discs(160, 28, 1);
    let settings = settings(Strategy::FedAvgM {
        rate: Micro::ONE,
        momentum: Micro(500_000),
    });
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let checkpoint = whole.path().join(checkpoint::FILE);
    let mut keep = |round: &RoundReport| {
        if round.round == 2 {
            std::fs::copy(&checkpoint, cut.path().join(checkpoint::FILE)).unwrap();
        }
    };
    let mut watch = Silent(&mut keep);
    let report = federated(&data, &settings, &Engine::cpu(), whole.path(), &mut watch).unwrap();
    assert!(
        report.test.as_ref().unwrap().figures.auc.unwrap() > 0.95,
        "{report:?}"
    );
    assert_eq!(report.rounds.len(), 3);
    assert!(
        report
            .rounds
            .iter()
            .all(|r| r.sites == 3 && r.bytes_up > 0 && r.clipped == 0)
    );
    assert_eq!(report.hospitals.len(), 3);

    let mut rounds = 0;
    let mut count = |_: &RoundReport| rounds += 1;
    let resumed = federated(
        &data,
        &settings,
        &Engine::cpu(),
        cut.path(),
        &mut Silent(&mut count),
    )
    .unwrap();
    assert_eq!(rounds, 1, "only the last round was left");
    assert_eq!(resumed, report);
    let weights = |folder: &Path| std::fs::read(folder.join(crate::model::WEIGHTS)).unwrap();
    assert!(weights(whole.path()) == weights(cut.path()));

    // The model predicts, explains, and doubts what it was not trained on.
    let model = Model::open(whole.path()).unwrap();
    assert_eq!(model.config.lineage.plan, report.plan);
    let predictor = Predictor::new(&model, &Engine::cpu());
    let sample = &data.samples[data.of(Split::Test)[0]];
    let usual = Picture::from_grey(sample.pixels.clone(), [28, 28], 1, 28).unwrap();
    let prediction = predictor.predict(&usual).unwrap();
    assert_eq!(prediction.class, data.classes[sample.class]);
    let sum: f32 = prediction.probabilities.iter().map(|p| p.probability).sum();
    assert!((sum - 1.0).abs() < 1e-5);
    assert!(
        !prediction.warnings.contains(&Warning::WrongModality),
        "{prediction:?}"
    );
    let heat = image::load_from_memory(&predictor.heat_map(&usual).unwrap()).unwrap();
    assert_eq!((heat.width(), heat.height()), (280, 280));
    let black = Picture::from_grey(vec![0; 784], [28, 28], 1, 28).unwrap();
    assert!(
        predictor
            .predict(&black)
            .unwrap()
            .warnings
            .contains(&Warning::WrongModality)
    );
    let wide = Picture::from_grey(sample.pixels.repeat(3), [84, 28], 1, 28).unwrap();
    assert!(
        predictor
            .predict(&wide)
            .unwrap()
            .warnings
            .contains(&Warning::WrongModality)
    );
}

#[test]
fn every_strategy_runs_with_a_site_missing_where_it_can() {
    let data = discs(240, 28, 1);
    let (rate, beta1, beta2, tau) = (Micro(3_000), Micro(900_000), Micro(990_000), Micro(1_000));
    for strategy in [
        Strategy::FedAvg,
        Strategy::FedProx { mu: Micro(10_000) },
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
        Strategy::FedAdagrad {
            rate,
            beta1: Micro(0),
            tau,
        },
        Strategy::Scaffold { rate: Micro::ONE },
        Strategy::FedBn,
        Strategy::Median,
        Strategy::TrimmedMean { trim: 1 },
        Strategy::Krum { byzantine: 0 },
        Strategy::MultiKrum {
            byzantine: 0,
            keep: 1,
        },
    ] {
        let settings = Settings {
            sites: 4,
            absent: 1,
            rounds: 2,
            ..settings(strategy)
        };
        let out = tempfile::tempdir().unwrap();
        let report = simulate(&data, &settings, out.path()).unwrap();
        assert!(
            report
                .rounds
                .iter()
                .all(|r| r.sites == 3 && r.loss.is_finite()),
            "{strategy:?}"
        );
        let personal = strategy == Strategy::FedBn;
        assert_eq!(
            out.path().join("site-03").is_dir(),
            personal,
            "{strategy:?}"
        );
        assert_eq!(Model::open(out.path()).is_ok(), !personal, "{strategy:?}");
        assert!(
            report
                .hospitals
                .iter()
                .all(|h| h.test.is_some() == personal)
        );
    }
}

#[test]
fn baselines_make_as_many_passes_and_stop_early_only_when_asked() {
    let data = discs(160, 28, 1);
    let mut settings = settings(Strategy::FedAvg);
    let out = tempfile::tempdir().unwrap();
    let run = |settings: &Settings, folder: &str| {
        let out = out.path().join(folder);
        central(
            &data,
            settings,
            &Engine::cpu(),
            &out,
            &mut Silent(&mut |_| {}),
        )
        .unwrap()
    };
    let pooled = run(&settings, "central");
    assert_eq!(pooled.rounds.len(), 3);
    assert!(pooled.test.unwrap().figures.auc.unwrap() > 0.9);
    assert_eq!(pooled.test_classes.len(), data.of(Split::Test).len());
    let folder = out.path().join("local");
    let alone = local(
        &data,
        &settings,
        &Engine::cpu(),
        &folder,
        &mut Silent(&mut |_| {}),
    )
    .unwrap();
    assert_eq!((alone.rounds.len(), alone.hospitals.len()), (9, 3));
    assert!(alone.hospitals.iter().all(|h| h.test.is_some()));
    assert!(Model::open(&folder.join("site-00")).is_ok());
    // Nothing is learnt, so the loss is the lowest after the first pass and never falls again.
    settings.training.rate = Micro(0);
    settings.rounds = 6;
    for (patience, passes) in [(None, 6), (Some(0), 2), (Some(2), 4), (Some(9), 6)] {
        settings.patience = patience;
        let folder = format!("patience {patience:?}");
        let rounds = run(&settings, &folder).rounds;
        assert_eq!(rounds.len(), passes, "{folder}");
        let losses: Vec<u64> = rounds
            .iter()
            .map(|round| round.validation.unwrap().loss.to_bits())
            .collect();
        assert!(losses.iter().all(|loss| *loss == losses[0]), "{folder}");
    }
}

/// At a high rate on classes that are easily told apart every pass lowers the loss, by less and less as the
/// schedule ends: nothing stops early. Where the labels mean nothing, the loss soon rises.
#[test]
fn early_stopping_waits_from_the_lowest_loss_and_keeps_the_weights_of_that_pass() {
    let clear = discs(160, 28, 1);
    let mut meaningless = clear.clone();
    for sample in &mut meaningless.samples {
        sample.class = usize::from(Seeded::new(1, &[sample.patient as u64]).unit() < 0.5);
    }
    let mut settings = settings(Strategy::FedAvg);
    settings.training.rate = Micro(300_000);
    settings.rounds = 10;
    let mut losses = |data: &DataSet, patience: u32| {
        settings.patience = Some(patience);
        let out = tempfile::tempdir().unwrap();
        let mut watch = Silent(&mut |_| {});
        let report = central(data, &settings, &Engine::cpu(), out.path(), &mut watch).unwrap();
        let rounds = report.rounds.iter();
        let losses: Vec<f64> = rounds.map(|r| r.validation.unwrap().loss).collect();
        let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
        let at = losses.iter().position(|loss| *loss <= lowest).unwrap();
        let passes = (at + 1 + patience as usize + 1).min(10);
        assert_eq!(losses.len(), passes, "{losses:?}");
        let kept = report.validation.unwrap().figures.loss;
        assert_eq!(kept.to_bits(), lowest.to_bits(), "{losses:?}");
        losses
    };
    let falling = losses(&clear, 0);
    assert_eq!(falling.len(), 10);
    assert!(falling.is_sorted_by(|a, b| a > b), "{falling:?}");
    for patience in [0, 2] {
        let passes = losses(&meaningless, patience).len();
        assert!(passes < 10, "{passes}");
    }
}

#[test]
fn batch_normalisation_is_refused_where_its_statistics_would_be_lost() {
    let data = discs(160, 28, 1);
    let adaptive = Strategy::FedAvgM {
        rate: Micro::ONE,
        momentum: Micro(500_000),
    };
    let settings = Settings {
        normalisation: Normalisation::Batch,
        ..settings(adaptive)
    };
    let out = tempfile::tempdir().unwrap();
    assert!(matches!(
        simulate(&data, &settings, out.path()),
        Err(Error::Setting(_))
    ));
}
