use std::fmt::Write as _;

use super::*;

const DOCUMENTS: [(Document, &str); 3] = [
    (Document::Fleet, "fleet"),
    (Document::Region, "region"),
    (Document::Settings, "settings"),
];

#[test]
fn committed_schemas_are_current() {
    for (document, name) in DOCUMENTS {
        let path = format!(
            "{}/../docs/schema/{name}.schema.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let wanted = text_of(document);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, wanted).unwrap();
        } else {
            let committed = std::fs::read_to_string(&path).unwrap();
            assert!(
                committed == wanted,
                "{path} is old; UPDATE_DOCS=1 cargo test -p tidegate committed_schemas"
            );
        }
    }
}

/// As much of a validator as these schemas need; patterns aside.
fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
    if let Some(reference) = schema["$ref"].as_str() {
        let place = reference.strip_prefix('#').unwrap();
        return accepts(root, root.pointer(place).unwrap(), value);
    }
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        other => panic!("{other}"),
    };
    let of_each = |key: &str| schema[key].as_array().cloned();
    let type_fits = schema["type"].as_str().is_none_or(is);
    let const_fits = schema.get("const").is_none_or(|wanted| wanted == value);
    let enum_fits = of_each("enum").is_none_or(|all| all.contains(value));
    let not_fits = schema
        .get("not")
        .is_none_or(|not| !accepts(root, not, value));
    let any_fits =
        of_each("anyOf").is_none_or(|any| any.iter().any(|one| accepts(root, one, value)));
    let one_fits = of_each("oneOf")
        .is_none_or(|any| any.iter().filter(|one| accepts(root, one, value)).count() == 1);
    let number = |key: &str| schema[key].as_f64();
    let in_range = value.as_f64().is_none_or(|n| {
        number("minimum").is_none_or(|min| n >= min) && number("maximum").is_none_or(|max| n <= max)
    });
    let items_fit = value.as_array().is_none_or(|items| {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        items.len() as u64 >= least
            && schema
                .get("items")
                .is_none_or(|each| items.iter().all(|item| accepts(root, each, item)))
    });
    let fields_fit = value.as_object().is_none_or(|fields| {
        let required = of_each("required").unwrap_or_default();
        required
            .iter()
            .all(|name| fields.contains_key(name.as_str().unwrap()))
            && fields.iter().all(|(name, field)| {
                match (
                    schema["properties"].get(name),
                    &schema["additionalProperties"],
                ) {
                    (Some(known), _) => accepts(root, known, field),
                    (None, Value::Bool(false)) => false,
                    (None, Value::Object(_)) => {
                        accepts(root, &schema["additionalProperties"], field)
                    }
                    (None, _) => true,
                }
            })
    });
    type_fits
        && const_fits
        && enum_fits
        && not_fits
        && any_fits
        && one_fits
        && in_range
        && items_fit
        && fields_fit
}

fn schema_accepts(document: Document, text: &str) -> bool {
    let schema = schema_of(document);
    let value: Value = serde_yaml::from_str(text).unwrap();
    accepts(&schema, &schema, &value)
}

#[test]
fn the_templates_documents_are_accepted() {
    for (path, text) in crate::repo_template::FILES {
        let is_region = path
            .strip_prefix("regions/")
            .is_some_and(|name| !name.contains('/'));
        if is_region {
            assert!(schema_accepts(Document::Region, text), "{path}");
        } else if *path == "tidegate.yaml" {
            assert!(schema_accepts(Document::Fleet, text), "{path}");
        }
    }
}

const FLEET: &str = "apiVersion: tidegate.dev/v1alpha1\nkind: Fleet\nname: shop\nvalues: [{ path: v.yaml, optional: true }]\nwaves:\n  - { name: canary, regions: [a], maxConcurrent: 2, bake: 0s }\ngates:\n  - { name: g, http: { url: \"https://x/\", expect: { status: [200, 204], json: { /v: 1 } } }, failures: 2 }\nonFailure: hold\nrevert: { source: never }\nguards: { maxDeletedObjectsPercent: 5 }\n";

/// What the renderer says of the same fleet.
fn checker_accepts(text: &str) -> bool {
    let tree = tidegate_renderer::source::MemoryTree::new()
        .with("tidegate.yaml", text)
        .with(
            "regions/a.yaml",
            "apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: a\n",
        );
    tidegate_renderer::config::load(&tree, "").is_ok()
}

