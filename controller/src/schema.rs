//! JSON Schemas of the documents that people write, for editors and checks outside Tidegate.
//!
//! The types below mirror the documents as they are written. The checkers (the renderer's for the config repo,
//! serde for the settings) see more than a schema can say; tests hold the two together.

pub mod fleet;
pub mod region;
pub mod settings;

use schemars::generate::SchemaSettings;
use serde_json::Value;

/// A document that has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Document {
    /// `tidegate.yaml`
    Fleet,
    /// `regions/*.yaml`
    Region,
    /// The operator's settings
    Settings,
}

/// The JSON Schema (draft 2020-12) of a document.
#[must_use]
pub fn schema_of(document: Document) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let schema = match document {
        Document::Fleet => generator.into_root_schema_for::<fleet::Fleet>(),
        Document::Region => generator.into_root_schema_for::<region::Region>(),
        Document::Settings => generator.into_root_schema_for::<settings::Settings>(),
    };
    let mut schema = schema.to_value();
    without_null(&mut schema);
    schema
}

/// The same as the text of a file.
#[must_use]
pub fn text_of(document: Document) -> String {
    format!("{:#}\n", schema_of(document))
}

/// A field that may be left out may not therefore be `null`.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(any)) = map.get_mut("anyOf") {
                any.retain(|schema| schema.get("type") != Some(&Value::from("null")));
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
