//! A site's optimiser on plain slices: SGD with momentum, Adam, AdamW; and the learning rate over time.

use rayon::prelude::*;
use salus_proto::federated::{LocalTraining, Optimiser as Kind, Schedule};

use crate::kernels::vectorised;

/// Values that one task updates.
const CHUNK: usize = 1 << 16;
/// Decay of Adam's first and second moment.
const BETA: (f64, f64) = (0.9, 0.999);
/// Keeps Adam's division finite.
const EPSILON: f32 = 1e-8;
/// One-cycle: share of the steps on the way up, first rate and last rate as parts of the highest
/// (PyTorch's defaults).
const ONE_CYCLE: (f64, f64, f64) = (0.3, 1.0 / 25.0, 1.0 / 250_000.0);

/// The optimiser's memory over the tensors of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimiser {
    kind: Kind,
    decay: f32,
    step: u32,
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
}

impl Optimiser {
    /// A fresh optimiser for tensors of these shapes.
    pub fn new(training: &LocalTraining, tensors: &[Vec<f32>]) -> Self {
        let moments = |wanted: bool| {
            let lengths = tensors.iter().map(|t| if wanted { t.len() } else { 0 });
            lengths.map(|n| vec![0.0; n]).collect()
        };
        let adaptive = matches!(training.optimiser, Kind::Adam | Kind::AdamW);
        let decay = training.weight_decay.to_f64() as f32;
        Self {
            kind: training.optimiser,
            decay,
            step: 0,
            first: moments(true),
            second: moments(adaptive),
        }
    }

    /// Steps taken.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// First and second moments, to store them.
    pub fn moments(&self) -> (&[Vec<f32>], &[Vec<f32>]) {
        (&self.first, &self.second)
    }

    /// Takes stored moments; `false` where they are not this optimiser's.
    pub fn restore(&mut self, step: u32, first: Vec<Vec<f32>>, second: Vec<Vec<f32>>) -> bool {
        let fits = |a: &[Vec<f32>], b: &[Vec<f32>]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.len() == b.len())
        };
        if !fits(&first, &self.first) || !fits(&second, &self.second) {
            return false;
        }
        (self.step, self.first, self.second) = (step, first, second);
        true
    }

    /// Begins a step; every tensor is then updated once.
    pub fn begin(&mut self) {
        self.step += 1;
    }

    /// Changes tensor `index` by its gradient.
    pub fn update(&mut self, index: usize, rate: f64, weights: &mut [f32], gradient: &[f32]) {
        let decay = self.decay;
        match self.kind {
            Kind::Sgd { momentum } => {
                let (momentum, rate) = (momentum.to_f64() as f32, rate as f32);
                let chunks = weights
                    .par_chunks_mut(CHUNK)
                    .zip(gradient.par_chunks(CHUNK));
                chunks
                    .zip(self.first[index].par_chunks_mut(CHUNK))
                    .for_each(|((w, g), v)| {
                        vectorised(|| {
                            for ((w, g), v) in w.iter_mut().zip(g).zip(v) {
                                *v = momentum * *v + (g + decay * *w);
                                *w -= rate * *v;
                            }
                        });
                    });
            }
            Kind::Adam | Kind::AdamW => {
                let step = i32::try_from(self.step).unwrap_or(i32::MAX);
                let size = (rate / (1.0 - BETA.0.powi(step))) as f32;
                let root = (1.0 / (1.0 - BETA.1.powi(step)).sqrt()) as f32;
                let (b1, b2) = (BETA.0 as f32, BETA.1 as f32);
                // AdamW shrinks the weight itself, Adam adds the decay to the gradient.
                let decoupled = self.kind == Kind::AdamW;
                let shrink = if decoupled {
                    1.0 - rate as f32 * decay
                } else {
                    1.0
                };
                let coupled = if decoupled { 0.0 } else { decay };
                let moments = self.first[index]
                    .par_chunks_mut(CHUNK)
                    .zip(self.second[index].par_chunks_mut(CHUNK));
                let chunks = weights
                    .par_chunks_mut(CHUNK)
                    .zip(gradient.par_chunks(CHUNK));
                chunks.zip(moments).for_each(|((w, g), (m, v))| {
                    vectorised(|| {
                        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                            let g = g + coupled * *w;
                            *m = b1 * *m + (1.0 - b1) * g;
                            *v = b2 * *v + (1.0 - b2) * (g * g);
                            *w = *w * shrink - size * *m / (v.sqrt() * root + EPSILON);
                        }
                    });
                });
            }
        }
    }
}

