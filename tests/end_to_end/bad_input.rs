//! The library of bad input: what `tidegate` says to each piece of it, word for word.
//!
//! `docs/src/fuzzing.md` names the test of each row. What a fuzzer finds is kept in `tests/fuzz/corpus` instead: there only
//! that something holds is checked, here what a person reads.

use std::fmt::Write as _;

use tidegate_controller::settings::{RepoRun, Settings};

use crate::sandbox::{Answer, Sandbox};

/// The answers to several pieces of input, each below its name.
#[derive(Default)]
struct Answers(String);

impl Answers {
    fn add(&mut self, name: &str, answer: &Answer) {
        let code = answer.code.expect("it was not killed by a signal");
        writeln!(self.0, "## {name} (exit {code})\n{}", answer.stderr).unwrap();
        assert!(
            !answer
                .stderr
                .chars()
                .any(|letter| letter != '\n' && tidegate_renderer::text::is_treacherous(letter)),
            "{name}: {answer:#?}"
        );
        assert!(answer.stderr.len() < 8_000, "{name}: {answer:#?}");
    }
}

/// A change to the template, and its name.
type Change<'a> = (&'a str, &'a dyn Fn(&Sandbox));

/// What `validate` says after each change to the template.
fn after_each(changes: &[Change<'_>]) -> String {
    let mut answers = Answers::default();
    for (name, change) in changes {
        let sandbox = Sandbox::with_template();
        change(&sandbox);
        answers.add(name, &sandbox.tidegate(&["validate"]));
    }
    answers.0
}

/// What `validate` says when a values file of all regions has this content.
fn with_values(contents: &[(&str, &[u8])]) -> String {
    let mut answers = Answers::default();
    for (name, content) in contents {
        let sandbox = Sandbox::with_template();
        let mut text = std::fs::read(sandbox.path("values/fleet.yaml")).unwrap();
        text.extend_from_slice(content);
        sandbox.write("values/fleet.yaml", text);
        answers.add(name, &sandbox.tidegate(&["validate"]));
    }
    answers.0
}

/// What `validate` says when a manifest's `data` has this content.
fn with_manifest(contents: &[(&str, &[u8])]) -> String {
    let mut answers = Answers::default();
    for (name, content) in contents {
        let sandbox = Sandbox::with_template();
        let mut text =
            b"apiVersion: v1\nkind: ConfigMap\nmetadata: { name: extra }\ndata:\n".to_vec();
        text.extend_from_slice(content);
        sandbox.write("templates/extra.yaml", text);
        answers.add(name, &sandbox.tidegate(&["validate"]));
    }
    answers.0
}

#[test]
fn templates_that_include_themselves() {
    insta::assert_snapshot!(after_each(&[
        ("itself", &|sandbox| {
            sandbox.write("templates/_a.hbs", "{{> _a}}\n");
            sandbox.write("templates/a.yaml.hbs", "{{> _a}}\n");
        }),
        ("each other", &|sandbox| {
            sandbox.write("templates/_a.hbs", "{{> _b}}\n");
            sandbox.write("templates/_b.hbs", "{{> _a}}\n");
            sandbox.write("templates/a.yaml.hbs", "{{> _a}}\n");
        }),
        ("inline", &|sandbox| {
            sandbox.write(
                "templates/a.yaml.hbs",
                "{{#*inline \"x\"}}{{> x}}{{/inline}}{{> x}}\n",
            );
        }),
    ]));
}

#[test]
fn templates_that_nest_without_measure() {
    let blocks = format!(
        "{}{}",
        "{{#if name}}".repeat(10_000),
        "{{/if}}".repeat(10_000)
    );
    let expression = format!(
        "{{{{quote {}name{}}}}}\n",
        "(quote ".repeat(10_000),
        ")".repeat(10_000)
    );
    insta::assert_snapshot!(after_each(&[
        ("10,000 blocks in each other", &|sandbox| {
            sandbox.write("templates/a.yaml.hbs", &blocks);
        }),
        ("10,000 parentheses in each other", &|sandbox| {
            sandbox.write("templates/a.yaml.hbs", &expression);
        }),
    ]));
}

/// Whichever of its bounds it meets first: how many steps, or how long. The machine decides.
#[test]
fn templates_that_loop_in_loops() {
    let sandbox = Sandbox::with_template();
    let values = std::fs::read_to_string(sandbox.path("values/fleet.yaml")).unwrap();
    let many = vec!["x"; 100].join(", ");
    sandbox.write("values/fleet.yaml", format!("{values}many: [{many}]\n"));
    let loops = "{{#each @root.values.many}}".repeat(7) + "x" + &"{{/each}}".repeat(7);
    sandbox.write("templates/a.yaml.hbs", loops);
    let answer = sandbox.tidegate(&["validate"]).exits(3);
    let steps = "error: the template takes more than 1000000 steps";
    let time = "error: rendering was stopped: it took longer than 30s";
    assert!(
        answer.stderr.contains(steps) || answer.stderr.contains(time),
        "{answer:#?}"
    );
}

#[test]
fn values_that_would_become_documents() {
    let injected =
        "evil: \"x\\n---\\napiVersion: v1\\nkind: Secret\\nmetadata: { name: injected }\"\n";
    let with = |template: &str| {
        let template = template.to_owned();
        move |sandbox: &Sandbox| {
            let values = std::fs::read_to_string(sandbox.path("values/fleet.yaml")).unwrap();
            sandbox.write("values/fleet.yaml", format!("{values}{injected}"));
            sandbox.write(
                "templates/a.yaml.hbs",
                format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: a }}\ndata:\n  a: {template}\n"),
            );
        }
    };
    insta::assert_snapshot!(after_each(&[
        ("as it is", &with("{{values.evil}}")),
        ("in three braces", &with("{{{values.evil}}}")),
        ("quoted", &with("{{quote values.evil}}")),
    ]));
}

