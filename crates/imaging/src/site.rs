//! What a site does in a round: from the round's model and its own images to what it uploads. The same
//! code for a hospital's node and for the simulation.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use salus_federated::strategy::{fedbn, scaffold};
use salus_federated::{Job, Model as Shared};
use salus_proto::encode;
use salus_proto::federated::{Plan, Strategy, TensorPolicy, TensorSpec};

use crate::Error;
use crate::dataset::DataSet;
use crate::network::Blueprint;
use crate::optimiser::Optimiser;
use crate::train::{Drift, Engine, Learner, Pass};
use crate::weights::Weights;

/// A site with its images and what it keeps from round to round.
#[derive(Debug)]
pub struct Site<'a> {
    /// The network.
    pub blueprint: &'a Blueprint,
    /// Where it computes.
    pub engine: &'a Engine,
    /// The images.
    pub data: &'a DataSet,
    /// Those that are trained on.
    pub training: &'a [usize],
    /// Position on the roster; seeds the order of images.
    pub number: u64,
}

/// What stays at a site between rounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// Values of the local tensors, by position.
    pub local: BTreeMap<usize, Vec<f32>>,
    /// SCAFFOLD's control of every tensor; empty before the first round.
    pub control: Vec<Vec<f32>>,
}

/// What a round of training came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The shared values end to end.
    pub values: Vec<f32>,
    /// The change of the control variate, where the strategy has controls.
    pub controls: Vec<f32>,
    /// Mean training loss of the last pass.
    pub loss: f64,
    /// What stays here for the next round.
    pub kept: Kept,
}

impl Site<'_> {
    /// Trains for one round from `base`.
    pub fn train(
        &self,
        job: &Job,
        round: u32,
        base: &Shared,
        kept: &Kept,
    ) -> Result<Trained, Error> {
        let plan = job.plan();
        let mut kept = kept.clone();
        let mut weights = assemble(self.blueprint, plan, base, &kept);
        let before = weights.values().to_vec();
        let server_control = split(&base.controls, plan, &weights);
        if job.layout().controls() && kept.control.is_empty() {
            kept.control = server_control.iter().map(|t| vec![0.0; t.len()]).collect();
        }
        let drift = match plan.strategy {
            Strategy::FedProx { mu } => Drift::Proximal {
                base: &before,
                mu: mu.to_f64() as f32,
            },
            Strategy::Scaffold { .. } => Drift::Controls {
                own: &kept.control,
                server: &server_control,
            },
            _ => Drift::None,
        };
        let learner = Learner::new(self.blueprint, &plan.training, self.engine);
        let mut optimiser = Optimiser::new(&plan.training, weights.values());
        let (mut loss, mut rates) = (0.0, 0.0);
        let epochs = u64::from(plan.training.epochs);
        for epoch in 0..epochs {
            let pass = Pass {
                site: self.number,
                number: u64::from(round) * epochs + epoch,
                total: u64::from(plan.rounds) * epochs,
            };
            let done = learner.pass(
                &mut weights,
                &mut optimiser,
                self.data,
                self.training,
                pass,
                drift,
            )?;
            loss = done.loss;
            rates += done.rates;
        }
        let mut controls = Vec::new();
        if job.layout().controls() {
            let next: Vec<Vec<f32>> = kept
                .control
                .iter()
                .enumerate()
                .map(|(i, own)| {
                    let trained = &weights.values()[i];
                    let server = &server_control[i];
                    scaffold::next_control(own, server, &before[i], trained, rates as f32)
                })
                .collect();
            let pairs = next.iter().flatten().zip(kept.control.iter().flatten());
            controls = pairs.map(|(new, old)| new - old).collect();
            kept.control = next;
        }
        for (i, spec) in plan.tensors.iter().enumerate() {
            if spec.policy == TensorPolicy::Local {
                kept.local.insert(i, weights.values()[i].clone());
            }
        }
        Ok(Trained {
            values: shared(&weights, plan),
            controls,
            loss,
            kept,
        })
    }

    /// Trains on the site's images only, with as many passes as the job makes: what a hospital would have
    /// without the others. One optimiser throughout, from the same initial weights.
    pub fn alone(&self, plan: &Plan) -> Result<Weights, Error> {
        let learner = Learner::new(self.blueprint, &plan.training, self.engine);
        let mut weights = Weights::initial(self.blueprint, plan.training.seed);
        let mut optimiser = Optimiser::new(&plan.training, weights.values());
        let total = u64::from(plan.rounds) * u64::from(plan.training.epochs);
        for number in 0..total {
            let pass = Pass {
                site: self.number,
                number,
                total,
            };
            learner.pass(
                &mut weights,
                &mut optimiser,
                self.data,
                self.training,
                pass,
                Drift::None,
            )?;
        }
        Ok(weights)
    }
}

