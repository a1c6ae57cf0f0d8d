//! One completion of an answer while it is drawn: its text in pieces, each as soon as nothing that follows can change it.

use std::{mem, sync::Arc};

use serde_json::{Map, Value};

use super::engine::{DrawnToken, Engine, Refusal};

/// One completion of an answer.
pub(super) struct Choice {
    /// Its number in the answer.
    pub(super) index: usize,
    /// Facts about how it was drawn, which its last piece has.
    pub(super) facts: Map<String, Value>,
    prompt: Arc<[u32]>,
    stops: Arc<[String]>,
    ids: Vec<u32>,
    /// How many bytes of its text have been given.
    given: usize,
    /// Tokens that have not been given.
    pending: Vec<DrawnToken>,
    is_done: bool,
}

/// A part of a completion: a text with the tokens that it ends with.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) tokens: Vec<DrawnToken>,
    /// Why the completion ends here.
    pub(super) finish_reason: Option<&'static str>,
    /// Facts about the completion, at its end.
    pub(super) facts: Map<String, Value>,
}

impl Choice {
    pub(super) fn new(index: usize, prompt: Arc<[u32]>, stops: Arc<[String]>) -> Self {
        Self {
            index,
            facts: Map::new(),
            prompt,
            stops,
            ids: Vec::new(),
            given: 0,
            pending: Vec::new(),
            is_done: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// The number of tokens that were drawn.
    pub(super) fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Adds a token. The piece holds the text that is certain; its end may still be the beginning of a stop or of a character.
    pub(super) fn push(&mut self, engine: &dyn Engine, token: DrawnToken) -> Result<Piece, Refusal> {
        if self.is_done {
            return Ok(Piece::default());
        }
        self.ids.push(token.id);
        self.pending.push(token);
        let text = engine.text_after(&self.prompt, &self.ids)?;
        let open = text.get(self.given..).unwrap_or_default();
        if let Some(end) = self.stops.iter().filter_map(|stop| open.find(stop.as_str())).min() {
            self.is_done = true;
            return Ok(self.piece(open[..end].to_owned(), Some("stop")));
        }
        let whole = open.trim_end_matches(char::REPLACEMENT_CHARACTER);
        let held = self.stops.iter().map(|stop| beginning_at_end(whole, stop)).max().unwrap_or(0);
        let certain = whole[..whole.len() - held].to_owned();
        self.given += certain.len();
        Ok(if certain.is_empty() { Piece::default() } else { self.piece(certain, None) })
    }

    /// Ends the completion; the piece holds the rest of the text.
    pub(super) fn finish(&mut self, engine: &dyn Engine, is_cut: bool) -> Result<Piece, Refusal> {
        if self.is_done {
            return Ok(Piece::default());
        }
        self.is_done = true;
        let text = engine.text_after(&self.prompt, &self.ids)?;
        let rest = text.get(self.given..).unwrap_or_default().to_owned();
        Ok(self.piece(rest, Some(if is_cut { "length" } else { "stop" })))
    }

    fn piece(&mut self, text: String, finish_reason: Option<&'static str>) -> Piece {
        let facts = if finish_reason.is_some() { mem::take(&mut self.facts) } else { Map::new() };
        Piece { text, tokens: mem::take(&mut self.pending), finish_reason, facts }
    }
}

/// The length of the longest proper beginning of `stop` with which `text` ends.
fn beginning_at_end(text: &str, stop: &str) -> usize {
    let ends = stop.char_indices().map(|(end, _)| end).rev();
    ends.take_while(|end| *end > 0).find(|end| text.ends_with(&stop[..*end])).unwrap_or(0)
}
