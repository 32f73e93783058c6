//! What a manifest and an object are compared by.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::ObjectKey;

/// All of an object but its status and bookkeeping, and a Secret's text as it is kept.
pub(super) fn fields(key: &ObjectKey, object: &Value) -> Value {
    let mut fields = Map::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" | "status" | "sops" => {}
            "metadata" => {
                let kept = ["labels", "annotations"]
                    .into_iter()
                    .filter_map(|name| Some((name.to_owned(), value.get(name)?.clone())));
                fields.insert(name.clone(), Value::Object(kept.collect()));
            }
            _ => {
                fields.insert(name.clone(), value.clone());
            }
        }
    }
    if object.get("sops").is_some() {
        fields.values_mut().for_each(drop_encrypted);
    }
    if key.is("", "Secret") {
        let mut data = match fields.remove("data") {
            Some(Value::Object(data)) => data,
            _ => Map::new(),
        };
        for value in data.values_mut() {
            // The API server takes line breaks, and gives none back.
            if let Value::String(text) = value {
                text.retain(|character| !character.is_ascii_whitespace());
            }
        }
        if let Some(Value::Object(plain)) = fields.remove("stringData") {
            for (name, value) in plain {
                if let Value::String(text) = value {
                    data.insert(name, Value::String(STANDARD.encode(text)));
                }
            }
        }
        fields.insert("data".to_owned(), Value::Object(data));
    }
    Value::Object(fields)
}

/// What is encrypted in the tree is clear in the cluster: of it, only that it is there can be compared.
fn drop_encrypted(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with("ENC[") => *value = Value::Null,
        Value::Array(items) => items.iter_mut().for_each(drop_encrypted),
        Value::Object(entries) => entries.values_mut().for_each(drop_encrypted),
        _ => {}
    }
}

/// Drops the fields that none of these has.
pub(super) fn narrow(live: &mut Value, manifests: &[&Value]) {
    let Value::Object(entries) = live else { return };
    entries.retain(|name, value| {
        let inner: Vec<&Value> = manifests
            .iter()
            .filter_map(|manifest| manifest.get(name))
            .collect();
        // A manifest that has something else there is shown all of it.
        if inner.iter().all(|manifest| manifest.is_object()) {
            narrow(value, &inner);
        }
        !inner.is_empty()
    });
}
