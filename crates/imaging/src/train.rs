//! Training and evaluation of one network on one machine. Same seed, same machine: same bits.

use std::collections::BTreeMap;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use salus_federated::strategy::{fedprox, scaffold};
use salus_proto::federated::{LocalTraining, Micro};

use crate::Error;
use crate::augment::Input;
use crate::dataset::DataSet;
use crate::kernels::vectorised;
use crate::metrics::Scored;
use crate::network::{Blueprint, MOMENTUM, Parameters, Seen};
use crate::optimiser::{Optimiser, rate};
use crate::random::Seeded;
use crate::weights::{GradientMap, Weights, read};

/// Images evaluated together.
const EVALUATION_BATCH: usize = 64;
/// Stream numbers of shuffles and augmentation.
const ORDER: u64 = 0x0E;
const AUGMENT: u64 = 0xA6;

/// What the tensors live on.
#[derive(Debug, Clone)]
pub struct Engine(Device);

impl Engine {
    /// This machine's processor.
    pub fn cpu() -> Self {
        Self(Device::flex())
    }

    /// The first NVIDIA GPU. Without one the first tensor fails.
    #[cfg(feature = "cuda")]
    pub fn cuda() -> Self {
        Self(Device::cuda(0))
    }
}

/// What pulls a site's gradients towards the others.
#[derive(Debug, Clone, Copy)]
pub enum Drift<'a> {
    /// Nothing.
    None,
    /// FedProx: the round's weights and the strength.
    Proximal {
        /// Values of each tensor when the round began.
        base: &'a [Vec<f32>],
        /// Strength.
        mu: f32,
    },
    /// SCAFFOLD: the site's and the server's control of each tensor.
    Controls {
        /// The site's.
        own: &'a [Vec<f32>],
        /// The server's.
        server: &'a [Vec<f32>],
    },
}

/// Which pass over the data this is: it decides the order of images and the learning rate.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// Number of the site.
    pub site: u64,
    /// Number of the pass over the whole job.
    pub number: u64,
    /// Passes in the whole job.
    pub total: u64,
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PassResult {
    /// Mean training loss.
    pub loss: f64,
    /// Sum of the learning rates of all steps.
    pub rates: f64,
    /// Steps taken.
    pub steps: u32,
}

/// A network with the constants of its training.
#[derive(Debug)]
pub struct Learner<'a> {
    blueprint: &'a Blueprint,
    training: &'a LocalTraining,
    device: Device,
    input: Input,
}

impl<'a> Learner<'a> {
    /// Prepares training on an engine.
    pub fn new(blueprint: &'a Blueprint, training: &'a LocalTraining, engine: &Engine) -> Self {
        let device = engine.0.clone().autodiff();
        Self {
            blueprint,
            training,
            device,
            input: Input::of(blueprint.config()),
        }
    }

    /// One pass over `indices` in random order.
    pub fn pass(
        &self,
        weights: &mut Weights,
        optimiser: &mut Optimiser,
        data: &DataSet,
        indices: &[usize],
        pass: Pass,
        drift: Drift<'_>,
    ) -> Result<PassResult, Error> {
        let mut order = indices.to_vec();
        let stream = [ORDER, pass.site, pass.number];
        Seeded::new(self.training.seed, &stream).shuffle(&mut order);
        let batches = batches(&order, usize::from(self.training.batch));
        let mut result = PassResult::default();
        for (step, batch) in batches.iter().enumerate() {
            let done = step as f64 / batches.len() as f64;
            let rate = rate(
                self.training,
                (pass.number as f64 + done) / pass.total.max(1) as f64,
            );
            let (loss, mut gradients) = self.gradients(weights, data, batch, pass)?;
            self.apply(weights, optimiser, &mut gradients, rate, drift);
            result.loss += loss * batch.len() as f64 / order.len() as f64;
            result.rates += rate;
            result.steps += 1;
        }
        Ok(result)
    }

    fn gradients(
        &self,
        weights: &mut Weights,
        data: &DataSet,
        batch: &[usize],
        pass: Pass,
    ) -> Result<(f64, GradientMap), Error> {
        let x = self.batch(data, batch, Some(pass));
        let (targets, total) = self.targets(data, batch);
        let parameters = weights.to_device(&self.device);
        let mut seen = Vec::new();
        let map = self.blueprint.features(x, &parameters, Some(&mut seen))?;
        let scores = self.blueprint.head(map, &parameters)?;
        let loss = (log_softmax(scores, 1) * targets).sum().neg() / total;
        let mut gradients = loss.backward();
        let value = f64::from(read(loss)?.first().copied().unwrap_or(f32::NAN));
        if !value.is_finite() {
            return Err(Error::Diverged);
        }
        let mut by_name = BTreeMap::new();
        for (name, tensor) in &parameters {
            if let Some(gradient) = tensor.grad_remove(&mut gradients) {
                by_name.insert(name.clone(), read(gradient)?);
            }
        }
        remember(weights, seen)?;
        Ok((value, by_name))
    }