#[test]
fn scalars_that_readers_read_differently() {
    insta::assert_snapshot!(with_values(&[(
        "values",
        b"a: no\nb: yes\nc: on\nd: 010\ne: 1_000\nf: 1.10\ng: 1e3\nh: 12:30:45\ni: ~\nj: 2001-01-01\n"
    )]));
    insta::assert_snapshot!(with_manifest(&[(
        "manifest",
        b"  a: no\n  b: yes\n  c: on\n  d: 010\n  e: 1_000\n  f: 1.10\n  g: 1e3\n  h: 12:30:45\n  i: ~\n  j: 2001-01-01\n"
    )]));
}

/// Twelve levels of ten aliases each.
fn bomb(indent: &str) -> String {
    let mut bomb = format!("{indent}a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "{indent}a{level}: &a{level} [{below}]").unwrap();
    }
    bomb
}

/// YAML that is refused or told apart, in values and in manifests alike.
fn odd_yaml(indent: &str) -> Vec<(&'static str, Vec<u8>)> {
    let lines = |text: &str| -> Vec<u8> {
        text.lines()
            .flat_map(|line| format!("{indent}{line}\n").into_bytes())
            .collect()
    };
    vec![
        ("twelve levels of aliases", bomb(indent).into_bytes()),
        ("a key twice", lines("x: 1\nx: 2")),
        ("a merge key", lines("x: &x { a: b }\ny:\n  <<: *x")),
        (
            "a tag of Python",
            lines("x: !!python/object/apply:os.system [id]"),
        ),
        ("a tab as indentation", lines("x:\n\ty: 1")),
        ("a line separator", lines("x: a\u{2028}b")),
        ("a lone carriage return", lines("x: a\rb: c")),
        ("a NUL", lines("x: a\0b")),
        (
            "a terminal's escape in a key",
            lines("\"\\e[2J\\u202e\": 1\n\"\\e[2J\\u202e\": 2"),
        ),
    ]
}

#[test]
fn yaml_that_is_odd_in_values() {
    let odd = odd_yaml("");
    let contents: Vec<(&str, &[u8])> = odd
        .iter()
        .map(|(name, text)| (*name, text.as_slice()))
        .collect();
    insta::assert_snapshot!(with_values(&contents));
}

#[test]
fn yaml_that_is_odd_in_manifests() {
    let odd = odd_yaml("  ");
    let contents: Vec<(&str, &[u8])> = odd
        .iter()
        .map(|(name, text)| (*name, text.as_slice()))
        .collect();
    insta::assert_snapshot!(with_manifest(&contents));
}

#[test]
fn files_that_are_empty_or_huge() {
    let huge = {
        let mut line = b"x: ".to_vec();
        line.resize(100 << 20, b'x');
        line
    };
    insta::assert_snapshot!(after_each(&[
        ("an empty fleet", &|sandbox| sandbox
            .write("tidegate.yaml", "")),
        ("an empty region", &|sandbox| sandbox
            .write("regions/westus3.yaml", "")),
        ("empty values", &|sandbox| sandbox
            .write("values/fleet.yaml", "")),
        ("an empty manifest", &|sandbox| sandbox
            .write("templates/extra.yaml", "")),
        ("a line of 100 MiB in values", &|sandbox| sandbox
            .write("values/fleet.yaml", &huge)),
        ("a line of 100 MiB in a manifest", &|sandbox| sandbox
            .write("templates/extra.yaml", &huge)),
        ("a line of 100 MiB in the fleet", &|sandbox| sandbox
            .write("tidegate.yaml", &huge)),
    ]));
}