#[test]
fn schema_and_checker_agree() {
    assert!(checker_accepts(FLEET) && schema_accepts(Document::Fleet, FLEET));
    for (from, to) in [
        ("kind: Fleet", "kind: Region"),
        ("name: shop\n", ""),
        ("onFailure: hold", "onFailure: retry"),
        ("onFailure: hold", "onFailures: hold"),
        ("source: never", "source: maybe"),
        ("Percent: 5", "Percent: 101"),
        ("Percent: 5", "Percents: 5"),
        ("name: canary", "name: log"),
        ("regions: [a]", "regions: [a], selector: {}"),
        ("regions: [a], ", ""),
        ("maxConcurrent: 2", "maxConcurent: 2"),
        ("failures: 2", "failures: 0"),
        ("failures: 2", "failure: 2"),
        ("url: \"https://x/\", ", ""),
        ("optional: true", "optionally: true"),
        ("gates:\n  - { name: g, ", "gates:\n  - { "),
    ] {
        let broken = FLEET.replacen(from, to, 1);
        assert_ne!(broken, FLEET, "{from}");
        assert!(!checker_accepts(&broken), "checker: {to}");
        assert!(!schema_accepts(Document::Fleet, &broken), "schema: {to}");
    }
}

#[test]
fn a_setting_is_known_to_both_or_to_neither() {
    let settings = "poll: 10s\negress: { loopback: true }\nfleets:\n  - name: a\n    repo: https://git.example.com/a.git\n    requests: { allowedSigners: s, unsigned: refuse }\n    endpoints: [{ name: e, url: \"https://e/\", caFile: c }]\n    forge: { kind: azureDevOps, api: \"https://f/\", repository: a/b, tokenFile: t }\n    alerts: [{ name: x, slack: { webhookUrlFile: w }, on: [revertIncomplete] }]\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.yaml");
    let reads = |text: &str| {
        std::fs::write(&file, text).unwrap();
        crate::settings::Settings::load(&file).is_ok()
    };
    assert!(reads(settings) && schema_accepts(Document::Settings, settings));
    for (from, to) in [
        ("poll", "polls"),
        ("loopback", "loopBack"),
        ("    repo: https://git.example.com/a.git\n", ""),
        ("unsigned: refuse", "unsigned: no"),
        ("caFile", "ca"),
        ("azureDevOps", "azure"),
        ("tokenFile", "token"),
        ("webhookUrlFile", "webhookUrl"),
        ("revertIncomplete", "lost"),
    ] {
        let broken = settings.replacen(from, to, 1);
        assert!(!reads(&broken), "reader: {to}");
        assert!(!schema_accepts(Document::Settings, &broken), "schema: {to}");
    }
}

/// One table of a page: the fields of a document or of a part of it.
fn table(name: &str, schema: &Value) -> String {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut text = format!(
        "\n### {name}\n\n{}\n\n| field | type | default | meaning |\n|---|---|---|---|\n",
        schema["description"].as_str().unwrap_or_default()
    );
    for (field, about) in schema["properties"].as_object().into_iter().flatten() {
        let default = match about.get("default") {
            Some(default) => format!("`{default}`"),
            None if required.contains(&Value::from(field.as_str())) => "required".to_owned(),
            None => String::new(),
        };
        let meaning = about["description"].as_str().unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{field}` | {} | {default} | {meaning} |",
            type_of(about)
        );
    }
    text
}

fn type_of(schema: &Value) -> String {
    let named = |schema: &Value| {
        let reference = schema["$ref"].as_str()?;
        Some(reference.rsplit('/').next()?.to_owned())
    };
    if let Some(name) = named(schema) {
        return name;
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().map(type_of).collect::<Vec<_>>().join(" or ");
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", type_of(&schema["items"])),
        Some("object") => "mapping".to_owned(),
        Some(other) => other.to_owned(),
        None => "any".to_owned(),
    }
}

#[test]
fn config_reference_page() {
    let mut page =
        "# Config reference\n\nGenerated from the schemas that `tidegate schema` prints.\n"
            .to_owned();
    for (document, name) in DOCUMENTS {
        let schema = schema_of(document);
        let _ = writeln!(page, "\n## {name}");
        page += &table(schema["title"].as_str().unwrap(), &schema);
        for (part, about) in schema["$defs"].as_object().into_iter().flatten() {
            if about.get("properties").is_some() {
                page += &table(part, about);
                continue;
            }
            let described = about["description"].as_str().unwrap_or_default();
            let words: Vec<String> = match about["enum"].as_array() {
                Some(words) => words.iter().map(|word| format!("`{word}`")).collect(),
                None => vec![type_of(about)],
            };
            let _ = writeln!(page, "\n### {part}\n\n{described} {}", words.join(", "));
        }
    }
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/src/config-reference.md"
    );
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, page).unwrap();
    } else {
        assert!(
            std::fs::read_to_string(path).unwrap() == page,
            "docs/src/config-reference.md is old; UPDATE_DOCS=1 cargo test -p tidegate config_reference_page"
        );
    }
}
