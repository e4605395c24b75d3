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
    /// The payload as it is sent: what the header's digest covers.
    pub bytes: Vec<u8>,
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
        Self::verified(job, round, named, base)
    }

    /// As [`Self::new`], for a model whose bytes the caller has checked against the digest.
    pub fn verified(
        job: &Job,
        round: u32,
        named: Digest,
        base: &'a Model,
    ) -> Result<Self, Refusal> {
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
        let nothing = vec![0.0; controls.len()];
        let mut payload = Vec::with_capacity(layout.payload_values());
        let mut clipped = 0u64;
        for (trained, base) in [(trained, self.base.values.as_slice()), (controls, &nothing)] {
            let (fixed, before) = (job.fixed(), payload.len());
            let cut = fixed.encode_all(trained, base, (part, whole), &mut payload);
            clipped += cut.map_err(|at| {
                let (tensor, index) = layout.locate(before + at);
                let tensor = tensor.to_owned();
                Refusal::NotFinite { tensor, index }
            })?;
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
        Ok(Upload {
            update,
            payload,
            bytes,
        })
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
