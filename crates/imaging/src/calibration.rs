//! When to believe a prediction: a softmax temperature (Guo et al. 2017) and what the training images
//! looked like, both measured on validation images, so that other input gets a warning.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::dataset::DataSet;
use crate::picture::Picture;
use crate::train::{Judge, Judgement, softmax};

/// Fewest validation images of a class for which a temperature is believed.
const MINIMUM_IMAGES: usize = 20;
/// Share of validation images inside each limit.
const INSIDE: f64 = 0.995;
/// A limit is widened by this factor, since new hospitals differ a little.
const MARGIN: f64 = 1.5;
/// Colour above this (0..255) is no radiograph, where training images were grey.
const COLOUR_LIMIT: f32 = 12.0;
/// Aspect ratios beyond this, either way, are unusual for a frontal film.
const ASPECT_LIMIT: f32 = 2.0;

/// Measured on validation images after training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Scores are divided by this before softmax; `None` where too few images were held back.
    pub temperature: Option<f64>,
    /// Validation images of each class.
    pub images: Vec<usize>,
    /// Mean of each channel of the last feature map.
    pub feature_means: Vec<f32>,
    /// Standard deviation of each channel.
    pub feature_deviations: Vec<f32>,
    /// Largest usual mean square deviation of features from their means.
    pub distance_limit: f64,
    /// Smallest and largest usual mean pixel, 0..255.
    pub brightness: [f32; 2],
    /// Smallest and largest usual standard deviation of pixels.
    pub contrast: [f32; 2],
    /// What the images look like from afar.
    pub layout: Layout,
}

/// The usual arrangement of light and dark: mean and covariance of thumbnails with their own
/// brightness and contrast taken out, and how far from it validation images lie.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Mean of each thumbnail pixel, row by row.
    pub means: Vec<f32>,
    /// Inverse of the covariance's Cholesky factor, lower triangle row by row.
    pub inverse: Vec<f32>,
    /// Largest usual squared Mahalanobis distance per pixel.
    pub limit: f64,
}

/// Why a prediction is not to be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warning {
    /// No temperature could be fitted: probabilities are not calibrated.
    Uncalibrated,
    /// Colour, shape or brightness unlike any training image: probably another kind of picture.
    WrongModality,
    /// The network's features lie outside what it was trained on.
    OutOfDistribution,
    /// The most likely class is hardly more likely than the next.
    Unsure,
}

impl Calibration {
    /// Measures on `indices`; with none of them everything is a warning.
    pub fn measure(judge: &Judge<'_>, data: &DataSet, indices: &[usize]) -> Result<Self, Error> {
        Self::measure_with(judge, data, indices, indices)
    }

    /// Measures how far to believe the network on `indices`, which it was not trained on, and what its
    /// images look like on `looks`, which may be all there are.
    pub fn measure_with(
        judge: &Judge<'_>,
        data: &DataSet,
        indices: &[usize],
        looks: &[usize],
    ) -> Result<Self, Error> {
        let pixels = |i: &usize| data.samples[*i].pixels.as_slice();
        let seen: Vec<&[u8]> = looks.iter().map(pixels).collect();
        let images: Vec<&[u8]> = indices
            .iter()
            .map(|i| data.samples[*i].pixels.as_slice())
            .collect();
        let judged = judge.judge(&images)?;
        let labels: Vec<usize> = indices.iter().map(|i| data.samples[*i].class).collect();
        let counts = data.counts(indices);
        let enough = counts.iter().all(|n| *n >= MINIMUM_IMAGES);
        let (feature_means, feature_deviations) = statistics(&judged);
        let mut out = Self {
            temperature: enough.then(|| temperature(&judged, &labels)),
            images: counts,
            feature_means,
            feature_deviations,
            distance_limit: 0.0,
            brightness: [0.0; 2],
            contrast: [0.0; 2],
            layout: Layout::measure(&seen, usize::from(data.size_px)),
        };
        out.distance_limit =
            high(judged.iter().map(|j| out.distance(&j.features)).collect()) * MARGIN;
        let (means, deviations): (Vec<f64>, Vec<f64>) = seen.iter().map(|i| moments(i)).unzip();
        (out.brightness, out.contrast) = (range(means), range(deviations));
        Ok(out)
    }

    /// Probabilities at the fitted temperature, at 1 where there is none.
    pub(crate) fn probabilities(&self, scores: &[f32]) -> Vec<f32> {
        softmax(scores, self.temperature.unwrap_or(1.0))
    }

