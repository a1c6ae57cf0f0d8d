//! The table `[contexts]`: a list in the file, or a table of its own with columns.

use std::path::Path;

use disco_core::StreamRng;
use rand::{SeedableRng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

use super::{
    Allowed,
    allowed::{ANY_TEXT, INSIDE_UNIT, SOME_TEXT, TEXTS},
    context_table::{COLUMN, TableReader},
    section::Section,
};
use crate::contexts::{Columns, Row, TextContext};

/// The contexts of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContextSpec {
    /// The contexts, which the samples continue. Never empty.
    pub items: Vec<TextContext>,
    /// Their weights, one per context and not all zero; `None` where they count the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<f64>>,
    /// Contexts on which the tuned policy is only measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_out: Vec<TextContext>,
    /// How contexts are shown to a chat model; `None` where they are continued as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatSpec>,
}

/// Contexts are messages of a user, which a chat model answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatSpec {
    /// The message of the system before each of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

impl ContextSpec {
    /// Contexts that are texts alone, and count the same.
    pub fn texts(texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let items = texts.into_iter().map(|text| TextContext::from(text.into())).collect();
        Self { items, weights: None, held_out: Vec::new(), chat: None }
    }

    /// The weight of each context; all are 1 where they count the same.
    pub fn weights(&self) -> Vec<f64> {
        self.weights.clone().unwrap_or_else(|| vec![1.0; self.items.len()])
    }
}

/// The fields of the table.
pub(super) const CONTEXT_FIELDS: &[&str] =
    &["list", "file", "format", "column", "template", "weight", "held_out", "chat", "system"];

/// The fields that only a file can have.
const OF_FILES: [&str; 3] = ["format", "column", "weight"];

/// Reads the contexts, at least one; an empty one if a problem was reported. `seed` decides which are held out.
pub(super) fn read_contexts(contexts: &Section<'_>, folder: &Path, seed: u64) -> ContextSpec {
    let reader = TableReader::new(contexts);
    let found = find_contexts(contexts, folder, &reader);
    let mut found = found.unwrap_or_else(|| ContextSpec::texts([""]));
    found.chat = read_chat(contexts);
    if contexts.is_number("held_out") {
        if let Some(share) = contexts.number("held_out", &INSIDE_UNIT) {
            hold_out(contexts, &mut found, share, seed);
        }
    } else if let Some(file) = contexts.string("held_out", &HELD_OUT) {
        // Contexts that are held out all count the same.
        let read = reader.read("held_out", &folder.join(file), false);
        found.held_out = read.map_or_else(Vec::new, |(items, _)| items);
    }
    found
}

const HELD_OUT: Allowed<String> = Allowed {
    words: "a file with contexts, or the share of the contexts that are held out: above 0 and below 1",
    holds: |text| !text.is_empty(),
};

/// Takes a share of the contexts away from fit and tuning.
fn hold_out(contexts: &Section<'_>, found: &mut ContextSpec, share: f64, seed: u64) {
    let total = found.items.len();
    if total < 2 {
        if !contexts.is_doubtful("list") && !contexts.is_doubtful("file") {
            contexts.wrong(
                "held_out",
                "is a share of one context",
                "two contexts or more in `list` or `file`, or a file of others",
            );
        }
        return;
    }
    let count = ((share * total as f64).round() as usize).clamp(1, total - 1);
    let mut order: Vec<usize> = (0..total).collect();
    order.shuffle(&mut StreamRng::seed_from_u64(seed));
    let mut is_held_out = vec![false; total];
    order[..count].iter().for_each(|&index| is_held_out[index] = true);
    let (held_out, kept): (Vec<usize>, Vec<usize>) = (0..total).partition(|&index| is_held_out[index]);
    found.held_out = held_out.iter().map(|&index| found.items[index].clone()).collect();
    found.weights = found.weights.as_ref().map(|weights| kept.iter().map(|&index| weights[index]).collect());
    found.items = kept.iter().map(|&index| found.items[index].clone()).collect();
    if found.weights.as_ref().is_some_and(|weights| weights.iter().all(|weight| *weight == 0.0)) {
        let message = "leaves no context with a weight above 0";
        contexts.wrong("held_out", message, "a smaller share, or another `seed`");
    }
}

fn read_chat(contexts: &Section<'_>) -> Option<ChatSpec> {
    let chat = contexts.boolean("chat");
    let system = contexts.string("system", &ANY_TEXT);
    if contexts.has("system") && chat != Some(true) && !contexts.is_doubtful("chat") {
        contexts.wrong("system", "is of a chat, and `chat` is not true", "chat = true beside it");
    }
    chat.filter(|chat| *chat).map(|_| ChatSpec { system })
}

fn find_contexts(contexts: &Section<'_>, folder: &Path, reader: &TableReader<'_, '_>) -> Option<ContextSpec> {
    let list = contexts.strings("list", &TEXTS);
    let file = contexts.string("file", &SOME_TEXT);
    let allowed = "either list = [\"...\"] or file = \"...\"";
    let (has_list, has_file) = (contexts.has("list"), contexts.has("file"));
    if has_list == has_file && contexts.may_have("list") == has_list && contexts.may_have("file") == has_file
    {
        let fields: Vec<&str> = ["list", "file"].into_iter().chain(OF_FILES).collect();
        contexts.wrong_table("must say where the contexts are", allowed, &fields);
    }
    if has_list {
        let wrong: Vec<&str> = OF_FILES.into_iter().filter(|field| contexts.has(field)).collect();
        for field in &wrong {
            if !contexts.is_doubtful(field) {
                let message = "is of a file, and the contexts are a list";
                contexts.wrong(field, message, "file = \"...\" beside it");
            }
        }
        if !wrong.is_empty() {
            return None;
        }
        let row = |(line, text): (u64, String)| Row {
            line,
            columns: Columns::from([(COLUMN.into(), text.into())]),
        };
        let rows = (1..).zip(list?).map(row).collect();
        let items = reader.texts(rows, &|line| format!("item {line}")).map_err(|problem| {
            contexts.wrong(
                "template",
                &format!("cannot be filled: {problem}"),
                "`{context}` for an item of the list",
            );
        });
        return Some(ContextSpec { items: items.ok()?, ..ContextSpec::texts([""; 0]) });
    }
    let (items, weights) = reader.read("file", &folder.join(file?), true)?;
    Some(ContextSpec { items, weights, ..ContextSpec::texts([""; 0]) })
}
