//! A site's side of a round: from a trained model to the payload and header that it uploads.

use salus_proto::Digest;
use salus_proto::federated::{Metric, Micro, Update};
use salus_proto::ids::OrganisationId;

use crate::{Job, Model, Refusal, digest, fixed};

/// What a site sends: the header is signed, the payload is named by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The header.
    pub update: Update,
    /// One integer for each value of the layout, then the controls' where they travel.
    pub payload: Vec<i32>,
}

/// A round as a site sees it when it begins to train.
#[derive(Debug, Clone, Copy)]
pub struct Assignment<'a> {
    /// The round, from 0.
    pub round: u32,
    /// The model that was downloaded and whose digest the ledger names.
    pub base: &'a Model,
    /// Digest of `base`.
    pub digest: Digest,
}

impl<'a> Assignment<'a> {
    /// Checks a downloaded model against the digest that the ledger names for the round.
    pub fn new(job: &Job, round: u32, named: Digest, base: &'a Model) -> Result<Self, Refusal> {
        let found = base.digest();
        if found != named {
            return Err(Refusal::StaleBase {
                expected: named,
                found,
            });
        }
        if round >= job.plan().rounds {
            return Err(Refusal::WrongRound {
                expected: job.plan().rounds - 1,
                found: round,
            });
        }
        Ok(Self {
            round,
            base,
            digest: named,
        })
    }

    /// Turns the trained values into an upload. `controls` is the change of the site's control
    /// variate where the layout has controls. Refuses a wrong number of values and values that are
    /// not finite: a model that has diverged leaves no site.
    pub fn upload(
        &self,
        job: &Job,
        site: OrganisationId,
        trained: &[f32],
        controls: &[f32],
        samples: u32,
        metrics: &[(f64, u32)],
    ) -> Result<Upload, Refusal> {
        let layout = job.layout();
        let expected_controls = if layout.controls() {
            layout.values()
        } else {
            0
        };
        if trained.len() != layout.values() || controls.len() != expected_controls {
            return Err(Refusal::WrongLength {
                expected: layout.payload_bytes(),
                found: (trained.len() + controls.len()) as u64 * 4,
            });
        }
        let (part, whole) = job.share(site)?;
        let differences = trained
            .iter()
            .zip(&self.base.values)
            .map(|(y, x)| f64::from(*y) - f64::from(*x));
        let all = differences.chain(controls.iter().map(|c| f64::from(*c)));
        let mut payload = Vec::with_capacity(layout.payload_values());
        let mut clipped = 0u64;
        for (index, difference) in all.enumerate() {
            let Some((value, cut)) = job.fixed().encode(difference, part, whole) else {
                let (tensor, index) = layout.locate(index);
                return Err(Refusal::NotFinite {
                    tensor: tensor.to_owned(),
                    index,
                });
            };
            clipped += u64::from(cut);
            payload.push(value);
        }
        let bytes = fixed::to_bytes(&payload);
        let update = Update {
            job: job.plan().job,
            round: self.round,
            site,
            base: self.digest,
            payload: digest(&bytes),
            payload_bytes: bytes.len() as u64,
            samples,
            clipped,
            metrics: report(job, metrics),
        };
        Ok(Upload { update, payload })
    }
}

/// Rounds figures (value, images behind it), given in the order of the plan's schema, to the
/// schema's steps. What has too few images or is not finite is left out.
fn report(job: &Job, figures: &[(f64, u32)]) -> Vec<Metric> {
    let schema = job.plan().metrics.iter().zip(figures).zip(0u16..);
    schema
        .filter_map(|((spec, (value, images)), metric)| {
            let step = i64::from(spec.step);
            let micro = Micro::from_f64(*value)?.0;
            let value = Micro(micro.checked_add(step / 2)?.div_euclid(step) * step);
            (*images >= spec.minimum_images).then_some(Metric {
                metric,
                value,
                images: *images,
            })
        })
        .collect()
}