    /// What is unusual about an image and what the network saw in it.
    pub(crate) fn warnings(
        &self,
        picture: &Picture,
        judged: &Judgement,
        probabilities: &[f32],
    ) -> Vec<Warning> {
        let mut out = Vec::new();
        if self.temperature.is_none() {
            out.push(Warning::Uncalibrated);
        }
        let (brightness, contrast) = moments(&picture.planes);
        let within =
            |[low, high]: [f32; 2], value: f64| (f64::from(low)..=f64::from(high)).contains(&value);
        let coloured = picture.channels == 1 && picture.colour > COLOUR_LIMIT;
        let shape = !(1.0 / ASPECT_LIMIT..=ASPECT_LIMIT).contains(&picture.aspect);
        if coloured
            || shape
            || !within(self.brightness, brightness)
            || !within(self.contrast, contrast)
            || self.layout.distance(&picture.planes, picture.side) > self.layout.limit
        {
            out.push(Warning::WrongModality);
        }
        let known = self.distance(&judged.features) <= self.distance_limit;
        if !known {
            out.push(Warning::OutOfDistribution);
        }
        let mut sorted = probabilities.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        if sorted.len() > 1 && sorted[0] - sorted[1] < 0.2 {
            out.push(Warning::Unsure);
        }
        out
    }

    /// Mean over the channels of the squared deviation in standard deviations.
    fn distance(&self, features: &[f32]) -> f64 {
        let pairs = features
            .iter()
            .zip(&self.feature_means)
            .zip(&self.feature_deviations);
        let sum: f64 = pairs
            .map(|((f, m), d)| (f64::from(f - m) / f64::from(d.max(1e-6))).powi(2))
            .sum();
        sum / features.len().max(1) as f64
    }
}

/// Width and height of a thumbnail.
const THUMBNAIL: usize = 8;
/// Share of images inside the layout's limit, which is not widened: other organs share much of a film's
/// light and dark, so one film in thirty is rather doubted than a scan of an eye believed.
const LAYOUT_INSIDE: f64 = 0.97;
/// Parts in which images are measured by the others, since an image lies too near a mean that it helped
/// to make.
const LAYOUT_PARTS: usize = 5;
/// Share of the mean variance added to every variance, so that the covariance can be inverted.
const RIDGE: f64 = 0.02;

impl Layout {
    fn measure(images: &[&[u8]], side: usize) -> Self {
        let thumbnails: Vec<Vec<f64>> = images.iter().map(|i| thumbnail(i, side)).collect();
        let mut distances = Vec::with_capacity(images.len());
        for part in 0..LAYOUT_PARTS {
            let others = |at: &usize| at % LAYOUT_PARTS != part;
            let fitted: Vec<&[f64]> = (0..thumbnails.len())
                .filter(others)
                .map(|at| thumbnails[at].as_slice())
                .collect();
            let fitted = Self::fit(&fitted);
            let own = thumbnails.iter().skip(part).step_by(LAYOUT_PARTS);
            distances.extend(own.map(|thumbnail| fitted.reach(thumbnail)));
        }
        let all: Vec<&[f64]> = thumbnails.iter().map(Vec::as_slice).collect();
        Self {
            limit: quantile(distances, LAYOUT_INSIDE),
            ..Self::fit(&all)
        }
    }

    fn fit(thumbnails: &[&[f64]]) -> Self {
        let size = THUMBNAIL * THUMBNAIL;
        let count = thumbnails.len().max(1) as f64;
        let mean = |p: usize| thumbnails.iter().map(|t| t[p]).sum::<f64>() / count;
        let means: Vec<f64> = (0..size).map(mean).collect();
        let mut covariance = vec![0.0; size * size];
        for t in thumbnails {
            for i in 0..size {
                for j in 0..=i {
                    covariance[i * size + j] += (t[i] - means[i]) * (t[j] - means[j]) / count;
                }
            }
        }
        let trace: f64 = (0..size).map(|i| covariance[i * size + i]).sum();
        for i in 0..size {
            covariance[i * size + i] += RIDGE * trace / size as f64 + 1e-6;
        }
        let inverse = inverse_cholesky(&covariance, size);
        let triangle =
            (0..size).flat_map(|i| inverse[i * size..=i * size + i].iter().map(|v| *v as f32));
        Self {
            means: means.iter().map(|m| *m as f32).collect(),
            inverse: triangle.collect(),
            limit: 0.0,
        }
    }

