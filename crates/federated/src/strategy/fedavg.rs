//! FedAvg: McMahan, Moore, Ramage, Hampson, Aguera y Arcas, "Communication-Efficient Learning of
//! Deep Networks from Decentralized Data", AISTATS 2017, algorithm 1.

use super::Rule;

/// Adds the mean difference weighted by images.
#[derive(Debug, Clone, Copy)]
pub struct FedAvg;

impl Rule for FedAvg {
    const MOMENTS: usize = 0;

    fn change(&self, difference: f64, _: &mut [f64]) -> f64 {
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_difference_is_added_as_it_is() {
        assert_eq!(
            FedAvg.change(-0.25, &mut []).to_bits(),
            (-0.25f64).to_bits()
        );
    }
}
