//! Hiding secrets in texts of others: servers repeat what they were sent, in errors above all.

use std::fmt::{self, Write as _};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// What stands in a secret's place.
const HIDDEN: &str = "***";

/// Shorter pieces of base64 stand in many texts by chance.
const SHORTEST_BASE64: usize = 8;

/// Secrets that are to be hidden, in every form in which a text usually repeats them: as they are, in JSON, in a URL, and
/// within base64. Shows nothing itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Mask {
    /// The longest first: one may be part of another.
    forms: Vec<String>,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// A mask of secrets. An empty one is left out.
    #[must_use]
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms: Vec<String> = secrets
            .into_iter()
            .filter(|secret| !secret.is_empty())
            .flat_map(forms_of)
            .collect();
        forms.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        forms.dedup();
        Self { forms }
    }

    /// Whether a secret stands in the text.
    #[must_use]
    pub fn is_needed_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form.as_str()))
    }

    /// The text with three asterisks wherever a secret stood. To be called before a text is cut: half a secret is not found.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        let mut hidden = text.to_owned();
        for form in &self.forms {
            if hidden.contains(form.as_str()) {
                hidden = hidden.replace(form.as_str(), HIDDEN);
            }
        }
        hidden
    }
}

fn forms_of(secret: &str) -> Vec<String> {
    let json = serde_json::Value::from(secret).to_string();
    let mut forms = vec![
        secret.to_owned(),
        json.trim_start_matches('"')
            .strip_suffix('"')
            .unwrap_or_default()
            .to_owned(),
        percent_encoded(secret, false),
        percent_encoded(secret, true),
    ];
    for before in 0..3 {
        forms.push(within_base64(secret, before, &STANDARD));
        forms.push(within_base64(secret, before, &URL_SAFE));
    }
    forms.retain(|form| !form.is_empty());
    forms
}

/// The digits that a text comes to in base64 `before` bytes behind a multiple of three; those that it shares with its
/// neighbours are left out. Empty where too few are left.
fn within_base64(text: &str, before: usize, engine: &impl Engine) -> String {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(text.as_bytes());
    let (first, last) = (before.saturating_mul(8).div_ceil(6), bytes.len() * 8 / 6);
    let digits = engine.encode(&bytes);
    let own = digits.get(first..last).unwrap_or_default();
    if own.len() < SHORTEST_BASE64 {
        return String::new();
    }
    own.to_owned()
}

fn percent_encoded(text: &str, lower: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        // Writing to a String cannot fail.
        let _ = if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            write!(encoded, "{}", char::from(byte))
        } else if lower {
            write!(encoded, "%{byte:02x}")
        } else {
            write!(encoded, "%{byte:02X}")
        };
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        let secret = "hunter2 \"&/+ of old";
        let mask = Mask::of([secret, "", "hunter2"]);
        for text in [
            secret.to_owned(),
            serde_json::Value::from(secret).to_string(),
            "hunter2%20%22%26%2F%2B%20of%20old".to_owned(),
            "hunter2%20%22%26%2f%2b%20of%20old".to_owned(),
            "only hunter2".to_owned(),
        ] {
            let hidden = mask.hide(&format!("before {text} behind"));
            assert!(!hidden.contains("hunter2"), "{hidden}");
            assert!(!hidden.contains("old"), "{hidden}");
            assert!(
                hidden.starts_with("before ") && hidden.ends_with(" behind"),
                "{hidden}"
            );
        }
        for user in ["", "j", "jo", "joe", "jo:"] {
            let token = STANDARD.encode(format!("{user}{secret}"));
            let hidden = mask.hide(&token);
            assert!(hidden.contains(HIDDEN) && hidden.len() < 12, "{hidden}");
        }
        assert_eq!(mask.hide("nothing"), "nothing");
        assert_eq!(format!("{mask:?}"), "Mask");
    }

    #[test]
    fn a_short_secret_does_not_hide_half_of_every_text() {
        assert_eq!(Mask::of(["abc"]).hide("YWJj abd abc"), "YWJj abd ***");
        assert_eq!(Mask::default().hide("abc"), "abc");
    }

    proptest! {
        #[test]
        fn no_secret_is_left_in_any_text(secret in "\\PC{4,20}", before in "\\PC{0,9}", behind in "\\PC{0,9}") {
            prop_assume!(!secret.contains('*'));
            let hidden = Mask::of([secret.as_str()]).hide(&format!("{before}{secret}{behind}"));
            prop_assert!(!hidden.contains(&secret));
        }
    }
}
