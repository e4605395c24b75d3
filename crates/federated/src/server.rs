//! The server's side of a round: adding updates and making the next model. Any member can do it
//! again and must get the same bits.

use std::collections::{BTreeMap, BTreeSet};

use salus_crypto::digest::Sha256;
use salus_proto::Digest;
use salus_proto::federated::{Strategy, Update};
use salus_proto::ids::OrganisationId;

use crate::fixed::{self, FixedPoint, RingSum, exact, whole_f64};
use crate::layout::strange;
use crate::strategy::fedadagrad::FedAdagrad;
use crate::strategy::fedadam::FedAdam;
use crate::strategy::fedavg::FedAvg;
use crate::strategy::fedavgm::FedAvgM;
use crate::strategy::fedyogi::FedYogi;
use crate::strategy::scaffold::Scaffold;
use crate::strategy::{Rule, krum, median, multi_krum, trimmed_mean};
use crate::{Job, Model, Refusal, digest};

/// First bytes of a stored state.
const STATE_TAG: &[u8; 25] = b"salus/v1/federated-state\0";

/// Moments that are written at a time.
const PIECE_VALUES: usize = 1 << 13;

/// The model of the current round and what the server optimiser remembers. Its size does not grow
/// with rounds or sites.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    round: u32,
    model: Model,
    moments: Vec<f64>,
}

/// Updates of one round, added as they arrive. Summing strategies keep one sum, comparing
/// strategies every update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregation {
    sites: BTreeSet<OrganisationId>,
    updates: Updates,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Updates {
    /// Nothing until the first one.
    Summed(Option<RingSum>),
    Kept(BTreeMap<OrganisationId, Vec<i32>>),
}

impl Server {
    /// The state before round 0. Refuses a model that is not the one the plan names.
    pub fn new(job: &Job, initial: Model) -> Result<Self, Refusal> {
        let found = initial.digest();
        if found != job.plan().initial_model {
            return Err(Refusal::StaleBase {
                expected: job.plan().initial_model,
                found,
            });
        }
        let (count, start) = moments_of(&job.plan().strategy);
        let moments = start.iter().take(count).copied().cycle();
        let moments = moments.take(count * initial.values.len()).collect();
        Ok(Self {
            round: 0,
            model: initial,
            moments,
        })
    }

    /// The round that is open, or the number of rounds when the job is done.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// The model that the round's sites start from.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Makes the next model from the updates of exactly these sites and moves to the next round.
    /// On refusal nothing has changed.
    pub fn close(
        &mut self,
        job: &Job,
        aggregation: &Aggregation,
        survivors: &BTreeSet<OrganisationId>,
    ) -> Result<(), Refusal> {
        let needed = usize::from(job.plan().quorum);
        if survivors.len() < needed {
            return Err(Refusal::TooFew {
                needed,
                found: survivors.len(),
            });
        }
        if aggregation.sites != *survivors {
            return Err(Refusal::WrongSurvivors);
        }
        let mut next = self.clone();
        match &aggregation.updates {
            Updates::Summed(Some(sum)) => next.add_mean(job, sum, survivors)?,
            Updates::Summed(None) => return Err(Refusal::WrongSurvivors),
            Updates::Kept(updates) => next.add_robust(job, updates)?,
        }
        if let Some(at) = strange(&next.model.values) {
            let (tensor, index) = job.layout().locate(at);
            return Err(Refusal::NotFinite {
                tensor: tensor.to_owned(),
                index,
            });
        }
        next.round += 1;
        *self = next;
        Ok(())
    }

