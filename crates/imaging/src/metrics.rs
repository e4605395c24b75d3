//! How good predictions are: the usual figures with 95 % intervals by bootstrap over patients.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::random::Seeded;

/// Resamples of a bootstrap.
pub const RESAMPLES: usize = 1000;
/// Equal-width bins of the expected calibration error (Guo et al. 2017).
const BINS: usize = 15;

/// A prediction beside the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Probability of each class; they add up to 1.
    pub probabilities: Vec<f32>,
    /// The true class.
    pub class: usize,
    /// Whose image it is; resampled as a whole.
    pub patient: usize,
}

/// Figures over a set of predictions, all in 0..1. With two classes AUC, sensitivity and specificity
/// are those of class 1; with more they are means over the classes, one against the rest. A figure
/// that the set does not define (a class without images) is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[cbor(map)]
pub struct Figures {
    /// Share of right predictions.
    #[n(0)]
    pub accuracy: f64,
    /// Mean share of right predictions over the classes present.
    #[n(1)]
    pub balanced_accuracy: f64,
    /// Area under the receiver operating characteristic.
    #[n(2)]
    pub auc: Option<f64>,
    /// Share of a class's images that are found.
    #[n(3)]
    pub sensitivity: Option<f64>,
    /// Share of the other images that are not taken for it.
    #[n(4)]
    pub specificity: Option<f64>,
    /// Expected calibration error of the most likely class, 15 bins.
    #[n(5)]
    pub calibration_error: f64,
    /// Mean negative log-likelihood, natural logarithm.
    #[n(6)]
    pub loss: f64,
}

/// Lower and upper end of a 95 % interval.
pub type Interval = [f64; 2];

/// Figures with their intervals and the confusion matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Images.
    pub images: usize,
    /// Patients; the unit of the bootstrap.
    pub patients: usize,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// 95 % interval of the accuracy.
    pub accuracy_95: Interval,
    /// 95 % interval of the balanced accuracy.
    pub balanced_accuracy_95: Interval,
    /// 95 % interval of the AUC.
    pub auc_95: Option<Interval>,
    /// 95 % interval of the sensitivity.
    pub sensitivity_95: Option<Interval>,
    /// 95 % interval of the specificity.
    pub specificity_95: Option<Interval>,
    /// 95 % interval of the calibration error.
    pub calibration_error_95: Interval,
    /// Rows are true classes, columns predicted ones.
    pub confusion: Vec<Vec<usize>>,
}

/// The most likely class; the lower one where two are even.
pub fn decide(probabilities: &[f32]) -> usize {
    let mut best = 0;
    for (i, p) in probabilities.iter().enumerate() {
        if *p > probabilities[best] {
            best = i;
        }
    }
    best
}

/// Rows are true classes, columns predicted ones.
pub fn confusion(scored: &[&Scored], classes: usize) -> Vec<Vec<usize>> {
    let mut matrix = vec![vec![0; classes]; classes];
    for s in scored {
        matrix[s.class][decide(&s.probabilities)] += 1;
    }
    matrix
}

/// The figures of a set of predictions.
pub fn figures(scored: &[&Scored], classes: usize) -> Figures {
    let matrix = confusion(scored, classes);
    let count = scored.len().max(1) as f64;
    let right: usize = (0..classes).map(|c| matrix[c][c]).sum();
    let found: Vec<Option<f64>> = (0..classes)
        .map(|c| ratio(matrix[c][c], matrix[c].iter().sum()))
        .collect();
    let refused: Vec<Option<f64>> = (0..classes)
        .map(|c| {
            let others: usize = (0..classes)
                .filter(|r| *r != c)
                .map(|r| matrix[r].iter().sum::<usize>())
                .sum();
            let wrong: usize = (0..classes).filter(|r| *r != c).map(|r| matrix[r][c]).sum();
            ratio(others - wrong, others)
        })
        .collect();
    let areas: Vec<Option<f64>> = (0..classes).map(|c| area(scored, c)).collect();
    let one = |values: &[Option<f64>]| {
        if classes == 2 {
            values[1]
        } else {
            mean(values)
        }
    };
    let loss = |s: &&Scored| -f64::from(s.probabilities[s.class]).max(1e-12).ln();
    Figures {
        accuracy: right as f64 / count,
        balanced_accuracy: mean_present(&found),
        auc: one(&areas),
        sensitivity: one(&found),
        specificity: one(&refused),
        calibration_error: calibration_error(scored),
        loss: scored.iter().map(loss).sum::<f64>() / count,
    }
}

