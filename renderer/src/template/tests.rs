use serde_json::json;

use super::*;
use crate::worker::MAX_FILE_BYTES;

fn source(file: &str, text: &str) -> TemplateSource {
    let partial = file
        .strip_prefix("templates/")
        .and_then(|path| path.strip_suffix(".hbs"))
        .filter(|path| path.split('/').any(|part| part.starts_with('_')));
    TemplateSource {
        file: file.to_owned(),
        partial: partial.map(str::to_owned),
        region: None,
        text: text.to_owned(),
    }
}

fn data() -> Value {
    json!({
        "name": "westus3",
        "location": "westus3",
        "labels": { "ring": "canary" },
        "values": {
            "replicas": 3, "zero": 0, "empty": "", "none": {}, "nothing": [], "no": false,
            "yes": true, "half": 0.5, "text": "a b", "host": "Example.COM",
            "list": ["b", "a"], "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}],
            "map": {"z": 1, "a": "no", "m": {"k": [1, 2]}}, "null": null,
            "multi": "one\ntwo\n"
        },
        "fleet": { "name": "payments" },
    })
}

fn shown(problem: &TemplateProblem) -> String {
    let hint = problem
        .hint
        .as_ref()
        .map(|hint| format!(" [{hint}]"))
        .unwrap_or_default();
    format!(
        "{}:{}:{}: {}{hint}",
        problem.file, problem.line, problem.column, problem.message
    )
}

fn run_all(sources: &[TemplateSource]) -> Result<String, Vec<TemplateProblem>> {
    let context = Context::wraps(data()).unwrap();
    Engine::new(sources, &[])?
        .render(0, &context, MAX_FILE_BYTES)
        .map_err(|problem| vec![problem])
}

/// The output of a template, or its problems.
fn run(text: &str) -> String {
    match run_all(&[
        source("templates/x.yaml.hbs", text),
        source("templates/_labels.hbs", "app: x\nregion: {{name}}\n"),
        source(
            "templates/a/_deep.hbs",
            "{{#each values.list}}{{this}};{{/each}}",
        ),
        source("templates/_item.hbs", "[{{this.name}}{{extra}}]"),
    ]) {
        Ok(text) => text,
        Err(problems) => problems.iter().map(shown).collect::<Vec<_>>().join("\n"),
    }
}

fn error(text: &str) -> String {
    let shown = run(text);
    shown
        .strip_prefix("templates/x.yaml.hbs:")
        .unwrap_or_else(|| panic!("{text} gave {shown:?}"))
        .to_owned()
}