    fn distance(&self, pixels: &[u8], side: usize) -> f64 {
        self.reach(&thumbnail(pixels, side))
    }

    /// Squared Mahalanobis distance of a thumbnail, per pixel.
    fn reach(&self, thumbnail: &[f64]) -> f64 {
        let from: Vec<f64> = thumbnail
            .iter()
            .zip(&self.means)
            .map(|(t, m)| t - f64::from(*m))
            .collect();
        let mut rest = self.inverse.as_slice();
        let mut sum = 0.0;
        for i in 0..from.len() {
            let Some((row, next)) = rest.split_at_checked(i + 1) else {
                return f64::INFINITY;
            };
            let value: f64 = row.iter().zip(&from).map(|(w, d)| f64::from(*w) * d).sum();
            sum += value * value;
            rest = next;
        }
        sum / from.len().max(1) as f64
    }
}

/// Block means of the first channel, with mean 0 and standard deviation 1.
fn thumbnail(pixels: &[u8], side: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(THUMBNAIL * THUMBNAIL);
    for y in 0..THUMBNAIL {
        for x in 0..THUMBNAIL {
            let range = |i: usize| i * side / THUMBNAIL..(i + 1) * side / THUMBNAIL;
            let rows = range(y).flat_map(|r| range(x).map(move |c| r * side + c));
            let values: Vec<f64> = rows
                .filter_map(|i| pixels.get(i))
                .map(|p| f64::from(*p))
                .collect();
            out.push(values.iter().sum::<f64>() / values.len().max(1) as f64);
        }
    }
    let count = out.len() as f64;
    let mean = out.iter().sum::<f64>() / count;
    let deviation = (out.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
    out.iter()
        .map(|v| (v - mean) / deviation.max(1.0))
        .collect()
}

/// The inverse of the lower Cholesky factor of a symmetric positive matrix (lower triangle given).
fn inverse_cholesky(matrix: &[f64], size: usize) -> Vec<f64> {
    let mut factor = vec![0.0; size * size];
    for i in 0..size {
        for j in 0..=i {
            let dot: f64 = (0..j)
                .map(|k| factor[i * size + k] * factor[j * size + k])
                .sum();
            let rest = matrix[i * size + j] - dot;
            factor[i * size + j] = if i == j {
                rest.max(1e-12).sqrt()
            } else {
                rest / factor[j * size + j]
            };
        }
    }
    let mut inverse = vec![0.0; size * size];
    for i in 0..size {
        inverse[i * size + i] = 1.0 / factor[i * size + i];
        for j in 0..i {
            let dot: f64 = (j..i)
                .map(|k| factor[i * size + k] * inverse[k * size + j])
                .sum();
            inverse[i * size + j] = -dot / factor[i * size + i];
        }
    }
    inverse
}

/// Minimises the negative log-likelihood over the logarithm of the temperature by golden section
/// (the function has one minimum); 0.05 to 20.
fn temperature(judged: &[Judgement], labels: &[usize]) -> f64 {
    let loss = |log: f64| -> f64 {
        let terms = judged.iter().zip(labels).map(|(judged, label)| {
            let p = softmax(&judged.scores, log.exp());
            -f64::from(p[*label]).max(1e-12).ln()
        });
        terms.sum()
    };
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (0.05f64.ln(), 20f64.ln());
    for _ in 0..60 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if loss(a) < loss(b) {
            high = b;
        } else {
            low = a;
        }
    }
    (f64::midpoint(low, high)).exp()
}

fn statistics(judged: &[Judgement]) -> (Vec<f32>, Vec<f32>) {
    let channels = judged.first().map_or(0, |j| j.features.len());
    let count = judged.len().max(1) as f64;
    (0..channels)
        .map(|c| {
            let mean = judged.iter().map(|j| f64::from(j.features[c])).sum::<f64>() / count;
            let square = |j: &Judgement| (f64::from(j.features[c]) - mean).powi(2);
            let variance = judged.iter().map(square).sum::<f64>() / count;
            (mean as f32, variance.sqrt() as f32)
        })
        .unzip()
}

