use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn yaml(text: &str) -> Manifest {
    read(text, Format::Yaml, false).unwrap()
}

fn output(text: &str) -> String {
    String::from_utf8(yaml(text).output.unwrap_or_default()).unwrap()
}

fn with_data(data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n{data}")
}

fn refused(text: &str) -> String {
    read(text, Format::Yaml, false)
        .unwrap_err()
        .iter()
        .map(|finding| format!("{}:{} {}", finding.line, finding.column, finding.message))
        .collect::<Vec<_>>()
        .join("; ")
}

#[test]
fn scalars_are_written_so_that_every_reader_agrees() {
    for (written, becomes) in [
        ("no", "false"),
        ("\"no\"", "\"no\""),
        ("'yes'", "\"yes\""),
        ("0644", "420"),
        ("\"0644\"", "\"0644\""),
        ("010", "8"),
        ("0o10", "8"),
        ("1_000", "1000"),
        ("1.10", "1.10"),
        ("1e3", "1.0e+3"),
        ("12:30:45", "\"12:30:45\""),
        ("2001-01-01", "\"2001-01-01\""),
        ("~", "null"),
        ("", "null"),
        ("\"\"", "\"\""),
        ("a b", "a b"),
        ("100m", "\"100m\""),
        ("9223372036854775808", "9223372036854775808"),
        ("!!str 12", "\"12\""),
        ("! 12", "\"12\""),
        ("!!int 12", "12"),
        ("'a: b'", "\"a: b\""),
        ("'a #b'", "\"a #b\""),
        ("'a:'", "\"a:\""),
        ("http://a:80/b", "http://a:80/b"),
        ("'=' ", "\"=\""),
        ("'<<'", "\"<<\""),
        ("{}", "{}"),
        ("[]", "[]"),
        ("\"a\\tb\"", "\"a\\tb\""),
        ("\"\\u2028\\u0085\\ufeff\"", "\"\\u2028\\u0085\\ufeff\""),
        ("\"\u{1f600}é\"", "\"\u{1f600}é\""),
    ] {
        assert_eq!(
            output(&with_data(&format!("data: {written}\n"))),
            with_data(&format!("data: {becomes}\n")),
            "{written}"
        );
    }
}

#[test]
fn key_order_block_scalars_and_long_lines_survive() {
    let text = with_data(&format!(
        "data:\n  z: |\n    one\n\n      two\n  a: |-\n    no end\n    here\n  k: |+\n    kept\n\n  m: {}\nlist:\n- a\n- - b\n  - c\n- d: 1\n  e:\n  - f\n",
        "word ".repeat(100).trim_end()
    ));
    assert_eq!(output(&text), text);
}

#[test]
fn anchors_and_merges_are_expanded() {
    let text = with_data(
        "data:\n  base: &base {a: \"1\", b: \"2\"}\n  own:\n    b: \"3\"\n    <<: *base\n    c: \"4\"\n  two:\n    <<: [{x: 1}, {x: 2, z: 3}]\n  same: *base\n",
    );
    assert_eq!(
        output(&text),
        with_data(
            "data:\n  base:\n    a: \"1\"\n    b: \"2\"\n  own:\n    b: \"3\"\n    a: \"1\"\n    c: \"4\"\n  two:\n    x: 1\n    z: 3\n  same:\n    a: \"1\"\n    b: \"2\"\n"
        )
    );
}

#[test]
fn keys_become_text() {
    let manifest = yaml(&with_data(
        "data:\n  8080: a\n  yes: b\n  0644: c\n  \"on\": d\n",
    ));
    assert_eq!(
        String::from_utf8(manifest.output.unwrap()).unwrap(),
        with_data("data:\n  \"8080\": a\n  \"true\": b\n  \"420\": c\n  \"on\": d\n")
    );
    let warnings: Vec<(u32, u32)> = manifest
        .warnings
        .iter()
        .map(|warning| (warning.line, warning.column))
        .collect();
    assert_eq!(warnings, [(7, 3), (8, 3)]);
}

