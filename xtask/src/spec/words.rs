//! The kind `words`: how many words of a text are in a list.
//!
//! A *word* is a run of letters, digits and underscores (`\w` of Unicode's regular expressions), which may have single apostrophes and
//! hyphens inside: `don't` and `mother-in-law` are one word each, `king--queen` is two. An *entry* of a list is a word, or several
//! with white space between them.

use std::{borrow::Cow, collections::HashSet, ops::Range, path::Path, sync::LazyLock};

use disco_core::input;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{
    Allowed,
    allowed::{SOME_TEXT, TEXTS},
    names::Alias,
    section::Section,
};

/// A list of words, and the number that a text gets by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordListSpec {
    /// The entries.
    pub list: Vec<String>,
    /// The entries of the other list, for [`WordValue::Sign`]; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<String>,
    /// The value of the feature.
    pub value: WordValue,
    /// Whether upper and lower case are the same.
    pub ignore_case: bool,
}

/// The number that a text gets by a list of words.
///
/// Entries are found from left to right without overlap, the one with the most words first. A word with an apostrophe that is no
/// entry counts as the part before its last apostrophe: `she's` as `she`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WordValue {
    /// 1 if an entry is found, else 0.
    #[default]
    Presence,
    /// The number of entries that are found.
    Count,
    /// The share of the words of the text that are part of an entry; 0 for a text without words.
    Share,
    /// 1 if more entries of the list are found than of the other list, -1 if fewer, 0 if as many.
    Sign,
}

/// The fields of a feature of this kind, beside those of all kinds.
pub(super) const WORD_LIST_FIELDS: &[&str] =
    &["list", "file", "against", "against_file", "value", "ignore_case"];

/// Other names of values.
const VALUES: &[Alias] = &[
    ("contains", &["presence"]),
    ("any", &["presence"]),
    ("number", &["count"]),
    ("fraction", &["share"]),
    ("proportion", &["share"]),
    ("difference", &["sign"]),
];

