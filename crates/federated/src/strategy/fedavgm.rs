//! FedAvgM: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated
//! Visual Classification", arXiv 1909.06335, section 4.3.

use super::Rule;

/// Server momentum: `v ← momentum · v + Δ`, `x ← x + rate · v`.
#[derive(Debug, Clone, Copy)]
pub struct FedAvgM {
    /// Server learning rate.
    pub rate: f64,
    /// In 0..1.
    pub momentum: f64,
}

impl Rule for FedAvgM {
    const MOMENTS: usize = 1;

    fn change(&self, difference: f64, moments: &mut [f64]) -> f64 {
        let [velocity, ..] = moments else { return 0.0 };
        *velocity = self.momentum * *velocity + difference;
        self.rate * *velocity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_difference_gathers_speed() {
        let rule = FedAvgM {
            rate: 1.0,
            momentum: 0.5,
        };
        let mut moments = [0.0];
        let changes: Vec<f64> = (0..3).map(|_| rule.change(1.0, &mut moments)).collect();
        assert_eq!(changes, [1.0, 1.5, 1.75]);
    }
}
