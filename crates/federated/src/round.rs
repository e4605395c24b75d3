//! One round as a state machine: who has sent what, when it closes, and what came of it.
//!
//! ```text
//!   Open ── Upload × n ─────────────► Open
//!    │  └── last of the roster ─────► Closed ── Published ──► Published
//!    └───── Deadline with a quorum ─► Closed
//! ```
//!
//! Past its deadline a round below quorum stays open and closes with the upload that completes it.

use std::collections::{BTreeMap, BTreeSet};

use salus_proto::federated::{
    Metric, Micro, RoundClosed, RoundOpened, RoundResult, Survivor, Update,
};
use salus_proto::ids::OrganisationId;
use salus_proto::{Digest, TimestampMs};

use crate::{Job, Refusal, Server, digest};

/// A round of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Round {
    /// Sites train and upload.
    Open {
        /// As it stands on the ledger.
        opened: RoundOpened,
        /// Accepted headers.
        updates: BTreeMap<OrganisationId, Update>,
    },
    /// The survivors are fixed; the next model is being computed.
    Closed {
        /// As it stands on the ledger.
        opened: RoundOpened,
        /// The headers that count.
        updates: BTreeMap<OrganisationId, Update>,
    },
    /// The next model is known.
    Published(RoundResult),
}

/// Something that happens to a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A site announces an update whose payload has been checked.
    Upload(Update),
    /// Time has passed.
    Time,
    /// The next state has been computed.
    Publish {
        /// Digest of the next model.
        model: Digest,
        /// Digest of the server's next state.
        state: Digest,
    },
}

/// What is to be written on the ledger, after the new state is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// Nothing beyond the event itself.
    None,
    /// The same update again: nothing to do, the site may be told that it counts.
    AlreadyCounted,
    /// The round has closed with these survivors; compute the next model.
    Close(RoundClosed),
    /// The round is done.
    Publish(RoundResult),
}

impl Round {
    /// Opens the server's current round at `now`.
    pub fn open(job: &Job, server: &Server, now: TimestampMs) -> Result<Self, Refusal> {
        if server.round() >= job.plan().rounds {
            return Err(Refusal::Closed);
        }
        let opened = RoundOpened {
            job: job.plan().job,
            round: server.round(),
            model: server.model().digest(),
            deadline: now.plus_ms(job.plan().round_ms),
        };
        Ok(Self::Open {
            opened,
            updates: BTreeMap::new(),
        })
    }

    /// The round after an event.
    pub fn apply(
        &self,
        job: &Job,
        event: Event,
        now: TimestampMs,
    ) -> Result<(Self, Effect), Refusal> {
        match (self.clone(), event) {
            (
                Self::Open {
                    opened,
                    mut updates,
                },
                Event::Upload(update),
            ) => {
                if !admit(job, &opened, &updates, &update)? {
                    return Ok((Self::Open { opened, updates }, Effect::AlreadyCounted));
                }
                updates.insert(update.site, update);
                Ok(close_when_due(job, opened, updates, now))
            }
            (Self::Open { opened, updates }, Event::Time) => {
                Ok(close_when_due(job, opened, updates, now))
            }
            (Self::Closed { opened, updates }, Event::Publish { model, state }) => {
                let metrics = mean_metrics(job, &updates);
                let (job, round) = (opened.job, opened.round);
                let result = RoundResult {
                    job,
                    round,
                    model,
                    state,
                    metrics,
                };
                Ok((Self::Published(result.clone()), Effect::Publish(result)))
            }
            (Self::Closed { opened, updates }, Event::Upload(update))
                if updates.get(&update.site) == Some(&update) =>
            {
                Ok((Self::Closed { opened, updates }, Effect::AlreadyCounted))
            }
            (round @ (Self::Closed { .. } | Self::Published(_)), Event::Time) => {
                Ok((round, Effect::None))
            }
            (_, Event::Upload(_) | Event::Publish { .. }) => Err(Refusal::Closed),
        }
    }