/// The tensors of a plan for a network: what each is called and whether it travels.
pub fn tensors(blueprint: &Blueprint, strategy: &Strategy) -> Vec<TensorSpec> {
    let spec = |info: crate::network::TensorInfo| TensorSpec {
        shape: info.shape.iter().map(|s| *s as u32).collect(),
        policy: match strategy {
            Strategy::FedBn => fedbn::policy(info.role.normalises()),
            _ => TensorPolicy::Shared,
        },
        name: info.name,
    };
    blueprint.tensors().into_iter().map(spec).collect()
}

/// The weights that a round's model and a site's own tensors make together. Frozen tensors have their
/// initial values.
pub fn assemble(blueprint: &Blueprint, plan: &Plan, model: &Shared, kept: &Kept) -> Weights {
    let mut weights = Weights::initial(blueprint, plan.training.seed);
    install(&mut weights, plan, &model.values);
    for (i, values) in &kept.local {
        if let Some(tensor) = weights.values_mut().get_mut(*i) {
            tensor.clone_from(values);
        }
    }
    weights
}

/// Values of the shared tensors end to end.
pub fn shared(weights: &Weights, plan: &Plan) -> Vec<f32> {
    let tensors = weights.values().iter().zip(&plan.tensors);
    tensors
        .filter(|(_, t)| t.policy == TensorPolicy::Shared)
        .flat_map(|(v, _)| v)
        .copied()
        .collect()
}

/// Puts shared values back into their tensors.
pub fn install(weights: &mut Weights, plan: &Plan, mut values: &[f32]) {
    for (tensor, spec) in weights.values_mut().iter_mut().zip(&plan.tensors) {
        if spec.policy == TensorPolicy::Shared {
            let (own, rest) = values.split_at(tensor.len().min(values.len()));
            tensor[..own.len()].copy_from_slice(own);
            values = rest;
        }
    }
}

/// Controls of the shared tensors as tensors; empty where the plan has none.
fn split(mut values: &[f32], plan: &Plan, weights: &Weights) -> Vec<Vec<f32>> {
    let mut out = Vec::new();
    for (tensor, spec) in weights.values().iter().zip(&plan.tensors) {
        if spec.policy == TensorPolicy::Shared && values.len() >= tensor.len() {
            let (own, rest) = values.split_at(tensor.len());
            out.push(own.to_vec());
            values = rest;
        }
    }
    out
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct StoredKept {
    #[n(0)]
    local: BTreeMap<u32, Block>,
    #[n(1)]
    control: Vec<Block>,
}

/// Values as little-endian `f32` in one byte string.
#[derive(Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct Block(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>);

impl Block {
    pub(crate) fn of(values: &[f32]) -> Self {
        Self(values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub(crate) fn values(&self) -> Vec<f32> {
        let words = self.0.as_chunks::<4>().0.iter();
        words.map(|b| f32::from_le_bytes(*b)).collect()
    }
}

impl Kept {
    /// The bytes that a site stores.
    pub fn to_bytes(&self) -> Vec<u8> {
        let local = self.local.iter();
        encode::to_bytes(&StoredKept {
            local: local.map(|(i, v)| (*i as u32, Block::of(v))).collect(),
            control: self.control.iter().map(|v| Block::of(v)).collect(),
        })
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let stored: StoredKept =
            minicbor::decode(bytes).map_err(|e| Error::Model(format!("kept tensors: {e}")))?;
        let local = stored.local.iter();
        Ok(Self {
            local: local.map(|(i, b)| (*i as usize, b.values())).collect(),
            control: stored.control.iter().map(Block::values).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_site_keeps_reads_back() {
        let kept = Kept {
            local: [(3, vec![1.5, -2.0]), (7, Vec::new())].into(),
            control: vec![vec![0.25], vec![f32::MIN_POSITIVE]],
        };
        assert_eq!(Kept::from_bytes(&kept.to_bytes()).unwrap(), kept);
        assert!(Kept::from_bytes(b"\xff").is_err());
    }
}
