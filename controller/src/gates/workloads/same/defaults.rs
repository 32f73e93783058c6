//! What the API server writes where a manifest says nothing.

use serde_json::Value;

/// Whether the server is known to put this value into this field by itself, so that it stays when a manifest no longer
/// says it.
pub(super) fn is_usual(field: &str, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => matches!(
            field,
            "enableServiceLinks" | "allocateLoadBalancerNodePorts" | "automountServiceAccountToken"
        ),
        Value::Number(number) => usual_number(field, number.as_i64()),
        Value::String(text) => usual_text(field, text),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.iter().all(|(name, value)| is_usual(name, value)),
    }
}

fn usual_number(field: &str, number: Option<i64>) -> bool {
    matches!(
        (field, number),
        (_, Some(0))
            | (
                "replicas"
                    | "parallelism"
                    | "completions"
                    | "successThreshold"
                    | "timeoutSeconds"
                    | "failedJobsHistoryLimit"
                    | "maxUnavailable"
                    | "minReplicas"
                    | "weight",
                Some(1)
            )
            | ("failureThreshold" | "successfulJobsHistoryLimit", Some(3))
            | ("backoffLimit", Some(6))
            | ("revisionHistoryLimit" | "periodSeconds", Some(10))
            | ("terminationGracePeriodSeconds", Some(30))
            | ("progressDeadlineSeconds", Some(600))
            | ("defaultMode", Some(420))
    )
}

fn usual_text(field: &str, text: &str) -> bool {
    matches!(
        (field, text),
        (_, "")
            | ("imagePullPolicy", "Always" | "IfNotPresent")
            | ("dnsPolicy", "ClusterFirst")
            | ("restartPolicy", "Always")
            | ("schedulerName", "default-scheduler")
            | ("protocol", "TCP")
            | ("scheme", "HTTP")
            | ("terminationMessagePath", "/dev/termination-log")
            | ("terminationMessagePolicy", "File")
            | ("maxSurge" | "maxUnavailable", "25%")
            | (
                "type",
                "RollingUpdate" | "ClusterIP" | "Opaque" | "Utilization"
            )
            | ("podManagementPolicy", "OrderedReady")
            | ("sessionAffinity", "None")
            | ("ipFamilyPolicy", "SingleStack")
            | ("internalTrafficPolicy" | "externalTrafficPolicy", "Cluster")
            | ("pathType", "ImplementationSpecific")
            | ("concurrencyPolicy", "Allow")
            | ("completionMode", "NonIndexed")
            | ("whenUnsatisfiable", "DoNotSchedule")
            | ("volumeMode", "Filesystem")
            | ("apiGroup", "rbac.authorization.k8s.io")
            | ("apiVersion", "v1")
            | ("failurePolicy", "Fail")
            | ("matchPolicy", "Equivalent")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_default_is_usual_and_a_choice_is_not() {
        assert!(is_usual("replicas", &json!(1)));
        assert!(!is_usual("replicas", &json!(3)));
        assert!(is_usual(
            "strategy",
            &json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}})
        ));
        assert!(!is_usual("strategy", &json!({"type": "Recreate"})));
        assert!(!is_usual("image", &json!("web:1")));
    }
}
