//! Numbers as text for readers.

use disco_core::Estimate;

/// The value with as many decimals as its error deserves (two digits of the error), and the error.
///
/// The error is `None` if it is not known. At most four decimals, and three where there is no error to go by.
pub(crate) fn with_error(estimate: &Estimate) -> (String, Option<String>) {
    let Estimate { value, std_error, .. } = *estimate;
    if !(std_error > 0.0 && std_error.is_finite() && value.is_finite()) {
        let error = (std_error == 0.0 && value.is_finite()).then(|| "0".to_owned());
        return (plain(value), error);
    }
    let decimals = (1.0 - std_error.log10().floor()).clamp(0.0, 4.0) as usize;
    (minus(format!("{value:.decimals$}")), Some(format!("{std_error:.decimals$}")))
}

/// `value ± error`, or the value alone.
pub(crate) fn plus_minus(estimate: &Estimate) -> String {
    match with_error(estimate) {
        (value, Some(error)) => format!("{value} ± {error}"),
        (value, None) => value,
    }
}

/// A rate, which may be tiny, and its error.
pub(crate) fn rate(estimate: &Estimate) -> String {
    match estimate.value > 0.0 && estimate.value < 1e-3 {
        true => format!("{:.2e} ± {:.1e}", estimate.value, estimate.std_error),
        false => plus_minus(estimate),
    }
}

/// A number without an error: three decimals, fewer for large ones and none for whole ones.
pub(crate) fn plain(value: f64) -> String {
    if value.is_nan() {
        return "unknown".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞".into() } else { "−∞".into() };
    }
    if value == value.round() && value.abs() < 1e15 {
        return minus(format!("{value}"));
    }
    let decimals = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        size if size >= 0.01 => 3,
        _ => return minus(format!("{value:.2e}")),
    };
    minus(format!("{value:.decimals$}"))
}

/// A number with one decimal.
pub(crate) fn one_decimal(value: f64) -> String {
    if value.is_finite() { minus(format!("{value:.1}")) } else { plain(value) }
}

/// A whole number with thin spaces between thousands.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Bytes in MB (10^6).
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", grouped((bytes as f64 / 1e6).round() as u64))
}

/// A minus sign that is as wide as a plus sign, and none before a zero.
fn minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.into(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: f64, std_error: f64, expected: &str) {
        assert_eq!(plus_minus(&Estimate { value, std_error, ess: 1.0 }), expected);
    }

    #[test]
    fn an_error_decides_how_many_digits_are_shown() {
        check(0.48312, 0.0156, "0.483 ± 0.016");
        check(0.48312, 0.156, "0.48 ± 0.16");
        check(1234.5, 12.0, "1234 ± 12");
        check(-0.5, 0.25, "−0.50 ± 0.25");
        check(0.0001, 0.000_001, "0.0001 ± 0.0000");
        check(-0.001, 0.31, "0.00 ± 0.31");
        check(1.0, 0.0, "1 ± 0");
        check(0.123_456, f64::INFINITY, "0.123");
        check(f64::INFINITY, 0.0, "∞");
        check(f64::NEG_INFINITY, f64::NAN, "−∞");
    }

    #[test]
    fn numbers_without_error_are_short() {
        let plain = [0.5, 12.3456, 123.456, 5_000.7, 3.0, 0.000_123, -2.5].map(plain);
        assert_eq!(plain, ["0.500", "12.35", "123.5", "5001", "3", "1.23e-4", "−2.500"]);
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
        assert_eq!(megabytes(1_234_567_890), "1\u{202f}235 MB");
    }
}