    fn apply(
        &self,
        weights: &mut Weights,
        optimiser: &mut Optimiser,
        gradients: &mut GradientMap,
        rate: f64,
        drift: Drift<'_>,
    ) {
        let names: Vec<String> = weights.infos().iter().map(|i| i.name.clone()).collect();
        for (i, name) in names.iter().enumerate() {
            let Some(gradient) = gradients.get_mut(name) else {
                continue;
            };
            match drift {
                Drift::None => {}
                Drift::Proximal { base, mu } => {
                    fedprox::pull(mu, gradient, &weights.values()[i], &base[i]);
                }
                Drift::Controls { own, server } => scaffold::correct(gradient, &own[i], &server[i]),
            }
        }
        limit(gradients, self.training.gradient_norm);
        optimiser.begin();
        for (i, name) in names.iter().enumerate() {
            if let Some(gradient) = gradients.get(name) {
                optimiser.update(i, rate, &mut weights.values_mut()[i], gradient);
            }
        }
    }

    /// Images as a tensor; augmented where a pass is given.
    fn batch(&self, data: &DataSet, batch: &[usize], pass: Option<Pass>) -> Tensor<4> {
        let (channels, side) = (usize::from(data.channels), usize::from(data.size_px));
        let length = channels * side * side;
        let mut values = vec![0.0; batch.len() * length];
        values
            .par_chunks_mut(length)
            .zip(batch)
            .for_each(|(out, index)| {
                let pixels = &data.samples[*index].pixels;
                match pass {
                    None => self.input.plain(pixels, out),
                    Some(pass) => {
                        let stream = [AUGMENT, pass.site, pass.number, *index as u64];
                        let mut random = Seeded::new(self.training.seed, &stream);
                        self.input
                            .augmented(pixels, &self.training.augmentation, &mut random, out);
                    }
                }
            });
        Tensor::from_data(
            TensorData::new(values, [batch.len(), channels, side, side]),
            &self.device,
        )
    }

    /// Smoothed and weighted labels, and the sum of the weights.
    fn targets(&self, data: &DataSet, batch: &[usize]) -> (Tensor<2>, f64) {
        let classes = data.classes.len();
        let smoothing = self.training.label_smoothing.to_f64() as f32;
        let mut values = vec![0.0; batch.len() * classes];
        let mut total = 0.0;
        for (row, index) in values.chunks_exact_mut(classes).zip(batch) {
            let class = data.samples[*index].class;
            let weight = self
                .training
                .class_weights
                .get(class)
                .copied()
                .unwrap_or(Micro::ONE);
            let weight = weight.to_f64() as f32;
            row.fill(weight * smoothing / classes as f32);
            row[class] += weight * (1.0 - smoothing);
            total += f64::from(weight);
        }
        (
            Tensor::from_data(
                TensorData::new(values, [batch.len(), classes]),
                &self.device,
            ),
            total,
        )
    }
}

/// Full batches and a rest; a rest of one image joins the batch before it, because one image has no
/// batch statistics.
fn batches(order: &[usize], size: usize) -> Vec<&[usize]> {
    let mut batches: Vec<&[usize]> = order.chunks(size.max(1)).collect();
    if batches.len() > 1 && batches.last().is_some_and(|b| b.len() == 1) {
        batches.truncate(batches.len() - 2);
        batches.push(&order[batches.len() * size.max(1)..]);
    }
    batches
}

/// Moves the running statistics of batch normalisation (Ioffe and Szegedy 2015; unbiased variance).
fn remember(weights: &mut Weights, seen: Vec<Seen>) -> Result<(), Error> {
    for Seen {
        name,
        mean,
        variance,
        count,
    } in seen
    {
        let unbiased = count as f32 / count.saturating_sub(1).max(1) as f32;
        for (part, values, scale) in [
            ("running_mean", read(mean)?, 1.0),
            ("running_var", read(variance)?, unbiased),
        ] {
            if let Some(running) = weights.find(&format!("{name}.{part}")) {
                for (r, v) in running.iter_mut().zip(values) {
                    *r = (1.0 - MOMENTUM) * *r + MOMENTUM * v * scale;
                }
            }
        }
    }
    Ok(())
}

