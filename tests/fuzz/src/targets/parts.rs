//! One input that stands for several: lines `=== NAME` begin its parts.

/// What begins a part.
const MARK: &[u8] = b"=== ";

/// The parts of an input: the name of each (lossily decoded) and its bytes. What stands before the first mark is a part
/// without a name.
pub(super) fn parts(input: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut parts = vec![(String::new(), Vec::new())];
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        if let Some(name) = line.strip_prefix(MARK) {
            let name = String::from_utf8_lossy(name.trim_ascii()).into_owned();
            parts.push((name, Vec::new()));
        } else if let Some((_, bytes)) = parts.last_mut() {
            bytes.extend_from_slice(line);
        }
    }
    parts
}

/// The first part of a name; empty if there is none.
pub(super) fn part<'a>(parts: &'a [(String, Vec<u8>)], name: &str) -> &'a [u8] {
    parts
        .iter()
        .find(|(found, _)| found == name)
        .map_or(&[], |(_, bytes)| bytes)
}