#[test]
fn documents_and_lists_are_flattened() {
    let text = "# only a comment\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, metadata: {generateName: b-}}]}\n---\n...\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: c, namespace: d}\n";
    let manifest = yaml(text);
    let shown: Vec<String> = manifest
        .objects
        .iter()
        .map(|object| format!("{} {} {}", object.line, object.id, object.generated))
        .collect();
    assert_eq!(
        shown,
        [
            "3 Pod a false",
            "3 Pod b- true",
            "11 Deployment.apps d/c false"
        ]
    );
    assert_eq!(
        String::from_utf8(manifest.output.unwrap())
            .unwrap()
            .matches("---\n")
            .count(),
        2
    );
    assert_eq!(yaml(" \n\n").output, None);
    assert_eq!(yaml("# nothing\n").output, None);
}

#[test]
fn json_files_stay_json() {
    let text = "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"z\":1e3,\"e\":\"\\ud83d\\ude00\\/\"},\"big\":123456789012345678901234567890}";
    let manifest = read(text, Format::Json, false).unwrap();
    let output = String::from_utf8(manifest.output.unwrap()).unwrap();
    assert_eq!(
        output,
        "{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"Pod\",\n  \"metadata\": {\n    \"name\": \"a\",\n    \"z\": 1.0e+3,\n    \"e\": \"\u{1f600}/\"\n  },\n  \"big\": 123456789012345678901234567890\n}\n"
    );
    let again = read(&output, Format::Json, false).unwrap();
    assert_eq!(again.output.unwrap(), output.as_bytes());
    assert_eq!(
        read("{\"a\": 1,\n \"a\": 2}", Format::Json, false).unwrap_err()[0].to_string(),
        "the key \"a\" is there twice in this map"
    );
    assert!(read("{\"a\": }", Format::Json, false).is_err());
    assert!(read(&"[".repeat(100_000), Format::Json, false).is_err());
}

#[test]
fn what_is_no_manifest_is_refused_with_its_place() {
    for (text, message) in [
        ("a: [\n", "1:4 this is no YAML: unclosed bracket '['"),
        (
            "a: 1\na: 2\n",
            "2:1 the key \"a\" is there twice in this map",
        ),
        (
            "yes: 1\n\"true\": 2\n",
            "2:1 the key \"true\" is there twice in this map",
        ),
        ("- a\n", "1:1 this is no Kubernetes object"),
        ("just text\n", "1:1 this is no Kubernetes object"),
        (
            "apiVersion: v1\nkind: Pod\n",
            "1:1 the object has no metadata.name",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: 12}\n",
            "1:1 metadata.name must be a text",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: \"\"}\n",
            "1:1 metadata.name is empty",
        ),
        (
            "kind: Pod\nmetadata: {name: a}\n",
            "1:1 the object has no apiVersion",
        ),
        (
            "apiVersion: v1\nkind: List\n",
            "1:1 a `kind: List` needs `items`, a list of objects",
        ),
        (
            "a: .inf\n",
            "1:4 .inf is no number that Kubernetes can hold",
        ),
        (
            "a: !!python/object:os.system x\n",
            "1:4 the tag !!python/object:os.system means nothing in a manifest",
        ),
        (
            "a: !own [x]\n",
            "1:4 the tag !own means nothing in a manifest",
        ),
        ("a: !!int x\n", "1:4 \"x\" is not what its tag !!int says"),
        ("? [a]\n: b\n", "1:3 a list or map cannot be a key"),
        ("~: b\n", "1:1 null and fractions cannot be keys"),
        (
            "<<: 3\n",
            "1:5 a merge key << needs a map or a list of maps",
        ),
        (
            "a: &x [*x]\n",
            "1:8 an alias inside the very value that it names",
        ),
        (
            "a: 1\r\nb: 2\r\n",
            "1:1 the file has carriage returns (CRLF line ends)",
        ),
    ] {
        let found = refused(text);
        // Positions of tagged values are the value's or the tag's, as the parser likes.
        let message_alone = message.split_once(' ').unwrap().1;
        assert!(
            found == message || (text.contains('!') && found.contains(message_alone)),
            "{text:?}: {found}"
        );
    }
}