    fn add_mean(
        &mut self,
        job: &Job,
        sum: &RingSum,
        survivors: &BTreeSet<OrganisationId>,
    ) -> Result<(), Refusal> {
        let mut part = 0u64;
        for site in survivors {
            part += u64::from(job.samples(*site).ok_or(Refusal::NotOnRoster(*site))?);
        }
        // Each value carries the site's share of the whole roster; the survivors' shares add up
        // to part / whole.
        let (numerator, denominator) = (
            whole_f64(job.whole()),
            whole_f64(part) * job.fixed().scale(),
        );
        let values = self.model.values.len();
        let mean = sum
            .values()
            .take(values)
            .map(|v| exact(v) * numerator / denominator);
        match job.plan().strategy {
            Strategy::FedAvgM { rate, momentum } => {
                self.step(
                    &FedAvgM {
                        rate: rate.to_f64(),
                        momentum: momentum.to_f64(),
                    },
                    mean,
                );
            }
            Strategy::FedAdam {
                rate,
                beta1,
                beta2,
                tau,
            } => {
                let (rate, beta1) = (rate.to_f64(), beta1.to_f64());
                self.step(
                    &FedAdam {
                        rate,
                        beta1,
                        beta2: beta2.to_f64(),
                        tau: tau.to_f64(),
                    },
                    mean,
                );
            }
            Strategy::FedYogi {
                rate,
                beta1,
                beta2,
                tau,
            } => {
                let (rate, beta1) = (rate.to_f64(), beta1.to_f64());
                self.step(
                    &FedYogi {
                        rate,
                        beta1,
                        beta2: beta2.to_f64(),
                        tau: tau.to_f64(),
                    },
                    mean,
                );
            }
            Strategy::FedAdagrad { rate, beta1, tau } => {
                let (rate, beta1, tau) = (rate.to_f64(), beta1.to_f64(), tau.to_f64());
                self.step(&FedAdagrad { rate, beta1, tau }, mean);
            }
            Strategy::Scaffold { rate } => {
                self.step(
                    &Scaffold {
                        rate: rate.to_f64(),
                    },
                    mean,
                );
                // Absent sites change nothing: the sum is not divided by the survivors' share.
                for (control, change) in self
                    .model
                    .controls
                    .iter_mut()
                    .zip(sum.values().skip(values))
                {
                    *control = to_f32(f64::from(*control) + job.fixed().decode(change));
                }
            }
            Strategy::FedAvg
            | Strategy::FedProx { .. }
            | Strategy::FedBn
            | Strategy::Median
            | Strategy::TrimmedMean { .. }
            | Strategy::Krum { .. }
            | Strategy::MultiKrum { .. } => self.step(&FedAvg, mean),
        }
        Ok(())
    }

    fn add_robust(
        &mut self,
        job: &Job,
        updates: &BTreeMap<OrganisationId, Vec<i32>>,
    ) -> Result<(), Refusal> {
        let fixed = job.fixed();
        let chosen = match job.plan().strategy {
            Strategy::Krum { byzantine } => {
                let mut ranking = krum::ranking(updates, usize::from(byzantine))?;
                ranking.truncate(1);
                ranking
            }
            Strategy::MultiKrum { byzantine, keep } => {
                multi_krum::selection(updates, usize::from(byzantine), usize::from(keep))?
            }
            Strategy::TrimmedMean { .. } | Strategy::Median => updates.keys().copied().collect(),
            _ => return Err(Refusal::WrongSurvivors),
        };
        let rows: Vec<&[i32]> = chosen
            .iter()
            .filter_map(|s| updates.get(s))
            .map(Vec::as_slice)
            .collect();
        let mut column = vec![0i32; rows.len()];
        for (index, value) in self.model.values.iter_mut().enumerate() {
            for (cell, row) in column.iter_mut().zip(&rows) {
                *cell = row[index];
            }
            let difference = match job.plan().strategy {
                Strategy::Median => fixed.decode(median::twice_median(&mut column)) / 2.0,
                Strategy::TrimmedMean { trim } => {
                    let (sum, count) = trimmed_mean::trimmed(&mut column, usize::from(trim));
                    mean(fixed, sum, count)
                }
                _ => mean(
                    fixed,
                    column.iter().map(|v| i64::from(*v)).sum(),
                    column.len(),
                ),
            };
            *value = to_f32(f64::from(*value) + difference);
        }
        Ok(())
    }

