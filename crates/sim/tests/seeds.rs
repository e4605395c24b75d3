//! Two hundred seeded consortiums, and the same one twice.

use salus_sim::{simulate, simulate_alone, simulate_full_disk};

/// Seeds of one test run; `make soak` asks for more.
const SEEDS: u64 = 200;

#[test]
fn no_seed_loses_repeats_or_forks_anything() {
    let next = std::sync::atomic::AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut failures = Vec::new();
        loop {
            let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if seed >= SEEDS {
                return failures;
            }
            if let Err(failure) = simulate(seed) {
                eprintln!("{failure}");
                failures.push(failure);
            }
        }
    };
    let failures: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(failures, []);
}

#[test]
fn a_seed_leads_to_the_same_crashes_partitions_and_log_size_again() {
    let first = simulate(7).unwrap();
    assert_eq!(simulate(7).unwrap(), first);
}

#[test]
fn a_member_whose_disk_is_full_stops_acknowledging_and_says_so() {
    for seed in [0, 1, 2] {
        simulate_full_disk(seed).unwrap();
    }
}

#[test]
fn a_member_alone_loses_nothing_that_it_acknowledged_when_its_power_fails() {
    for seed in 0..20 {
        let summary = simulate_alone(seed).unwrap();
        assert!(summary.acknowledged > 0, "seed {seed}");
    }
}
