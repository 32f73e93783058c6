//! What the command line says about itself.

use crate::sandbox::Sandbox;

#[test]
fn without_arguments_it_teaches_and_exits_with_usage() {
    let sandbox = Sandbox::new();
    sandbox
        .tidegate(&[])
        .exits(2)
        .prints_nothing()
        .says("Start here:");
}

#[test]
fn help_is_data_and_names_every_exit_code() {
    let sandbox = Sandbox::new();
    let answer = sandbox.tidegate(&["--help"]).exits(0);
    assert_eq!(answer.stderr, "");
    for code in 0..=7 {
        assert!(answer.stdout.contains(&format!("\n  {code}  ")), "{code}");
    }
}

#[test]
fn every_command_has_help_with_examples() {
    let sandbox = Sandbox::new();
    let overview = sandbox.tidegate(&["--help"]).exits(0).stdout;
    let commands = overview
        .split_once("Commands:\n")
        .and_then(|(_, rest)| rest.split_once("\n\n"))
        .unwrap()
        .0;
    let names = commands.lines().filter_map(|line| {
        let name = line.strip_prefix("  ")?;
        (!name.starts_with(' ')).then(|| name.split(' ').next().unwrap())
    });
    let mut seen = 0;
    for name in names {
        sandbox
            .tidegate(&[name, "--help"])
            .exits(0)
            .prints("Examples:\n  tidegate ");
        seen += 1;
    }
    assert!(seen >= 1, "{overview}");
}

#[test]
fn wrong_usage_exits_with_2_and_suggests() {
    let sandbox = Sandbox::new();
    sandbox
        .tidegate(&["inti"])
        .exits(2)
        .prints_nothing()
        .says("init");
}

#[test]
fn the_version_is_data() {
    let sandbox = Sandbox::new();
    sandbox
        .tidegate(&["--version"])
        .exits(0)
        .prints("tidegate 0.");
}
