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

/// As much of a validator as these schemas need.
fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
    let reference_fits = schema["$ref"].as_str().is_none_or(|reference| {
        let place = reference.strip_prefix('#').unwrap();
        accepts(root, root.pointer(place).unwrap(), value)
    });
    let pattern_fits = schema["pattern"].as_str().is_none_or(|pattern| {
        let pattern = regex_automata::meta::Regex::new(pattern).unwrap();
        value.as_str().is_none_or(|text| pattern.is_match(text))
    });
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
    reference_fits
        && type_fits
        && pattern_fits
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

const FLEET_BY_LABEL: &str = "apiVersion: tidegate.dev/v1alpha1\nkind: Fleet\nname: shop\nwaves:\n  - { name: canary, selector: { matchLabels: {} } }\ngates: []\n";

/// The region that a fleet needs for its canary.
const MEMBER: &str = "apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: a\nlabels: { t: u }\n";

const REGION: &str = "apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: b\nlocation: x\ncluster: c\nlabels: { t: u }\nvalues: { n: 1 }\nexclude: { reason: move, until: 2027-01-31 }\n";

/// What the renderer says of a fleet with one region.
fn checker_accepts(fleet: &str, region: &str) -> bool {
    let tree = tidegate_renderer::source::MemoryTree::new()
        .with("tidegate.yaml", fleet)
        .with("regions/a.yaml", region);
    tidegate_renderer::config::load(&tree, "").is_ok()
}

/// What the schema and the checker say of a document in which a piece of text is replaced, and whether they agree.
#[track_caller]
fn both_say(document: Document, whole: &str, from: &str, to: &str, wanted: bool) {
    let changed = whole.replacen(from, to, 1);
    assert_ne!(changed, whole, "{from}");
    let checker = match document {
        Document::Fleet => checker_accepts(&changed, MEMBER),
        _ => checker_accepts(FLEET_BY_LABEL, &format!("{MEMBER}---\n{changed}")),
    };
    assert_eq!(checker, wanted, "checker: {to}");
    assert_eq!(schema_accepts(document, &changed), wanted, "schema: {to}");
}

#[test]
fn schema_and_checker_refuse_the_same_fleets() {
    assert!(checker_accepts(FLEET, MEMBER) && schema_accepts(Document::Fleet, FLEET));
    for (from, to) in [
        ("kind: Fleet", "kind: Region"),
        ("name: shop\n", ""),
        ("name: shop", "name: Shop"),
        ("name: shop", "name: shop-"),
        ("onFailure: hold", "onFailure: retry"),
        ("onFailure: hold", "onFailures: hold"),
        ("source: never", "source: maybe"),
        ("Percent: 5", "Percent: 101"),
        ("Percent: 5", "Percent: 5%"),
        ("Percent: 5", "Percents: 5"),
        ("name: canary", "name: log"),
        ("regions: [a]", "regions: [a], selector: {}"),
        ("regions: [a], ", ""),
        ("maxConcurrent: 2", "maxConcurent: 2"),
        ("maxConcurrent: 2", "maxConcurrent: 0"),
        ("maxConcurrent: 2", "maxConcurrent: 0%"),
        ("maxConcurrent: 2", "maxConcurrent: 101%"),
        ("maxConcurrent: 2", "maxConcurrent: 12.5%"),
        ("maxConcurrent: 2", "maxConcurrent: -1"),
        ("maxConcurrent: 2", "maxConcurrent: half"),
        ("bake: 0s", "bake: 30"),
        ("bake: 0s", "bake: 1.5h"),
        ("bake: 0s", "bake: 2d"),
        ("bake: 0s", "bake: \"1h 30m\""),
        ("bake: 0s", "bake: -5m"),
        ("bake: 0s", "bake: \"\""),
        ("bake: 0s", "progressDeadline: 0"),
        ("failures: 2", "failures: 0"),
        ("failures: 2", "failure: 2"),
        ("failures: 2", "settle: 30"),
        ("failures: 2", "every: 0"),
        ("failures: 2", "timeout: 5 s"),
        ("url: \"https://x/\", ", ""),
        ("optional: true", "optionally: true"),
        ("gates:\n  - { name: g, ", "gates:\n  - { "),
    ] {
        both_say(Document::Fleet, FLEET, from, to, false);
    }
}

