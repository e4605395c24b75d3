//! FedProx: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous
//! Networks", MLSys 2020, equation 2. The server averages as FedAvg does; the sites are pulled back.

/// Adds the gradient of `mu / 2 · |w − w0|²`, the pull towards the round's model, to a gradient.
pub fn pull(mu: f32, gradient: &mut [f32], weights: &[f32], base: &[f32]) {
    for ((g, w), w0) in gradient.iter_mut().zip(weights).zip(base) {
        *g += mu * (w - w0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_grows_with_the_distance_and_points_home() {
        let mut gradient = [0.0, 0.0, 1.0];
        pull(0.5, &mut gradient, &[1.0, -3.0, 2.0], &[1.0, 1.0, 1.0]);
        assert_eq!(
            gradient.map(f32::to_bits),
            [0.0f32, -2.0, 1.5].map(f32::to_bits)
        );
    }
}
