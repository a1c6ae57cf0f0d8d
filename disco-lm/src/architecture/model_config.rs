//! The configuration of a transformer, read from a Hugging Face `config.json`.

use std::path::Path;

use crate::{
    Error, Result,
    architecture::{
        config_reader::{ConfigReader, LARGEST_SIZE},
        relative_buckets::Buckets,
        rope_frequencies::Frequencies,
        tensor_names::TensorNames,
    },
};

/// How a layer's input is normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Norm {
    /// `x / rms(x) * scale`.
    Rms,
    /// `x / rms(x) * (1 + scale)`.
    RmsFromOne,
    /// `(x - mean) / std * scale + bias`.
    Layer,
}

/// Where the norms of a residual block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NormOrder {
    /// `x + block(norm(x))`; the stack ends with one more norm.
    Before,
    /// `norm(x + block(x))`.
    After,
    /// `x + norm(block(norm(x)))`, with two norms; the stack ends with one more norm.
    Around,
    /// `x + norm(block(x))`; the stack ends with one more norm.
    OnBranch,
}

impl NormOrder {
    /// Whether the stack ends with a norm of its own.
    pub(crate) fn ends_with_norm(self) -> bool {
        match self {
            Self::Before | Self::Around | Self::OnBranch => true,
            Self::After => false,
        }
    }

    /// Whether each block has a second norm, of its output.
    pub(crate) fn has_post_norms(self) -> bool {
        match self {
            Self::Around => true,
            Self::Before | Self::After | Self::OnBranch => false,
        }
    }
}

/// Which queries and keys are normalised before they are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryKeyNorm {
    /// Each head by itself; all heads share one scale of the size of a head.
    PerHead,
    /// All heads of a token together, with a scale for every channel of every head.
    AllHeads,
}

impl QueryKeyNorm {
    /// The size of the scale of a norm over `heads` heads.
    pub(crate) fn size(self, heads: usize, head_dim: usize) -> usize {
        match self {
            Self::PerHead => head_dim,
            Self::AllHeads => heads * head_dim,
        }
    }
}

/// How the position of a token enters the computation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Positions {
    /// A learned vector per position is added to the embedding.
    Learned,
    /// Queries and keys are rotated (rotate-half layout).
    Rotary(Frequencies),
    /// A learned bias per distance and head is added to the attention scores.
    Relative(Buckets),
}

/// The activation between the two matmuls of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x sigmoid(x)`.
    Silu,
    /// `x Phi(x)`, where `Phi` is the distribution function of the standard normal distribution.
    Gelu,
    /// `x Phi(x)`, with `Phi` approximated by a tanh.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// The hyperbolic tangent.
    Tanh,
}

/// The feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeedForward {
    pub(crate) activation: Activation,
    /// `down(activation(gate(x)) * up(x))`, rather than `down(activation(up(x)))`.
    pub(crate) gated: bool,
}

/// A sliding window: in some layers, a query sees only the last `size` tokens, its own token included.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) size: usize,
    /// Whether each layer has the window.
    pub(crate) layers: Vec<bool>,
    /// The rotary frequencies of the layers with the window, if they differ from those of the other layers.
    pub(crate) frequencies: Option<Frequencies>,
}

impl Window {
    /// A window of `size` tokens in every layer, with the model's own rotary frequencies.
    pub(crate) fn everywhere(size: usize, layers: usize) -> Self {
        Self { size, layers: vec![true; layers], frequencies: None }
    }
}

/// An encoder that reads the context, with the decoder's widths and heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoder {
    pub(crate) layers: usize,
    /// The start token, after which the decoder predicts the first token of a sequence.
    pub(crate) start: u32,
}

/// The configuration of a transformer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelConfig {
    pub(crate) names: TensorNames,
    pub(crate) vocabulary: usize,
    pub(crate) hidden_size: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) max_positions: usize,
    /// The embeddings are multiplied by it.
    pub(crate) embedding_scale: f64,
    pub(crate) norm: Norm,
    pub(crate) norm_order: NormOrder,
    pub(crate) norm_epsilon: f64,
    pub(crate) positions: Positions,
    pub(crate) window: Option<Window>,
    /// The attention scores are multiplied by it.
    pub(crate) attention_scale: f64,
    pub(crate) feed_forward: FeedForward,
    pub(crate) qkv_bias: bool,
    pub(crate) output_bias: bool,
    pub(crate) feed_forward_bias: bool,
    pub(crate) query_key_norm: Option<QueryKeyNorm>,
    /// Whether the embedding is also the output matrix.
    pub(crate) tied: bool,
    /// The last hidden states are multiplied by it.
    pub(crate) output_scale: f64,
    pub(crate) encoder: Option<Encoder>,
    /// See [`has_hand_written_backward`](Self::has_hand_written_backward).
    pub(crate) hand_written_backward: bool,
}

