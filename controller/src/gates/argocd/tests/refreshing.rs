//! Asking for a comparison, and telling its answer from what was on its way before.

use std::time::Duration;

use super::super::{Action, Application, Kind};
use super::fixture::Watch;

fn asked() -> Watch {
    let mut watch = Watch::new(None);
    let verdict = watch.look();
    assert_eq!((verdict.row, verdict.act), (26, Some(Action::Refresh)));
    watch.ask();
    watch.now += Duration::from_secs(1);
    watch
}

#[test]
fn an_answer_is_later_has_no_annotation_and_a_newer_comparison() {
    let mut watch = asked();
    assert_eq!(watch.look().row, 26);
    watch.answer(5);
    assert_eq!(watch.look().row, 30);

    // One that ends while the question stands may have begun before it.
    let mut watch = asked();
    watch.next_version();
    watch.reconcile(5);
    assert_eq!(watch.look().row, 26);
    watch.answer(0);
    assert_eq!(watch.look().row, 26);
    assert_eq!(watch.refreshed().row, 30);

    // Other writes in between are none.
    let mut watch = asked();
    watch.next_version();
    watch.reconcile(5);
    assert_eq!(watch.look().row, 26);
}

#[test]
fn what_was_on_its_way_before_the_asking_is_no_answer() {
    let mut watch = Watch::new(None);
    watch.look();
    let mut before = watch.app.clone().unwrap();
    super::fixture::set(&mut before, "/metadata/resourceVersion", "1001");
    super::fixture::set(&mut before, "/status/reconciledAt", "2026-03-01T10:00:50Z");
    watch.next_version();
    watch.ask();
    let asked = watch.app.replace(before);
    assert_eq!(watch.look().row, 26);
    watch.app = asked;
    assert_eq!(watch.look().row, 26);
    watch.answer(60);
    assert_eq!(watch.look().row, 30);
}

#[test]
fn versions_that_cannot_be_ordered_must_be_seen_in_their_order() {
    let mut watch = Watch::new(None);
    watch.set("/metadata/resourceVersion", "a");
    watch.look();
    watch.memory.refresh_requested("c", watch.now);
    watch.set("/metadata/resourceVersion", "b").reconcile(5);
    assert_eq!(watch.look().row, 26);
    watch.set("/metadata/resourceVersion", "c");
    assert_eq!(watch.look().row, 26);
    watch.set("/metadata/resourceVersion", "d").reconcile(5);
    assert_eq!(watch.look().row, 30);
}

#[test]
fn an_equal_second_is_asked_again_at_once_but_not_for_ever() {
    let mut watch = asked();
    watch.answer(0);
    let verdict = watch.look();
    assert_eq!((verdict.row, verdict.act), (26, Some(Action::Refresh)));
    watch.ask();
    watch.answer(0);
    let verdict = watch.look();
    assert_eq!((verdict.row, verdict.act), (26, None));
    assert_eq!(watch.look_for(15).act, Some(Action::Refresh));
    assert_eq!(watch.refreshed().row, 30);
}

#[test]
fn a_clock_set_back_is_no_answer_and_the_next_one_is() {
    let mut watch = asked();
    watch.answer(-7_200);
    watch.unset("/status/operationState");
    assert_eq!(watch.look().row, 26);
    assert_eq!(watch.refreshed().row, 30);
}

#[test]
fn an_answer_to_somebody_else_is_not_ours() {
    let mut watch = Watch::new(None);
    watch.ask();
    watch.memory = super::super::Memory::default();
    // Somebody had asked before we looked.
    watch.look();
    watch.ask();
    watch.now += Duration::from_secs(1);
    watch.answer(5);
    let verdict = watch.look();
    assert_eq!((verdict.row, verdict.act), (26, Some(Action::Refresh)));
    assert_eq!(watch.refreshed().row, 30);
}

#[test]
fn it_is_asked_for_now_and_then() {
    let mut watch = asked();
    assert_eq!(watch.look_for(10).act, None);
    assert_eq!(watch.look_for(5).act, Some(Action::Refresh));
    watch.ask();
    assert_eq!(watch.look().act, None);
    // Our own question is not somebody else's.
    watch.answer(20);
    assert_eq!(watch.look().row, 30);
}

#[test]
fn without_the_right_to_ask_the_next_comparison_counts() {
    let mut watch = Watch::new(None);
    assert_eq!(watch.look().act, Some(Action::Refresh));
    watch.memory.refresh_refused();
    let verdict = watch.look_for(60);
    assert_eq!((verdict.row, verdict.act), (26, None));
    watch.reconcile(120);
    assert_eq!(watch.look_for(70).row, 30);
    watch.reconcile(120);
    assert_eq!(watch.look().kind, Kind::Pass);
}

/// As its own API reads it now.
fn read(watch: &Watch) -> Application {
    Application::read(watch.app.as_ref().unwrap()).unwrap()
}

/// A refresh that its own API is asked for, and the Application as it was before.
fn under_way() -> (Watch, Application) {
    let mut watch = Watch::new(None);
    assert_eq!(watch.look().act, Some(Action::Refresh));
    let before = read(&watch);
    watch.memory.refresh_under_way(watch.now);
    watch.now += Duration::from_secs(1);
    (watch, before)
}

#[test]
fn of_its_own_api_the_answer_counts_and_not_what_is_seen_meanwhile() {
    let (mut watch, before) = under_way();
    watch.next_version();
    watch.reconcile(5);
    let verdict = watch.look();
    assert_eq!((verdict.row, verdict.act), (26, None));
    watch.reconcile(5);
    watch.memory.refresh_answered(&before, &read(&watch));
    assert_eq!(watch.look().row, 30);
}

#[test]
fn an_answer_of_its_own_api_without_a_newer_comparison_is_asked_for_again() {
    let (mut watch, before) = under_way();
    watch.memory.refresh_answered(&before, &before);
    let verdict = watch.look();
    assert_eq!((verdict.row, verdict.act), (26, Some(Action::Refresh)));
}

#[test]
fn an_answer_of_its_own_api_to_somebody_else_or_of_another_application_is_not_ours() {
    let (mut watch, mut before) = under_way();
    before.refresh = Some("normal".to_owned());
    watch.reconcile(5);
    watch.memory.refresh_answered(&before, &read(&watch));
    let verdict = watch.look();
    assert_eq!((verdict.row, verdict.act), (26, Some(Action::Refresh)));

    let (mut watch, before) = under_way();
    watch.reconcile(5);
    let mut after = read(&watch);
    after.uid = "another".to_owned();
    watch.memory.refresh_answered(&before, &after);
    assert_eq!(watch.look().row, 26);
}
