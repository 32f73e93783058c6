//! The production engine in simulated time: no promise is broken by any of a fixed number of seeds, and a seed repeats.

use std::num::NonZero;

use tidegate_simulator::engine::exploring::explore;
use tidegate_simulator::engine::run::run;
use tidegate_simulator::engine::schedule::Schedule;

/// As many as the build for tests gets through in about half a minute on two cores.
const SEEDS: u64 = 30;

#[test]
fn no_seed_breaks_a_promise() {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let all = explore(0, SEEDS, threads, 3);
    let broken: Vec<String> = all
        .broken
        .iter()
        .map(|(seed, wrong)| {
            format!(
                "seed {seed}: {}\n  replay: cargo run -p tidegate-simulator -- engine --trace --seed {seed}",
                wrong.join("; ")
            )
        })
        .collect();
    assert!(
        broken.is_empty(),
        "{}\nthe same command shows the fewest events that do it",
        broken.join("\n")
    );
    assert_eq!(all.seeds, SEEDS);
    // Something happened in them: processes died at the engine's own crash points, and rollouts were carried.
    assert!(all.killed_at.len() > 5, "{:?}", all.killed_at);
    assert!(all.kinds.len() > 12, "{:?}", all.kinds);
    assert!(all.samples > 1_000, "{}", all.samples);
}

#[test]
fn a_seed_repeats_to_the_last_id_and_moment() {
    // Steady and not, one controller and several.
    for seed in 0..4 {
        let schedule = Schedule::new(seed);
        let (first, second) = (run(&schedule, |_| {}), run(&schedule, |_| {}));
        assert_eq!(first.history, second.history, "seed {seed}");
        assert_eq!(first.wrong, second.wrong, "seed {seed}");
        assert!(first.entries > 5, "seed {seed}: {}", first.entries);
    }
}