/// The figures with 95 % intervals: percentiles over [`RESAMPLES`] draws of patients with return.
pub fn report(scored: &[Scored], classes: usize, seed: u64) -> Report {
    let all: Vec<&Scored> = scored.iter().collect();
    let mut patients = std::collections::BTreeMap::<usize, Vec<&Scored>>::new();
    for s in scored {
        patients.entry(s.patient).or_default().push(s);
    }
    let patients: Vec<_> = patients.into_values().collect();
    let mut random = Seeded::new(seed, &[BOOTSTRAP]);
    let mut draws = Vec::with_capacity(RESAMPLES);
    let mut sample = Vec::with_capacity(all.len());
    for _ in 0..if patients.is_empty() { 0 } else { RESAMPLES } {
        sample.clear();
        for _ in 0..patients.len() {
            sample.extend(&patients[random.below(patients.len())]);
        }
        draws.push(figures(&sample, classes));
    }
    let of = |f: &dyn Fn(&Figures) -> Option<f64>| interval(draws.iter().filter_map(f).collect());
    let always = |f: &dyn Fn(&Figures) -> f64| of(&|d| Some(f(d))).unwrap_or_default();
    Report {
        images: all.len(),
        patients: patients.len(),
        figures: figures(&all, classes),
        accuracy_95: always(&|f| f.accuracy),
        balanced_accuracy_95: always(&|f| f.balanced_accuracy),
        auc_95: of(&|f| f.auc),
        sensitivity_95: of(&|f| f.sensitivity),
        specificity_95: of(&|f| f.specificity),
        calibration_error_95: always(&|f| f.calibration_error),
        confusion: confusion(&all, classes),
    }
}

/// Stream number of bootstraps.
const BOOTSTRAP: u64 = 0xB0;

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// `None` where one is missing.
fn mean(values: &[Option<f64>]) -> Option<f64> {
    let sum = values.iter().copied().sum::<Option<f64>>()?;
    Some(sum / values.len() as f64)
}

fn mean_present(values: &[Option<f64>]) -> f64 {
    let present: Vec<f64> = values.iter().copied().flatten().collect();
    present.iter().sum::<f64>() / present.len().max(1) as f64
}

/// The chance that an image of the class scores above one that is not; ties count half
/// (Mann and Whitney). `None` where either kind is missing.
fn area(scored: &[&Scored], class: usize) -> Option<f64> {
    let mut ranked: Vec<(f32, bool)> = scored
        .iter()
        .map(|s| (s.probabilities[class], s.class == class))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = ranked.iter().filter(|(_, p)| *p).count();
    let negatives = ranked.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (mut wins, mut below) = (0.0f64, 0usize);
    for tie in ranked.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let own = tie.iter().filter(|(_, p)| *p).count();
        let other = tie.len() - own;
        wins += own as f64 * (below as f64 + other as f64 / 2.0);
        below += other;
    }
    Some(wins / (positives as f64 * negatives as f64))
}