    fn step<R: Rule>(&mut self, rule: &R, mean: impl Iterator<Item = f64>) {
        let mut none = [];
        let mut moments = self.moments.chunks_exact_mut(R::MOMENTS.max(1));
        for (value, difference) in self.model.values.iter_mut().zip(mean) {
            let moments = moments.next().unwrap_or(&mut none);
            *value = to_f32(f64::from(*value) + rule.change(difference, moments));
        }
    }

    /// The state as bytes, from which the job resumes with the same bits.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.pieces(|piece| out.extend_from_slice(piece));
        out
    }

    /// [`Self::to_bytes`] in pieces, so that nobody needs room for all of it.
    pub fn pieces(&self, mut take: impl FnMut(&[u8])) {
        take(STATE_TAG);
        take(&self.round.to_le_bytes());
        self.model.pieces(&mut take);
        let mut piece = Vec::new();
        for moments in self.moments.chunks(PIECE_VALUES) {
            piece.clear();
            piece.extend(moments.iter().flat_map(|m| m.to_le_bytes()));
            take(&piece);
        }
    }

    /// Reads what [`Self::to_bytes`] wrote for the same job.
    pub fn from_bytes(job: &Job, bytes: &[u8]) -> Result<Self, Refusal> {
        let rest = bytes
            .strip_prefix(STATE_TAG.as_slice())
            .ok_or(Refusal::State)?;
        let (round, rest) = rest.split_first_chunk::<4>().ok_or(Refusal::State)?;
        let length = usize::try_from(job.layout().payload_bytes()).map_err(|_| Refusal::State)?;
        let (model, rest) = rest.split_at_checked(length).ok_or(Refusal::State)?;
        let model = Model::from_bytes(job.layout(), model)?;
        let (moments, extra) = rest.as_chunks::<8>();
        let (count, _) = moments_of(&job.plan().strategy);
        let round = u32::from_le_bytes(*round);
        let fits = moments.len() == count * model.values.len() && extra.is_empty();
        if !fits || round > job.plan().rounds {
            return Err(Refusal::State);
        }
        let moments = moments.iter().map(|m| f64::from_le_bytes(*m)).collect();
        Ok(Self {
            round,
            model,
            moments,
        })
    }

    /// Digest of [`Self::to_bytes`].
    pub fn digest(&self) -> Digest {
        let mut hasher = Sha256::new();
        self.pieces(|piece| hasher.update(piece));
        hasher.finish()
    }

    /// Where the bytes that sites download lie within [`Self::to_bytes`].
    pub fn model_range(job: &Job) -> core::ops::Range<u64> {
        let start = STATE_TAG.len() as u64 + 4;
        start..start + job.layout().payload_bytes()
    }

    /// Length of [`Self::to_bytes`].
    pub fn state_bytes(job: &Job) -> u64 {
        let (count, _) = moments_of(&job.plan().strategy);
        let moments = count as u64 * job.layout().values() as u64 * 8;
        Self::model_range(job).end + moments
    }
}

impl Aggregation {
    /// No update yet.
    pub fn new(job: &Job) -> Self {
        let updates = if job.compares() {
            Updates::Kept(BTreeMap::new())
        } else {
            Updates::Summed(None)
        };
        Self {
            sites: BTreeSet::new(),
            updates,
        }
    }

    /// Adds the payload that an accepted header names. Refuses a payload that is not that one, has
    /// another length or values beyond the clip bound; then nothing has changed.
    pub fn add(&mut self, job: &Job, update: &Update, payload: &[u8]) -> Result<(), Refusal> {
        if self.sites.contains(&update.site) {
            return Err(Refusal::Duplicate(update.site));
        }
        if digest(payload) != update.payload {
            let expected = job.layout().payload_bytes();
            let found = payload.len() as u64;
            return Err(if found == expected {
                Refusal::WrongPayload
            } else {
                Refusal::WrongLength { expected, found }
            });
        }
        self.add_verified(job, update.site, payload)
    }

