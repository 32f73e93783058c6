//! Which source, and which object, is ours.

use serde_json::json;

use super::super::expected::{Following, normal_url};
use super::super::{Destination, Resource, Source};
use super::fixture::{Git, NOT_FETCHED, OURS, Watch, expected};
use crate::gates::object_key::ObjectKey;

fn source(repo_url: &str, target_revision: &str, path: &str) -> Source {
    Source {
        repo_url: repo_url.to_owned(),
        target_revision: target_revision.to_owned(),
        path: path.to_owned(),
    }
}

const REPOSITORY: &str = "https://git.example.com/platform/fleet";

#[test]
fn spellings_of_one_address_are_one() {
    for url in [
        "https://git.example.com/platform/fleet",
        "https://git.example.com/platform/fleet.git",
        "https://git.example.com/platform/fleet.git/",
        " https://GIT.Example.com:443/platform/fleet/ ",
        "HTTPS://robot:secret@git.example.com/platform/fleet",
    ] {
        assert_eq!(normal_url(url), REPOSITORY, "{url}");
    }
    for url in [
        "git@git.example.com:platform/fleet.git",
        "git.example.com:/platform/fleet",
        "ssh://git@git.example.com/platform/fleet",
        "ssh://git@Git.Example.com:22/platform/fleet.git",
        "git+ssh://git@git.example.com/platform/fleet",
    ] {
        assert_eq!(normal_url(url), "ssh://git.example.com/platform/fleet");
    }
    for url in [
        "",
        "https://",
        "https://git.example.com/Platform/fleet",
        "https://git.example.com:8443/platform/fleet",
        "https://git.example.com/platform/fleet2",
        "http://git.example.com/platform/fleet",
        "/platform/fleet",
        "ssh://git@git.example.com:2222/platform/fleet",
    ] {
        assert_ne!(normal_url(url), REPOSITORY, "{url}");
    }
}

#[test]
fn a_source_is_ours_by_repository_branch_and_folder() {
    let follow = |sources: &[Source]| expected().follow(sources, &Git);
    for ours in [
        source(REPOSITORY, "tidegate/canary", "westus3"),
        source(REPOSITORY, "refs/heads/tidegate/canary", "./westus3/"),
        source(
            "ssh://git.example.com/platform/fleet",
            "tidegate/canary",
            "westus3/a/b",
        ),
        source(REPOSITORY, OURS, "/westus3"),
    ] {
        assert_eq!(
            follow(std::slice::from_ref(&ours)),
            Following::Ours(0),
            "{ours:?}"
        );
    }
    let pinned = source(REPOSITORY, NOT_FETCHED, "westus3");
    assert_eq!(
        follow(&[pinned]),
        Following::PinnedToUnknown("5e2b3c4".to_owned())
    );
    for (other, why) in [
        (
            source(REPOSITORY, "tidegate/canary", "westus30"),
            "reads the folder westus30, not westus3",
        ),
        (
            source(REPOSITORY, "tidegate/canary", "."),
            "reads the folder ., not westus3",
        ),
        (
            source(REPOSITORY, "tidegate/canary", ""),
            "reads the folder ., not westus3",
        ),
        (
            source(REPOSITORY, "", "westus3"),
            "follows HEAD, not tidegate/canary",
        ),
        (
            source(REPOSITORY, "tidegate/canary2", "westus3"),
            "follows tidegate/canary2, not tidegate/canary",
        ),
        (
            source(
                "https://me:secret@other.example.com/x",
                "tidegate/canary",
                "westus3",
            ),
            "is read from https://other.example.com/x",
        ),
    ] {
        assert_eq!(follow(&[other]), Following::Other(why.to_owned()));
    }
    assert_eq!(follow(&[]), Following::Other("has no source".to_owned()));
    let several = [
        source("https://charts.example.com", "1.2.3", ""),
        source(REPOSITORY, "main", "values"),
        source(REPOSITORY, "tidegate/canary", "westus3"),
    ];
    assert_eq!(follow(&several), Following::Ours(2));
    assert_eq!(
        follow(&several[..2]),
        Following::Other("reads the folder values, not westus3".to_owned())
    );
}

#[test]
fn of_several_sources_the_revision_of_ours_counts() {
    let mut watch = Watch::fresh(None);
    let ours =
        json!({ "repoURL": REPOSITORY, "targetRevision": "tidegate/canary", "path": "westus3" });
    let chart = json!({ "repoURL": "https://charts.example.com", "chart": "base", "targetRevision": "1.2.3" });
    watch
        .unset("/spec/source")
        .set("/spec/sources", json!([chart, ours]));
    watch.unset("/status/sync/comparedTo/source");
    watch.set("/status/sync/comparedTo/sources", json!([chart, ours]));
    watch.unset("/status/sync/revision");
    watch.set("/status/sync/revisions", json!(["1.2.3", OURS]));
    watch.unset("/status/operationState/syncResult/revision");
    watch.set(
        "/status/operationState/syncResult/revisions",
        json!(["1.2.3", OURS]),
    );
    assert_eq!(watch.look().row, 30);
    watch.set("/status/sync/revisions", json!([OURS]));
    assert_eq!(watch.look().row, 7);
}

#[test]
fn a_hydrated_application_follows_where_the_hydrator_writes() {
    let mut watch = Watch::fresh(None);
    watch.unset("/spec/source").set(
        "/spec/sourceHydrator",
        json!({
            "drySource": { "repoURL": "https://git.example.com/platform/fleet.git", "targetRevision": "main", "path": "apps" },
            "syncSource": { "targetBranch": "tidegate/canary", "path": "westus3/payments" },
        }),
    );
    assert_eq!(watch.look().row, 30);
}

#[test]
fn an_object_is_found_by_group_kind_namespace_and_name() {
    let destination = Destination {
        namespace: "payments".to_owned(),
        ..Destination::default()
    };
    let resource = |namespace: &str| Resource {
        kind: "ConfigMap".to_owned(),
        name: "a".to_owned(),
        namespace: namespace.to_owned(),
        ..Resource::default()
    };
    let key = |namespace: Option<&str>| ObjectKey {
        kind: "ConfigMap".to_owned(),
        name: "a".to_owned(),
        namespace: namespace.map(str::to_owned),
        ..ObjectKey::default()
    };
    for (namespace, there, is) in [
        (None, "payments", true),
        (Some(""), "payments", true),
        (Some("other"), "other", true),
        (Some("other"), "payments", false),
        (None, "other", false),
        (None, "", true),
        (Some("ignored"), "", true),
    ] {
        assert_eq!(
            resource(there).is(&key(namespace), &destination),
            is,
            "{namespace:?} {there}"
        );
    }
    let other_group = ObjectKey {
        group: "example.com".to_owned(),
        ..key(None)
    };
    assert!(!resource("payments").is(&other_group, &destination));
}
