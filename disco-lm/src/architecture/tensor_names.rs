//! The names of a model's tensors in a file, by the role of each tensor.

/// The names of a model's tensors in one file format, without `.weight` or `.bias`. Names that an architecture does not have are
/// empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TensorNames {
    pub(crate) embedding: &'static str,
    /// The learned position embedding.
    pub(crate) positions: &'static str,
    /// The output matrix, where it is not the embedding.
    pub(crate) head: &'static str,
    /// The stack of the decoder, or the only stack of a classifier.
    pub(crate) stack: StackNames,
    /// The encoder that reads the context.
    pub(crate) encoder: Option<StackNames>,
}

/// The names of the tensors of a stack of layers, without `.weight` or `.bias`; names of tensors in a layer are also without the
/// layer. A list of names is stacked by rows in one parameter. Names that an architecture does not have are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackNames {
    /// The prefix of a layer's number.
    pub(crate) layers: &'static str,
    pub(crate) attention_norm: &'static str,
    /// The norm after the attention block, in architectures that also have one before it.
    pub(crate) attention_post_norm: &'static str,
    /// The norm after the feed-forward block, in architectures that also have one before it.
    pub(crate) feed_forward_post_norm: &'static str,
    pub(crate) qkv: &'static [&'static str],
    pub(crate) query_norm: &'static str,
    pub(crate) key_norm: &'static str,
    pub(crate) output: &'static str,
    /// The norm of cross-attention, a decoder's attention to its encoder.
    pub(crate) cross_norm: &'static str,
    pub(crate) cross_query: &'static str,
    pub(crate) cross_keys_values: &'static [&'static str],
    pub(crate) cross_output: &'static str,
    pub(crate) feed_forward_norm: &'static str,
    /// The gate, if there is one, and then the up projection.
    pub(crate) up: &'static [&'static str],
    pub(crate) down: &'static str,
    /// The relative position bias; in the file it is in the first layer, and all layers share it.
    pub(crate) relative: &'static str,
    /// The norm at the end of the stack.
    pub(crate) norm: &'static str,
    /// Whether the matrices of linear layers are stored as `[in, out]`, as GPT-2's `Conv1D`.
    pub(crate) transposed: bool,
}

impl StackNames {
    /// No names: an architecture overrides those that it has.
    pub(crate) const NONE: Self = Self {
        layers: "",
        attention_norm: "",
        attention_post_norm: "",
        feed_forward_post_norm: "",
        qkv: &[],
        query_norm: "",
        key_norm: "",
        output: "",
        cross_norm: "",
        cross_query: "",
        cross_keys_values: &[],
        cross_output: "",
        feed_forward_norm: "",
        up: &[],
        down: "",
        relative: "",
        norm: "",
        transposed: false,
    };
}

/// The names of the tensors that only a classifier has: of its embeddings, and of the two matrices of its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClassifierNames {
    pub(crate) token_types: &'static str,
    /// The norm after the embeddings.
    pub(crate) embedding_norm: &'static str,
    /// The first matrix of the head.
    pub(crate) dense: &'static str,
    /// The second matrix of the head, with a row for each label.
    pub(crate) head: &'static str,
}
