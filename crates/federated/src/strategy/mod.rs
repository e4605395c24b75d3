//! How updates become the next model: one file for each paper.
//!
//! Summing strategies get one mean difference per value and apply a [`Rule`] to it; comparing
//! strategies reduce the single updates to one difference per value first.

pub mod fedadagrad;
pub mod fedadam;
pub mod fedavg;
pub mod fedavgm;
pub mod fedbn;
pub mod fedprox;
pub mod fedyogi;
pub mod krum;
pub mod median;
pub mod multi_krum;
pub mod scaffold;
pub mod trimmed_mean;

/// A server optimiser, value by value. Only IEEE basic operations and square root, in the order
/// written: the same bits on every machine.
pub trait Rule {
    /// Moments kept for each value: 0, 1 or 2.
    const MOMENTS: usize;

    /// What to add to a value of the model, given the sites' mean difference.
    fn change(&self, difference: f64, moments: &mut [f64]) -> f64;
}
