//! Readiness that k0rdent's objects show by other fields than conditions, where one object alone tells it.
//!
//! What one object alone does not tell is not judged here: a `Region` stays ready after its cluster died, a `Credential`
//! after its copy to a region failed, and a `ClusterDeployment` for a moment after its spec changed, on account of the
//! release that it had before. Only the time for which they must stay healthy helps against the last.

use std::collections::BTreeMap;

use serde_json::Value;

use super::line::message;
use super::object::{conditions, number, text};
use crate::gates::object_key::ObjectKey;
use crate::gates::shown::word;

/// The API group of k0rdent.
pub(super) const GROUP: &str = "k0rdent.mirantis.com";

/// What an object's own fields say, beside its conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Own {
    /// It is ready, and has no condition that would say so.
    Ready,
    /// It is not ready yet.
    NotYet(String),
    /// It says nothing of what was asked for.
    Unsure(&'static str),
}

/// The condition by which a kind says that it is ready.
pub(super) fn ready_condition(key: &ObjectKey) -> &'static str {
    if key.is(GROUP, "Credential") {
        "CredentialReady"
    } else {
        "Ready"
    }
}

/// What the object's own fields say; nothing where its conditions alone decide.
pub(super) fn own(key: &ObjectKey, object: &Value) -> Option<Own> {
    if key.group != GROUP {
        return None;
    }
    match key.kind.as_str() {
        "Release" | "StateManagementProvider" => Some(by_flag(object, "ready", "")),
        "ProviderTemplate"
        | "ClusterTemplate"
        | "ServiceTemplate"
        | "ClusterTemplateChain"
        | "ServiceTemplateChain" => Some(by_flag(object, "valid", "/status/validationError")),
        "Management" => {
            let (wanted, has) = (
                text(object, "/spec/release"),
                text(object, "/status/release"),
            );
            if wanted != has {
                return Some(Own::NotYet(format!(
                    "runs release {}, wanted {}",
                    shown(&has),
                    shown(&wanted)
                )));
            }
            components(object)
        }
        "Region" => lagging(object).or_else(|| components(object)),
        "ClusterDeployment" => cluster_deployment(object),
        _ => None,
    }
}

fn by_flag(object: &Value, flag: &str, error: &str) -> Own {
    if let Some(lagging) = lagging(object) {
        return lagging;
    }
    let status = object.get("status");
    if status.and_then(|status| status.get(flag)) == Some(&Value::Bool(true)) {
        return Own::Ready;
    }
    let error = text(object, error);
    let why = if error.is_empty() {
        String::new()
    } else {
        format!(": {}", message(&error))
    };
    Own::NotYet(format!("status.{flag} is not true{why}"))
}

/// A status that its controller writes only after a whole pass, and has not yet written for this spec.
fn lagging(object: &Value) -> Option<Own> {
    let generation = number(object, "/metadata/generation")?;
    (number(object, "/status/observedGeneration") != Some(generation))
        .then(|| Own::NotYet(format!("its status is not yet of generation {generation}")))
}

/// Every component that it has or wants must have succeeded, from the template that it is pinned to.
fn components(object: &Value) -> Option<Own> {
    let has = object
        .pointer("/status/components")
        .and_then(Value::as_object);
    let succeeded = |component: &Value| component.get("success") == Some(&Value::Bool(true));
    for (name, component) in has.into_iter().flatten() {
        if !succeeded(component) {
            let error = text(component, "/error");
            let why = if error.is_empty() {
                String::new()
            } else {
                format!(": {}", message(&error))
            };
            return Some(Own::NotYet(format!(
                "component {} has not succeeded{why}",
                word(name)
            )));
        }
    }
    let providers = object.pointer("/spec/providers").and_then(Value::as_array);
    for provider in providers.into_iter().flatten() {
        let (name, template) = (text(provider, "/name"), text(provider, "/template"));
        let Some(component) = has.and_then(|has| has.get(&name)) else {
            return Some(Own::NotYet(format!(
                "component {} is not there yet",
                word(&name)
            )));
        };
        let from = text(component, "/template");
        if !template.is_empty() && template != from {
            return Some(Own::NotYet(format!(
                "component {} is from {}, wanted {}",
                word(&name),
                shown(&from),
                shown(&template)
            )));
        }
    }
    None
}

fn cluster_deployment(object: &Value) -> Option<Own> {
    if object.pointer("/spec/dryRun") == Some(&Value::Bool(true)) {
        return Some(Own::Unsure("is a dry run, which deploys nothing"));
    }
    let conditions = conditions(object);
    let is = |name: &str| conditions.iter().find(|condition| condition.name == name);
    if is("Paused").is_some_and(|condition| condition.truth == Some(true)) {
        return Some(Own::Unsure("is paused"));
    }
    if is("HelmReleaseReady").is_none_or(|condition| condition.truth != Some(true)) {
        return Some(Own::NotYet("its Helm release is not ready".to_owned()));
    }
    // "0/0" services are all ready to its own condition, so they are counted against what is wanted.
    let states: BTreeMap<(String, String), String> = object
        .pointer("/status/services")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|service| (service_key(service), text(service, "/state")))
        .collect();
    let wanted = object
        .pointer("/spec/serviceSpec/services")
        .and_then(Value::as_array);
    for service in wanted.into_iter().flatten() {
        let skipped = service.get("disable") == Some(&Value::Bool(true))
            || text(service, "/helmAction") == "Uninstall";
        let key = service_key(service);
        let state = states.get(&key).map_or("", String::as_str);
        if !skipped && state != "Deployed" {
            return Some(Own::NotYet(format!(
                "service {}/{} is {}, wanted Deployed",
                word(&key.0),
                word(&key.1),
                shown(state)
            )));
        }
    }
    None
}

fn service_key(service: &Value) -> (String, String) {
    let namespace = text(service, "/namespace");
    let namespace = if namespace.is_empty() {
        "default".to_owned()
    } else {
        namespace
    };
    (namespace, text(service, "/name"))
}

fn shown(text: &str) -> String {
    if text.is_empty() {
        "nothing".to_owned()
    } else {
        word(text)
    }
}