#[test]
fn functions_do_what_helm_and_sprig_users_expect() {
    for (template, output) in [
        ("{{default 5 values.replicas}}", "3"),
        ("{{default 5 values.zero}}", "5"),
        ("{{default 5 values.typo}}", "5"),
        ("{{default 5 values.typo.deeper}}", "5"),
        ("{{default \"x\" values.empty}}", "x"),
        ("{{default \"x\" values.none}}", "x"),
        ("{{default \"x\" values.no}}", "x"),
        ("{{default \"x\" values.null}}", "x"),
        ("{{coalesce values.typo values.empty values.text}}", "a b"),
        ("{{required \"need it\" values.text}}", "a b"),
        ("{{required \"need it\" values.zero}}", "0"),
        ("{{ternary \"a\" \"b\" values.yes}}", "a"),
        ("{{ternary \"a\" \"b\" values.no}}", "b"),
        ("{{ternary \"a\" \"b\" (eq values.replicas 3)}}", "a"),
        (
            "{{hasKey values \"replicas\"}} {{hasKey values \"x\"}} {{hasKey values.typo \"x\"}}",
            "true false false",
        ),
        ("{{lookup values \"replicas\"}}", "3"),
        ("{{lookup values.list 1}}", "a"),
        ("{{default \"d\" (lookup values \"x\")}}", "d"),
        ("{{lookup (split \"$\" \"foo$bar$baz\") \"_1\"}}", "bar"),
        (
            "{{#each (split \",\" \"x,y\")}}<{{this}}>{{/each}}",
            "<x><y>",
        ),
        (
            "{{eq 1 1.0}} {{eq \"a\" \"b\" \"a\"}} {{ne 1 2}} {{eq values.null 0}}",
            "true true true false",
        ),
        (
            "{{gt 2 1}} {{gte 2 2}} {{lt \"a\" \"b\"}} {{lte 3 2}}",
            "true true true false",
        ),
        (
            "{{and 1 \"\" 2}}|{{and 1 2}}|{{or 0 \"\" \"z\"}}|{{or 0 \"\"}}",
            "|2|z|",
        ),
        ("{{not values.zero}} {{not values.text}}", "true false"),
        (
            "{{upper values.text}} {{lower values.host}} {{trim \"  x \"}}",
            "A B example.com x",
        ),
        ("{{replace \"b\" \"c\" values.text}}", "a c"),
        (
            "{{contains \"cat\" \"catch\"}} {{startsWith \"cat\" \"catch\"}} {{contains \"catch\" \"cat\"}}",
            "true true false",
        ),
        ("{{join \"-\" values.list}}", "b-a"),
        (
            "{{b64enc \"hello\"}} {{b64enc \"hi\"}} {{b64enc \"hey\"}} {{b64enc \"\"}}",
            "aGVsbG8= aGk= aGV5 ",
        ),
        (
            "{{sha256 \"abc\"}}",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            "{{add 1 2 3}} {{sub 5 3}} {{mul 2 3 4}} {{div 7 2}} {{mod 7 2}} {{div -7 2}}",
            "6 2 24 3 1 -3",
        ),
        (
            "{{int \"12\"}} {{int 3.9}} {{int true}} {{add \"2\" 1}}",
            "12 3 1 3",
        ),
        (
            "{{quote values.replicas}} {{quote \"a\" \"b\"}} {{quote \"x\\\"y\\\\z\\n\"}}",
            "\"3\" \"a\" \"b\" \"x\\\"y\\\\z\\n\"",
        ),
        (
            "{{squote values.text}} {{squote \"it's\"}}",
            "'a b' 'it''s'",
        ),
        ("{{indent 2 values.multi}}|", "  one\n  two\n  |"),
        ("x:{{nindent 2 \"a\\nb\"}}", "x:\n  a\n  b"),
        (
            "{{toJson values.map}}",
            "{\"a\":\"no\",\"m\":{\"k\":[1,2]},\"z\":1}",
        ),
        (
            "{{toYaml values.map}}",
            "a: \"no\"\nm:\n  k:\n  - 1\n  - 2\nz: 1",
        ),
        ("{{toYaml values.text}}", "a b"),
        ("{{toYaml values.multi}}", "\"one\\ntwo\\n\""),
        (
            "{{indent 4 (toYaml values.map.m)}}",
            "    k:\n    - 1\n    - 2",
        ),
        ("{{include \"_labels\"}}", "app: x\nregion: westus3\n"),
        ("{{indent 2 (include \"a/_deep\")}}", "  b;a;"),
        (
            "{{sha256 (include \"_labels\")}}",
            "1a0e6dd9ed7c1b2b5c4e5cc7a1a7f9df",
        ),
    ] {
        let found = run(template);
        if template.contains("sha256 (include") {
            assert_eq!(found.len(), 64, "{found}");
        } else {
            assert_eq!(found, output, "{template}");
        }
    }
}

#[test]
fn handlebars_itself_works_as_ever() {
    for (template, output) in [
        (
            "{{values.replicas}} {{values.half}} {{values.yes}}",
            "3 0.5 true",
        ),
        ("{{{values.text}}} {{& values.text}}", "a b a b"),
        ("{{values.host}}<>&\"", "Example.COM<>&\""),
        (
            "{{#if values.yes}}a{{else}}b{{/if}}{{#unless values.yes}}a{{else}}b{{/unless}}",
            "ab",
        ),
        (
            "{{#if values.zero}}a{{else if values.text}}b{{else}}c{{/if}}",
            "b",
        ),
        ("{{#if values.zero includeZero=true}}a{{/if}}", "a"),
        (
            "{{#each values.map}}{{@key}}{{#unless @last}},{{/unless}}{{/each}}",
            "a,m,z",
        ),
        (
            "{{#each values.ports as |p i|}}{{i}}={{p.port}} {{../name}};{{/each}}",
            "0=80 westus3;1=81 westus3;",
        ),
        (
            "{{#each values.ports}}{{name}}:{{@root.name}}:{{@index}} {{/each}}",
            "http:westus3:0 admin:westus3:1 ",
        ),
        ("{{#each values.nothing}}x{{else}}none{{/each}}", "none"),
        (
            "{{#with values.map}}{{z}}{{/with}}{{#with values.none}}x{{else}}y{{/with}}",
            "1y",
        ),
        ("{{#with values.ports.0 as |p|}}{{p.name}}{{/with}}", "http"),
        ("{{values.list.1}} {{values.list.[0]}}", "a b"),
        (
            "{{{{raw}}}}{{not.ours}}{{{{/raw}}}} \\{{x}}",
            "{{not.ours}} {{x}}",
        ),
        ("{{! c }}{{!-- {{x}} --}}a", "a"),
        (
            "x:\n  {{> _labels}}\ny: 1\n",
            "x:\n  app: x\n  region: westus3\ny: 1\n",
        ),
        ("{{> _item values.ports.0 extra=\"!\"}}", "[http!]"),
        (
            "{{#each values.ports}}{{> _item extra=@index}}{{/each}}",
            "[http0][admin1]",
        ),
        (
            "{{#*inline \"n\"}}({{name}}){{/inline}}{{> n}}{{> n}}",
            "(westus3)(westus3)",
        ),
        (
            "{{#each values.list}}{{#if @first}}{{this}}{{/if}}{{/each}}",
            "b",
        ),
    ] {
        assert_eq!(run(template), output, "{template}");
    }
}

