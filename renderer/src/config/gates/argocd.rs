//! `argocd` of a gate.

use tidegate_waves::fleet::{ArgocdCheck, BaselineDegraded, OnDrift, OnSuspended, PrunePending};

use super::super::fleet::selector;
use super::super::reader::Reader;
use super::{Wrong, known_duration, known_number};
use crate::yaml::{Node, Spanned};

const FIELDS: &[&str] = &[
    "instance",
    "selector",
    "applications",
    "stableFor",
    "degradedFor",
    "syncDeadline",
    "missingFor",
    "driftGrace",
    "baselineDegraded",
    "prunePending",
    "onDrift",
    "onSuspended",
];

pub(super) fn check(reader: &Reader, node: &Spanned<Node>, gate: &str) -> Option<ArgocdCheck> {
    let fields = reader.fields(node, format!("`argocd` of {gate}"), FIELDS)?;
    let default = ArgocdCheck::default();
    let chosen = fields.get("selector").map(|node| {
        let what = fields.called("selector");
        let selector = selector(reader, node, &what);
        if selector
            .as_ref()
            .is_some_and(|selector| *selector == tidegate_waves::selector::LabelSelector::default())
        {
            reader.error_with_hint(
                node.span,
                format!("{what} is empty: it would choose every Application"),
                "write `matchLabels`, or leave `selector` out to find Applications by repo, branch and folder",
            );
        }
        selector
    });
    let selector = match chosen {
        Some(None) => return None,
        Some(selector) => selector,
        None => None,
    };
    Some(ArgocdCheck {
        instance: fields.text("instance").map(str::to_owned),
        selector,
        applications: known_number(&fields, "applications", 1, default.applications),
        stable_for: known_duration(&fields, "stableFor", default.stable_for),
        degraded_for: known_duration(&fields, "degradedFor", default.degraded_for),
        sync_deadline: known_duration(&fields, "syncDeadline", default.sync_deadline),
        missing_for: known_duration(&fields, "missingFor", default.missing_for),
        drift_grace: known_duration(&fields, "driftGrace", default.drift_grace),
        baseline_degraded: fields
            .word(
                "baselineDegraded",
                &[
                    ("hold", BaselineDegraded::Hold),
                    ("ignore", BaselineDegraded::Ignore),
                ],
            )
            .unwrap_or(default.baseline_degraded),
        prune_pending: fields
            .word(
                "prunePending",
                &[
                    ("accept", PrunePending::Accept),
                    ("hold", PrunePending::Hold),
                ],
            )
            .unwrap_or(default.prune_pending),
        on_drift: fields
            .word(
                "onDrift",
                &[("hold", OnDrift::Hold), ("fail", OnDrift::Fail)],
            )
            .unwrap_or(default.on_drift),
        on_suspended: fields
            .word(
                "onSuspended",
                &[("hold", OnSuspended::Hold), ("pass", OnSuspended::Pass)],
            )
            .unwrap_or(default.on_suspended),
    })
}

/// What is wrong with it once its strings are resolved.
pub(super) fn check_resolved(check: &ArgocdCheck, wrong: Wrong<'_>) {
    if check.instance.as_deref().is_some_and(str::is_empty) {
        wrong(
            &["argocd", "instance"],
            "the name is empty",
            "write the name of an Argo CD in the operator's settings, or leave it out if there is only one",
        );
    }
}
