//! Small bounds, and rules broken on purpose: what a search of seconds can show.

#![allow(clippy::expect_used, reason = "what is not there ends the test")]

use std::collections::BTreeSet;

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use tidegate_model::configuration::Configuration;
use tidegate_model::model::Rollouts;
use tidegate_model::mutant::Mutant;

fn configuration(name: &str, delays: u8, stops: u8) -> Configuration {
    Configuration::named(name)
        .expect("the configuration is listed")
        .disturbed(delays, stops)
}

/// The properties that a search breaks: the nearest states first.
fn broken(configuration: Configuration, mutant: Option<Mutant>) -> BTreeSet<&'static str> {
    let model = Rollouts::new(configuration, mutant);
    let examples: BTreeSet<&'static str> = model
        .properties()
        .iter()
        .filter(|property| matches!(property.expectation, Expectation::Sometimes))
        .map(|property| property.name)
        .collect();
    let checker = model
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    checker
        .discoveries()
        .into_keys()
        .filter(|name| !examples.contains(name))
        .collect()
}

fn expect_found(mutant: Mutant, name: &str, (delays, stops): (u8, u8), property: &str) {
    let found = broken(configuration(name, delays, stops), Some(mutant));
    assert!(
        found.iter().any(|name| name.starts_with(property)),
        "{mutant:?} breaks {found:?}, not {property}"
    );
}

#[test]
fn nothing_is_broken_within_small_bounds() {
    for (name, delays, stops) in [("good", 0, 0), ("bad", 1, 0)] {
        let found = broken(configuration(name, delays, stops), None);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn an_undisturbed_run_has_one_end_where_nobody_interferes() {
    for name in ["good", "bad"] {
        let model = Rollouts::new(configuration(name, 0, 0), None);
        assert!(model.allowed().iter().all(|ends| ends.len() == 1), "{name}");
    }
}

#[test]
fn a_branch_that_is_pushed_without_a_lease_is_found() {
    expect_found(Mutant::NoLease, "hotfix", (1, 0), "promise 4");
}

#[test]
fn a_log_that_is_pushed_without_a_lease_is_found() {
    expect_found(Mutant::NoLeaseOnTheLog, "good", (1, 0), "everything else");
}

#[test]
fn a_branch_that_moves_before_its_intent_stands_is_found() {
    expect_found(Mutant::BranchBeforeIntent, "good", (1, 0), "promise 3");
}

#[test]
fn an_outcome_that_is_written_before_it_is_true_is_found() {
    expect_found(Mutant::IntentIsOutcome, "good", (1, 0), "promise 3");
}

#[test]
fn a_wave_that_is_promoted_before_the_one_before_passed_is_found() {
    expect_found(Mutant::PassedIsNotWritten, "good", (0, 0), "promise 1");
}

#[test]
fn harm_that_counts_as_healthy_is_found() {
    expect_found(Mutant::AnythingIsHealthy, "bad", (0, 0), "promise 8");
}

#[test]
fn a_takeover_that_keeps_the_epoch_is_found() {
    expect_found(Mutant::EpochIsKept, "good", (0, 1), "everything else");
}

#[test]
fn an_ending_over_an_open_promotion_is_found() {
    expect_found(Mutant::EndingsDoNotLook, "hotfix", (0, 0), "promise 2");
}

#[test]
fn a_forgotten_quarantine_is_found() {
    expect_found(Mutant::QuarantineIsForgotten, "bad", (0, 0), "promise 10");
}

/// What a search must come to see for its silence to mean something.
#[test]
fn takeovers_and_pushes_that_outlive_their_sender_are_reached() {
    for wanted in [
        "a takeover",
        "a push that lands after its sender was killed",
    ] {
        let checker = Rollouts::new(configuration("good", 1, 1), None)
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([wanted])))
            .spawn_bfs()
            .join();
        assert!(checker.discovery(wanted).is_some(), "{wanted}");
    }
}
