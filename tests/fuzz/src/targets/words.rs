//! The small languages inside documents.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use tidegate_renderer::config::end_of;
use tidegate_renderer::values::{LayerPath, resolve};
use tidegate_waves::amount::Amount;
use tidegate_waves::duration;
use tidegate_waves::fleet::Region;
use tidegate_waves::selector::LabelSelector;

use super::checks::{is_bounded, is_plain};

/// What is read is written and read back the same; what is not is told in one plain line.
pub(super) fn durations(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match duration::parse(text) {
        Ok(read) => {
            assert!(read <= duration::LONGEST);
            assert_eq!(duration::parse(&duration::format(read)), Ok(read));
        }
        Err(error) => is_plain(&error.to_string()),
    }
    match Amount::from_str(text) {
        Ok(amount) => {
            assert_eq!(amount.to_string().parse(), Ok(amount));
            for total in [0, 1, 11, usize::MAX] {
                assert!(amount.at_least_one_of(total) >= 1);
                if let Amount::Percent(_) = amount {
                    assert!(amount.of(total) <= total);
                }
            }
        }
        Err(error) => is_plain(&error.to_string()),
    }
    if let Err(error) = end_of(text) {
        is_plain(&error.to_string());
    }
}

/// A selector that is read selects the same after a trip through JSON, and nothing that it excludes.
pub(super) fn selectors(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match text.parse::<LabelSelector>() {
        Ok(selector) => {
            let written = serde_json::to_string(&selector).unwrap_or_default();
            let again: Option<LabelSelector> = serde_json::from_str(&written).ok();
            assert_eq!(again.as_ref(), Some(&selector), "{written}");
            let labels = [("ring", "broad"), ("zone", "a"), ("cloud", "azure")];
            let labels: BTreeMap<String, String> = labels
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            let matches = selector.matches(&labels);
            // More requirements select less.
            let mut narrower = selector.clone();
            narrower
                .match_labels
                .insert("ring".to_owned(), "pilot".to_owned());
            assert!(!narrower.matches(&labels));
            narrower
                .match_labels
                .insert("ring".to_owned(), "broad".to_owned());
            assert_eq!(narrower.matches(&labels), matches);
        }
        Err(error) => is_plain(&error.to_string()),
    }
}

/// A layer's path never leaves the repo, whatever the region's labels are.
pub(super) fn layer_paths(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (written, label) = text.split_once('\n').unwrap_or((text, ""));
    let region = Region {
        name: "west".to_owned(),
        location: "westus3".to_owned(),
        cluster: label.to_owned(),
        labels: BTreeMap::from([("ring".to_owned(), label.to_owned())]),
        exclude: None,
    };
    let inside = |path: &str| {
        path.split('/').all(|part| part != ".." && part != ".")
            && !path.starts_with('/')
            && !path.ends_with('/')
            && !path.contains("//")
    };
    match LayerPath::parse(written).and_then(|path| path.for_region(&region, "shop", "fleets/a")) {
        Ok(path) => assert!(inside(&path), "{path}"),
        // It becomes a problem of the config repo, which makes it plain.
        Err(error) => is_bounded(&error.to_string()),
    }
    if let Ok(path) = resolve("fleets/a", written) {
        assert!(inside(&path), "{path}");
        assert_eq!(resolve("", &path).as_deref(), Ok(path.as_str()));
    }
}