/// An editor that marks what is right teaches people to overlook its marks.
#[test]
fn the_schema_refuses_no_fleet_that_the_checker_accepts() {
    for (from, to) in [
        ("bake: 0s", "bake: 0"),
        ("bake: 0s", "bake: \"0\""),
        ("bake: 0s", "bake: 1h30m, progressDeadline: 1h500ms"),
        ("maxConcurrent: 2", "maxConcurrent: 100%"),
        ("maxConcurrent: 2", "maxConcurrent: 7%"),
        ("maxConcurrent: 2", "maxConcurrent: \"2\""),
        ("maxConcurrent: 2", "maxFailures: 0%"),
        ("failures: 2", "failures: \"{{values.failures}}\""),
        ("failures: 2", "settle: 0, every: 1m, timeout: 30s"),
        (
            "failures: 2",
            "settle: \"{{values.settle}}\", every: \"{{values.n}}s\"",
        ),
        ("status: [200, 204]", "status: \"{{values.status}}\""),
        (
            "regions: [a]",
            "selector: { matchExpressions: [{ key: t, operator: In, values: [u] }] }",
        ),
        ("path: v.yaml", "path: \"values/{{labels.t}}.yaml\""),
        ("onFailure: hold", "onFailure: isolate\nonUnreachable: fail"),
        (
            "Percent: 5",
            "Percent: 0, policyWithContent: allow, protectedKinds: [Service, Deployment.apps]",
        ),
    ] {
        both_say(Document::Fleet, FLEET, from, to, true);
    }
}

#[test]
fn schema_and_checker_agree_about_regions() {
    for (from, to) in [
        ("kind: Region", "kind: Fleet"),
        ("v1alpha1", "v2"),
        ("name: b\n", ""),
        ("name: b", "name: b_b"),
        ("name: b", "name: 12"),
        ("name: b", "nam: b"),
        ("location: x", "locaton: x"),
        ("location: x", "location: [x]"),
        ("t: u", "t: 1"),
        ("labels: { t: u }", "labels:"),
        ("values: { n: 1 }", "values: [1]"),
        ("reason: move", "reasons: move"),
        ("reason: move, ", ""),
        ("2027-01-31", "tomorrow"),
        ("2027-01-31", "2027-13-01"),
        ("2027-01-31", "2027-1-31"),
        ("2027-01-31", "31.01.2027"),
        ("2027-01-31", "\"2027-01-31 18:00:00Z\""),
        ("2027-01-31", "\"2027-01-31T18:00:00\""),
        ("2027-01-31", "\"2027-01-31T18:00:00+2\""),
        ("2027-01-31", "\"2027-01-31T25:00:00Z\""),
        ("2027-01-31", "\"2027-01-31T18:00:00.Z\""),
    ] {
        both_say(Document::Region, REGION, from, to, false);
    }
    for (from, to) in [
        ("location: x", "location: elsewhere"),
        ("location: x\n", ""),
        ("n: 1", "n: null, deep: { list: [1, a] }"),
        (", until: 2027-01-31", ""),
        ("2027-01-31", "\"2027-01-31T18:00:00Z\""),
        ("2027-01-31", "\"2027-01-31T23:59:60.25+02:00\""),
    ] {
        both_say(Document::Region, REGION, from, to, true);
    }
}

