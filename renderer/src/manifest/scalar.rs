//! What a plain scalar means: to kubectl (Go's YAML 1.1), and to a strict reader of YAML 1.2.

/// What a plain scalar is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    Null,
    Bool(bool),
    /// A number in its canonical form.
    Number(String),
    /// Infinity or not-a-number, which JSON and so Kubernetes cannot hold.
    NoNumber,
    Text,
}

/// As kubectl reads it: YAML 1.1's booleans and octals, no base 60, dates as text.
pub(super) fn kubectl(text: &str) -> Reading {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Reading::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Reading::Bool(false);
        }
        "" | "~" | "null" | "Null" | "NULL" => return Reading::Null,
        _ if is_no_number(text) => return Reading::NoNumber,
        _ => {}
    }
    match text.as_bytes().first() {
        // Here Go strips no underscores itself, but its numbers may have them between digits.
        Some(b'.') => without_separators(text)
            .and_then(|plain| float(&plain))
            .map_or(Reading::Text, Reading::Number),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            let plain = text.replace('_', "");
            go_integer(&plain)
                .or_else(|| float(&plain))
                .map_or(Reading::Text, Reading::Number)
        }
        _ => Reading::Text,
    }
}

/// As YAML 1.2's core schema reads it.
pub(super) fn strict(text: &str) -> Reading {
    match text {
        "true" | "True" | "TRUE" => return Reading::Bool(true),
        "false" | "False" | "FALSE" => return Reading::Bool(false),
        "" | "~" | "null" | "Null" | "NULL" => return Reading::Null,
        _ if is_no_number(text) => return Reading::NoNumber,
        _ => {}
    }
    let based = |prefix: &str, base: u32| {
        text.strip_prefix(prefix)
            .filter(|digits| !digits.starts_with(['+', '-']))
            .and_then(|digits| from_base(digits, base))
            .map(|number| number.to_string())
    };
    based("0o", 8)
        .or_else(|| based("0x", 16))
        .or_else(|| decimal(text))
        .or_else(|| float(text))
        .map_or(Reading::Text, Reading::Number)
}

/// Whether the two readings mean the same.
pub(super) fn agree(text: &str, kubectl: &Reading) -> bool {
    match (kubectl, &strict(text)) {
        (Reading::Number(left), Reading::Number(right)) => {
            left == right || left.parse::<f64>().ok() == right.parse::<f64>().ok()
        }
        (left, right) => left == right,
    }
}

fn is_no_number(text: &str) -> bool {
    matches!(
        text.strip_prefix(['+', '-']).unwrap_or(text),
        ".inf" | ".Inf" | ".INF"
    ) || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// The text without underscores, if each stands between two digits.
fn without_separators(text: &str) -> Option<String> {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    let separated = bytes.iter().enumerate().all(|(index, byte)| {
        *byte != b'_'
            || (is_digit(index.checked_sub(1).and_then(|before| bytes.get(before)))
                && is_digit(bytes.get(index + 1)))
    });
    separated.then(|| text.replace('_', ""))
}

/// Go's `strconv.ParseInt(text, 0, …)`: signs, `0x`, `0o`, `0b` and a leading zero for octal.
fn go_integer(text: &str) -> Option<String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    // Beyond 64 bits Go gives up on all bases but ten, which it then takes for a float.
    let most = match text.as_bytes().first() {
        Some(b'-') => 1_u128 << 63,
        Some(b'+') => (1 << 63) - 1,
        _ => u128::from(u64::MAX),
    };
    let fits = |digits: &str, base: u32| from_base(digits, base).filter(|number| *number <= most);
    let lower = digits.to_ascii_lowercase();
    let magnitude = if let Some(rest) = lower.strip_prefix("0x") {
        fits(rest, 16)?.to_string()
    } else if let Some(rest) = lower.strip_prefix("0o") {
        fits(rest, 8)?.to_string()
    } else if let Some(rest) = lower.strip_prefix("0b") {
        fits(rest, 2)?.to_string()
    } else if lower.len() > 1 && lower.starts_with('0') {
        fits(&lower, 8)?.to_string()
    } else {
        decimal(&lower)?
    };
    Some(signed(negative, magnitude))
}

fn signed(negative: bool, magnitude: String) -> String {
    if negative && magnitude != "0" {
        format!("-{magnitude}")
    } else {
        magnitude
    }
}

fn from_base(digits: &str, base: u32) -> Option<u128> {
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    u128::from_str_radix(digits, base).ok()
}

/// `[-+]?[0-9]+` without leading zeros; of any length.
fn decimal(text: &str) -> Option<String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let trimmed = digits.trim_start_matches('0');
    let magnitude = if trimmed.is_empty() { "0" } else { trimmed };
    Some(signed(negative, magnitude.to_owned()))
}

