//! "Did you mean": the name that was meant by one that does not exist.

/// A name that people use for something, and the names that it has here.
pub(crate) type Alias = (&'static str, &'static [&'static str]);

/// The names in one line.
pub(super) fn list(names: &[&str]) -> String {
    names.join(", ")
}

/// The end of a message about the unknown name `given`: the names that may be meant, if any is near enough.
pub(crate) fn did_you_mean(given: &str, names: &[&'static str], aliases: &[Alias]) -> String {
    hint(&meant(given, names, aliases))
}

/// The names that may be meant by `given`.
pub(super) fn meant(given: &str, names: &[&'static str], aliases: &[Alias]) -> Vec<&'static str> {
    let plain = plain(given);
    match aliases.iter().find(|(alias, _)| self::plain(alias) == plain) {
        Some((_, meant)) => meant.to_vec(),
        None => nearest(given, names),
    }
}

/// The names to which `given` is nearest, if they are near enough to be meant: none, one, or several at the same distance.
pub(super) fn nearest<'n>(given: &str, names: &[&'n str]) -> Vec<&'n str> {
    let given = plain(given);
    let distance = |name: &str| strsim::damerau_levenshtein(&given, &plain(name));
    let least = names.iter().map(|name| distance(name)).min();
    let is_near = |name: &&&'n str| {
        let distance = distance(name);
        // A name of which most letters differ is not meant.
        Some(distance) == least && distance <= 1 + given.len() / 4 && distance < given.len().max(1)
    };
    names.iter().filter(is_near).copied().collect()
}

/// "; did you mean ...?", or nothing for no names.
pub(super) fn hint(meant: &[&str]) -> String {
    let quoted: Vec<String> = meant.iter().map(|name| format!("`{name}`")).collect();
    if quoted.is_empty() { String::new() } else { format!("; did you mean {}?", quoted.join(" or ")) }
}

/// A name without the differences in which people's spellings of it differ: `Chi2_Forward` is `chi2-forward`.
fn plain(name: &str) -> String {
    let kept = name.trim().chars().filter(|character| !matches!(character, '_' | '-' | ' '));
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_order_and_other_names_are_seen_through() {
        let names = ["forward-kl", "reverse-kl", "js", "tv"];
        let aliases: &[Alias] = &[("kl", &["forward-kl", "reverse-kl"])];
        let said = |given| did_you_mean(given, &names, aliases);
        assert_eq!(said("KL"), "; did you mean `forward-kl` or `reverse-kl`?");
        assert_eq!(said("Forward_KL"), "; did you mean `forward-kl`?");
        assert_eq!(said("reverse-lk"), "; did you mean `reverse-kl`?");
        assert_eq!(said("jss"), "; did you mean `js`?");
        assert_eq!(said("x"), "");
        assert_eq!(said(""), "");
        assert_eq!(said("wasserstein"), "");
    }
}