    /// Sites of the roster whose update has not arrived; none once the round has closed.
    pub fn missing(&self, job: &Job) -> Vec<OrganisationId> {
        match self {
            Self::Open { updates, .. } => {
                let roster = job.plan().roster.iter().map(|entry| entry.site);
                roster.filter(|site| !updates.contains_key(site)).collect()
            }
            Self::Closed { .. } | Self::Published(_) => Vec::new(),
        }
    }

    /// Whose updates count, once the round has closed.
    pub fn survivors(&self) -> Option<BTreeSet<OrganisationId>> {
        match self {
            Self::Closed { updates, .. } => Some(updates.keys().copied().collect()),
            Self::Open { .. } | Self::Published(_) => None,
        }
    }
}

/// Whether a header is to be added (`false`: it is already there), or why not.
fn admit(
    job: &Job,
    opened: &RoundOpened,
    updates: &BTreeMap<OrganisationId, Update>,
    update: &Update,
) -> Result<bool, Refusal> {
    if update.job != opened.job {
        return Err(Refusal::WrongJob);
    }
    let declared = job
        .samples(update.site)
        .ok_or(Refusal::NotOnRoster(update.site))?;
    if update.round != opened.round {
        return Err(Refusal::WrongRound {
            expected: opened.round,
            found: update.round,
        });
    }
    if update.base != opened.model {
        return Err(Refusal::StaleBase {
            expected: opened.model,
            found: update.base,
        });
    }
    if let Some(former) = updates.get(&update.site) {
        return if former == update {
            Ok(false)
        } else {
            Err(Refusal::Duplicate(update.site))
        };
    }
    let expected = job.layout().payload_bytes();
    if update.payload_bytes != expected {
        return Err(Refusal::WrongLength {
            expected,
            found: update.payload_bytes,
        });
    }
    if update.samples == 0 || update.samples > declared {
        return Err(Refusal::WrongSamples {
            declared,
            found: update.samples,
        });
    }
    let mut last = None;
    for metric in &update.metrics {
        let spec = job.plan().metrics.get(usize::from(metric.metric));
        let spec = spec.ok_or(Refusal::Metric(metric.metric))?;
        let coarse = metric.value.0.rem_euclid(i64::from(spec.step)) == 0;
        if !coarse || metric.images < spec.minimum_images || last >= Some(metric.metric) {
            return Err(Refusal::Metric(metric.metric));
        }
        last = Some(metric.metric);
    }
    Ok(true)
}

fn close_when_due(
    job: &Job,
    opened: RoundOpened,
    updates: BTreeMap<OrganisationId, Update>,
    now: TimestampMs,
) -> (Round, Effect) {
    let complete = updates.len() == job.plan().roster.len();
    let due = now >= opened.deadline && updates.len() >= usize::from(job.plan().quorum);
    if !complete && !due {
        return (Round::Open { opened, updates }, Effect::None);
    }
    let survivor = |u: &Update| Survivor {
        site: u.site,
        update: digest(&u.to_bytes()),
    };
    let closed = RoundClosed {
        job: opened.job,
        round: opened.round,
        survivors: updates.values().map(survivor).collect(),
    };
    (Round::Closed { opened, updates }, Effect::Close(closed))
}

/// Means weighted by images, in integers; rounded down to whole millionths.
fn mean_metrics(job: &Job, updates: &BTreeMap<OrganisationId, Update>) -> Vec<Metric> {
    let schema = (0u16..).take(job.plan().metrics.len());
    schema
        .filter_map(|metric| {
            let reported = updates
                .values()
                .flat_map(|u| &u.metrics)
                .filter(|m| m.metric == metric);
            let (mut sum, mut images) = (0i128, 0u64);
            for m in reported {
                sum += i128::from(m.value.0) * i128::from(m.images);
                images += u64::from(m.images);
            }
            let mean = sum.checked_div_euclid(i128::from(images))?;
            let images = u32::try_from(images).unwrap_or(u32::MAX);
            Some(Metric {
                metric,
                value: Micro(i64::try_from(mean).ok()?),
                images,
            })
        })
        .collect()
}
