//! How elements of a list are told from each other.

use std::collections::BTreeSet;

use serde_json::Value;

/// What names each element of a list, if something does, and names no two alike: the merge keys of the API, or `name`.
pub(super) fn labels_of(field: &str, list: &[Value]) -> Option<Vec<String>> {
    let labels: Vec<String> = list
        .iter()
        .map(|element| label(field, element))
        .collect::<Option<_>>()?;
    let unique: BTreeSet<&String> = labels.iter().collect();
    (unique.len() == labels.len()).then_some(labels)
}

fn label(field: &str, element: &Value) -> Option<String> {
    let text = |name: &str| match element.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match field {
        "ports" => {
            let port = text("containerPort").or_else(|| text("port"))?;
            match text("protocol").as_deref() {
                None | Some("TCP") => Some(port),
                Some(protocol) => Some(format!("{port}/{protocol}")),
            }
        }
        "volumeMounts" => text("mountPath"),
        "volumeDevices" => text("devicePath"),
        "hostAliases" => text("ip"),
        "topologySpreadConstraints" => Some(format!(
            "{} {}",
            text("topologyKey")?,
            text("whenUnsatisfiable").unwrap_or_default()
        )),
        _ => text("name"),
    }
}