/// Mean and standard deviation of bytes.
fn moments(pixels: &[u8]) -> (f64, f64) {
    let count = pixels.len().max(1) as f64;
    let sum: u64 = pixels.iter().map(|p| u64::from(*p)).sum();
    let squares: u64 = pixels.iter().map(|p| u64::from(*p) * u64::from(*p)).sum();
    let mean = sum as f64 / count;
    (mean, (squares as f64 / count - mean * mean).max(0.0).sqrt())
}

fn high(values: Vec<f64>) -> f64 {
    quantile(values, INSIDE)
}

fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

/// From the smallest to the largest value, widened on both sides.
fn range(values: Vec<f64>) -> [f32; 2] {
    let low = -high(values.iter().map(|v| -v).collect());
    let high = high(values);
    let reach = (high - low) * (MARGIN - 1.0) / 2.0;
    [(low - reach) as f32, (high + reach) as f32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inverse_factor_turns_the_covariance_into_one() {
        let matrix = [4.0, 0.0, 0.0, 2.0, 5.0, 0.0, -2.0, 1.0, 6.0];
        let w = inverse_cholesky(&matrix, 3);
        let full = |i: usize, j: usize| matrix[i.max(j) * 3 + i.min(j)];
        for a in 0..3 {
            for b in 0..3 {
                let value: f64 = (0..9)
                    .map(|n| w[a * 3 + n / 3] * full(n / 3, n % 3) * w[b * 3 + n % 3])
                    .sum();
                assert!(
                    (value - f64::from(u8::from(a == b))).abs() < 1e-9,
                    "{a} {b} {value}"
                );
            }
        }
    }

    #[test]
    fn a_picture_arranged_otherwise_lies_far_from_the_usual() {
        let mut random = crate::random::Seeded::new(1, &[]);
        let mut film = |upside_down: bool| -> Vec<u8> {
            let pixel = |i: usize, noise: f64| {
                let y = if upside_down { 31 - i / 32 } else { i / 32 };
                (40.0 + 5.0 * y as f64 + 20.0 * noise) as u8
            };
            (0..1024).map(|i| pixel(i, random.unit())).collect()
        };
        let films: Vec<_> = (0..300).map(|_| film(false)).collect();
        let layout = Layout::measure(&films.iter().map(Vec::as_slice).collect::<Vec<_>>(), 32);
        assert!(layout.distance(&film(false), 32) <= layout.limit);
        assert!(layout.distance(&film(true), 32) > layout.limit);
    }

    #[test]
    fn scans_of_eyes_are_not_taken_for_chest_films() {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
        let data = std::path::Path::new(data);
        let Ok(archive) = std::fs::read(data.join("pneumonia-cxr-224/test.tar")) else {
            println!("skipped: the shared sample data is not beside this repository");
            return;
        };
        let side = 64;
        let decode = |bytes: &[u8]| Picture::decode(bytes, 1, 64).unwrap().planes;
        let mut films = Vec::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry.unwrap(), &mut bytes).unwrap();
            if !bytes.is_empty() {
                films.push(decode(&bytes));
            }
        }
        // Every other film is measured, the rest are new to it.
        let known: Vec<&[u8]> = films.iter().step_by(2).map(Vec::as_slice).collect();
        let layout = Layout::measure(&known, side);
        let new: Vec<&Vec<u8>> = films.iter().skip(1).step_by(2).collect();
        let doubted = new
            .iter()
            .filter(|f| layout.distance(f, side) > layout.limit);
        let (doubted, new) = (doubted.count(), new.len());
        assert!(doubted * 100 <= 8 * new, "{doubted} of {new} films");
        let mut scans = 0;
        for entry in std::fs::read_dir(data.join("oct-samples")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "jpeg") {
                let scan = decode(&std::fs::read(&path).unwrap());
                let distance = layout.distance(&scan, side);
                assert!(distance > layout.limit, "{}: {distance}", path.display());
                scans += 1;
            }
        }
        assert_eq!(scans, 4);
    }

    #[test]
    fn the_temperature_undoes_overconfidence() {
        // Scores of ±4 with one in four wrong: the honest score is ln 3, so the temperature 8 / ln 3.
        let one = |i: usize| Judgement {
            scores: vec![0.0, 8.0],
            features: vec![i as f32],
        };
        let judged: Vec<_> = (0..400).map(one).collect();
        let labels: Vec<usize> = (0..400).map(|i| usize::from(i % 4 != 0)).collect();
        assert!((temperature(&judged, &labels) - 8.0 / 3f64.ln()).abs() < 1e-3);
    }
}