/// The sizes of a transformer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) vocabulary: usize,
    pub(crate) hidden_size: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) max_positions: usize,
}

/// The number of positions of a model without a limit.
pub(crate) const UNLIMITED: usize = LARGEST_SIZE;

impl ModelConfig {
    /// A decoder of these sizes with RMS norms before its blocks, a gated SiLU feed-forward block, untied embeddings, and neither
    /// biases nor windows. An architecture overrides the fields in which it differs.
    pub(crate) fn new(names: TensorNames, sizes: Sizes, positions: Positions) -> Self {
        let Sizes {
            vocabulary,
            hidden_size,
            layers,
            heads,
            kv_heads,
            head_dim,
            intermediate_size,
            max_positions,
        } = sizes;
        Self {
            names,
            vocabulary,
            hidden_size,
            layers,
            heads,
            kv_heads,
            head_dim,
            intermediate_size,
            max_positions,
            embedding_scale: 1.0,
            norm: Norm::Rms,
            norm_order: NormOrder::Before,
            norm_epsilon: 1e-6,
            positions,
            window: None,
            attention_scale: reciprocal_root(head_dim),
            feed_forward: FeedForward { activation: Activation::Silu, gated: true },
            qkv_bias: false,
            output_bias: false,
            feed_forward_bias: false,
            query_key_norm: None,
            tied: false,
            output_scale: 1.0,
            encoder: None,
            hand_written_backward: false,
        }
    }

    /// Whether the gradient is computed by `layers/block_backward.rs`. The answer is no for a new architecture: its gradient is that
    /// of Burn's automatic differentiation (`training/autodiff.rs`), slower and with more memory. It is yes if the architecture's file
    /// says so, and the backward pass covers its blocks.
    pub(crate) fn has_hand_written_backward(&self) -> bool {
        let is_covered = match self.norm_order {
            NormOrder::Before | NormOrder::Around => self.encoder.is_none(),
            NormOrder::After | NormOrder::OnBranch => false,
        };
        self.hand_written_backward && is_covered
    }

    /// Refuses a configuration with more layers than its weights have tensors, before the list of its parameters is allocated.
    pub(crate) fn check_layers(&self, tensors: usize, path: &Path) -> Result<()> {
        let layers = self.layers + self.encoder.map_or(0, |encoder| encoder.layers);
        if layers <= tensors {
            return Ok(());
        }
        let field = "number of layers".into();
        let allowed = format!("at most the number of tensors there are, {tensors}");
        Err(Error::Config { path: path.into(), field, value: layers.to_string(), allowed })
    }

    /// Whether a layer has a sliding window.
    pub(crate) fn is_windowed(&self, layer: usize) -> bool {
        self.window.as_ref().is_some_and(|window| window.layers[layer])
    }

    /// Checks the ranges of the sizes, which are the same for every architecture.
    pub(crate) fn validate(&self, reader: &ConfigReader<'_>) -> Result<()> {
        for (field, value) in [
            ("vocab_size", self.vocabulary),
            ("hidden size", self.hidden_size),
            ("number of layers", self.layers),
            ("number of heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("intermediate size", self.intermediate_size),
            ("number of positions", self.max_positions),
            ("number of encoder layers", self.encoder.map_or(1, |encoder| encoder.layers)),
        ] {
            if value == 0 || value > LARGEST_SIZE {
                return Err(reader.refused(field, value, "1 to 2^24"));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(reader.refused(
                "num_key_value_heads",
                self.kv_heads,
                "a divisor of the number of heads",
            ));
        }
        if !(self.norm_epsilon > 0.0) {
            return Err(reader.refused("norm epsilon", self.norm_epsilon, "positive"));
        }
        Ok(())
    }
}

/// `1 / sqrt(width)`.
pub(crate) fn reciprocal_root(width: usize) -> f64 {
    (width as f64).sqrt().recip()
}
