//! "Did you mean": the known word that is nearest to an unknown one.

/// From so many characters on, a word that is the beginning of just one known word stands for it.
const SHORTEST_BEGINNING: usize = 4;

/// The known word that a person most likely meant by `word`, if any is near enough: by slips of the keyboard, or because
/// it was cut short.
#[must_use]
pub fn nearest<'known>(
    word: &str,
    known: impl IntoIterator<Item = &'known str>,
) -> Option<&'known str> {
    // One slip in a short word, about one in three letters of a longer one.
    let length = word.chars().count();
    if length > 256 {
        return None;
    }
    let most = (length / 3).max(1);
    let folded = word.to_lowercase();
    let known: Vec<&'known str> = known.into_iter().collect();
    let by_slips = known
        .iter()
        .copied()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&folded, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= most && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate);
    if by_slips.is_some() || length < SHORTEST_BEGINNING {
        return by_slips;
    }
    let mut begun = known
        .into_iter()
        .filter(|candidate| candidate.to_lowercase().starts_with(&folded));
    begun.next().filter(|_| begun.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let known = ["regions", "selector", "maxConcurrent", "bake"];
        assert_eq!(nearest("regoins", known), Some("regions"));
        assert_eq!(nearest("maxconcurrent", known), Some("maxConcurrent"));
        assert_eq!(nearest("region", known), Some("regions"));
        assert_eq!(nearest("bke", known), Some("bake"));
        assert_eq!(nearest("timeout", known), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn a_word_cut_short_is_completed_where_it_can_mean_one_thing_alone() {
        let known = ["stableFor", "staleAfter", "maxConcurrent", "maxFailures"];
        assert_eq!(nearest("stable", known), Some("stableFor"));
        assert_eq!(nearest("maxcon", known), Some("maxConcurrent"));
        assert_eq!(nearest("sta", known), None);
        assert_eq!(nearest("maxi", ["maximumAge", "maximumSize"]), None);
    }
}
