//! The token ids of a choice after its context.

use crate::{LanguageModel, Result, error::ChoiceProblem};

/// Texts before which a choice is encoded where it cannot be encoded after its context: in some tokenizers a text alone begins
/// with a space.
const ANCHORS: [&str; 3] = ["\n", ".", "a"];

/// A context with its token ids.
pub(crate) struct EncodedContext {
    /// The ids that the model reads.
    pub(crate) ids: Vec<u32>,
    /// The text that the model reads, without the special tokens that the tokenizer adds.
    text: String,
    /// The ids of that text.
    text_ids: Vec<u32>,
}

impl EncodedContext {
    pub(crate) fn new(model: &LanguageModel, context: &str) -> Result<Self> {
        let ids = model.encode(context)?;
        let text = match model.template() {
            None => context.to_owned(),
            Some(template) => template.render(context)?,
        };
        let text_ids = model.tokenizer().encode_as_is(&text)?;
        Ok(Self { ids, text, text_ids })
    }

    /// The ids of `choice` behind this context, without an end token. Their text, [`LanguageModel::completion_after`], is `choice`.
    ///
    /// The ids of context and choice together are tried first, where they begin with the ids of the context: so spaces and merges
    /// at the boundary are those of a running text. Where a token would reach over the boundary, and for a model that reads its
    /// context with an encoder, the choice is encoded by itself.
    pub(crate) fn encode(
        &self,
        model: &LanguageModel,
        choice: &str,
    ) -> Result<std::result::Result<Vec<u32>, ChoiceProblem>> {
        let tokenizer = model.tokenizer();
        let mut found = None;
        let is_read_by_encoder = model.tokens().has_encoder();
        let before = [(self.text.as_str(), Some(self.text_ids.as_slice())), ("", None)]
            .into_iter()
            .chain(ANCHORS.map(|anchor| (anchor, None)));
        for (text, ids) in before.filter(|(text, _)| !is_read_by_encoder || text.is_empty()) {
            let own;
            let ids = match ids {
                Some(ids) => ids,
                None => {
                    own = tokenizer.encode_as_is(text)?;
                    &own
                }
            };
            let whole = tokenizer.encode_as_is(&format!("{text}{choice}"))?;
            let Some(rest) = whole.strip_prefix(ids) else { continue };
            let text = model.completion_after(&self.ids, rest.to_vec())?.text;
            if text == choice {
                return Ok(Ok(rest.to_vec()));
            }
            found.get_or_insert(text);
        }
        let (text, found) = (choice.to_owned(), found.unwrap_or_default());
        Ok(Err(ChoiceProblem::NotEncodable { text, found }))
    }
}
