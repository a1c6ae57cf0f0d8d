//! Names and numbers, as the messages of errors show them.

pub(crate) fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// How many terms of a combination a message shows: the largest.
const TERMS_SHOWN: usize = 6;

pub(crate) fn combination(terms: &[(String, f64)]) -> String {
    // Factors that print alike count as equal, so that rounding does not decide the order.
    let size = |factor: f64| (factor.abs() * 1e6).round();
    let mut sorted: Vec<_> = terms.iter().filter(|(_, factor)| size(*factor) > 0.0).collect();
    sorted.sort_by(|(_, a), (_, b)| size(*b).total_cmp(&size(*a)).then(b.total_cmp(a)));
    let mut text = String::new();
    for (index, (name, factor)) in sorted.iter().take(TERMS_SHOWN).enumerate() {
        text.push_str(match (index, *factor < 0.0) {
            (0, false) => "",
            (0, true) => "-",
            (_, false) => " + ",
            (_, true) => " - ",
        });
        match short(factor.abs()).as_str() {
            "1" => {}
            factor => text.extend([factor, " "]),
        }
        text.extend(["`", name, "`"]);
    }
    if sorted.len() > TERMS_SHOWN {
        text.push_str(&format!(" + {} more", sorted.len() - TERMS_SHOWN));
    }
    text
}

pub(crate) fn moments(moments: &[(String, f64)]) -> String {
    let one = |(name, value): &(String, f64)| format!("`{name}` {}", short(*value));
    moments.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A value with as many digits as it takes to tell it from another.
pub(crate) fn told_apart(value: f64, from: f64) -> String {
    if short(value) == short(from) { value.to_string() } else { short(value) }
}

/// At most six significant digits, and no rounding error shown as a number.
pub(crate) fn short(value: f64) -> String {
    if value.abs() < 1e-12 {
        return "0".into();
    }
    let digits = (5 - value.abs().log10().floor() as i32).clamp(0, 17) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}
