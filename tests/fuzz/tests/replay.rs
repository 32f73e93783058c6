//! Every input that is kept, given to its target: what was found once stays mended, without libFuzzer.

// Clippy's leave for tests ends at their helper functions.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tidegate_fuzz::corpus::{self, LONGEST_FILE, MOST_FILES};
use tidegate_fuzz::targets::{ALL, Target, by_name};

/// How long one input may take in a build that is not optimised, beside other tests.
const LONGEST: Duration = Duration::from_secs(20);

/// The stack of one of tokio's threads, on which the program reads most of this.
const STACK: usize = 2 << 20;

/// Gives all kept inputs to a target. The thread has the input's name: that is what is printed where it ends the process.
fn replay(name: &str) {
    let target: &'static Target = by_name(name).unwrap();
    let files = corpus::files(&corpus::folder(name)).unwrap();
    assert!(!files.is_empty(), "{name} has no inputs");
    let mut failed = Vec::new();
    for file in files {
        let input = fs::read(&file).unwrap();
        let shown = format!("{name}/{}", file.file_name().unwrap().to_string_lossy());
        let began = Instant::now();
        let ended = std::thread::Builder::new()
            .name(shown.clone())
            .stack_size(STACK)
            .spawn(move || (target.run)(&input))
            .unwrap()
            .join();
        if ended.is_err() || began.elapsed() > LONGEST {
            failed.push(shown);
        }
    }
    assert!(failed.is_empty(), "findings: {failed:#?}");
}

macro_rules! replay_each {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),*];
            let targets = ALL.map(|target| target.name);
            assert_eq!(replayed, targets);
        }
    };
}

replay_each! {
    alerts applications audit commit_messages config_repo durations endpoint_urls file_names fleet_document forge_answers
    forge_refusals gate_answers git_objects git_words json_manifests kubeconfigs layer_paths listings live_objects log_state manifests plans
    push_answers region_document remotes requests selectors settings sums templates values worker_frames
}

#[test]
fn the_corpus_is_small_and_belongs_to_targets() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folders: BTreeSet<String> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let names = ALL.iter().map(|target| target.name.to_owned());
    assert_eq!(folders, names.collect());
    for name in folders {
        let files = corpus::files(&corpus::folder(&name)).unwrap();
        assert!(files.len() <= MOST_FILES, "{name}: {}", files.len());
        for file in files {
            let length = fs::metadata(&file).unwrap().len();
            assert!(
                length <= u64::try_from(LONGEST_FILE).unwrap(),
                "{}: {length} bytes",
                file.display()
            );
        }
    }
}

#[test]
fn the_page_about_it_has_all_targets() {
    let page = include_str!("../../../docs/src/fuzzing.md");
    for target in ALL {
        let row = format!("| `{}` | {} |", target.name, target.about);
        assert!(page.contains(&row), "docs/src/fuzzing.md lacks {row}");
    }
    assert!(page.contains(&format!("There are {}:", ALL.len())));
}