fn calibration_error(scored: &[&Scored]) -> f64 {
    let mut bins = [(0usize, 0.0f64, 0usize); BINS];
    for s in scored {
        let guess = decide(&s.probabilities);
        let confidence = f64::from(s.probabilities[guess]);
        let bin = ((confidence * BINS as f64) as usize).min(BINS - 1);
        bins[bin].0 += 1;
        bins[bin].1 += confidence;
        bins[bin].2 += usize::from(guess == s.class);
    }
    let gaps = bins
        .iter()
        .map(|(_, confidence, right)| (confidence - *right as f64).abs());
    gaps.sum::<f64>() / scored.len().max(1) as f64
}

fn interval(mut values: Vec<f64>) -> Option<Interval> {
    values.sort_by(f64::total_cmp);
    let at = |q: f64| {
        values
            .get(((values.len() as f64 - 1.0) * q).round().max(0.0) as usize)
            .copied()
    };
    Some([at(0.025)?, at(0.975)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(rows: &[(f32, usize)]) -> Vec<Scored> {
        let one = |(i, (p, class)): (usize, &(f32, usize))| Scored {
            probabilities: vec![1.0 - p, *p],
            class: *class,
            patient: i,
        };
        rows.iter().enumerate().map(one).collect()
    }

    #[test]
    fn figures_match_a_table_by_hand() {
        // Predicted 1: 0.9, 0.8, 0.6; true 1: 0.9, 0.6, 0.4, 0.4.
        let set = scored(&[
            (0.9, 1),
            (0.8, 0),
            (0.6, 1),
            (0.4, 1),
            (0.4, 1),
            (0.4, 0),
            (0.1, 0),
        ]);
        let f = figures(&set.iter().collect::<Vec<_>>(), 2);
        assert!((f.accuracy - 4.0 / 7.0).abs() < 1e-12);
        assert_eq!(f.sensitivity, Some(0.5));
        assert!((f.specificity.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert!((f.balanced_accuracy - (0.5 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        // Pairs won: 0.9 beats 3; 0.6 beats 2; each 0.4 beats one and ties one.
        assert!((f.auc.unwrap() - (3.0 + 2.0 + 1.5 + 1.5) / 12.0).abs() < 1e-12);
        let matrix = confusion(&set.iter().collect::<Vec<_>>(), 2);
        assert_eq!(matrix, [[2, 1], [2, 2]]);
        // Confidences 0.9, 0.9 (right, right), 0.8 (wrong), 0.6 × 4 (right, wrong, wrong, right).
        let want = ((1.8f64 - 2.0).abs() + 0.8 + (2.4f64 - 2.0).abs()) / 7.0;
        assert!(
            (f.calibration_error - want).abs() < 1e-6,
            "{}",
            f.calibration_error
        );
    }

    #[test]
    fn a_missing_class_leaves_figures_out_instead_of_inventing_them() {
        let set = scored(&[(0.9, 1), (0.2, 1)]);
        let r = report(&set, 2, 1);
        assert_eq!(
            (r.figures.auc, r.auc_95, r.figures.specificity),
            (None, None, None)
        );
        assert_eq!(r.figures.sensitivity, Some(0.5));
        assert_eq!(report(&[], 2, 1).images, 0);
    }

    #[test]
    fn intervals_hold_the_figure_and_repeat_with_the_seed() {
        let mut random = Seeded::new(3, &[]);
        let rows: Vec<(f32, usize)> = (0..300)
            .map(|i| {
                (
                    (0.5 + 0.3 * (if i % 2 == 0 { -1.0 } else { 1.0 }) + 0.4 * random.symmetric())
                        as f32,
                    i % 2,
                )
            })
            .map(|(p, c)| (p.clamp(0.0, 1.0), c))
            .collect();
        let set = scored(&rows);
        let r = report(&set, 2, 1);
        let [low, high] = r.auc_95.unwrap();
        let auc = r.figures.auc.unwrap();
        assert!(
            low < auc && auc < high && high - low < 0.1,
            "{low} {auc} {high}"
        );
        assert_eq!(r, report(&set, 2, 1));
        assert_ne!(r, report(&set, 2, 2));
    }
}
