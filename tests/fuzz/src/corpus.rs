//! The inputs that are kept: where they lie, and which of many are worth it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Most inputs that are kept of one target.
pub const MOST_FILES: usize = 40;

/// The longest input that is kept, in bytes.
pub const LONGEST_FILE: usize = 4096;

/// The folder of a target's inputs.
#[must_use]
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

/// The files of a folder, by name; none if there is no such folder.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a person named an input, rather than libFuzzer, which names each by its SHA-1.
#[must_use]
pub fn is_named(file: &Path) -> bool {
    file.file_name()
        .and_then(|name| name.to_str())
        .is_none_or(|name| name.len() != 40 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// An input, and what runs when it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// The input.
    pub file: PathBuf,
    /// libFuzzer's numbers of what runs: edges, and how often.
    pub features: BTreeSet<u32>,
}

/// Reads the control file of libFuzzer's `-merge=1`: which of its inputs brings which features.
///
/// Its first line is the number of inputs, its second how many of them need not be asked; their names follow, one a
/// line; then `FT NUMBER FEATURE…` for each input.
#[must_use]
pub fn read_control_file(text: &str) -> Vec<Covered> {
    let mut lines = text.lines();
    let count = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    let mut covered: Vec<Covered> = lines
        .by_ref()
        .skip(1)
        .take(count)
        .map(|name| Covered {
            file: PathBuf::from(name),
            features: BTreeSet::new(),
        })
        .collect();
    for line in lines {
        let mut words = line.split(' ');
        if words.next() != Some("FT") {
            continue;
        }
        let number = words.next().and_then(|number| number.parse::<usize>().ok());
        if let Some(input) = number.and_then(|number| covered.get_mut(number)) {
            input
                .features
                .extend(words.filter_map(|word| word.parse::<u32>().ok()));
        }
    }
    covered
}

/// Which inputs to keep: those that a person named, then always the one that adds the most, the shorter of equals first.
#[must_use]
pub fn choose(inputs: &[Covered], most: usize) -> Vec<PathBuf> {
    let mut chosen: Vec<PathBuf> = Vec::new();
    let mut seen: BTreeSet<u32> = BTreeSet::new();
    let (named, mut others): (Vec<&Covered>, Vec<&Covered>) =
        inputs.iter().partition(|input| is_named(&input.file));
    for input in named {
        chosen.push(input.file.clone());
        seen.extend(&input.features);
    }
    let length = |input: &Covered| fs::metadata(&input.file).map_or(0, |data| data.len());
    while chosen.len() < most {
        others.retain(|input| !input.features.is_subset(&seen));
        let best = others.iter().max_by_key(|input| {
            let adds = input.features.difference(&seen).count();
            (adds, std::cmp::Reverse(length(input)))
        });
        let Some(best) = best else { break };
        chosen.push(best.file.clone());
        seen.extend(&best.features);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "4\n2\nseed.yaml\n0000000000000000000000000000000000000001\n\
        0000000000000000000000000000000000000002\n0000000000000000000000000000000000000003\n\
        STARTED 0 10\nFT 0 1 2\nCOV 0 1\nSTARTED 1 5\nFT 1 2 3 4\nCOV 1 2\nFT 2 3\nFT 3 3 4 5\nFT 9 9\n";

    #[test]
    fn named_inputs_are_kept_and_then_those_that_add_the_most() {
        let inputs = read_control_file(CONTROL);
        assert_eq!(inputs.len(), 4);
        let names = |most| -> Vec<String> {
            choose(&inputs, most)
                .iter()
                .map(|file| file.display().to_string())
                .map(|name| name[name.len().saturating_sub(9)..].to_owned())
                .collect()
        };
        assert_eq!(names(40), ["seed.yaml", "000000003"]);
        assert_eq!(names(1), ["seed.yaml"]);
    }

    #[test]
    fn names_by_libfuzzer_are_told_from_those_of_people() {
        assert!(!is_named(Path::new(
            "a/adc83b19e793491b1c6ea0fd8b46cd9f32e592fc"
        )));
        assert!(is_named(Path::new("a/fleet.yaml")));
    }
}
