//! What the tensors of a model are called in a file, by what they are for.

/// The names of a model's tensors in one file format, without `.weight` or `.bias`. Names that an architecture does not have are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TensorNames {
    pub(crate) embedding: &'static str,
    /// The learned position embedding.
    pub(crate) positions: &'static str,
    /// The output matrix, where it is not the embedding.
    pub(crate) head: &'static str,
    /// The stack that the model ends with.
    pub(crate) stack: StackNames,
    /// The encoder that reads the context.
    pub(crate) encoder: Option<StackNames>,
}

/// The stems of the tensors of a stack of layers: without `.weight` or `.bias`, those of a layer without the layer. Several
/// stems are stacked by rows in one parameter. What a family does not have is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackNames {
    /// What comes before a layer's number.
    pub(crate) layers: &'static str,
    pub(crate) attention_norm: &'static str,
    /// Of the norms behind the blocks, where there are two each.
    pub(crate) attention_post_norm: &'static str,
    pub(crate) feed_forward_post_norm: &'static str,
    pub(crate) qkv: &'static [&'static str],
    pub(crate) query_norm: &'static str,
    pub(crate) key_norm: &'static str,
    pub(crate) output: &'static str,
    /// Of a decoder's attention to its encoder.
    pub(crate) cross_norm: &'static str,
    pub(crate) cross_query: &'static str,
    pub(crate) cross_keys_values: &'static [&'static str],
    pub(crate) cross_output: &'static str,
    pub(crate) feed_forward_norm: &'static str,
    /// The gate before what it gates.
    pub(crate) up: &'static [&'static str],
    pub(crate) down: &'static str,
    /// Of the relative position bias; part of the first layer, shared by all.
    pub(crate) relative: &'static str,
    /// At the end of the stack.
    pub(crate) norm: &'static str,
    /// Whether the matrices of products are stored as `[in, out]`: GPT-2's `Conv1D` are.
    pub(crate) transposed: bool,
}

impl StackNames {
    /// No names: a stack of an architecture names those that it has.
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

/// The names of a classifier's other tensors: of its embeddings, and of the two matrices of its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClassifierNames {
    pub(crate) token_types: &'static str,
    /// The norm behind the embeddings.
    pub(crate) embedding_norm: &'static str,
    /// The first matrix of the head.
    pub(crate) dense: &'static str,
    /// The second, with a row for each label.
    pub(crate) head: &'static str,
}