#[test]
fn what_is_missing_is_an_error_wherever_it_stands() {
    for template in [
        "a\n {{values.replica}}",
        "a\n {{#if values.replica}}{{/if}}",
        "a\n {{#unless values.replica}}{{/unless}}",
        "a\n {{#each values.replica}}{{else}}{{/each}}",
        "a\n {{#with values.replica}}{{else}}{{/with}}",
        "a\n {{#if (not values.replica)}}{{/if}}",
        "a\n {{#if (or values.replica true)}}{{/if}}",
        "a\n {{quote (upper values.replica)}}",
        "a\n {{default 1 (add values.replica 1)}}",
        "a\n {{#if values.no}}{{else if values.replica}}{{/if}}",
        "a\n {{> _item x=values.replica}}",
        "a\n {{> _item values.replica}}",
        "a\n {{ternary 1 2 values.replica}}",
        "a\n {{#if values.yes}}{{values.replica}}{{/if}}",
    ] {
        let found = error(template);
        assert!(found.starts_with("2:"), "{template}: {found}");
        assert!(
            found.ends_with("`values.replica` is not set [did you mean `values.replicas`?]"),
            "{template}: {found}"
        );
    }
    assert_eq!(
        error("{{values.unheard}}"),
        "1:1: `values.unheard` is not set [set it in values, or write (default … values.unheard)]"
    );
    assert_eq!(
        error("{{#each values.ports}}{{nmae}}{{/each}}"),
        "1:23: `nmae` is not set [did you mean `name`?]"
    );
}

#[test]
fn what_was_not_found_is_empty_and_written_as_nothing() {
    assert_eq!(run("[{{lookup values.typo \"x\"}}]"), "[]");
    assert_eq!(run("[{{lookup values.map \"x\"}}]"), "[]");
    assert_eq!(run("[{{coalesce values.empty values.typo}}]"), "[]");
}

#[test]
fn what_is_no_text_is_not_written() {
    assert_eq!(
        error("{{values.map}}"),
        "1:1: `values.map` is a map, which is no text [write {{toYaml …}} or {{toJson …}}, or name one of its fields]"
    );
    assert_eq!(
        error("a: {{values.null}}"),
        "1:4: `values.null` is null, which is no text [give it a value, or write {{default … }} around it]"
    );
    assert!(error("{{values.list}}").contains("is a list"));
}

