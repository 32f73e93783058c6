//! A fixed number of seeds: no promise is broken, every seed repeats, and what met what is what it was.

use std::collections::BTreeSet;

use tidegate_simulator::aiming::{read, run_all};
use tidegate_simulator::coverage::{every_pair, pairs_of};
use tidegate_simulator::exploring::explore;
use tidegate_simulator::run::run;
use tidegate_simulator::schedule::Schedule;

/// As many as the build for tests gets through in less than a minute on two cores.
const SEEDS: u64 = 2_000;

/// Schedules for pairs that these seeds never bring together: `simulator aim` prints them.
const AIMED: &str = include_str!("../aimed.txt");

/// The pairs that none of all these brings together, and why.
const UNSEEN: &str = include_str!("../unseen.txt");

#[test]
fn no_seed_breaks_a_promise_and_the_pairs_never_seen_are_the_ones_listed() {
    let all = explore(0, SEEDS, 2, 10);
    let broken: Vec<String> = all
        .broken
        .iter()
        .map(|(seed, broken)| format!("seed {seed}: {}", broken.wrong.join("; ")))
        .collect();
    assert!(
        broken.is_empty(),
        "{}\n`cargo run --release -p tidegate-simulator -- simulate --seed N` shows the fewest events that do it",
        broken.join("\n")
    );
    assert_eq!(all.seeds, SEEDS);
    let mut coverage = all.coverage;
    let seen_by_seeds: BTreeSet<String> = every_pair()
        .into_iter()
        .filter(|pair| !coverage.unseen().contains(pair))
        .collect();
    let mut wrong = Vec::new();
    let aimed = read(AIMED).unwrap();
    let reports = run_all(&aimed, 2);
    assert_eq!(reports.len(), aimed.len());
    for (aimed, report) in reports {
        let Some(report) = report else {
            wrong.push(format!("{aimed}: there is no such kind of event"));
            continue;
        };
        if let Some(broken) = &report.broken {
            wrong.push(format!("{aimed}: {}", broken.wrong.join("; ")));
        }
        if report.coverage.unseen().contains(&aimed.pair) {
            wrong.push(format!("{aimed}: they do not meet there"));
        }
        if seen_by_seeds.contains(&aimed.pair) {
            wrong.push(format!("{aimed}: the seeds bring them together"));
        }
        coverage.add(&report.coverage);
    }
    assert!(
        wrong.is_empty(),
        "{}\n`simulator simulate --trace --seed SEED --meet PLACE:KIND` shows one of them; where the rules have changed, `simulator aim` \
         prints the list anew",
        wrong.join("\n")
    );
    let unseen: BTreeSet<String> = coverage.unseen().into_iter().collect();
    let listed = listed();
    let not_listed: Vec<&String> = unseen.difference(&listed).collect();
    let seen_by_now: Vec<&String> = listed.difference(&unseen).collect();
    assert!(
        not_listed.is_empty() && seen_by_now.is_empty(),
        "never seen, and not in unseen.txt: {not_listed:#?}\nin unseen.txt, and seen by now: {seen_by_now:#?}"
    );
}

#[test]
fn a_seed_repeats_and_no_two_are_alike() {
    let mut histories = BTreeSet::new();
    for seed in 0..20 {
        let schedule = Schedule::new(seed);
        let (first, second) = (run(&schedule, |_| {}), run(&schedule, |_| {}));
        assert_eq!(first.history, second.history, "seed {seed}");
        assert_eq!(first.coverage, second.coverage, "seed {seed}");
        histories.insert(first.history);
    }
    assert_eq!(histories.len(), 20);
}

/// The list's lines, `*` standing for everything that can meet a state.
fn listed() -> BTreeSet<String> {
    let mut listed = BTreeSet::new();
    for line in UNSEEN
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (state, with) = line.split_once(" x ").unwrap_or((line, ""));
        for with in with.split(' ') {
            let found = if with == "*" {
                pairs_of(state)
            } else {
                vec![format!("{state} x {with}")]
            };
            assert!(!found.is_empty(), "unseen.txt: there is no state {state:?}");
            listed.extend(found);
        }
    }
    let every = every_pair();
    for pair in &listed {
        assert!(
            every.contains(pair),
            "unseen.txt: there is no pair {pair:?}"
        );
    }
    listed
}
