//! What clusters answer, and how they are reached.

use std::time::Duration;

use serde_json::Value;
use tidegate_controller::fuzzing;
use tidegate_controller::gates::argocd::{
    self, Application, Expected, Kind, Limits, Memory, Revisions, Standing,
};
use tidegate_controller::gates::workloads::{
    self, Baseline, Listing, Live, Owned, Pod, Reading, Related, Snapshot, Wanted,
};

use super::checks::is_plain;
use super::parts::{part, parts};

/// Tells commits apart by their first digit.
struct Known;

impl Revisions for Known {
    fn standing(&self, revision: &str) -> Standing {
        match revision.as_bytes().first() {
            Some(b'0'..=b'3') => Standing::Wanted,
            Some(b'4'..=b'6') => Standing::Older,
            Some(b'7') => Standing::Newer { ours: true },
            Some(b'8') => Standing::Newer { ours: false },
            Some(b'9') => Standing::Foreign,
            _ => Standing::UnknownCommit,
        }
    }
}

/// Several looks at the same Application say the same in every life, plainly, and nothing passes at first sight.
pub(super) fn applications(input: &[u8]) {
    let parts = parts(input);
    let looks: Vec<Option<Application>> = ["", "then", "last"]
        .into_iter()
        .map(|name| {
            let value: Value = serde_json::from_slice(part(&parts, name)).ok()?;
            Application::read(&value).ok()
        })
        .collect();
    let expected = Expected {
        application: "shop-westus3".to_owned(),
        repositories: vec!["https://git.example.com/shop.git".to_owned()],
        branch: "refs/heads/tidegate/canary".to_owned(),
        folder: "westus3".to_owned(),
        may_terminate: true,
        tip_is_ours: true,
        ..Expected::default()
    };
    let live = || {
        let mut memory = Memory::default();
        let mut said = Vec::new();
        for (index, application) in looks.iter().enumerate() {
            let now = Duration::from_secs(40) * u32::try_from(index).unwrap_or_default();
            let application = application.as_ref();
            let verdict = argocd::judge(
                application,
                &expected,
                &Known,
                &Limits::default(),
                &mut memory,
                now,
            );
            is_plain(&verdict.evidence);
            assert!(verdict.evidence.chars().count() <= 400);
            let at_first = index == 0 && matches!(verdict.kind, Kind::Pass | Kind::Fail);
            assert!(!at_first || verdict.kind == Kind::Fail, "{verdict:?}");
            if verdict.kind == Kind::Pass {
                let healthy = application.is_some_and(|application| !application.deleting);
                assert!(healthy, "{verdict:?}");
            }
            said.push(verdict);
        }
        said
    };
    assert_eq!(live(), live());
}

/// What a tree wants and what a cluster has: nothing that is not there is healthy, and the same look says the same.
pub(super) fn live_objects(input: &[u8]) {
    let parts = parts(input);
    let values = |name: &str| -> Vec<Value> {
        serde_json::from_slice::<Value>(part(&parts, name))
            .ok()
            .and_then(|value| value.as_array().cloned())
            .unwrap_or_default()
    };
    let wanted: Vec<Wanted> = values("wanted")
        .iter()
        .filter_map(|value| Wanted::read(value).ok())
        .map(|wanted| wanted.in_namespace("shop"))
        .collect();
    let older: Vec<Wanted> = values("older")
        .iter()
        .filter_map(|value| Wanted::read(value).ok())
        .map(|wanted| wanted.in_namespace("shop"))
        .collect();
    let mut live = Live::default();
    for wanted in &wanted {
        live.objects.insert(wanted.key().clone(), Reading::Absent);
    }
    for snapshot in values("live").iter().filter_map(Snapshot::read) {
        let key = snapshot.key().clone();
        live.objects.insert(key, Reading::Found(Box::new(snapshot)));
    }
    let pods: Vec<Pod> = values("pods").iter().filter_map(Pod::read).collect();
    let owned: Vec<Owned> = values("owned").iter().filter_map(Owned::read).collect();
    live.related.insert(
        "shop".to_owned(),
        Related {
            pods: Listing::Read(pods),
            replica_sets: Listing::Read(owned.clone()),
            revisions: Listing::Read(owned),
        },
    );
    let look = || {
        let mut memory = workloads::Memory::default();
        let limits = workloads::Limits {
            stable_for: Duration::ZERO,
            ..workloads::Limits::default()
        };
        let older = if older.is_empty() {
            Vec::new()
        } else {
            vec![older.clone()]
        };
        workloads::judge(
            &wanted,
            &older,
            &live,
            &limits,
            &mut memory,
            &Baseline::default(),
            Duration::from_secs(1),
        )
    };
    let verdict = look();
    is_plain(&verdict.evidence);
    verdict
        .warnings
        .iter()
        .for_each(|warning| is_plain(warning));
    if verdict.kind == workloads::Kind::Healthy {
        assert!(!wanted.is_empty());
    }
    assert_eq!(verdict, look());
}

/// A kubeconfig or a list of Argo CD's cluster Secrets from another cluster: what is wrong with it is said plainly and without
/// what it says.
pub(super) fn kubeconfigs(input: &[u8]) {
    const CANARY: &str = "hunter2-canary";
    let text = String::from_utf8_lossy(input);
    for said in fuzzing::kubeconfigs(&text) {
        is_plain(&said);
        assert!(!said.contains(CANARY), "{said}");
    }
}
