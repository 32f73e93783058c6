//! Words of others as evidence may show them.

use tidegate_renderer::text::harmless;

/// The longest that one value, name or reason of a cluster may stand in evidence, in characters.
const LONGEST_WORD: usize = 60;

/// The text on one line, at most this many characters, without marks that deceive.
pub(super) fn line(text: &str, longest: usize) -> String {
    let mut plain = text.chars().filter_map(harmless);
    let mut line: String = plain.by_ref().take(longest).collect();
    if plain.next().is_some() {
        line.pop();
        line.push('…');
    }
    line.trim().to_owned()
}

/// A value, name or reason.
pub(super) fn word(text: &str) -> String {
    line(text, LONGEST_WORD)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_is_short_and_plain(text in any::<String>(), longest in 1_usize..50) {
            let line = line(&text, longest);
            prop_assert!(line.chars().count() <= longest);
            prop_assert!(line.chars().all(|character| harmless(character) == Some(character)));
        }
    }
}
