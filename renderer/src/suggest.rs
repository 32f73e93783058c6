//! "Did you mean": the known word that is nearest to an unknown one.

/// The known word that a person most likely meant by `word`, if any is near enough.
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
    known
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&folded, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= most && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
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
}
