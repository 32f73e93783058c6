//! Settings of Argo CD that matter for rollouts. Pure: objects as the API server gives them in, findings out.
//!
//! Facts of Argo CD's own manual: *ApplicationSet › Controlling Resource Modification*, *Automated Sync Policy*,
//! *Sync Options*, *Diff Customization*.

use serde_json::Value;

use super::{Finding, text};
use crate::gates::argocd::{Application, branch_name};

/// With it, deleting an Application deletes its objects.
const RESOURCES_FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";

fn is_true(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool) == Some(true)
}

/// What an `ApplicationSet` may do that generates Applications from our repo, whose log is `log` (without `refs/heads/`).
pub(super) fn of_set(set: &Value, is_ours: impl Fn(&str) -> bool, log: &str) -> Vec<Finding> {
    let name = text(set, "/metadata/name");
    let mut findings = Vec::new();
    match text(set, "/spec/syncPolicy/applicationsSync") {
        "create-only" | "create-update" => {}
        _ => findings.push(Finding::problem(
            name,
            "it may delete Applications, as when its list of regions is empty or cannot be read for once",
            "set `spec.syncPolicy.applicationsSync: create-update`",
        )),
    }
    if !is_true(set, "/spec/syncPolicy/preserveResourcesOnDeletion") {
        findings.push(Finding::problem(
            name,
            "deleting it, or one of its Applications, deletes what runs in the regions",
            "set `spec.syncPolicy.preserveResourcesOnDeletion: true`",
        ));
    }
    let generators = set.pointer("/spec/generators").and_then(Value::as_array);
    for generator in generators.into_iter().flatten() {
        let Some(git) = generator.get("git") else {
            continue;
        };
        if !is_ours(text(git, "/repoURL")) {
            continue;
        }
        let revision = branch_name(text(git, "/revision"));
        let reads_the_list = git
            .pointer("/files")
            .and_then(Value::as_array)
            .is_some_and(|files| {
                files
                    .iter()
                    .any(|file| text(file, "/path").trim_start_matches('/') == "regions.json")
            });
        if revision != log || !reads_the_list {
            findings.push(Finding::problem(
                name,
                format!("it does not generate from `regions.json` on `{log}`: a region that moves to another wave is there twice, or nowhere"),
                format!("let its git generator read the file `regions.json` at the revision `{log}`"),
            ));
        }
    }
    findings
}

/// What an Application of a region does that is in the way of rollouts, `object` being all of it. `followed` is the revision at
/// which it reads the region's folder, `branch` the region's wave branch, `may_sync` whether syncs are started from here where
/// it does not sync by itself.
pub(super) fn of_application(
    object: &Value,
    application: &Application,
    followed: &str,
    branch: &str,
    may_sync: bool,
) -> Vec<Finding> {
    let name = application.name.as_str();
    let mut findings = Vec::new();
    match application.automated.filter(|automated| automated.enabled) {
        None if may_sync => {}
        None => findings.push(Finding::problem(
            name,
            "it does not sync by itself: promotions wait for a person who syncs it",
            "set `spec.syncPolicy.automated`, or `sync: true` in the operator's settings of this Argo CD",
        )),
        Some(automated) => {
            if is_true(object, "/spec/syncPolicy/automated/allowEmpty") {
                findings.push(Finding::problem(
                    name,
                    "a folder that is empty, or looks so, deletes everything in the region (`allowEmpty`)",
                    "take `allowEmpty` out of `spec.syncPolicy.automated`",
                ));
            }
            if !automated.prune {
                findings.push(Finding::advice(
                    name,
                    "what a commit takes out of the manifests stays in the region",
                    "set `prune: true` in `spec.syncPolicy.automated`",
                ));
            }
            if !automated.self_heal {
                findings.push(Finding::advice(
                    name,
                    "what somebody changes by hand stays so, and its gate waits for it",
                    "set `selfHeal: true` in `spec.syncPolicy.automated`",
                ));
            }
        }
    }
    let retry = object
        .pointer("/spec/syncPolicy/retry")
        .filter(|retry| !retry.is_null());
    if let Some(retry) = retry
        && !is_true(retry, "/refresh")
    {
        findings.push(Finding::advice(
            name,
            "a sync that fails is tried again with the commit it began with, also when that was given back",
            "set `spec.syncPolicy.retry.refresh: true`, where this Argo CD knows it",
        ));
    }
    let ignored = object
        .pointer("/spec/ignoreDifferences")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    if ignored > 0 {
        findings.push(Finding::advice(
            name,
            format!(
                "{ignored} entries in `ignoreDifferences`: it is synced whatever those fields hold"
            ),
            "keep only what another controller sets, and fields that no commit changes",
        ));
    }
    if application.skip_reconcile {
        findings.push(Finding::problem(
            name,
            "Argo CD is told to leave it alone",
            "take the annotation argocd.argoproj.io/skip-reconcile away",
        ));
    }
    let finalizers = object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array);
    if finalizers.is_some_and(|all| all.iter().any(|name| name == RESOURCES_FINALIZER)) {
        findings.push(Finding::advice(
            name,
            "deleting it deletes what runs in the region",
            "take the finalizer resources-finalizer.argocd.argoproj.io away",
        ));
    }
    if followed != branch {
        let shown = if followed.is_empty() {
            "HEAD"
        } else {
            followed
        };
        findings.push(Finding::problem(
            name,
            format!("it follows {shown:?} and not its wave's branch {branch:?}: commits reach it without a gate, or never"),
            format!("set its `targetRevision: {branch}`, or let its ApplicationSet be generated anew"),
        ));
    }
    findings
}

