//! One case per row, and that each row is needed.
//!
//! | row | tests |
//! |---|---|
//! | 1 | `row_01_no_application` |
//! | 2 | `trust::row_02_not_there` |
//! | 3 | `trust::row_03_left_alone` |
//! | 4 | `trust::row_04_other_source` |
//! | 5 | `trust::row_05_needs_manual_sync` |
//! | 6 | `trust::row_06_rejected` |
//! | 7 | `trust::row_07_nothing_known`, `trust::row_07_manifests_that_cannot_be_parsed_are_a_failure` |
//! | 8 | `trust::row_08_other_spec` |
//! | 9 | `trust::row_09_sync_window` |
//! | 10 | `trust::row_10_operation_for_another_commit` |
//! | 11 | `signals::row_11_not_seen_yet` |
//! | 12 | `signals::row_12_newer` |
//! | 13 | `signals::row_13_foreign` |
//! | 14 | `signals::row_14_sync_failed`, `signals::row_14_…` |
//! | 15 | `signals::row_15_failure_of_an_earlier_commit` |
//! | 16 | `signals::row_16_nothing_rendered` |
//! | 17 | `signals::row_17_degraded_before` |
//! | 18 | `signals::row_18_degraded_briefly` |
//! | 19 | `signals::row_19_degraded` |
//! | 20 | `signals::row_20_operation_runs` |
//! | 21 | `signals::row_21_retry_pending`, `signals::row_21_a_cluster_that_cannot_be_reached_while_it_is_synced_is_no_failure` |
//! | 22 | `outcome::row_22_sync_not_begun` |
//! | 23 | `outcome::row_23_awaits_pruning` |
//! | 24 | `outcome::row_24_drifted` |
//! | 25 | `outcome::row_25_lacks_objects`, `outcome::row_25_what_is_left_out_on_purpose_blocks_where_nothing_else_is_there` |
//! | 26 | `outcome::row_26_not_fresh` |
//! | 27 | `outcome::row_27_progressing` |
//! | 28 | `outcome::row_28_missing` |
//! | 29 | `outcome::row_29_suspended` |
//! | 30 | `outcome::row_30_soaking` |
//! | 31 | `outcome::row_31_passed` |

mod outcome;
mod signals;
mod trust;

use tidegate_waves::gate::Reading;

use super::super::judged::Judged;
use super::super::verdict::worst;
use super::super::{Action, Kind, Verdict, judge_region};

/// A case of a row, judged by the table without a row.
type Case = fn(Option<u8>) -> Verdict;

const CASES: [(u8, Case); 30] = [
    (2, trust::case_02),
    (3, trust::case_03),
    (4, trust::case_04),
    (5, trust::case_05),
    (6, trust::case_06),
    (7, trust::case_07),
    (8, trust::case_08),
    (9, trust::case_09),
    (10, trust::case_10),
    (11, signals::case_11),
    (12, signals::case_12),
    (13, signals::case_13),
    (14, signals::case_14),
    (15, signals::case_15),
    (16, signals::case_16),
    (17, signals::case_17),
    (18, signals::case_18),
    (19, signals::case_19),
    (20, signals::case_20),
    (21, signals::case_21),
    (22, outcome::case_22),
    (23, outcome::case_23),
    (24, outcome::case_24),
    (25, outcome::case_25),
    (26, outcome::case_26),
    (27, outcome::case_27),
    (28, outcome::case_28),
    (29, outcome::case_29),
    (30, outcome::case_30),
    (31, outcome::case_31),
];

#[track_caller]
fn is(verdict: &Verdict, row: u8, kind: Kind, act: Option<Action>, evidence: &str) {
    let name = "payments-westus3: ";
    assert_eq!(
        (verdict.row, verdict.kind, verdict.act),
        (row, kind, act),
        "{}",
        verdict.evidence
    );
    let text = verdict.evidence.strip_prefix(name);
    assert_eq!(text, Some(evidence), "{}", verdict.evidence);
}

#[test]
fn each_row_decides_its_case_and_no_other_row_would_decide_alike() {
    for (row, case) in CASES {
        let verdict = case(None);
        // Row 15 decides by making row 14 pass over.
        assert!(verdict.row == row || row == 15, "row {row}: {verdict:?}");
        // Other words would be no other decision.
        let without = case(Some(row));
        assert_ne!(
            comes_to(&verdict),
            comes_to(&without),
            "row {row} is not needed: {without:?}"
        );
    }
    let nothing = judge_region(&[], 1);
    assert_ne!(nothing.kind, worst(&[]).kind, "row 1 is not needed");
}

/// What a verdict makes of its region, and what it asks for.
fn comes_to(verdict: &Verdict) -> (Kind, Reading, Option<Action>) {
    let judged = Judged {
        names: Vec::new(),
        verdicts: Vec::new(),
        region: judge_region(std::slice::from_ref(verdict), 1),
        is_healthy: false,
    };
    (verdict.kind, judged.after().reading, verdict.act)
}

#[test]
fn row_01_no_application() {
    let nothing = judge_region(&[], 0);
    assert_eq!((nothing.row, nothing.kind), (1, Kind::Blocked));
    assert_eq!(
        nothing.evidence,
        "no Application was found for this region: check the gate's selector"
    );
    let passes = outcome::case_31(None);
    let few = judge_region(std::slice::from_ref(&passes), 2);
    assert_eq!((few.row, few.kind), (1, Kind::Blocked));
    let enough = judge_region(std::slice::from_ref(&passes), 1);
    assert_eq!((enough.row, enough.kind), (31, Kind::Pass));
    assert_eq!(enough.evidence, passes.evidence);
}

#[test]
fn the_worst_application_of_a_region_decides() {
    let order = [
        outcome::case_31(None),
        outcome::case_30(None),
        signals::case_11(None),
        signals::case_12(None),
        signals::case_13(None),
        outcome::case_25(None),
        signals::case_14(None),
    ];
    for (index, worst) in order.iter().enumerate() {
        let verdict = judge_region(&order[..=index], 1);
        assert_eq!((verdict.row, verdict.kind), (worst.row, worst.kind));
        assert_eq!(verdict.applications, [index]);
    }
    let twice = judge_region(
        &[
            signals::case_14(None),
            outcome::case_31(None),
            signals::case_14(None),
        ],
        3,
    );
    assert_eq!(twice.applications, [0, 2]);
    assert!(twice.evidence.ends_with(" (and 1 more)"));
}