#[test]
fn misuse_is_told_before_anything_runs() {
    for (template, message) in [
        (
            "{{#if values.no}}{{uper \"x\"}}{{/if}}",
            "1:18: there is no function `uper` [did you mean `upper`?]",
        ),
        (
            "{{default values.x}}",
            "1:1: `default` takes 2 arguments, not 1 [write default DEFAULT VALUE]",
        ),
        (
            "{{quote}}",
            "1:1: `quote` takes at least 1 argument, not 0 [write quote VALUE…]",
        ),
        (
            "{{#eq 1 2}}{{/eq}}",
            "1:1: `eq` is a function, not a block [write {{#if (eq …)}}]",
        ),
        (
            "{{#fi values.x}}{{/fi}}",
            "1:1: there is no block `fi` [did you mean {{#if}}?]",
        ),
        (
            "{{#if a b}}{{/if}}",
            "1:1: {{#if}} takes 1 argument, not 2 [compute it in parentheses: {{#if (and a b)}}]",
        ),
        (
            "{{> _lables}}",
            "1:1: there is no partial `_lables` [did you mean `_labels`?]",
        ),
        (
            "{{> (lookup values \"x\")}}",
            "1:1: the name of a partial must be written out, not computed [choose with {{#if}} between partials that are written out]",
        ),
        (
            "{{include values.x}}",
            "1:1: `include` takes a partial's name in quotes [write (include \"_name\")]",
        ),
        (
            "{{#> _labels}}x{{/_labels}}",
            "1:1: partials with a block ({{#> name}}) are not supported [pass what differs as a value: {{> name key=value}}]",
        ),
        ("{{log \"x\"}}", "1:1: there is no function `log`"),
        (
            "{{upper \"x\" a=1}}",
            "1:1: `upper` takes no named argument `a`",
        ),
        (
            "{{upper (values.x)}}",
            "1:1: there is no function `values.x`",
        ),
        (
            "{{#if a}}",
            "1:10: this is no template expression that can be read",
        ),
        (
            "{{#if a}}{{/each}}",
            "1:10: {{#if}} is open here, but {{/each}} closes",
        ),
        ("a\n  {{ .Values.x }}", "2:"),
    ] {
        let found = error(template);
        assert!(found.starts_with(message), "{template}: {found}");
    }
}

#[test]
fn nonsense_is_refused_where_sprig_would_make_something_of_it() {
    for (template, message) in [
        (
            "{{int \"abc\"}}",
            "1:1: int: \"abc\" is no whole number [write int VALUE]",
        ),
        (
            "{{add 9223372036854775807 1}}",
            "1:1: add: the result is too large [write add A B…]",
        ),
        ("{{div 1 0}}", "1:1: div: division by zero [write div A B]"),
        ("{{mod 1 0}}", "1:1: mod: division by zero"),
        (
            "{{eq 1 \"1\"}}",
            "1:1: eq: a number and a text cannot be compared",
        ),
        (
            "{{upper 3}}",
            "1:1: upper: argument 1 must be a text, not a number",
        ),
        (
            "{{quote values.map}}",
            "1:1: quote: a map is no text; write (toJson …) around it",
        ),
        (
            "{{required \"set the host\" values.typo}}",
            "1:1: set the host [set `values.typo`]",
        ),
        (
            "{{required \"set the host\" values.empty}}",
            "1:1: set the host [set `values.empty`]",
        ),
        (
            "{{#each values.text}}{{/each}}",
            "1:1: {{#each}} needs a list or a map, not a text",
        ),
        ("{{values.list.name}}", "1:1: a list has no field `name`"),
        (
            "{{indent -1 \"x\"}}",
            "1:1: indent: the indentation must be 0 to 1000",
        ),
    ] {
        let found = error(template);
        assert!(found.starts_with(message), "{template}: {found}");
    }
}

#[test]
fn errors_in_partials_name_the_partial() {
    let problems = run_all(&[
        source("templates/x.yaml.hbs", "a\n{{> _p}}\n{{include \"_p\"}}"),
        source("templates/_p.hbs", "\n  {{values.typo}}"),
    ])
    .unwrap_err();
    assert_eq!(
        (
            problems[0].file.as_str(),
            problems[0].line,
            problems[0].column
        ),
        ("templates/_p.hbs", 2, 3)
    );
    let problems = run_all(&[
        source("templates/x.yaml.hbs", "a\n{{include \"_p\"}}"),
        source("templates/_p.hbs", "\n  {{values.typo}}"),
    ])
    .unwrap_err();
    assert_eq!(problems[0].file, "templates/_p.hbs");
}

#[test]
fn what_the_other_files_of_a_region_left_is_named_as_the_regions_limit() {
    let engine = Engine::new(&[source("templates/x.yaml.hbs", "{{name}}")], &[]).unwrap();
    let context = Context::wraps(data()).unwrap();
    assert_eq!(engine.render(0, &context, 7).unwrap(), "westus3");
    let problem = engine.render(0, &context, 6).unwrap_err();
    assert_eq!(
        problem.message,
        "the region's files are more than 48 MiB together"
    );
}