/// A floating-point number as every reader takes it for one: digits on both sides of the point, and
/// a sign in the exponent. Its digits are kept.
fn float(text: &str) -> Option<String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let fraction_text = fraction.unwrap_or_default();
    if !digits(whole) || !digits(fraction_text) || (whole.is_empty() && fraction_text.is_empty()) {
        return None;
    }
    let exponent = match exponent {
        None => None,
        Some(exponent) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(rest) => ('-', rest),
                None => ('+', exponent.strip_prefix('+').unwrap_or(exponent)),
            };
            let decimal = decimal(digits).filter(|_| !digits.starts_with(['+', '-']))?;
            Some(format!("e{sign}{decimal}"))
        }
    };
    if !text.parse::<f64>().is_ok_and(f64::is_finite) {
        return None;
    }
    let trimmed = whole.trim_start_matches('0');
    let whole = if trimmed.is_empty() { "0" } else { trimmed };
    if fraction.is_none() && exponent.is_none() {
        // Digits alone, such as `08`: Go takes them for a float, JSON for an integer.
        return Some(signed(sign == "-", whole.to_owned()));
    }
    let fraction = if fraction_text.is_empty() {
        "0"
    } else {
        fraction_text
    };
    Some(format!(
        "{sign}{whole}.{fraction}{}",
        exponent.unwrap_or_default()
    ))
}

/// A JSON number in its canonical form.
pub(super) fn canonical_number(text: &str) -> Option<String> {
    decimal(text).or_else(|| float(text))
}

/// Whether any reader might take a plain scalar for something else than text: those above, those of YAML 1.1 that know
/// base 60, dates, `=` and merge keys, and those that do not mind case: to one `nUll` is nothing.
pub(super) fn may_be_no_text(text: &str) -> bool {
    match text.as_bytes().first() {
        None | Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'=' | b'<' | b'~') => true,
        _ => {
            let lower = text.to_ascii_lowercase();
            [text, &lower]
                .iter()
                .any(|text| kubectl(text) != Reading::Text || strict(text) != Reading::Text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_any_reader_takes_for_something_else_are_no_plain_text() {
        for word in ["nUll", "tRUE", "fALSE", "yEs", "oFF", "nULL", "null", "No"] {
            assert!(may_be_no_text(word), "{word}");
        }
        for word in ["nulls", "truth", "web", "Yesterday"] {
            assert!(!may_be_no_text(word), "{word}");
        }
    }

    fn number(text: &str) -> Reading {
        Reading::Number(text.to_owned())
    }

    #[test]
    fn plain_scalars_mean_what_they_mean_to_kubectl() {
        for (text, reading, agreed) in [
            ("no", Reading::Bool(false), false),
            ("yes", Reading::Bool(true), false),
            ("on", Reading::Bool(true), false),
            ("Off", Reading::Bool(false), false),
            ("y", Reading::Bool(true), false),
            ("N", Reading::Bool(false), false),
            ("oN", Reading::Text, true),
            ("true", Reading::Bool(true), true),
            ("FALSE", Reading::Bool(false), true),
            ("tRue", Reading::Text, true),
            ("~", Reading::Null, true),
            ("", Reading::Null, true),
            ("Null", Reading::Null, true),
            ("0", number("0"), true),
            ("-0", number("0"), true),
            ("+5", number("5"), true),
            ("010", number("8"), false),
            ("0644", number("420"), false),
            ("-010", number("-8"), false),
            ("0o10", number("8"), true),
            ("0O10", number("8"), false),
            ("0x1F", number("31"), true),
            ("0X1F", number("31"), false),
            ("-0x1F", number("-31"), false),
            ("0b11", number("3"), false),
            ("08", number("8"), true),
            ("1_000", number("1000"), false),
            ("1.10", number("1.10"), true),
            ("1e3", number("1.0e+3"), true),
            ("1.5E-07", number("1.5e-7"), true),
            (".5", number("0.5"), true),
            (".1_5", number("0.15"), false),
            ("._5", Reading::Text, true),
            (".5_", Reading::Text, true),
            ("5.", number("5.0"), true),
            ("-.5", number("-0.5"), true),
            ("007.5", number("7.5"), true),
            ("1e999", Reading::Text, true),
            (
                "123456789012345678901234567890",
                number("123456789012345678901234567890"),
                true,
            ),
            ("0xfffffffffffffffff", Reading::Text, false),
            ("0xffffffffffffffff", number("18446744073709551615"), true),
            ("++5", Reading::Text, true),
            ("-_-9", Reading::Text, true),
            ("12:30:45", Reading::Text, true),
            ("2001-01-01", Reading::Text, true),
            ("1.2.3", Reading::Text, true),
            ("100m", Reading::Text, true),
            ("0x", Reading::Text, true),
            ("-", Reading::Text, true),
            (".", Reading::Text, true),
            ("e3", Reading::Text, true),
            ("1e", Reading::Text, true),
            ("1e+", Reading::Text, true),
            ("1e+-5", Reading::Text, true),
            (".inf", Reading::NoNumber, true),
            ("-.Inf", Reading::NoNumber, true),
            (".NaN", Reading::NoNumber, true),
            ("é", Reading::Text, true),
        ] {
            let read = kubectl(text);
            assert_eq!(read, reading, "{text:?}");
            assert_eq!(agree(text, &read), agreed, "{text:?}");
        }
    }
}