#[test]
fn bombs_are_refused() {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(",");
        writeln!(text, "a{level}: &a{level} [{items}]").unwrap();
    }
    assert!(refused(&text).contains("more than 1000000 values"));
    let mut deep = String::from("a0: &a0 [x]\n");
    for level in 1..5000 {
        writeln!(deep, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert!(refused(&deep).contains("nested more than 128 deep"));
    let mut long = format!("a0: &a0 {}\n", "x".repeat(1 << 20));
    for level in 1..200 {
        writeln!(long, "a{level}: *a0").unwrap();
    }
    assert!(refused(&long).contains("as much text"));
    let nested = (0..100).fold("x".repeat(2 << 20), |inner, level| {
        format!("{{b: &b{level} {inner}}}")
    });
    assert!(refused(&nested).contains("as much text"));
    for open in ["[", "{a: ", "- "] {
        let found = read(&open.repeat(20_000), Format::Yaml, false);
        assert!(found.is_err(), "{open}");
    }
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        Just(Node::Null),
        any::<bool>().prop_map(Node::Bool),
        any::<i64>().prop_map(|number| Node::Number(number.to_string())),
        (0_u32..99_999, 1_u32..99).prop_map(|(a, b)| Node::Number(format!("{a}.{b}"))),
        any::<String>().prop_map(Node::Text),
        "[ -~\n\t]{0,40}".prop_map(Node::Text),
        "[a-z0-9:#~|>' \n-]{0,12}".prop_map(Node::Text),
        "(yes|no|on|off|y|n|null|true|~|<<|=|[0-9_.+-]{1,6}|0x[0-9a-f]{1,3}|[0-9]:[0-9]{2})"
            .prop_map(Node::Text),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Node::List),
            prop::collection::btree_map("[ -~é\n]{0,10}", inner, 0..5)
                .prop_map(|map| Node::Map(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(inner in node()) {
        let root = Node::Map(vec![
            ("apiVersion".to_owned(), Node::Text("v1".to_owned())),
            ("kind".to_owned(), Node::Text("X".to_owned())),
            ("metadata".to_owned(), Node::Map(vec![("name".to_owned(), Node::Text("n".to_owned()))])),
            ("value".to_owned(), inner),
        ]);
        let written = emit(&[&root, &root]);
        let (documents, warnings) = read_yaml(&written).map_err(|e| TestCaseError::fail(format!("{e:?}\n{written}")))?;
        prop_assert_eq!(documents.len(), 2);
        prop_assert_eq!(&documents[0].node, &root, "{}", written);
        prop_assert_eq!(&documents[1].node, &root, "{}", written);
        prop_assert_eq!(warnings, Vec::new(), "{}", &written);
        prop_assert_eq!(emit(&[&documents[0].node, &documents[1].node]), written);
        let json = emit_json(&[&root]);
        prop_assert_eq!(read_json(&json).unwrap().node, root);
    }

    #[test]
    fn other_readers_agree(inner in node()) {
        // A strict reader of YAML 1.2 that shares no code with ours above the parser.
        let root = Node::Map(vec![("value".to_owned(), inner)]);
        let written = emit(&[&root]);
        let parsed = crate::yaml::parse(&written, &crate::yaml::Rules::MANIFESTS);
        prop_assert!(parsed.complete, "{:?}", parsed.findings);
        for document in &parsed.documents {
            let theirs = crate::yaml::to_json(document, &mut Vec::new());
            prop_assert_eq!(theirs.to_string(), root.to_json().to_string(), "{}", written);
        }
    }

    #[test]
    fn no_text_panics(text in "[ -~\n\t]{0,200}|\\PC{0,60}") {
        let _ = read(&text, Format::Yaml, false);
        let _ = read(&text, Format::Json, true);
    }
}
