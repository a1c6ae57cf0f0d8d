//! The parameters of a model: what each is called here, and which tensors of a file it holds.
//!
//! Every parameter is a matrix (a vector is `[1, n]`), so that one loop serves loading, saving, the optimiser
//! and the gradient. Products that share their input are one parameter: queries, keys and values stand one below
//! the other, and so do the gate and up projections.
//!
//! The matrix of a product is `[out, in]`, as nearly all files have it: the row of each output is a stream that a product
//! reads from end to end, without packing it ([`crate::host`]). Embeddings and the output matrix are `[vocabulary, width]`.

use crate::{
    names::Names,
    spec::{ClassifierSpec, Norm, NormOrder, Positions, Spec},
};

/// A tensor of the file: a run of a parameter's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The tensor's Hugging Face name.
    pub(crate) name: String,
    /// The tensor's shape in the file.
    pub(crate) shape: Vec<usize>,
    /// Whether the file has it as `[in, out]`, as GPT-2's `Conv1D`.
    pub(crate) transposed: bool,
}

impl Part {
    /// How many numbers it has.
    pub(crate) fn numbers(&self) -> usize {
        self.shape.iter().product()
    }
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
    /// Whether it belongs to a layer, be it an encoder's.
    pub(crate) fn is_in_layer(&self) -> bool {
        self.name.split('.').any(|part| part == "layers")
    }

    /// The layer it belongs to, if any; that of an encoder does not count.
    pub(crate) fn layer(&self) -> Option<usize> {
        self.name.strip_prefix("layers.")?.split('.').next()?.parse().ok()
    }
}

/// The parameters of `spec`, in the order in which [`crate::decoder::Decoder::assemble`] takes them.
pub(crate) fn slots(spec: &Spec) -> Vec<Slot> {
    let [embedding, positions] = spec.family.embeddings();
    let mut slots = vec![matrix("embedding", embedding, spec.vocabulary, spec.width)];
    if spec.positions == Positions::Learned {
        slots.push(matrix("positions", positions, spec.max_positions, spec.width));
    }
    if let Some(encoder) = spec.encoder {
        stack(spec, &Names::of_encoder(spec), "encoder.", encoder.layers, false, &mut slots);
    }
    stack(spec, &Names::of(spec), "", spec.layers, spec.encoder.is_some(), &mut slots);
    if !spec.tied {
        slots.push(matrix("head", "lm_head", spec.vocabulary, spec.width));
    }
    slots
}

/// The parameters of a classifier, in the order in which [`crate::classifier`] takes them.
pub(crate) fn classifier_slots(spec: &ClassifierSpec) -> Vec<Slot> {
    let encoder = &spec.encoder;
    let width = encoder.width;
    let [embedding, positions] = encoder.family.embeddings();
    let [types, embedding_norm, dense, head] = encoder.family.classifier();
    let mut slots = vec![
        matrix("embedding", embedding, encoder.vocabulary, width),
        matrix("positions", positions, encoder.max_positions, width),
    ];
    if let Some(count) = spec.token_types {
        slots.push(matrix("token_types", types, count, width));
    }
    norm(encoder, "embedding_norm".into(), embedding_norm.into(), width, &mut slots);
    stack(encoder, &Names::of(encoder), "", encoder.layers, false, &mut slots);
    for (name, stem, outputs) in [("dense", dense, width), ("head", head, spec.labels.len())] {
        linear(false, name.into(), vec![(stem.into(), outputs)], width, true, Role::Matrix, &mut slots);
    }
    slots
}

/// The parameters of a stack, in the order in which [`crate::stack::Stack::assemble`] takes them. `prefix`
/// begins their names here; `cross` says whether the layers attend to an encoder.
pub(crate) fn stack(
    spec: &Spec,
    names: &Names,
    prefix: &str,
    layers: usize,
    cross: bool,
    slots: &mut Vec<Slot>,
) {
    if let Positions::Relative(buckets) = spec.positions {
        slots.push(matrix(&format!("{prefix}relative"), names.relative, buckets.count, spec.heads));
    }
    for layer in 0..layers {
        layer_slots(spec, names, &format!("{prefix}layers.{layer}"), layer, cross, slots);
    }
    if spec.norm_order != NormOrder::After {
        norm(spec, format!("{prefix}norm"), names.norm.into(), spec.width, slots);
    }
}