    /// As [`Self::add`], for a payload whose digest the caller has checked against the header.
    pub fn add_verified(
        &mut self,
        job: &Job,
        site: OrganisationId,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        check(job, site, 0, payload)?;
        let expected = job.layout().payload_bytes();
        if payload.len() as u64 != expected {
            let found = payload.len() as u64;
            return Err(Refusal::WrongLength { expected, found });
        }
        if self.sites.contains(&site) {
            return Err(Refusal::Duplicate(site));
        }
        self.add_piece(job, site, 0, payload)
    }

    /// Adds a piece of a payload, from value `from` on, that [`check`] has found to be in range; pieces
    /// come in order, and with the last one the site counts. After a refusal, or when no more
    /// pieces come, the sum is of no use.
    pub fn add_piece(
        &mut self,
        job: &Job,
        site: OrganisationId,
        from: usize,
        piece: &[u8],
    ) -> Result<(), Refusal> {
        if self.sites.contains(&site) {
            return Err(Refusal::Duplicate(site));
        }
        let values = job.layout().payload_values();
        let end = from + piece.len() / 4;
        match &mut self.updates {
            Updates::Summed(sum) => sum
                .get_or_insert_with(|| RingSum::zero(values))
                .add(from, piece)?,
            Updates::Kept(kept) => {
                let kept = kept
                    .entry(site)
                    .or_insert_with(|| Vec::with_capacity(values));
                if kept.len() != from || end > values {
                    return Err(Refusal::WrongLength {
                        expected: values as u64 * 4,
                        found: end as u64 * 4,
                    });
                }
                kept.extend(fixed::from_bytes(piece, piece.len() / 4)?);
            }
        }
        if end == values {
            self.sites.insert(site);
        }
        Ok(())
    }

    /// Forgets all updates and gives their room back.
    pub fn clear(&mut self) {
        self.sites.clear();
        match &mut self.updates {
            Updates::Summed(sum) => *sum = None,
            Updates::Kept(kept) => kept.clear(),
        }
    }

    /// Whose updates have been added.
    pub fn sites(&self) -> &BTreeSet<OrganisationId> {
        &self.sites
    }
}

/// Refuses a piece of a payload, from value `from` on, with a value beyond what the site may send.
pub fn check(job: &Job, site: OrganisationId, from: usize, piece: &[u8]) -> Result<(), Refusal> {
    let (part, whole) = job.share(site)?;
    let found = fixed::within(piece, FixedPoint::largest(part, whole));
    found.map_err(|at| Refusal::OutOfRange {
        site,
        index: from + at,
    })
}

fn mean(fixed: FixedPoint, sum: i64, count: usize) -> f64 {
    fixed.decode(sum) / whole_f64(count.max(1) as u64)
}

/// Moments for each value, and what each starts at.
fn moments_of(strategy: &Strategy) -> (usize, [f64; 2]) {
    match strategy {
        Strategy::FedAvgM { .. } => (FedAvgM::MOMENTS, [0.0; 2]),
        Strategy::FedAdam { tau, .. } => (FedAdam::MOMENTS, [0.0, tau.to_f64() * tau.to_f64()]),
        Strategy::FedYogi { tau, .. } => (FedYogi::MOMENTS, [0.0, tau.to_f64() * tau.to_f64()]),
        Strategy::FedAdagrad { tau, .. } => {
            (FedAdagrad::MOMENTS, [0.0, tau.to_f64() * tau.to_f64()])
        }
        _ => (0, [0.0; 2]),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to the nearest f32 is meant"
)]
fn to_f32(value: f64) -> f32 {
    value as f32
}
