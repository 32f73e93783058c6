//! Quantities of Kubernetes (`500m`, `1Gi`, `1e3`), compared by value.

const NANO_DIGITS: i64 = 9;

/// A quantity in billionths, the finest that the API server keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quantity(i128);

impl Quantity {
    /// Reads a quantity: a sign, digits with or without a decimal point, and a suffix or exponent.
    ///
    /// Nothing for what is none, and for what is too large for any machine.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = text
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at_checked(end)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let mut mantissa: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            mantissa = mantissa
                .checked_mul(10)?
                .checked_add(i128::from(digit.checked_sub(b'0')?))?;
        }
        let (twos, tens) = scale(suffix)?;
        mantissa = mantissa.checked_mul(1_i128.checked_shl(twos)?)?;
        let tens = tens
            .checked_add(NANO_DIGITS)?
            .checked_sub(i64::try_from(fraction.len()).ok()?)?;
        let nanos = shift(mantissa, tens)?;
        Some(Self(if negative {
            nanos.checked_neg()?
        } else {
            nanos
        }))
    }
}

/// What a suffix multiplies by: a power of two, and one of ten.
fn scale(suffix: &str) -> Option<(u32, i64)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => (0, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

/// The number times ten to the power; what is finer than one is rounded up, as the API server does.
fn shift(number: i128, tens: i64) -> Option<i128> {
    if number == 0 {
        return Some(0);
    }
    let power = u32::try_from(tens.unsigned_abs())
        .ok()
        .and_then(|exponent| 10_i128.checked_pow(exponent));
    if tens >= 0 {
        number.checked_mul(power?)
    } else {
        // Finer than any power that fits is still more than nothing.
        power.map_or(Some(1), |power| {
            let down = number.checked_div(power)?;
            let rest = number.checked_rem(power)?;
            down.checked_add(i128::from(rest != 0))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Quantity {
        Quantity::parse(text).unwrap_or_else(|| panic!("{text} is a quantity"))
    }

    #[test]
    fn equal_by_value() {
        for (left, right) in [
            ("0.5", "500m"),
            ("1Gi", "1024Mi"),
            ("1073741824", "1Gi"),
            ("1", "1000m"),
            ("1e3", "1k"),
            ("1E3", "1000.0"),
            ("1.5Gi", "1536Mi"),
            (".5", "500m"),
            ("1.", "+1"),
            ("0.1n", "1n"),
            ("0", "0Gi"),
            ("-1", "-1000m"),
            ("1E", "1e18"),
        ] {
            assert_eq!(of(left), of(right), "{left} {right}");
        }
        assert_ne!(of("1G"), of("1Gi"));
        assert_ne!(of("1m"), of("1M"));
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            ".",
            "-",
            "Gi",
            "1.2.3",
            "1 Gi",
            "1gi",
            "0x10",
            "1e",
            "1e3Gi",
            "NaN",
            "1e99",
            "é",
            "99999999999999999999999999999999999999999999",
        ] {
            assert_eq!(Quantity::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), exponent in any::<i64>()) {
            let _ = Quantity::parse(&text);
            let _ = Quantity::parse(&format!("1e{exponent}"));
        }

        #[test]
        fn order_is_that_of_the_numbers(left in 0_u32.., right in 0_u32..) {
            for suffix in ["m", "", "Ki", "M"] {
                prop_assert_eq!(
                    of(&format!("{left}{suffix}")).cmp(&of(&format!("{right}{suffix}"))),
                    left.cmp(&right)
                );
            }
        }

        #[test]
        fn spellings_of_one_number_are_equal(number in 0_u32..1_000_000) {
            prop_assert_eq!(of(&format!("{number}")), of(&format!("{number}000m")));
            prop_assert_eq!(of(&format!("{number}Gi")), of(&format!("{}Mi", u64::from(number) * 1024)));
            prop_assert_eq!(of(&format!("{number}m")), of(&format!("{}.{:03}", number / 1000, number % 1000)));
        }
    }
}