/// What `validate` says to a commit whose `templates/` has one more entry, which no work tree need be able to hold.
fn with_entries(entries: &[(&str, &str, &[u8])]) -> String {
    let mut answers = Answers::default();
    for (name, mode, file) in entries {
        let sandbox = Sandbox::with_template();
        sandbox.commit("the template");
        let commit = commit_with(&sandbox, mode, &[file]);
        answers.add(
            name,
            &sandbox.tidegate(&["validate", &format!(".@{commit}")]),
        );
    }
    answers.0
}

/// A commit whose `templates/` has files of these names beside its own; `mode` is what git gives them.
fn commit_with(sandbox: &Sandbox, mode: &str, names: &[&[u8]]) -> String {
    sandbox.write(
        "../content",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: extra }\n",
    );
    let blob = match mode {
        "160000" => sandbox.git(&["rev-parse", "HEAD"]),
        "120000 .." => hash(sandbox, b"."),
        "120000" => hash(sandbox, b"/etc/passwd"),
        _ => sandbox.git(&["hash-object", "-w", "../content"]),
    };
    let mut list = sandbox
        .git(&["ls-tree", "-z", "HEAD:templates"])
        .into_bytes();
    for name in names {
        let mode = mode.split(' ').next().unwrap();
        let kind = if mode == "160000" { "commit" } else { "blob" };
        list.extend_from_slice(format!("{mode} {kind} {}\t", blob.trim()).as_bytes());
        list.extend_from_slice(name);
        list.push(0);
    }
    let templates = mktree(sandbox, &list);
    let root: Vec<u8> = sandbox
        .git(&["ls-tree", "-z", "HEAD"])
        .split_inclusive('\0')
        .flat_map(|entry| {
            if entry.ends_with("\ttemplates\0") {
                format!("040000 tree {templates}\ttemplates\0").into_bytes()
            } else {
                entry.as_bytes().to_vec()
            }
        })
        .collect();
    let tree = mktree(sandbox, &root);
    let commit = sandbox.git(&["commit-tree", &tree, "-p", "HEAD", "-m", "bad names"]);
    commit.trim().to_owned()
}

fn hash(sandbox: &Sandbox, content: &[u8]) -> String {
    sandbox.write("../target", content);
    sandbox.git(&["hash-object", "-w", "../target"])
}

/// git reads the list from standard input, which a file is.
fn mktree(sandbox: &Sandbox, list: &[u8]) -> String {
    sandbox.write("../list", list);
    let tree = sandbox.git(&[
        "-c",
        "alias.from-file=!f() { git mktree -z --missing < \"$1\"; }; f",
        "from-file",
        "../list",
    ]);
    tree.trim().to_owned()
}

#[test]
fn names_that_are_dangerous_somewhere() {
    let long = vec![b'x'; 300];
    insta::assert_snapshot!(with_entries(&[
        ("two dots", "100644", b".."),
        (".git", "100644", b".git"),
        (".GIT", "100644", b".GIT"),
        (
            ".git with something invisible",
            "100644",
            ".g\u{200c}it".as_bytes()
        ),
        ("git~1", "100644", b"git~1"),
        ("a device of Windows", "100644", b"CON"),
        ("a backslash", "100644", b"a\\b.yaml"),
        ("an option", "100644", b"-rf"),
        ("an option that is a manifest", "100644", b"-rf.yaml"),
        ("no UTF-8", "100644", b"\xff\xfe.yaml"),
        ("a terminal's escape", "100644", b"\x1b[2J.yaml"),
        ("turned reading", "100644", "a\u{202e}lmay.yaml".as_bytes()),
        ("300 bytes", "100644", &long),
    ]));
}

#[test]
fn names_that_are_one_name_somewhere() {
    let mut answers = Answers::default();
    let pairs: [(&str, [&[u8]; 2]); 2] = [
        (
            "accents written in two ways",
            ["\u{e9}.yaml".as_bytes(), "e\u{301}.yaml".as_bytes()],
        ),
        ("upper and lower case", [b"EXTRA.yaml", b"extra.yaml"]),
    ];
    for (name, files) in pairs {
        let sandbox = Sandbox::with_template();
        sandbox.commit("the template");
        let commit = commit_with(&sandbox, "100644", &files);
        answers.add(
            name,
            &sandbox.tidegate(&["validate", &format!(".@{commit}")]),
        );
    }
    insta::assert_snapshot!(answers.0);
}