/// Scales all gradients so that their common norm is at most `norm`; zero means no limit.
fn limit(gradients: &mut GradientMap, norm: Micro) {
    if norm <= Micro(0) {
        return;
    }
    let square =
        |g: &Vec<f32>| vectorised(|| g.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>());
    let length = gradients.values().map(square).sum::<f64>().sqrt();
    if length > norm.to_f64() {
        let scale = (norm.to_f64() / length) as f32;
        for value in gradients.values_mut().flatten() {
            *value *= scale;
        }
    }
}

/// A network with fixed weights, ready to judge images.
#[derive(Debug)]
pub struct Judge<'a> {
    blueprint: &'a Blueprint,
    parameters: Parameters,
    device: Device,
    input: Input,
}

/// What a network says of one image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judgement {
    /// One score a class, before softmax.
    pub(crate) scores: Vec<f32>,
    /// Mean of each channel of the last feature map.
    pub(crate) features: Vec<f32>,
}

/// Where a network looked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attention {
    pub(crate) side: usize,
    /// Grad-CAM (Selvaraju et al. 2017) on the last feature map, side × side, scaled to 0..1.
    pub(crate) map: Vec<f32>,
}

impl<'a> Judge<'a> {
    /// Takes weights to an engine.
    pub fn new(blueprint: &'a Blueprint, weights: &Weights, engine: &Engine) -> Self {
        let device = engine.0.clone();
        let parameters = weights.to_device(&device);
        Self {
            blueprint,
            parameters,
            device,
            input: Input::of(blueprint.config()),
        }
    }

    /// Predictions for `indices`, in their order, at a softmax temperature.
    pub fn score(
        &self,
        data: &DataSet,
        indices: &[usize],
        temperature: f64,
    ) -> Result<Vec<Scored>, Error> {
        let images: Vec<&[u8]> = indices
            .iter()
            .map(|i| data.samples[*i].pixels.as_slice())
            .collect();
        let judged = self.judge(&images)?;
        let scored = judged.iter().zip(indices).map(|(judged, i)| Scored {
            probabilities: softmax(&judged.scores, temperature),
            class: data.samples[*i].class,
            patient: data.samples[*i].patient,
        });
        Ok(scored.collect())
    }

    pub(crate) fn judge(&self, images: &[&[u8]]) -> Result<Vec<Judgement>, Error> {
        let mut out = Vec::with_capacity(images.len());
        for batch in images.chunks(EVALUATION_BATCH) {
            let map = self
                .blueprint
                .features(self.batch(batch), &self.parameters, None)?;
            let [count, channels, height, width] = map.dims();
            let features = map
                .clone()
                .reshape([count, channels, height * width])
                .mean_dim(2);
            let features = read(features)?;
            let scores = read(self.blueprint.head(map, &self.parameters)?)?;
            let classes = scores.len() / count;
            let rows = scores
                .chunks_exact(classes)
                .zip(features.chunks_exact(channels));
            out.extend(rows.map(|(s, f)| Judgement {
                scores: s.to_vec(),
                features: f.to_vec(),
            }));
        }
        Ok(out)
    }

    /// Where the network looked for one class of one image.
    pub(crate) fn attention(&self, image: &[u8], class: usize) -> Result<Attention, Error> {
        let map = self
            .blueprint
            .features(self.batch(&[image]), &self.parameters, None)?;
        let map = Tensor::<4>::from_inner(map).require_grad();
        let lifted = |(name, tensor): (&String, &Tensor<1>)| {
            (name.clone(), Tensor::<1>::from_inner(tensor.clone()))
        };
        let parameters: Parameters = self.parameters.iter().map(lifted).collect();
        let scores = self.blueprint.head(map.clone(), &parameters)?;
        let gradients = scores.slice([0..1, class..class + 1]).sum().backward();
        let gradient = map
            .grad(&gradients)
            .ok_or_else(|| Error::Device("no gradient".into()))?;
        let [_, channels, height, width] = map.dims();
        let pixels = height * width;
        let (values, gradient) = (read(map.inner())?, read(gradient)?);
        let mut sum = vec![0.0f32; pixels];
        for c in 0..channels {
            let plane = c * pixels..(c + 1) * pixels;
            let weight = gradient[plane.clone()].iter().sum::<f32>() / pixels as f32;
            for (s, v) in sum.iter_mut().zip(&values[plane]) {
                *s += weight * v;
            }
        }
        let highest = sum.iter().fold(0.0f32, |a, b| a.max(*b));
        let scale = if highest > 0.0 { 1.0 / highest } else { 0.0 };
        Ok(Attention {
            side: width,
            map: sum.iter().map(|v| v.max(0.0) * scale).collect(),
        })
    }

