//! The parameters of a decoder: what each is called here, and which tensors of a file it holds.
//!
//! Every parameter is a matrix `[out, in]` (a vector is `[1, n]`), so that one loop serves loading, saving,
//! the optimiser and the gradient. Products that share their input are one parameter: queries, keys and
//! values are stacked by rows, and so are the gate and up projections.

use crate::spec::{Family, FeedForward, Norm, Positions, Spec};

/// A tensor of the file, as a run of rows of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The tensor's Hugging Face name.
    pub(crate) name: String,
    /// The tensor's shape in the file.
    pub(crate) shape: Vec<usize>,
    /// How many rows of the parameter it fills.
    pub(crate) rows: usize,
    /// Whether the file stores it as `[in, out]` (GPT-2's `Conv1D`).
    pub(crate) transposed: bool,
}

/// What a parameter does, which decides its initial value and whether it decays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A matrix of a product, or an embedding.
    Matrix,
    /// A matrix that writes to the residual stream.
    Residual,
    /// The scale of a norm.
    Scale,
    /// A bias.
    Bias,
}

impl Role {
    /// Whether it is a matrix: only these decay, as is customary, and only these are random at first.
    pub(crate) fn is_matrix(self) -> bool {
        matches!(self, Self::Matrix | Self::Residual)
    }
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Its name here: stable, and what the optimiser's state and the pending gradient are keyed by.
    pub(crate) name: String,
    /// `[rows, columns]`.
    pub(crate) shape: [usize; 2],
    pub(crate) role: Role,
    pub(crate) parts: Vec<Part>,
}

impl Slot {
    /// The layer it belongs to, if any.
    pub(crate) fn layer(&self) -> Option<usize> {
        self.name.strip_prefix("layers.")?.split('.').next()?.parse().ok()
    }
}

/// The parameters of `spec`, in the order in which [`crate::decoder::Decoder::assemble`] takes them.
pub(crate) fn slots(spec: &Spec) -> Vec<Slot> {
    let names = Names(spec.family);
    let mut slots = vec![matrix("embedding", names.top("wte", "embed_tokens"), spec.vocabulary, spec.width)];
    if spec.positions == Positions::Learned {
        slots.push(matrix("positions", names.top("wpe", "-"), spec.max_positions, spec.width));
    }
    for layer in 0..spec.layers {
        layer_slots(spec, &names, layer, &mut slots);
    }
    norm(spec, "norm".into(), names.top("ln_f", "norm"), spec.width, &mut slots);
    if !spec.tied {
        slots.push(matrix("head", "lm_head.weight".into(), spec.vocabulary, spec.width));
    }
    slots
}

fn layer_slots(spec: &Spec, names: &Names, layer: usize, slots: &mut Vec<Slot>) {
    let here = |name: &str| format!("layers.{layer}.{name}");
    let there = |gpt2: &str, llama: &str| names.layer(layer, gpt2, llama);
    let [width, head] = [spec.width, spec.head_width];
    let [queries, keys] = [spec.heads * head, spec.kv_heads * head];

    norm(spec, here("attention_norm"), there("ln_1", "input_layernorm"), width, slots);
    let sources = match spec.family {
        Family::Gpt2 => vec![(there("attn.c_attn", ""), queries + 2 * keys)],
        Family::Llama => [("q", queries), ("k", keys), ("v", keys)]
            .map(|(which, rows)| (there("", &format!("self_attn.{which}_proj")), rows))
            .to_vec(),
    };
    linear(spec, here("qkv"), sources, width, spec.qkv_bias, Role::Matrix, slots);
    if spec.query_key_norm {
        norm(spec, here("query_norm"), there("", "self_attn.q_norm"), head, slots);
        norm(spec, here("key_norm"), there("", "self_attn.k_norm"), head, slots);
    }
    let source = vec![(there("attn.c_proj", "self_attn.o_proj"), width)];
    linear(spec, here("output"), source, queries, spec.output_bias, Role::Residual, slots);

    norm(spec, here("feed_forward_norm"), there("ln_2", "post_attention_layernorm"), width, slots);
    let inner = spec.feed_forward_width;
    let sources = match spec.feed_forward {
        FeedForward::GatedSilu => {
            ["gate", "up"].map(|which| (there("", &format!("mlp.{which}_proj")), inner)).to_vec()
        }
        FeedForward::Gelu => vec![(there("mlp.c_fc", ""), inner)],
    };
    linear(spec, here("up"), sources, width, spec.feed_forward_bias, Role::Matrix, slots);
    let source = vec![(there("mlp.c_proj", "mlp.down_proj"), width)];
    linear(spec, here("down"), source, inner, spec.feed_forward_bias, Role::Residual, slots);
}

/// Where a family keeps its tensors.
struct Names(Family);

impl Names {
    fn top(&self, gpt2: &str, llama: &str) -> String {
        match self.0 {
            Family::Gpt2 => format!("transformer.{gpt2}.weight"),
            Family::Llama => format!("model.{llama}.weight"),
        }
    }

    /// The stem of a layer's tensor, without `.weight` or `.bias`.
    fn layer(&self, layer: usize, gpt2: &str, llama: &str) -> String {
        match self.0 {
            Family::Gpt2 => format!("transformer.h.{layer}.{gpt2}"),
            Family::Llama => format!("model.layers.{layer}.{llama}"),
        }
    }
}

fn matrix(name: &str, source: String, rows: usize, columns: usize) -> Slot {
    let part = Part { name: source, shape: vec![rows, columns], rows, transposed: false };
    Slot { name: name.into(), shape: [rows, columns], role: Role::Matrix, parts: vec![part] }
}

fn vector(name: String, sources: &[(String, usize)], role: Role) -> Slot {
    let parts = sources.iter().map(|(source, size)| Part {
        name: source.clone(),
        shape: vec![*size],
        rows: *size,
        transposed: false,
    });
    Slot { name, shape: [1, sources.iter().map(|(_, size)| size).sum()], role, parts: parts.collect() }
}

fn norm(spec: &Spec, name: String, source: String, width: usize, slots: &mut Vec<Slot>) {
    let stem = source.strip_suffix(".weight").unwrap_or(&source);
    slots.push(vector(name.clone(), &[(format!("{stem}.weight"), width)], Role::Scale));
    if spec.norm == Norm::Layer {
        slots.push(vector(format!("{name}.bias"), &[(format!("{stem}.bias"), width)], Role::Bias));
    }
}

fn linear(
    spec: &Spec,
    name: String,
    sources: Vec<(String, usize)>,
    columns: usize,
    bias: bool,
    role: Role,
    slots: &mut Vec<Slot>,
) {
    let transposed = spec.family == Family::Gpt2;
    let parts = sources.iter().map(|(source, rows)| Part {
        name: format!("{source}.weight"),
        shape: if transposed { vec![columns, *rows] } else { vec![*rows, columns] },
        rows: *rows,
        transposed,
    });
    let rows = sources.iter().map(|(_, rows)| rows).sum();
    slots.push(Slot { name: name.clone(), shape: [rows, columns], role, parts: parts.collect() });
    if bias {
        let sources: Vec<_> =
            sources.into_iter().map(|(source, rows)| (format!("{source}.bias"), rows)).collect();
        slots.push(vector(format!("{name}.bias"), &sources, Role::Bias));
    }
}