#[test]
fn entries_that_are_no_files() {
    insta::assert_snapshot!(with_entries(&[
        ("a link to /etc/passwd", "120000", b"passwd.yaml"),
        ("a link to its own folder", "120000 ..", b"loop"),
        ("a submodule", "160000", b"sub"),
    ]));
    insta::assert_snapshot!(after_each(&[("a pointer of Git LFS", &|sandbox| {
        sandbox.write(
            "templates/big.yaml",
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        );
    })]));
}

#[test]
fn attributes_change_no_byte() {
    let sandbox = Sandbox::with_template();
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: extra }\ndata:\n  a: \"$Format:%H$ $Id$\"\n";
    sandbox.write("templates/extra.yaml", manifest);
    sandbox.commit("without attributes");
    let render = |sandbox: &Sandbox| {
        sandbox
            .tidegate(&["render", ".@HEAD", "--region", "westus3"])
            .exits(0)
            .stdout
    };
    let before = render(&sandbox);
    assert!(before.contains("$Format:%H$ $Id$"), "{before}");
    sandbox.write(
        ".gitattributes",
        "* text eol=crlf ident export-subst filter=evil\n*.yaml working-tree-encoding=UTF-16\n",
    );
    sandbox.git(&["config", "filter.evil.clean", "cat"]);
    sandbox.git(&["config", "filter.evil.smudge", "echo smudged"]);
    sandbox.git(&["add", ".gitattributes"]);
    sandbox.git(&["commit", "--quiet", "--message", "attributes"]);
    assert_eq!(render(&sandbox), before);
}

#[test]
fn names_of_branches_that_mean_something_to_git() {
    let mut answers = Answers::default();
    for name in [
        "-x",
        "+x",
        "a:b",
        "refs/heads/x",
        "0123456789abcdef0123456789abcdef01234567",
        "@{u}",
        "a..b",
        "x.lock",
    ] {
        let sandbox = Sandbox::with_template();
        sandbox.replace("tidegate.yaml", "name: pilot", &format!("name: {name:?}"));
        answers.add(&format!("wave {name}"), &sandbox.tidegate(&["validate"]));
        let run = RepoRun {
            repo: "/srv/shop.git".to_owned(),
            prefix: Some(name.to_owned()),
            data_dir: Some("data".into()),
            ..RepoRun::default()
        };
        // The program would go on to look for the repo where the prefix is taken.
        let said = match Settings::for_repo(run, |_| None) {
            Ok(_) => "taken: full names are used everywhere".to_owned(),
            Err(error) => error.to_string(),
        };
        writeln!(answers.0, "## prefix {name}\n{said}\n").unwrap();
    }
    insta::assert_snapshot!(answers.0);
}

#[test]
fn commits_of_odd_shapes_and_dates_are_read_like_any_other() {
    let sandbox = Sandbox::with_template();
    sandbox.commit("first");
    let tree = sandbox.git(&["rev-parse", "HEAD^{tree}"]);
    let tree = tree.trim();
    let root = sandbox.git(&["commit-tree", tree, "-m", "orphan"]);
    let side = sandbox.git(&["commit-tree", tree, "-p", "HEAD", "-m", "side"]);
    let octopus = sandbox.git(&[
        "commit-tree",
        tree,
        "-p",
        "HEAD",
        "-p",
        root.trim(),
        "-p",
        side.trim(),
        "-m",
        "octopus",
    ]);
    let author = "A <a@example.com>";
    let raw = |date: &str, parents: &str| {
        sandbox.write(
            "../commit",
            format!(
                "tree {tree}\n{parents}author {author} {date}\ncommitter {author} {date}\n\nodd\n"
            ),
        );
        sandbox.git(&[
            "hash-object",
            "-t",
            "commit",
            "-w",
            "--literally",
            "../commit",
        ])
    };
    let first = sandbox.git(&["rev-parse", "HEAD"]);
    let parent = format!("parent {}\n", first.trim());
    let mut many = String::new();
    for number in 0..10_000 {
        writeln!(many, "parent {number:040x}").unwrap();
    }
    for (what, commit) in [
        ("orphan", root.clone()),
        ("octopus", octopus),
        ("empty", side.clone()),
        (
            "10,000 parents",
            raw("1700000000 +0000", &format!("{parent}{many}")),
        ),
        ("1970", raw("0 +0000", &parent)),
        ("before 1970", raw("-1 +0000", &parent)),
        ("2106", raw("4294967296 +0000", &parent)),
        ("a zone behind", raw("1700000000 -1200", &parent)),
        ("no zone of this world", raw("1700000000 +9999", &parent)),
    ] {
        let answer = sandbox.tidegate(&["validate", &format!(".@{}", commit.trim())]);
        assert_eq!(answer.code, Some(0), "{what}: {answer:#?}");
    }
}