    fn batch(&self, images: &[&[u8]]) -> Tensor<4> {
        let config = self.blueprint.config();
        let (channels, side) = (usize::from(config.channels), usize::from(config.size_px));
        let length = channels * side * side;
        let mut values = vec![0.0; images.len() * length];
        for (out, image) in values.chunks_exact_mut(length).zip(images) {
            self.input.plain(image, out);
        }
        Tensor::from_data(
            TensorData::new(values, [images.len(), channels, side, side]),
            &self.device,
        )
    }
}

/// Probabilities from scores, in `f64`, at a temperature above zero.
pub(crate) fn softmax(scores: &[f32], temperature: f64) -> Vec<f32> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = scores
        .iter()
        .map(|s| (f64::from(s - highest) / temperature).exp())
        .collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| (p / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use salus_proto::federated::{
        Architecture, Augmentation, Network, Normalisation, Optimiser as Kind, Schedule,
    };

    use super::*;
    use crate::dataset::Split;
    use crate::dataset::testing::discs;
    use crate::metrics::figures;

    fn training() -> LocalTraining {
        LocalTraining {
            epochs: 1,
            batch: 16,
            optimiser: Kind::AdamW,
            rate: Micro(2_000),
            weight_decay: Micro(10_000),
            schedule: Schedule::OneCycle,
            class_weights: vec![Micro::ONE; 2],
            augmentation: Augmentation {
                flip: true,
                rotation_degrees: Micro(10_000_000),
                ..Augmentation::default()
            },
            label_smoothing: Micro(20_000),
            gradient_norm: Micro(5_000_000),
            seed: 4,
        }
    }

    fn trained(
        architecture: Architecture,
        normalisation: Normalisation,
        passes: u64,
    ) -> (f64, Vec<u8>) {
        let data = discs(48, 28, 1);
        let network = Network {
            architecture,
            normalisation,
            classes: data.classes.clone(),
            channels: 1,
            size_px: 28,
            input_mean: Micro(400_000),
            input_deviation: Micro(250_000),
        };
        let (blueprint, training) = (Blueprint::new(&network).unwrap(), training());
        let learner = Learner::new(&blueprint, &training, &Engine::cpu());
        let mut weights = Weights::initial(&blueprint, 3);
        let mut optimiser = Optimiser::new(&training, weights.values());
        let indices = data.of(Split::Training);
        for number in 0..passes {
            let pass = Pass {
                site: 0,
                number,
                total: passes,
            };
            learner
                .pass(
                    &mut weights,
                    &mut optimiser,
                    &data,
                    &indices,
                    pass,
                    Drift::None,
                )
                .unwrap();
        }
        let judge = Judge::new(&blueprint, &weights, &Engine::cpu());
        let scored = judge.score(&data, &data.of(Split::Test), 1.0).unwrap();
        let accuracy = figures(&scored.iter().collect::<Vec<_>>(), 2).accuracy;
        (accuracy, weights.to_safetensors().unwrap())
    }

    #[test]
    fn every_network_learns_to_tell_discs_apart_with_either_normalisation() {
        for (architecture, passes) in [
            (Architecture::Small, 6),
            (Architecture::DarkCovidNet, 8),
            (Architecture::ResNet18, 4),
        ] {
            for normalisation in [Normalisation::Group, Normalisation::Batch] {
                let (accuracy, _) = trained(architecture, normalisation, passes);
                assert!(
                    accuracy > 0.9,
                    "{architecture:?} {normalisation:?} {accuracy}"
                );
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_with_any_number_of_threads() {
        let bits = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| trained(Architecture::Small, Normalisation::Batch, 1).1)
        };
        let one = bits(1);
        assert!(one == bits(1) && one == bits(3));
    }

    #[test]
    fn a_rest_of_one_image_joins_its_neighbour() {
        let order: Vec<usize> = (0..9).collect();
        let lengths = |size| {
            batches(&order, size)
                .iter()
                .map(|b| b.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(lengths(4), [4, 5]);
        assert_eq!(lengths(5), [5, 4]);
        assert_eq!(lengths(8), [9]);
        assert_eq!(lengths(20), [9]);
        assert_eq!(batches(&order[..1], 4), [&[0]]);
    }

    #[test]
    fn large_gradients_are_shortened_to_the_limit() {
        let mut gradients: GradientMap =
            [("a".to_owned(), vec![3.0]), ("b".to_owned(), vec![4.0])].into();
        limit(&mut gradients, Micro::ONE);
        assert!((gradients["a"][0] - 0.6).abs() < 1e-6 && (gradients["b"][0] - 0.8).abs() < 1e-6);
        limit(&mut gradients, Micro(0));
        assert!((gradients["a"][0] - 0.6).abs() < 1e-6);
    }
}
