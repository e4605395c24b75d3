//! What a federated round costs when nobody trains: a real job between real nodes, whose sites move the
//! model by a constant of their own, so that the result is known in closed form.
//!
//! `bench/peers/` starts the nodes, does the same work with other systems and measures from outside.

pub(crate) mod job;
pub(crate) mod site;

use salus_proto::federated::Micro;

/// What the data sets of all sites say they are; nothing looks at an image.
pub(crate) const CLASSES: [&str; 2] = ["a", "b"];
pub(crate) const CHANNELS: u8 = 1;
pub(crate) const SIZE_PX: u16 = 28;

/// Images that a site says it has: its weight in the mean.
pub(crate) fn samples(number: u8) -> u32 {
    100 + u32::from(number)
}

/// By how much a site moves every value in every round.
pub(crate) fn step(number: u8) -> f32 {
    1e-3 * (f32::from(number) + 1.0)
}

/// Spread of the pixels that the data sets name.
pub(crate) const DEVIATION: Micro = Micro(250_000);
