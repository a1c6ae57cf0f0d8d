//! Numbers as text for readers.

use std::fmt;

use disco_core::Estimate;

/// An estimate as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its value, with as many decimals as its error deserves (two digits of the error); or a bound, such as `< 0.0012`.
    pub(crate) value: String,
    /// The words on how far it can be trusted: `± 0.016`, `exact`, or `(95%)` of a bound. `None` if nothing is known.
    pub(crate) error: Option<String>,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{} {error}", self.value),
            None => f.write_str(&self.value),
        }
    }
}

/// The most decimals; smaller errors are written with an exponent.
const MOST_DECIMALS: f64 = 6.0;

/// An estimate in words. An error of 0 is one of exact numbers alone: where no sample differs from the others, the error is not known.
pub(crate) fn shown(estimate: &Estimate) -> Shown {
    let Estimate { value, std_error, ess } = *estimate;
    let alone = |error: Option<&str>| Shown { value: plain(value), error: error.map(str::to_owned) };
    if !value.is_finite() || !std_error.is_finite() {
        return alone(None);
    }
    if std_error <= 0.0 {
        return alone((ess == f64::INFINITY).then_some("exact"));
    }
    let decimals = (1.0 - std_error.log10().floor()).max(0.0);
    if decimals > MOST_DECIMALS {
        return Shown { value: minus(format!("{value:.2e}")), error: Some(format!("± {std_error:.1e}")) };
    }
    let decimals = decimals as usize;
    Shown { value: minus(format!("{value:.decimals$}")), error: Some(format!("± {std_error:.decimals$}")) }
}

/// A share of samples in words. Where none or all of n samples have what is counted, it is a bound of its 95% interval: 3/n, the rule of
/// three.
pub(crate) fn shown_share(estimate: &Estimate) -> Shown {
    let Some(bound) = bound_of_share(estimate) else { return shown(estimate) };
    if bound >= 1.0 {
        return Shown { value: plain(estimate.value), error: None };
    }
    let decimals = (1.0 - bound.log10().floor()).max(0.0) as usize;
    let value = match estimate.value == 0.0 {
        true => format!("< {bound:.decimals$}"),
        false => format!("> {:.decimals$}", 1.0 - bound),
    };
    Shown { value, error: Some("(95%)".into()) }
}

/// The distance of a share from 0 or 1 that it may have at most, at 95%, if it is one of these by all samples.
fn bound_of_share(Estimate { value, std_error, ess }: &Estimate) -> Option<f64> {
    let is_extreme = *value == 0.0 || *value == 1.0;
    (is_extreme && *std_error == 0.0 && ess.is_finite() && *ess > 0.0).then(|| 3.0 / ess)
}

/// The 95% interval of a mean, or of a share by the rule of three; `None` where it is not known, or the mean is exact.
pub(crate) fn interval(estimate: &Estimate, is_share: bool) -> Option<[f64; 2]> {
    if let Some(bound) = bound_of_share(estimate).filter(|_| is_share) {
        return Some(if estimate.value == 0.0 {
            [0.0, bound.min(1.0)]
        } else {
            [(1.0 - bound).max(0.0), 1.0]
        });
    }
    let is_known = estimate.value.is_finite() && estimate.std_error.is_finite() && estimate.std_error > 0.0;
    let (low, high) = estimate.interval(1.96);
    is_known.then(|| if is_share { [low.max(0.0), high.min(1.0)] } else { [low, high] })
}

/// A share in percent, with its error to one digit, for a sentence.
pub(crate) fn percent(estimate: &Estimate) -> String {
    let hundred =
        Estimate { value: 100.0 * estimate.value, std_error: 100.0 * estimate.std_error, ..*estimate };
    if let Some(bound) = bound_of_share(estimate).filter(|bound| *bound < 1.0) {
        let decimals = (-(100.0 * bound).log10().floor()).max(0.0) as usize;
        return match estimate.value == 0.0 {
            true => format!("< {:.decimals$}%", 100.0 * bound),
            false => format!("> {:.decimals$}%", 100.0 * (1.0 - bound)),
        };
    }
    if hundred.std_error > 0.0 && hundred.std_error.is_finite() {
        let decimals = (-hundred.std_error.log10().floor()).clamp(0.0, MOST_DECIMALS) as usize;
        return format!("{:.decimals$} ± {:.decimals$}%", hundred.value, hundred.std_error);
    }
    format!("{}%", plain(hundred.value))
}

/// `value ± error`, or the value alone.
pub(crate) fn plus_minus(estimate: &Estimate) -> String {
    shown(estimate).to_string()
}

/// A rate, which may be tiny, and its error.
pub(crate) fn rate(estimate: &Estimate) -> String {
    shown_share(estimate).to_string()
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
        check(0.0001, 0.000_012, "0.000100 ± 0.000012");
        check(2.5e-9, 3.1e-11, "2.50e-9 ± 3.1e-11");
        check(-0.001, 0.31, "0.00 ± 0.31");
        check(0.123_456, f64::INFINITY, "0.123");
        check(f64::INFINITY, 0.0, "∞");
        check(f64::NEG_INFINITY, f64::NAN, "−∞");
    }

    #[test]
    fn an_error_of_0_is_shown_of_exact_numbers_alone() {
        check(1.0, 0.0, "1");
        let exact = Estimate { value: 0.25, std_error: 0.0, ess: f64::INFINITY };
        assert_eq!(plus_minus(&exact), "0.250 exact");
        assert_eq!((rate(&exact), percent(&exact)), ("0.250 exact".into(), "25%".into()));
    }

    #[test]
    fn a_share_that_no_sample_has_is_a_bound() {
        let share = |value, std_error, ess| Estimate { value, std_error, ess };
        assert_eq!(rate(&share(0.0, 0.0, 2500.0)), "< 0.0012 (95%)");
        assert_eq!(rate(&share(1.0, 0.0, 2500.0)), "> 0.9988 (95%)");
        assert_eq!(rate(&share(0.0, 0.0, 2.0)), "0");
        assert_eq!(rate(&share(0.2, 0.011, 2500.0)), "0.200 ± 0.011");
        assert_eq!(interval(&share(0.0, 0.0, 300.0), true), Some([0.0, 0.01]));
        assert_eq!(interval(&share(0.0, 0.0, 300.0), false), None);
        assert_eq!(interval(&share(0.01, 0.01, 300.0), true).unwrap()[0], 0.0);
        assert_eq!(percent(&share(0.0, 0.0, 2500.0)), "< 0.1%");
        assert_eq!(percent(&share(0.196_04, 0.006_2, 4096.0)), "19.6 ± 0.6%");
        assert_eq!(percent(&share(0.5, 0.03, 100.0)), "50 ± 3%");
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
