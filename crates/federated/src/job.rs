//! A plan that has been checked, with what follows from it. Everything else here takes a [`Job`].

use std::collections::BTreeMap;

use salus_proto::Digest;
use salus_proto::federated::{LocalTraining, Micro, Network, Optimiser, Plan, Strategy};
use salus_proto::ids::OrganisationId;

use crate::fixed::FixedPoint;
use crate::{Layout, Refusal, digest};

/// Most sites on a roster.
pub const SITES_LIMIT: usize = 1024;
/// Most figures in a metric schema.
pub const METRICS_LIMIT: usize = 64;
/// Longest name or purpose, bytes.
pub const TEXT_LIMIT_BYTES: usize = 1024;

/// A plan whose parts agree with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    plan: Plan,
    digest: Digest,
    layout: Layout,
    fixed: FixedPoint,
    samples: BTreeMap<OrganisationId, u32>,
    whole: u64,
}

impl Job {
    /// Checks a plan.
    pub fn new(plan: Plan) -> Result<Self, Refusal> {
        let layout = Layout::of(&plan)?;
        let fixed = FixedPoint::of(&plan)?;
        check_text(&plan)?;
        check_network(&plan.network)?;
        check_training(&plan.training)?;
        check_strategy(&plan)?;
        if plan.roster.is_empty() || plan.roster.len() > SITES_LIMIT {
            return Err(Refusal::Plan("the roster is empty or too long"));
        }
        if !plan.roster.is_sorted_by(|a, b| a.site < b.site) {
            return Err(Refusal::Plan("the roster is not ascending by site"));
        }
        if plan.roster.iter().any(|entry| entry.samples == 0) {
            return Err(Refusal::Plan("a site on the roster has no image"));
        }
        if plan.quorum == 0 || usize::from(plan.quorum) > plan.roster.len() {
            return Err(Refusal::Plan("the quorum is not 1 to the roster's length"));
        }
        if plan.rounds == 0 {
            return Err(Refusal::Plan("there is no round"));
        }
        let samples: BTreeMap<_, _> = plan
            .roster
            .iter()
            .map(|entry| (entry.site, entry.samples))
            .collect();
        let whole = samples.values().map(|n| u64::from(*n)).sum();
        Ok(Self {
            digest: digest(&plan.to_bytes()),
            plan,
            layout,
            fixed,
            samples,
            whole,
        })
    }

    /// The plan as it was signed.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Digest of the plan's bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Which values travel.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How a value is written.
    pub fn fixed(&self) -> FixedPoint {
        self.fixed
    }

    /// Images that a site declared; `None` where it is not on the roster.
    pub fn samples(&self, site: OrganisationId) -> Option<u32> {
        self.samples.get(&site).copied()
    }

    /// Images that the roster declared together.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    /// The weight that a site's update carries, as a part of a whole: its share of the images
    /// where updates are summed, one where they are compared with each other.
    pub fn share(&self, site: OrganisationId) -> Result<(u32, u64), Refusal> {
        let samples = self.samples(site).ok_or(Refusal::NotOnRoster(site))?;
        Ok(if self.compares() {
            (1, 1)
        } else {
            (samples, self.whole)
        })
    }

    /// Whether the strategy compares single updates (median, trimmed mean, Krum, multi-Krum)
    /// instead of adding them.
    pub fn compares(&self) -> bool {
        matches!(
            self.plan.strategy,
            Strategy::Median
                | Strategy::TrimmedMean { .. }
                | Strategy::Krum { .. }
                | Strategy::MultiKrum { .. }
        )
    }
}

fn check_text(plan: &Plan) -> Result<(), Refusal> {
    let names = plan
        .network
        .classes
        .iter()
        .chain(plan.metrics.iter().map(|m| &m.name));
    let mut texts = names
        .chain(plan.tensors.iter().map(|t| &t.name))
        .chain([&plan.purpose]);
    if texts.any(|text| text.is_empty() || text.len() > TEXT_LIMIT_BYTES) {
        return Err(Refusal::Plan("a name or the purpose is empty or too long"));
    }
    let weights = plan.training.class_weights.len();
    if weights != 0 && weights != plan.network.classes.len() {
        return Err(Refusal::Plan("there is not one weight for each class"));
    }
    if plan.metrics.len() > METRICS_LIMIT || plan.metrics.iter().any(|m| m.step == 0) {
        return Err(Refusal::Plan(
            "the metric schema is too long or has a step of zero",
        ));
    }
    Ok(())
}