fn layer_slots(spec: &Spec, names: &Names, prefix: &str, layer: usize, cross: bool, slots: &mut Vec<Slot>) {
    let here = |name: &str| format!("{prefix}.{name}");
    let there = |stem: &str| format!("{}.{layer}.{stem}", names.layers);
    // The outputs of a product that consists of several tensors, or of one that holds them all.
    let split = |stems: &[&str], outputs: &[usize]| -> Vec<(String, usize)> {
        match stems {
            [all] => vec![(there(all), outputs.iter().sum())],
            stems => stems.iter().map(|stem| there(stem)).zip(outputs.iter().copied()).collect(),
        }
    };
    let [width, head, inner] = [spec.width, spec.head_width, spec.feed_forward_width];
    let [queries, keys] = [spec.heads * head, spec.kv_heads * head];
    let linear = |name: &str, sources, inputs, bias, role, slots: &mut Vec<Slot>| {
        linear(names.transposed, here(name), sources, inputs, bias, role, slots);
    };

    norm(spec, here("attention_norm"), there(names.attention_norm), width, slots);
    linear("qkv", split(names.qkv, &[queries, keys, keys]), width, spec.qkv_bias, Role::Matrix, slots);
    if spec.query_key_norm {
        norm(spec, here("query_norm"), there(names.query_norm), head, slots);
        norm(spec, here("key_norm"), there(names.key_norm), head, slots);
    }
    linear("output", split(&[names.output], &[width]), queries, spec.output_bias, Role::Residual, slots);
    let around = spec.norm_order == NormOrder::Around;
    if around {
        norm(spec, here("attention_post_norm"), there(names.attention_post_norm), width, slots);
    }

    if cross {
        norm(spec, here("cross_norm"), there(names.cross_norm), width, slots);
        let sources = split(&[names.cross_query], &[queries]);
        linear("cross_query", sources, width, spec.qkv_bias, Role::Matrix, slots);
        let sources = split(names.cross_keys_values, &[keys, keys]);
        linear("cross_keys_values", sources, width, spec.qkv_bias, Role::Matrix, slots);
        let sources = split(&[names.cross_output], &[width]);
        linear("cross_output", sources, queries, spec.output_bias, Role::Residual, slots);
    }

    norm(spec, here("feed_forward_norm"), there(names.feed_forward_norm), width, slots);
    let bias = spec.feed_forward_bias;
    let up = vec![inner; if spec.feed_forward.gated { 2 } else { 1 }];
    linear("up", split(names.up, &up), width, bias, Role::Matrix, slots);
    linear("down", split(&[names.down], &[width]), inner, bias, Role::Residual, slots);
    if around {
        norm(spec, here("feed_forward_post_norm"), there(names.feed_forward_post_norm), width, slots);
    }
}

/// A matrix that is stored as it is; `stem` is its name without `.weight`.
pub(crate) fn matrix(name: &str, stem: &str, rows: usize, columns: usize) -> Slot {
    let name_there = format!("{stem}.weight");
    let part = Part { name: name_there, shape: vec![rows, columns], transposed: false };
    Slot { name: name.into(), shape: [rows, columns], role: Role::Matrix, parts: vec![part] }
}

fn vector(name: String, sources: &[(String, usize)], role: Role) -> Slot {
    let parts = sources.iter().map(|(source, size)| Part {
        name: source.clone(),
        shape: vec![*size],
        transposed: false,
    });
    Slot { name, shape: [1, sources.iter().map(|(_, size)| size).sum()], role, parts: parts.collect() }
}

/// The parameters of a norm; `stem` is their name without `.weight` or `.bias`.
pub(crate) fn norm(spec: &Spec, name: String, stem: String, width: usize, slots: &mut Vec<Slot>) {
    slots.push(vector(name.clone(), &[(format!("{stem}.weight"), width)], Role::Scale));
    if spec.norm == Norm::Layer {
        slots.push(vector(format!("{name}.bias"), &[(format!("{stem}.bias"), width)], Role::Bias));
    }
}

/// The parameters of a product, from the stems of its tensors and the widths of their outputs.
pub(crate) fn linear(
    transposed: bool,
    name: String,
    sources: Vec<(String, usize)>,
    inputs: usize,
    bias: bool,
    role: Role,
    slots: &mut Vec<Slot>,
) {
    let parts = sources.iter().map(|(source, outputs)| Part {
        name: format!("{source}.weight"),
        shape: if transposed { vec![inputs, *outputs] } else { vec![*outputs, inputs] },
        transposed,
    });
    let outputs = sources.iter().map(|(_, outputs)| outputs).sum();
    slots.push(Slot { name: name.clone(), shape: [outputs, inputs], role, parts: parts.collect() });
    if bias {
        let sources: Vec<_> =
            sources.into_iter().map(|(source, outputs)| (format!("{source}.bias"), outputs)).collect();
        slots.push(vector(format!("{name}.bias"), &sources, Role::Bias));
    }
}
