//! Numbers in the form that readers of the page see.

/// Keeps a number and its unit, or the digit groups of a number, on one line.
const NARROW_SPACE: char = '\u{202f}';

/// A fraction as a percentage, `0.6132` as `61.3 %`; a dash if it is not finite.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{:.1}{NARROW_SPACE}%", share * 100.0)
    } else {
        "–".to_owned()
    }
}

/// A difference of fractions in percentage points with its sign, `0.0132` as `+1.3` with one
/// decimal; a dash if it is not finite.
pub(super) fn points(difference: f64, decimals: usize) -> String {
    if !difference.is_finite() {
        return "–".to_owned();
    }
    let digits = format!("{:.decimals$}", (difference * 100.0).abs());
    let sign = match difference {
        _ if digits.bytes().all(|byte| matches!(byte, b'0' | b'.')) => "",
        _ if difference < 0.0 => "\u{2212}",
        _ => "+",
    };
    format!("{sign}{digits}")
}

/// A count with its digits in groups of three.
pub(super) fn count(value: usize) -> String {
    group(&value.to_string())
}

/// `value` and the noun in singular or plural: `1 seed`, `3 seeds`.
pub(super) fn counted(value: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(value), if value == 1 { "" } else { "s" })
}

/// A value with a fixed number of decimals, a proper minus sign and grouped digits.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    let digits = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let negative = value < 0.0 && digits.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    format!("{}{}{fraction}", if negative { "\u{2212}" } else { "" }, group(whole))
}

/// `10` to an integer power, such as `10⁻⁴`.
pub(super) fn power_of_ten(exponent: i32) -> String {
    let digits = exponent.to_string();
    let raised = digits.chars().map(|digit| match digit {
        '-' => '⁻',
        '0' => '⁰',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        _ => '⁹',
    });
    std::iter::once('1').chain(std::iter::once('0')).chain(raised).collect()
}

/// A coordinate of a drawing, to a hundredth of a unit.
pub(super) fn coordinate(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn group(digits: &str) -> String {
    // Four digits are readable without a gap.
    if digits.len() <= 4 {
        return digits.to_owned();
    }
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(NARROW_SPACE);
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_zero_has_no_sign() {
        assert_eq!(
            [0.013, -0.013, 0.0001, -0.0001].map(|v| points(v, 1)),
            ["+1.3", "−1.3", "0.0", "0.0"]
        );
        assert_eq!([fixed(-0.04, 1), fixed(-0.06, 1), coordinate(-0.001)], ["0.0", "−0.1", "0"]);
    }

    #[test]
    fn digits_are_grouped_from_five_on() {
        let found = [0, 999, 1000, 12345, 1234567].map(count);
        assert_eq!(found, ["0", "999", "1000", "12\u{202f}345", "1\u{202f}234\u{202f}567"]);
        assert_eq!(fixed(-12345.678, 1), "−12\u{202f}345.7");
    }

    #[test]
    fn what_is_not_finite_is_a_dash() {
        assert_eq!([percent(f64::NAN), points(f64::INFINITY, 2)], ["–", "–"]);
        assert_eq!(percent(0.6132), "61.3\u{202f}%");
    }
}
