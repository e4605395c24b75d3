//! SCAFFOLD: Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: Stochastic Controlled
//! Averaging for Federated Learning", ICML 2020, algorithm 1 with option II.
//!
//! Sites are weighed by their images (the paper's objective with weights), so the server's control
//! is the weighted mean of all sites' controls and moves by `Σ pᵢ·Δcᵢ` of those that took part.

use super::Rule;

/// The server step `x ← x + rate · Δ`; the controls move by their own sum.
#[derive(Debug, Clone, Copy)]
pub struct Scaffold {
    /// Server learning rate.
    pub rate: f64,
}

impl Rule for Scaffold {
    const MOMENTS: usize = 0;

    fn change(&self, difference: f64, _: &mut [f64]) -> f64 {
        self.rate * difference
    }
}

/// Corrects a site's gradient: `g − cᵢ + c`.
pub fn correct(gradient: &mut [f32], own: &[f32], server: &[f32]) {
    for ((g, own), server) in gradient.iter_mut().zip(own).zip(server) {
        *g += server - own;
    }
}

/// The site's next control (option II): `cᵢ − c + (x − yᵢ) / Σ rate`, where `rates` is the sum of
/// the learning rates of all its steps in the round.
pub fn next_control(
    own: &[f32],
    server: &[f32],
    base: &[f32],
    trained: &[f32],
    rates: f32,
) -> Vec<f32> {
    let values = own.iter().zip(server).zip(base).zip(trained);
    values
        .map(|(((own, server), x), y)| own - server + (x - y) / rates)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_plain_steps_the_control_is_the_mean_gradient() {
        // Two steps of rate 0.1 with gradients 3 and 5 and no control yet.
        let trained = [1.0 - 0.1 * 3.0 - 0.1 * 5.0f32];
        let control = next_control(&[0.0], &[0.0], &[1.0], &trained, 0.2);
        assert!((control[0] - 4.0).abs() < 1e-5, "{control:?}");
    }

    #[test]
    fn a_site_whose_control_is_its_gradient_follows_the_server() {
        let mut gradient = [4.0];
        correct(&mut gradient, &[4.0], &[-1.0]);
        assert_eq!(gradient.map(f32::to_bits), [(-1.0f32).to_bits()]);
    }
}