/// Checks what any built-in network needs.
pub fn check_network(network: &Network) -> Result<(), Refusal> {
    if !(2..=1000).contains(&network.classes.len()) {
        return Err(Refusal::Plan("classes are not 2 to 1,000"));
    }
    if !matches!(network.channels, 1 | 3) {
        return Err(Refusal::Plan("channels are not 1 or 3"));
    }
    if !(28..=256).contains(&network.size_px) {
        return Err(Refusal::Plan("the image size is not 28 to 256 pixels"));
    }
    if network.input_deviation <= Micro(0) {
        return Err(Refusal::Plan("the input deviation is not above zero"));
    }
    Ok(())
}

/// Checks the constants of training at a site.
pub fn check_training(training: &LocalTraining) -> Result<(), Refusal> {
    let fraction = |value: Micro| (Micro(0)..Micro::ONE).contains(&value);
    let momentum = match training.optimiser {
        Optimiser::Sgd { momentum } => momentum,
        Optimiser::Adam | Optimiser::AdamW => Micro(0),
    };
    if training.epochs == 0 || training.batch == 0 {
        return Err(Refusal::Plan("training has no epoch or an empty batch"));
    }
    if training.rate <= Micro(0) || training.weight_decay < Micro(0) || !fraction(momentum) {
        return Err(Refusal::Plan(
            "the rate, weight decay or momentum is out of range",
        ));
    }
    if !fraction(training.label_smoothing) || training.gradient_norm < Micro(0) {
        return Err(Refusal::Plan(
            "label smoothing or the gradient's norm is out of range",
        ));
    }
    if training.class_weights.iter().any(|w| *w <= Micro(0)) {
        return Err(Refusal::Plan("a class weight is not above zero"));
    }
    let a = &training.augmentation;
    let half = |value: Micro| (Micro(0)..=Micro(500_000)).contains(&value);
    if !half(a.zoom) || !half(a.shift) || !half(a.lighting) {
        return Err(Refusal::Plan("augmentation is not 0 to 0.5"));
    }
    if !(Micro(0)..=Micro(180_000_000)).contains(&a.rotation_degrees) {
        return Err(Refusal::Plan("rotation is not 0 to 180 degrees"));
    }
    Ok(())
}

fn check_strategy(plan: &Plan) -> Result<(), Refusal> {
    let fraction = |value: Micro| (Micro(0)..Micro::ONE).contains(&value);
    let above = |value: Micro| value > Micro(0);
    let quorum = usize::from(plan.quorum);
    let fine = match plan.strategy {
        Strategy::FedAvg | Strategy::FedBn | Strategy::Median => true,
        Strategy::FedProx { mu } => mu >= Micro(0),
        Strategy::FedAvgM { rate, momentum } => above(rate) && fraction(momentum),
        Strategy::FedAdam {
            rate,
            beta1,
            beta2,
            tau,
        }
        | Strategy::FedYogi {
            rate,
            beta1,
            beta2,
            tau,
        } => above(rate) && fraction(beta1) && fraction(beta2) && above(tau),
        Strategy::FedAdagrad { rate, beta1, tau } => above(rate) && fraction(beta1) && above(tau),
        Strategy::Scaffold { rate } => {
            // Option II of the paper recovers the mean gradient from the distance travelled,
            // which holds for plain gradient steps only.
            let plain = Optimiser::Sgd { momentum: Micro(0) };
            if plan.training.optimiser != plain || plan.training.weight_decay != Micro(0) {
                return Err(Refusal::Plan(
                    "SCAFFOLD needs SGD without momentum or weight decay",
                ));
            }
            above(rate)
        }
        Strategy::TrimmedMean { trim } => 2 * usize::from(trim) < quorum,
        Strategy::Krum { byzantine } => 2 * usize::from(byzantine) + 3 <= quorum,
        Strategy::MultiKrum { byzantine, keep } => {
            let needed = (usize::from(byzantine) + 2 + usize::from(keep))
                .max(2 * usize::from(byzantine) + 3);
            keep > 0 && needed <= quorum
        }
    };
    if fine {
        Ok(())
    } else {
        Err(Refusal::Plan("a constant of the strategy is out of range"))
    }
}