/// The book's examples of documents, and of the settings.
#[test]
fn the_books_documents_are_accepted() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src");
    let mut seen = 0;
    for page in std::fs::read_dir(folder).unwrap() {
        let page = page.unwrap().path();
        if page.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&page).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let starts = |line: &str| block.lines().any(|found| found == line);
            let (document, whole) = if starts("kind: Fleet") {
                (Document::Fleet, block.to_owned())
            } else if starts("kind: Region") {
                (Document::Region, block.to_owned())
            } else if starts("fleets:") {
                // What an example is about is shown, and no more.
                let repo = "    repo: https://git.example.com/a.git\n    requests:";
                let whole = block.replacen("    requests:", repo, 1);
                (Document::Settings, whole)
            } else {
                continue;
            };
            assert!(schema_accepts(document, &whole), "{page:?}:\n{block}");
            seen += 1;
        }
    }
    assert!(seen >= 1);
}

#[test]
fn a_setting_is_known_to_both_or_to_neither() {
    let settings = "poll: 10s\negress: { loopback: true }\nfleets:\n  - name: a\n    repo: https://git.example.com/a.git\n    requests: { allowedSigners: s, unsigned: refuse }\n    endpoints: [{ name: e, url: \"https://e/\", caFile: c }]\n    clusters: [{ kubeconfigs: d }, { kubeconfig: f }, { inCluster: own }, { secrets: { cluster: own, namespace: kcm-system, name: \"{cluster}-kubeconfig\", key: value } }, { argocdSecrets: { cluster: own } }]\n    argocd: [{ cluster: own, repoUrls: [u], sync: true }, { name: far, server: { url: \"https://d/\", tokenFile: t, caFile: c } }]\n    forge: { kind: azureDevOps, api: \"https://f/\", repository: a/b, tokenFile: t }\n    alerts: [{ name: x, slack: { webhookUrlFile: w }, on: [revertIncomplete] }]\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.yaml");
    let reads = |text: &str| {
        std::fs::write(&file, text).unwrap();
        crate::settings::Settings::load(&file).is_ok()
    };
    assert!(reads(settings) && schema_accepts(Document::Settings, settings));
    for (from, to) in [
        ("poll", "polls"),
        ("poll: 10s", "poll: 1.5h"),
        ("poll: 10s", "poll: soon"),
        ("loopback", "loopBack"),
        ("    repo: https://git.example.com/a.git\n", ""),
        ("unsigned: refuse", "unsigned: no"),
        ("caFile", "ca"),
        ("kubeconfigs", "kubeconfigFiles"),
        ("{ inCluster: own }", "{ inCluster: own, kubeconfig: f }"),
        ("namespace: kcm-system, ", ""),
        ("argocdSecrets", "argoSecrets"),
        ("sync: true", "sync: perhaps"),
        ("argocd: [{ cluster: own, ", "argocd: [{ "),
        ("name: far, ", "name: far, cluster: own, "),
        ("server: {", "service: {"),
        ("\"https://d/\", tokenFile", "\"https://d/\", token"),
        ("\"https://d/\", tokenFile: t", "\"https://d/\""),
        ("azureDevOps", "azure"),
        ("repository: a/b, tokenFile", "repository: a/b, token"),
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

/// The table of a part that has exactly one of several fields.
fn table_of_choices(name: &str, schema: &Value, choices: &[Value]) -> String {
    let mut text = format!(
        "\n### {name}\n\n{} It has exactly one of these fields.\n\n| field | type | meaning |\n|---|---|---|\n",
        schema["description"].as_str().unwrap_or_default()
    );
    for choice in choices {
        let meaning = choice["description"].as_str().unwrap_or_default();
        for (field, about) in choice["properties"].as_object().into_iter().flatten() {
            let _ = writeln!(text, "| `{field}` | {} | {meaning} |", type_of(about));
        }
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
            if let Some(choices) = about["oneOf"].as_array()
                && choices
                    .iter()
                    .all(|choice| choice["properties"].is_object())
            {
                page += &table_of_choices(part, about, choices);
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