/// The learning rate when a share `progress` (0..1) of all steps is done.
pub fn rate(training: &LocalTraining, progress: f64) -> f64 {
    let peak = training.rate.to_f64();
    let progress = progress.clamp(0.0, 1.0);
    let cosine = |from: f64, to: f64, t: f64| {
        to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * t).cos())
    };
    match training.schedule {
        Schedule::Constant => peak,
        Schedule::Cosine => cosine(peak, 0.0, progress),
        Schedule::OneCycle => {
            let (up, first, last) = ONE_CYCLE;
            if progress < up {
                cosine(peak * first, peak, progress / up)
            } else {
                cosine(peak, peak * last, (progress - up) / (1.0 - up))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use salus_proto::federated::{Augmentation, Micro};

    use super::*;

    fn training(optimiser: Kind, schedule: Schedule, decay: i64) -> LocalTraining {
        LocalTraining {
            epochs: 1,
            batch: 8,
            optimiser,
            rate: Micro(100_000),
            weight_decay: Micro(decay),
            schedule,
            class_weights: Vec::new(),
            augmentation: Augmentation::default(),
            label_smoothing: Micro(0),
            gradient_norm: Micro(0),
            seed: 0,
        }
    }

    fn run(kind: Kind, decay: i64) -> Vec<f32> {
        let training = training(kind, Schedule::Constant, decay);
        let mut optimiser = Optimiser::new(&training, &[vec![0.0; 2]]);
        let mut w = vec![1.0, -2.0];
        for _ in 0..3 {
            optimiser.begin();
            let gradient: Vec<f32> = w.iter().map(|w| 2.0 * w).collect();
            optimiser.update(0, 0.1, &mut w, &gradient);
        }
        w
    }

    /// Computed with torch.optim on f(w) = w², three steps of rate 0.1.
    #[test]
    fn three_steps_match_the_formulas_by_hand() {
        let close = |got: Vec<f32>, want: [f32; 2]| {
            for (g, w) in got.iter().zip(want) {
                assert!((g - w).abs() < 1e-5, "{got:?} {want:?}");
            }
        };
        // Plain SGD multiplies by 0.8 each time.
        close(run(Kind::Sgd { momentum: Micro(0) }, 0), [0.512, -1.024]);
        // v: 2, 1.8 + 1.6 = 3.4·…: w 1 → 0.8 → 0.46 → 0.062 for momentum 0.9.
        close(
            run(
                Kind::Sgd {
                    momentum: Micro(900_000),
                },
                0,
            ),
            [0.062, -0.124],
        );
        let adam = run(Kind::Adam, 0);
        assert!(
            (adam[0] - 0.7).abs() < 5e-3 && (adam[1] + 1.7).abs() < 5e-3,
            "{adam:?}"
        );
        let decayed = run(Kind::AdamW, 500_000);
        assert!(decayed[0] < adam[0] - 0.1, "{decayed:?}");
    }

    #[test]
    fn schedules_start_rise_and_end_where_they_should() {
        let at = |schedule, progress| rate(&training(Kind::Adam, schedule, 0), progress);
        assert!((at(Schedule::Constant, 0.9) - 0.1).abs() < 1e-12);
        assert!((at(Schedule::Cosine, 0.0) - 0.1).abs() < 1e-12);
        assert!(
            (at(Schedule::Cosine, 0.5) - 0.05).abs() < 1e-12 && at(Schedule::Cosine, 1.0) < 1e-12
        );
        assert!((at(Schedule::OneCycle, 0.0) - 0.004).abs() < 1e-12);
        assert!((at(Schedule::OneCycle, 0.3) - 0.1).abs() < 1e-12);
        assert!(at(Schedule::OneCycle, 1.0) < 1e-6);
    }
}