/// The words of a text, as ranges of bytes.
///
/// # Cost
/// Linear in the text.
pub(crate) fn words_in(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    static WORD: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\w+(?:['’‐‑-]\w+)*").expect("the pattern is right"));
    WORD.find_iter(text).map(|found| found.range())
}

/// A word in the form in which words are compared. Typographic apostrophes and hyphens are plain ones; without case, letters are
/// folded as Unicode's full case folding does it (`ß` is `ss`, a final `ς` is `σ`). Letters that Unicode writes in several ways are
/// not normalised.
pub(crate) fn folded(word: &str, ignore_case: bool) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii() && !(ignore_case && byte.is_ascii_uppercase());
    if word.bytes().all(is_plain) {
        return Cow::Borrowed(word);
    }
    if word.is_ascii() {
        return Cow::Owned(word.to_ascii_lowercase());
    }
    let plain = word.chars().map(|character| match character {
        '’' => '\'',
        '‐' | '‑' => '-',
        other => other,
    });
    // The dotless i has no other case in the folding, though its capital letter is that of i.
    let fold = |character: char| match character {
        'ı' => vec![character],
        _ => {
            let upper = character.to_lowercase().flat_map(char::to_uppercase);
            upper.flat_map(char::to_lowercase).collect()
        }
    };
    Cow::Owned(if ignore_case { plain.flat_map(fold).collect() } else { plain.collect() })
}

/// The words of an entry, in the form in which they are compared; or the problem with it.
pub(crate) fn entry_words(entry: &str, ignore_case: bool) -> Result<Vec<String>, String> {
    let mut rest = 0;
    let mut words = Vec::new();
    for range in words_in(entry) {
        let gap = &entry[rest..range.start];
        if !gap.trim().is_empty() {
            break;
        }
        rest = range.end;
        words.push(folded(&entry[range], ignore_case).into_owned());
    }
    match words.is_empty() || !entry[rest..].trim().is_empty() {
        true => Err(format!("\"{entry}\" is not one or more words")),
        false => Ok(words),
    }
}

const ENTRIES: &str = "words of letters, digits and underscores, with apostrophes and hyphens inside; several with spaces between them";

/// Reads the fields of a feature of this kind.
pub(super) fn read_word_list(section: &Section<'_>, folder: &Path) -> WordListSpec {
    let values = [
        ("presence", WordValue::Presence),
        ("count", WordValue::Count),
        ("share", WordValue::Share),
        ("sign", WordValue::Sign),
    ];
    let value = section.choice("value", &values, VALUES).unwrap_or_default();
    let ignore_case = section.boolean("ignore_case").unwrap_or(true);
    let (list, against) = (["list", "file"], ["against", "against_file"]);
    let entries = read_entries(section, folder, list);
    require_one(section, list, "the words: list = [\"...\", \"...\"], or file = \"...\"");
    let others = read_entries(section, folder, against);
    let given = against.into_iter().find(|field| section.has(field));
    if value == WordValue::Sign {
        require_one(
            section,
            against,
            "the words that count -1: against = [\"...\"], or against_file = \"...\"",
        );
    } else if let Some(field) = given
        && !section.is_doubtful("value")
        && !section.is_doubtful(field)
    {
        section.wrong(field, "is of a sign, and `value` asks for none", "value = \"sign\" beside it");
    }
    if let (Some(entries), Some(others), Some(field)) = (&entries, &others, given) {
        let listed: HashSet<_> = entries.iter().map(|entry| entry_words(entry, ignore_case)).collect();
        let both = others.iter().find(|entry| listed.contains(&entry_words(entry, ignore_case)));
        if let Some(both) = both.filter(|_| !section.is_doubtful(field)) {
            let message = format!("has \"{both}\", which is in the other list too");
            section.wrong(field, &message, "each entry in one of the two lists");
        }
    }
    WordListSpec {
        list: entries.unwrap_or_default(),
        against: others.unwrap_or_default(),
        value,
        ignore_case,
    }
}

/// Reports that none of two fields is there, or both.
fn require_one(section: &Section<'_>, fields: [&'static str; 2], allowed: &str) {
    let [list, file] = fields;
    if section.has(list) && section.has(file) {
        section.wrong_table(&format!("has both `{list}` and `{file}`"), allowed, &fields);
    } else if !section.may_have(list) && !section.may_have(file) {
        section.wrong_table(&format!("has no `{list}` and no `{file}`"), allowed, &fields);
    }
}

/// Reads entries from one of two fields: the entries themselves, or a file with one a line.
fn read_entries(section: &Section<'_>, folder: &Path, fields: [&'static str; 2]) -> Option<Vec<String>> {
    const FILE: Allowed<String> =
        Allowed { words: "a text file with an entry a line", holds: SOME_TEXT.holds };
    let [list, file] = fields;
    if let Some(entries) = section.strings(list, &TEXTS) {
        let wrong = entries.iter().map(|entry| entry_words(entry, true).err());
        if let Some((index, problem)) = (0..).zip(wrong).find_map(|(index, wrong)| Some((index, wrong?))) {
            section.wrong_item(list, index, &format!("has an entry that is none: {problem}"), ENTRIES);
            return None;
        }
        return Some(entries);
    }
    let path = folder.join(section.string(file, &FILE)?);
    let found = entries_of(&path);
    found.map_err(|problem| section.wrong(file, &format!("cannot be used: {problem}"), FILE.words)).ok()
}

/// The entries of a file; lines without text are none.
fn entries_of(path: &Path) -> Result<Vec<String>, String> {
    let mut entries = Vec::new();
    for line in input::read_lines(path).map_err(|error| error.to_string())? {
        let (number, line) = line.map_err(|error| error.to_string())?;
        if line.trim().is_empty() {
            continue;
        }
        if let Err(problem) = entry_words(&line, true) {
            return Err(format!("{}, line {number}: {problem}", path.display()));
        }
        entries.push(line.trim().to_owned());
    }
    if entries.is_empty() { Err(format!("{} has no entry", path.display())) } else { Ok(entries) }
}