#[test]
fn bombs_end_in_a_problem() {
    let loops = "{{#each @root.values.list}}".repeat(40) + &"{{/each}}".repeat(40);
    assert!(error(&loops).contains("takes more than 1000000 steps"));
    let big = format!(
        "{}{}{}",
        "{{#each @root.values.list}}".repeat(15),
        "x".repeat(1000),
        "{{/each}}".repeat(15)
    );
    assert!(error(&big).contains("the output is larger than 8 MiB"));
    assert!(error(&"{{#if values.yes}}".repeat(20_000)).contains("nested more than 64 deep"));
    let mutual = run_all(&[
        source("templates/x.yaml.hbs", "{{> _a}}"),
        source("templates/_a.hbs", "{{#if values.yes}}{{> _b}}{{/if}}"),
        source("templates/_b.hbs", "{{quote (include \"_a\")}}"),
    ])
    .unwrap_err();
    assert_eq!(
        shown(&mutual[0]),
        "templates/_a.hbs:1:1: partials include each other without end: _a → _b → _a [take out one of these inclusions]"
    );
    let inline = "{{#*inline \"i\"}}{{> i}}{{/inline}}{{> i}}";
    let problems = run_all(&[
        source("templates/a.yaml.hbs", "{{name}}"),
        source("templates/x.yaml.hbs", inline),
    ])
    .unwrap_err();
    assert_eq!(
        shown(&problems[0]),
        "templates/x.yaml.hbs:1:1: partials include each other without end: inline: i → inline: i [take out one of these inclusions]"
    );
    let mut doubling = vec![source("templates/x.yaml.hbs", "{{> _0}}")];
    for level in 0..28 {
        doubling.push(source(
            &format!("templates/_{level}.hbs"),
            &format!("{{{{> _{next}}}}}{{{{> _{next}}}}}", next = level + 1),
        ));
    }
    doubling.push(source("templates/_28.hbs", ""));
    assert!(run_all(&doubling).unwrap_err()[0].message.contains("steps"));
    let grow = format!(
        "{}\"a\"{}",
        "{{replace \"a\" \"aaaaaaaaaaaaaaaa\" ".to_owned()
            + &"(replace \"a\" \"aaaaaaaaaaaaaaaa\" ".repeat(9),
        ")".repeat(9) + "}}"
    );
    assert!(error(&grow).contains("more than 8388608"));
}

#[test]
fn partials_of_one_region_are_that_regions_alone() {
    let mut own = source("regions/a/_p.hbs", "own");
    own.partial = Some("_p".to_owned());
    own.region = Some("a".to_owned());
    let mut template = source("regions/a/x.yaml.hbs", "{{> _p}}{{> _q}}");
    template.region = Some("a".to_owned());
    let shared = source("templates/_q.hbs", "shared");
    assert_eq!(
        run_all(&[template, own.clone(), shared.clone()]).unwrap(),
        "ownshared"
    );
    let foreign = source("templates/x.yaml.hbs", "{{> _p}}");
    assert!(
        run_all(&[foreign, own, shared]).unwrap_err()[0]
            .message
            .contains("there is no partial `_p`")
    );
}

#[test]
fn expressions_keep_their_type_when_they_are_alone() {
    let expression = |text: &str| Expression {
        file: "tidegate.yaml".to_owned(),
        line: 7,
        column: 3,
        label: "gate g, url".to_owned(),
        text: text.to_owned(),
    };
    let expressions: Vec<Expression> = [
        "{{values.replicas}}",
        "{{ default 5 values.typo }}",
        "{{values.map}}",
        "{{values.null}}",
        "a{{values.replicas}}",
        "{{values.text}} ",
        "{{quote values.replicas}}",
        "{{#if values.yes}}1{{/if}}",
        "\\{{x}}",
        "{{values.typo}}",
    ]
    .iter()
    .map(|text| expression(text))
    .collect();
    let engine = Engine::new(&[], &expressions).unwrap();
    let values = engine.evaluate_all(&Context::wraps(data()).unwrap());
    let expected = [
        json!(3),
        json!(5),
        data()["values"]["map"].clone(),
        json!(null),
        json!("a3"),
        json!("a b "),
        json!("\"3\""),
        json!("1"),
        json!("{{x}}"),
    ];
    for (value, expected) in values.iter().zip(expected) {
        assert_eq!(value.as_ref().unwrap(), &expected);
    }
    assert_eq!(
        shown(values[9].as_ref().unwrap_err()),
        "tidegate.yaml:7:3: gate g, url: `values.typo` is not set [set it in values, or write (default … values.typo)]"
    );
    let broken = Engine::new(&[], &[expression("{{#if}}")]).unwrap_err();
    assert!(shown(&broken[0]).starts_with("tidegate.yaml:7:3: gate g, url: "));
}
