//! The problems of a list of choices.

/// The problem with the list of choices of a context.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChoiceProblem {
    /// The list has no text.
    #[error("the list is empty; allowed: one text or more")]
    Empty,
    /// A text is listed twice.
    #[error("number {second} is the same text as number {first}, {text:?}; allowed: each text once")]
    Twice {
        /// The text.
        text: String,
        /// Its positions in the list, from 0.
        first: usize,
        /// The second of them.
        second: usize,
    },
    /// The function that lists the choices of a context failed.
    #[error("{cause}")]
    Listing {
        /// Its error.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No token ids that the tokenizer gives have the text of the choice after the context.
    #[error(
        "no token ids of the tokenizer have the text {text:?} after this context: the nearest have {found:?}; allowed: texts that the \
         tokenizer gives back, without special tokens"
    )]
    NotEncodable {
        /// The text of the choice.
        text: String,
        /// The text of the ids that encoding gave.
        found: String,
    },
    /// The ids of a text contain an end token, after which the model would go on.
    #[error("{text:?} contains the end token with id {id}; allowed: texts without end tokens")]
    EndToken {
        /// The text of the choice.
        text: String,
        /// The id of the end token.
        id: u32,
    },
    /// A text without any token, where no end token follows.
    #[error("{text:?} has no token; allowed: texts with a token, or choices that an end token follows")]
    NoToken {
        /// The text of the choice.
        text: String,
    },
    /// The model has no end token that could follow a choice.
    #[error("the model has no end token; allowed: `Choices::without_end_token`")]
    NoEndToken,
    /// Context and choice together do not fit into the model's positions.
    #[error(
        "{text:?} has {tokens} tokens and the context {context}, more than the model's {positions} positions together"
    )]
    TooLong {
        /// The text of the choice.
        text: String,
        /// The number of its tokens, the end token included if one follows.
        tokens: usize,
        /// The number of the context's tokens.
        context: usize,
        /// Number of tokens that the model can hold.
        positions: usize,
    },
    /// The decoding of the model leaves no probability to any choice.
    #[error(
        "the model gives none of the {count} choices any probability; allowed: a decoding (`top_k`, `top_p`, `min_p`, `typical_p`, \
         `forbidden_tokens`, `min_new_tokens`) that leaves some to one of them"
    )]
    Impossible {
        /// The number of choices.
        count: usize,
    },
}