/// What Argo CD's own `ConfigMap`s say: `argocd-cm`, and `argocd-cmd-params-cm`, where they can be read.
pub(super) fn of_config(subject: &str, cm: &Value, params: Option<&Value>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let everywhere = text(cm, "/data/resource.customizations.ignoreDifferences.all");
    if !everywhere.is_empty() {
        findings.push(Finding::advice(
            subject,
            "`resource.customizations.ignoreDifferences.all` in argocd-cm hides differences of every kind from every gate",
            "name the kinds that need it",
        ));
    }
    if text(cm, "/data/timeout.reconciliation").starts_with('0') {
        findings.push(Finding::advice(
            subject,
            "Argo CD never looks at git by itself (`timeout.reconciliation: 0`): where a refresh is lost, nobody notices",
            "set `timeout.reconciliation` in argocd-cm, such as 180s",
        ));
    }
    if let Some(params) = params {
        let limit = text(params, "/data/controller.sync.timeout.seconds");
        if limit.is_empty() || limit == "0" {
            findings.push(Finding::advice(
                subject,
                "a sync whose hook never ends is ended by nobody but a gate's `syncDeadline`",
                "set `controller.sync.timeout.seconds` in argocd-cmd-params-cm",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Severity;
    use super::*;

    const REPO: &str = "https://git.example.com/acme/shop.git";

    fn sets(change: impl Fn(&mut Value)) -> Vec<String> {
        let mut set = json!({
            "metadata": { "name": "shop" },
            "spec": {
                "syncPolicy": { "applicationsSync": "create-update", "preserveResourcesOnDeletion": true },
                "generators": [
                    { "git": { "repoURL": REPO, "revision": "tidegate/log", "files": [{ "path": "regions.json" }] } },
                    { "git": { "repoURL": "https://elsewhere.example.com/x", "revision": "HEAD", "directories": [] } },
                ],
            },
        });
        change(&mut set);
        said(&of_set(&set, |url| url == REPO, "tidegate/log"))
    }

    const CANARY: &str = "tidegate/canary";

    fn applications(may_sync: bool, change: impl Fn(&mut Value)) -> Vec<String> {
        let mut application = json!({
            "metadata": { "name": "shop-westus3", "annotations": {} },
            "spec": {
                "syncPolicy": { "automated": { "prune": true, "selfHeal": true } },
            },
        });
        change(&mut application);
        said(&judged(&application, CANARY, may_sync))
    }

    fn judged(object: &Value, followed: &str, may_sync: bool) -> Vec<Finding> {
        let application = Application::read(object).unwrap();
        of_application(object, &application, followed, CANARY, may_sync)
    }

    fn said(findings: &[Finding]) -> Vec<String> {
        findings
            .iter()
            .map(|finding| format!("{}: {}", finding.severity.word(), finding.message))
            .collect()
    }

    fn only(said: &[String], severity: Severity, part: &str) {
        let [one] = said else {
            panic!("one finding is wanted with {part:?}: {said:?}");
        };
        assert!(one.starts_with(severity.word()), "{one}");
        assert!(one.contains(part), "{one}");
    }

    #[test]
    fn the_templates_own_set_has_no_findings() {
        let text = include_str!("../../../repo-template/argocd/applicationset.yaml");
        let set: Value = serde_yaml::from_str(text).unwrap();
        let url = "https://git.example.com/acme/shop-config.git";
        assert_eq!(of_set(&set, |found| found == url, "tidegate/log"), []);
        let application = &set["spec"]["template"];
        assert_eq!(judged(application, CANARY, false), []);
    }

    #[test]
    fn each_dangerous_setting_of_a_set_is_found() {
        assert_eq!(sets(|_| {}), Vec::<String>::new());
        for dangerous in [json!("sync"), json!("create-delete"), Value::Null] {
            let found =
                sets(|set| set["spec"]["syncPolicy"]["applicationsSync"] = dangerous.clone());
            only(&found, Severity::Problem, "may delete Applications");
        }
        let found =
            sets(|set| set["spec"]["syncPolicy"]["preserveResourcesOnDeletion"] = false.into());
        only(&found, Severity::Problem, "deletes what runs");
        let found = sets(|set| set["spec"]["generators"][0]["git"]["revision"] = "HEAD".into());
        only(&found, Severity::Problem, "regions.json");
        let found =
            sets(|set| set["spec"]["generators"][0]["git"]["files"][0]["path"] = "*/x.json".into());
        only(&found, Severity::Problem, "regions.json");
        let found = sets(|set| {
            set["spec"]["generators"][0]["git"]["revision"] = "refs/heads/tidegate/log".into();
        });
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn each_setting_of_an_application_that_is_in_the_way_is_found() {
        assert_eq!(applications(false, |_| {}), Vec::<String>::new());
        let automated = |value: Value| {
            move |application: &mut Value| {
                application["spec"]["syncPolicy"]["automated"] = value.clone();
            }
        };
        for off in [
            Value::Null,
            json!({ "enabled": false, "prune": true, "selfHeal": true }),
        ] {
            only(
                &applications(false, automated(off.clone())),
                Severity::Problem,
                "by itself",
            );
            assert_eq!(applications(true, automated(off)), Vec::<String>::new());
        }
        let found = applications(
            false,
            automated(json!({ "prune": true, "selfHeal": true, "allowEmpty": true })),
        );
        only(&found, Severity::Problem, "allowEmpty");
        let found = applications(false, automated(json!({ "selfHeal": true })));
        only(&found, Severity::Advice, "stays in the region");
        let found = applications(false, automated(json!({ "prune": true })));
        only(&found, Severity::Advice, "by hand");
        let retry = |refresh: bool| {
            applications(false, |application| {
                application["spec"]["syncPolicy"]["retry"] =
                    json!({ "limit": 5, "refresh": refresh });
            })
        };
        only(&retry(false), Severity::Advice, "the commit it began with");
        assert_eq!(retry(true), Vec::<String>::new());
        let found = applications(false, |application| {
            application["spec"]["ignoreDifferences"] = json!([{ "kind": "Deployment" }]);
        });
        only(&found, Severity::Advice, "ignoreDifferences");
        let found = applications(false, |application| {
            application["metadata"]["annotations"]["argocd.argoproj.io/skip-reconcile"] =
                "true".into();
        });
        only(&found, Severity::Problem, "leave it alone");
        let found = applications(false, |application| {
            application["metadata"]["finalizers"] =
                json!(["resources-finalizer.argocd.argoproj.io"]);
        });
        only(&found, Severity::Advice, "deleting it");
        let plain = json!({ "metadata": { "name": "shop-westus3" } });
        for other in ["main", "tidegate/pilot", ""] {
            let found = said(&judged(&plain, other, true));
            only(&found, Severity::Problem, "without a gate");
        }
    }

    #[test]
    fn argo_cds_own_settings_are_read() {
        let quiet = json!({ "data": { "timeout.reconciliation": "180s" } });
        let limited = json!({ "data": { "controller.sync.timeout.seconds": "600" } });
        assert_eq!(of_config("Argo CD argocd", &quiet, Some(&limited)), []);
        assert_eq!(of_config("Argo CD argocd", &json!({}), None), []);
        let found = said(&of_config("Argo CD argocd", &quiet, Some(&json!({}))));
        only(&found, Severity::Advice, "hook never ends");
        let never = json!({ "data": { "timeout.reconciliation": "0s" } });
        let found = said(&of_config("Argo CD argocd", &never, Some(&limited)));
        only(&found, Severity::Advice, "never looks at git");
        let hiding = json!({ "data": { "resource.customizations.ignoreDifferences.all": "jsonPointers: [/spec]" } });
        let found = said(&of_config("Argo CD argocd", &hiding, Some(&limited)));
        only(&found, Severity::Advice, "every kind");
    }
}
