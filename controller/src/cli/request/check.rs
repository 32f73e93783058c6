//! What can be known to be wrong with a request before it is written.

use std::collections::BTreeSet;

use tidegate_renderer::suggest;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetState, Hold, HoldReason, Verb};

use super::super::config_repo::of_git;
use super::super::error::CommandError;
use super::super::log_view::LogView;
use super::{Ask, RequestArgs};

/// Checks names and gives the full id of the commit that is meant.
pub(super) fn check(
    ask: &Ask,
    arguments: &RequestArgs,
    view: &LogView,
) -> Result<Option<Oid>, CommandError> {
    let state = view.state();
    names(ask, arguments, state)?;
    match (ask.verb, &ask.to) {
        (Verb::Approve, source) => approved(state, arguments, source.as_deref()).map(Some),
        (_, Some(text)) => resolve(text, view).map(Some),
        (_, None) => Ok(None),
    }
}

fn names(ask: &Ask, arguments: &RequestArgs, state: &FleetState) -> Result<(), CommandError> {
    let plans = || {
        state
            .rollout
            .iter()
            .map(|rollout| &rollout.plan)
            .chain(state.settled.iter().map(|settled| &settled.wanted))
    };
    let waves: BTreeSet<&str> = plans()
        .flat_map(|plan| &plan.waves)
        .map(|wave| wave.name.as_str())
        .chain(state.branches.keys().map(String::as_str))
        .collect();
    let regions: BTreeSet<&str> = plans()
        .flat_map(|plan| plan.regions.keys())
        .chain(state.last_good.keys())
        .map(String::as_str)
        .collect();
    if let Some(wave) = &arguments.wave {
        known("wave", wave, &waves)?;
    }
    for region in &ask.regions {
        known("region", region, &regions)?;
    }
    let newest = state.rollout.as_ref().map(|rollout| rollout.id.as_str());
    if let Some(wanted) = arguments
        .rollout
        .as_deref()
        .filter(|id| Some(*id) != newest)
    {
        // As the controller would refuse it, had it come a moment later.
        let error = CommandError::failed(format!("rollout {wanted} is not the newest one"));
        return Err(match newest {
            Some(newest) => error.hint(format!("the newest is {newest}")),
            None => error.hint("nothing has been rolled out yet"),
        });
    }
    Ok(())
}

fn known(what: &str, name: &str, all: &BTreeSet<&str>) -> Result<(), CommandError> {
    // Before the first rollout nothing is known here; the controller knows.
    if all.is_empty() || all.contains(name) {
        return Ok(());
    }
    let error = CommandError::usage(format!("there is no {what} {name:?}"));
    Err(match suggest::nearest(name, all.iter().copied()) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(format!(
            "there are: {}",
            all.iter().copied().collect::<Vec<_>>().join(", ")
        )),
    })
}

/// The one source commit whose holds are approved.
fn approved(
    state: &FleetState,
    arguments: &RequestArgs,
    source: Option<&str>,
) -> Result<Oid, CommandError> {
    let waiting: Vec<(Oid, &Hold)> = state
        .holds
        .iter()
        .filter(|hold| {
            hold.reason.asks_for_approval() || hold.reason == HoldReason::HistoryRewritten
        })
        .filter_map(|hold| hold.source.map(|source| (source, hold)))
        .collect();
    if waiting.is_empty() {
        return Err(CommandError::failed("nothing waits for approval")
            .hint("tidegate status shows what is held, and why"));
    }
    let meant: Vec<&(Oid, &Hold)> = waiting
        .iter()
        .filter(|(commit, _)| source.is_none_or(|text| starts_with(*commit, text)))
        .filter(|(_, hold)| arguments.wave.is_none() || hold.wave == arguments.wave)
        .filter(|(_, hold)| {
            arguments.rollout.is_none()
                || hold.rollout.is_none()
                || hold.rollout == arguments.rollout
        })
        .collect();
    let sources: BTreeSet<Oid> = meant.iter().map(|(commit, _)| *commit).collect();
    // Several holds of one commit are approved together, but only if that commit was named.
    let unclear = sources.len() != 1 || (meant.len() > 1 && source.is_none());
    if let Some(only) = sources.first().filter(|_| !unclear) {
        return Ok(*only);
    }
    let (text, shown) = if meant.is_empty() {
        ("no hold that waits for approval is meant by that", &waiting)
    } else {
        (
            "several holds wait for approval; choose the commit",
            &waiting,
        )
    };
    let list = shown.iter().fold(text.to_owned(), |list, (commit, hold)| {
        let message = crate::git::trailers::one_line(&hold.message);
        format!(
            "{list}\n  tidegate approve --source {}   # {:?}: {message}",
            commit.short(12),
            hold.reason
        )
    });
    Err(CommandError::usage(list))
}

/// Whether text is the beginning of a commit's id, long enough to be meant.
fn starts_with(commit: Oid, text: &str) -> bool {
    text.len() >= 4 && commit.to_string().starts_with(&text.to_ascii_lowercase())
}

/// The commit of the config branch that an id or the beginning of one names.
fn resolve(text: &str, view: &LogView) -> Result<Oid, CommandError> {
    let config = view.config_ref();
    if text.len() < 4 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(CommandError::usage(format!("{text:?} is no commit id"))
            .hint("give at least its first 4 digits"));
    }
    view.repo().fetch(&[format!("+{config}:{config}")], None)?;
    let tip = view.repo().tip(&config)?;
    let repository = git2::Repository::open(view.repo().path()).map_err(of_git)?;
    let mut walk = repository.revwalk().map_err(of_git)?;
    walk.push(tidegate_renderer::tree::to_git(tip))
        .map_err(of_git)?;
    let mut found = None;
    for id in walk {
        let id = tidegate_renderer::tree::from_git(id.map_err(of_git)?);
        if starts_with(id, text) && found.replace(id).is_some() {
            return Err(
                CommandError::usage(format!("{text} begins the ids of several commits"))
                    .hint("give more of its digits"),
            );
        }
    }
    found.ok_or_else(|| {
        CommandError::usage(format!(
            "no commit of {config} has an id that begins with {text}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nearly_right_is_suggested() {
        let all = BTreeSet::from(["westus3", "eastus"]);
        assert_eq!(known("region", "eastus", &all), Ok(()));
        let error = known("region", "westus2", &all).unwrap_err();
        assert_eq!(error.hints, ["did you mean westus3?"]);
        let error = known("region", "moon", &all).unwrap_err();
        assert_eq!(error.hints, ["there are: eastus, westus3"]);
    }

    #[test]
    fn an_id_is_meant_by_at_least_four_digits() {
        let commit: Oid = "abcd000000000000000000000000000000000000".parse().unwrap();
        assert!(starts_with(commit, "ABCD"));
        assert!(!starts_with(commit, "abc"));
        assert!(!starts_with(commit, "abce"));
    }
}
