//! A run's state after each round or pass, so that a run that was cut short ends with the same bits.

use std::collections::BTreeMap;
use std::path::Path;

use minicbor::{Decode, Encode};
use salus_federated::{Job, Server};
use salus_proto::Digest;
use salus_proto::encode;
use salus_proto::federated::LocalTraining;

use crate::Error;
use crate::dataset::DataSet;
use crate::model::{read, write};
use crate::network::Blueprint;
use crate::optimiser::Optimiser;
use crate::simulate::RoundReport;
use crate::site::{Block, Kept};
use crate::weights::Weights;

/// The checkpoint's file name.
pub(crate) const FILE: &str = "checkpoint";
/// Largest checkpoint that is read: 8 GiB.
const LIMIT_BYTES: u64 = 8 << 30;

/// A federation between two rounds.
#[derive(Debug)]
pub(crate) struct Federation {
    pub(crate) server: Server,
    pub(crate) rounds: Vec<RoundReport>,
    /// What each site keeps.
    pub(crate) sites: Vec<Kept>,
}

/// One machine's training between two passes.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) weights: Weights,
    pub(crate) rounds: Vec<RoundReport>,
    /// Lowest validation loss, the pass after which it was seen, and the weights then.
    pub(crate) best: Option<(f64, u32, Weights)>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Stored {
    /// What the run is: a checkpoint of another run is not taken.
    #[n(0)]
    key: Digest,
    /// The reports so far; not as JSON, whose numbers may read back one unit in the last place off.
    #[n(1)]
    rounds: Vec<RoundReport>,
    /// Server state, or a single machine's weights.
    #[cbor(n(2), with = "minicbor::bytes")]
    state: Vec<u8>,
    #[n(3)]
    sites: Vec<StoredSite>,
    #[n(4)]
    optimiser: Option<StoredOptimiser>,
    #[n(5)]
    best: Option<StoredBest>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct StoredSite {
    #[n(0)]
    local: BTreeMap<u32, Block>,
    #[n(1)]
    control: Vec<Block>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct StoredOptimiser {
    #[n(0)]
    step: u32,
    #[n(1)]
    first: Vec<Block>,
    #[n(2)]
    second: Vec<Block>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct StoredBest {
    /// Bits of the loss.
    #[n(0)]
    loss: u64,
    #[n(1)]
    pass: u32,
    #[cbor(n(2), with = "minicbor::bytes")]
    weights: Vec<u8>,
}

fn blocks(tensors: &[Vec<f32>]) -> Vec<Block> {
    tensors.iter().map(|t| Block::of(t)).collect()
}

fn tensors(blocks: &[Block]) -> Vec<Vec<f32>> {
    blocks.iter().map(Block::values).collect()
}

impl Federation {
    pub(crate) fn write(&self, file: &Path, job: &Job) -> Result<(), Error> {
        let site = |kept: &Kept| StoredSite {
            local: kept
                .local
                .iter()
                .map(|(i, v)| (*i as u32, Block::of(v)))
                .collect(),
            control: blocks(&kept.control),
        };
        let stored = Stored {
            key: job.digest(),
            rounds: self.rounds.clone(),
            state: self.server.to_bytes(),
            sites: self.sites.iter().map(site).collect(),
            optimiser: None,
            best: None,
        };
        stored.write(file)
    }

    /// `None` where there is no checkpoint of this job.
    pub(crate) fn read(file: &Path, job: &Job) -> Result<Option<Self>, Error> {
        let Some(stored) = Stored::read(file, job.digest())? else {
            return Ok(None);
        };
        let site = |s: &StoredSite| {
            let local = s
                .local
                .iter()
                .map(|(i, b)| (*i as usize, b.values()))
                .collect();
            Kept {
                local,
                control: tensors(&s.control),
            }
        };
        Ok(Some(Self {
            server: Server::from_bytes(job, &stored.state)?,
            rounds: stored.rounds,
            sites: stored.sites.iter().map(site).collect(),
        }))
    }
}

impl Single {
    pub(crate) fn write(
        &self,
        file: &Path,
        optimiser: &Optimiser,
        key: Digest,
    ) -> Result<(), Error> {
        let (first, second) = optimiser.moments();
        let best = match &self.best {
            None => None,
            Some((loss, pass, weights)) => Some(StoredBest {
                loss: loss.to_bits(),
                pass: *pass,
                weights: weights.to_safetensors()?,
            }),
        };
        let stored = Stored {
            key,
            rounds: self.rounds.clone(),
            state: self.weights.to_safetensors()?,
            sites: Vec::new(),
            optimiser: Some(StoredOptimiser {
                step: optimiser.step(),
                first: blocks(first),
                second: blocks(second),
            }),
            best,
        };
        stored.write(file)
    }

    /// `None` where there is no checkpoint of this run.
    pub(crate) fn read(
        file: &Path,
        blueprint: &Blueprint,
        optimiser: &mut Optimiser,
        key: Digest,
    ) -> Result<Option<Self>, Error> {
        let Some(stored) = Stored::read(file, key)? else {
            return Ok(None);
        };
        let weights = Weights::from_safetensors(blueprint, &stored.state)?;
        let kept = stored
            .optimiser
            .ok_or_else(|| wrong("it has no optimiser"))?;
        if !optimiser.restore(kept.step, tensors(&kept.first), tensors(&kept.second)) {
            return Err(wrong("its optimiser has another shape"));
        }
        let best = match stored.best {
            None => None,
            Some(best) => {
                let weights = Weights::from_safetensors(blueprint, &best.weights)?;
                Some((f64::from_bits(best.loss), best.pass, weights))
            }
        };
        Ok(Some(Self {
            weights,
            rounds: stored.rounds,
            best,
        }))
    }
}

impl Stored {
    fn write(&self, file: &Path) -> Result<(), Error> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
        }
        write(file, &encode::to_bytes(self))
    }

    fn read(file: &Path, key: Digest) -> Result<Option<Self>, Error> {
        if !file.is_file() {
            return Ok(None);
        }
        let bytes = read(file, LIMIT_BYTES)?;
        let stored: Self = minicbor::decode(&bytes).map_err(|e| wrong(&e.to_string()))?;
        Ok((stored.key == key).then_some(stored))
    }
}

/// Names a single machine's run: network, training, passes, data.
pub(crate) fn key(
    blueprint: &Blueprint,
    training: &LocalTraining,
    passes: u64,
    data: &DataSet,
    indices: &[usize],
) -> Digest {
    let mut bytes = encode::to_bytes(blueprint.config());
    bytes.extend(encode::to_bytes(training));
    bytes.extend(passes.to_le_bytes());
    bytes.extend(data.digest(indices).0);
    salus_federated::digest(&bytes)
}

fn wrong(why: &str) -> Error {
    Error::Model(format!("checkpoint: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Figures;

    /// serde_json reads the first of these numbers as its neighbour.
    #[test]
    fn reports_read_back_to_the_last_bit() {
        let report = RoundReport {
            round: 7,
            site: Some(2),
            loss: 0.015_460_099_005_755_389,
            validation: Some(Figures {
                loss: 0.1 + 0.2,
                auc: Some(1.0 / 3.0),
                ..Figures::default()
            }),
            sites: 3,
            bytes_down: u64::MAX,
            bytes_up: 1,
            clipped: 0,
            seconds: f64::MIN_POSITIVE,
            model: Some("digest".into()),
        };
        let file = tempfile::tempdir().unwrap().path().join(FILE);
        let stored = Stored {
            key: Digest([7; 32]),
            rounds: vec![report.clone()],
            state: vec![1],
            sites: Vec::new(),
            optimiser: None,
            best: None,
        };
        stored.write(&file).unwrap();
        let other = Stored::read(&file, Digest([8; 32])).unwrap();
        assert!(other.is_none());
        let read = Stored::read(&file, stored.key).unwrap().unwrap();
        assert_eq!(read.rounds, [report]);
    }
}
