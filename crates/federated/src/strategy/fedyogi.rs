//! FedYogi: Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan, "Adaptive Federated
//! Optimization", ICLR 2021, algorithm 2. Without bias correction, as published.

use super::Rule;

/// `m ← β1·m + (1 − β1)·Δ`, `v ← v − (1 − β2)·Δ²·sign(v − Δ²)`, `x ← x + rate · m / (√v + τ)`.
#[derive(Debug, Clone, Copy)]
pub struct FedYogi {
    /// Server learning rate.
    pub rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Degree of adaptivity; also keeps the division finite. The second moment starts at τ².
    pub tau: f64,
}

impl Rule for FedYogi {
    const MOMENTS: usize = 2;

    fn change(&self, difference: f64, moments: &mut [f64]) -> f64 {
        let [first, second, ..] = moments else {
            return 0.0;
        };
        let square = difference * difference;
        *first = self.beta1 * *first + (1.0 - self.beta1) * difference;
        *second = *second - (1.0 - self.beta2) * square * sign(*second - square);
        self.rate * *first / (second.sqrt() + self.tau)
    }
}

/// The sign with `sign(0) = 0`, unlike [`f64::signum`].
fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_match_the_paper_by_hand() {
        let rule = FedYogi {
            rate: 0.5,
            beta1: 0.5,
            beta2: 0.75,
            tau: 0.5,
        };
        let mut moments = [0.0, 0.25];
        let first = rule.change(1.0, &mut moments);
        assert!((moments[1] - 0.5).abs() < 1e-12, "{moments:?}");
        assert!((first - 0.5 * 0.5 / (0.5f64.sqrt() + 0.5)).abs() < 1e-12);
        let second = rule.change(1.0, &mut moments);
        assert!((moments[0] - 0.75).abs() < 1e-12);
        assert!((moments[1] - 0.75).abs() < 1e-12, "{moments:?}");
        assert!((second - 0.5 * 0.75 / (0.75f64.sqrt() + 0.5)).abs() < 1e-12);
    }
}
