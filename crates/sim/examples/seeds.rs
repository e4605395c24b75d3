//! Runs seeds and prints what happened: `seeds FIRST COUNT`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a tool for developers"
)]

fn main() {
    let arguments: Vec<u64> = std::env::args()
        .skip(1)
        .map(|a| a.parse().unwrap())
        .collect();
    let (first, count) = (
        arguments.first().copied().unwrap_or(0),
        arguments.get(1).copied().unwrap_or(1),
    );
    for seed in first..first + count {
        println!("{:?}", salus_sim::simulate(seed));
        println!("alone: {:?}", salus_sim::simulate_alone(seed));
    }
}
