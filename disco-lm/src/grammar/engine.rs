//! The library's parser of a grammar, with limits on its time and memory.

use std::{sync::Arc, thread};

use llguidance::{
    Matcher, ParserFactory,
    api::{ParserLimits, TopLevelGrammar},
    earley::SlicedBiasComputer,
    toktrie::{ApproximateTokEnv, INVALID_TOKEN, InferenceCapabilities, TokRxInfo, TokTrie},
};

use crate::text::contained::contained;

/// The most states of a lexer, which bounds its memory.
const LEXER_STATES: usize = 20_000;

/// The stack on which a grammar is compiled: the library recurses into rules and expressions.
const STACK: usize = 256 << 20;

/// The most characters of a message of the library.
const LONGEST_REASON: usize = 600;

/// The name of the library, for messages.
const LIBRARY: &str = "llguidance";

/// Parses a grammar for tokens of the given bytes, of which those without bytes are never allowed. No token ends a text: this is the
/// caller's matter.
///
/// The bytes are those of [`token_bytes`](crate::Tokenizer::token_bytes); `is_check` leaves out what only makes masks faster.
pub(super) fn compile(
    grammar: TopLevelGrammar,
    tokens: Vec<Vec<u8>>,
    is_check: bool,
) -> Result<Matcher, String> {
    let compile = move || -> Result<Matcher, String> {
        let info = TokRxInfo::new(tokens.len() as u32, INVALID_TOKEN);
        let environment: llguidance::toktrie::TokEnv =
            Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &tokens)));
        let slices = if is_check { Vec::new() } else { SlicedBiasComputer::general_slices() };
        let capabilities = InferenceCapabilities::default();
        let mut factory = ParserFactory::new(&environment, capabilities, &slices)
            .map_err(|error| reason(&error.to_string()))?;
        factory.quiet();
        *factory.limits_mut() =
            ParserLimits { max_lexer_states: LEXER_STATES, verbose_errors: false, ..ParserLimits::default() };
        let parser = factory.create_parser(grammar).map_err(|error| reason(&error.to_string()))?;
        Ok(Matcher::new(Ok(parser)))
    };
    let thread = thread::Builder::new().stack_size(STACK);
    let compiled = thread.spawn(move || contained(LIBRARY, compile)).map_err(|error| error.to_string())?;
    compiled.join().unwrap_or_else(|_| Err(format!("the {LIBRARY} library fails on it")))?
}

/// The library's message, without its marks around dumps of its state. It may quote the whole grammar, of which the beginning is enough.
pub(super) fn reason(message: &str) -> String {
    let end = ["<backtrace>", "<non-verbose/>"].iter().filter_map(|mark| message.find(mark)).min();
    let message = message[..end.unwrap_or(message.len())].trim();
    match message.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{} ...", &message[..end]),
        None => message.into(),
    }
}
