//! The parameters of a model: the name of each, and the tensors of a file that it holds.
//!
//! Every parameter is a matrix (a vector is `[1, n]`), so that loading, saving, the optimizer and the gradient are each one
//! loop over the parameters. Linear layers that share their input are one parameter: the matrices of queries, keys and values
//! are stacked by rows, and so are the gate and up projections.
//!
//! The matrix of a linear layer is `[out, in]`, as in nearly all files: a matmul reads the row of each output from end to end,
//! without packing it ([`crate::kernels`]). Embeddings and the output matrix are `[vocabulary, hidden_size]`.

use crate::architecture::{
    classifier_config::ClassifierConfig,
    model_config::{ModelConfig, Norm, Positions},
    tensor_names::{StackNames, TensorNames},
};

/// A tensor of a file: consecutive elements of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredTensor {
    /// The tensor's Hugging Face name.
    pub(crate) name: String,
    /// The tensor's shape in the file.
    pub(crate) shape: Vec<usize>,
    /// Whether the file stores it as `[in, out]`, as GPT-2's `Conv1D`.
    pub(crate) transposed: bool,
}

impl StoredTensor {
    /// The number of its elements.
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The role of a parameter, which decides its initial elements and whether weight decay applies to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParameterKind {
    /// The matrix of a linear layer, or an embedding.
    Matrix,
    /// The matrix of a linear layer whose output is added to the residual stream.
    Residual,
    /// The scale of a norm.
    Scale,
    /// A bias.
    Bias,
}

impl ParameterKind {
    /// Whether it is a matrix: weight decay applies only to matrices, as is usual, and only matrices start with random elements.
    pub(crate) fn is_matrix(self) -> bool {
        matches!(self, Self::Matrix | Self::Residual)
    }
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// Its name in this crate. It is stable: the optimizer state and checkpoints are keyed by it.
    pub(crate) name: String,
    /// `[rows, columns]`.
    pub(crate) shape: [usize; 2],
    pub(crate) kind: ParameterKind,
    /// The tensors of a file that hold it, stacked by rows.
    pub(crate) stored: Vec<StoredTensor>,
}

impl Parameter {
    /// Whether it belongs to a layer, of a decoder or of an encoder.
    pub(crate) fn is_in_layer(&self) -> bool {
        self.name.split('.').any(|part| part == "layers")
    }

    /// The number of the layer that it belongs to; `None` if it belongs to none, or to a layer of an encoder.
    pub(crate) fn layer(&self) -> Option<usize> {
        self.name.strip_prefix("layers.")?.split('.').next()?.parse().ok()
    }
}

/// The parameters of a language model under their Hugging Face names, in the order in which
/// [`ParameterReader`](crate::layers::reader::ParameterReader) hands them out.
pub(crate) fn parameters(config: &ModelConfig) -> Vec<Parameter> {
    parameters_named(config, &config.names)
}

/// The same parameters as [`parameters`], in the same order, for a file format with the tensor names `names`.
pub(crate) fn parameters_named(config: &ModelConfig, names: &TensorNames) -> Vec<Parameter> {
    let mut parameters = vec![matrix("embedding", names.embedding, config.vocabulary, config.hidden_size)];
    if config.positions == Positions::Learned {
        parameters.push(matrix("positions", names.positions, config.max_positions, config.hidden_size));
    }
    if let (Some(encoder), Some(names)) = (config.encoder, &names.encoder) {
        stack(config, names, "encoder.", encoder.layers, false, &mut parameters);
    }
    stack(config, &names.stack, "", config.layers, config.encoder.is_some(), &mut parameters);
    if !config.tied {
        parameters.push(matrix("head", names.head, config.vocabulary, config.hidden_size));
    }
    parameters
}

/// The parameters of a classifier, in the order in which [`crate::classifier::token_classifier`] takes them.
pub(crate) fn classifier_parameters(config: &ClassifierConfig) -> Vec<Parameter> {
    let encoder = &config.encoder;
    let width = encoder.hidden_size;
    let names = &config.names;
    let mut parameters = vec![
        matrix("embedding", encoder.names.embedding, encoder.vocabulary, width),
        matrix("positions", encoder.names.positions, encoder.max_positions, width),
    ];
    if let Some(count) = config.token_types {
        parameters.push(matrix("token_types", names.token_types, count, width));
    }
    norm(encoder, "embedding_norm".into(), names.embedding_norm.into(), width, &mut parameters);
    stack(encoder, &encoder.names.stack, "", encoder.layers, false, &mut parameters);
    for (name, stem, outputs) in [("dense", names.dense, width), ("head", names.head, config.labels.len())] {
        linear(
            false,
            name.into(),
            vec![(stem.into(), outputs)],
            width,
            true,
            ParameterKind::Matrix,
            &mut parameters,
        );
    }
    parameters
}

/// The parameters of a stack, in the order in which [`crate::layers::stack::Stack::assemble`] takes them. Their names begin
/// with `prefix`; `cross` says whether the layers have cross-attention to an encoder.
pub(crate) fn stack(
    config: &ModelConfig,
    names: &StackNames,
    prefix: &str,
    layers: usize,
    cross: bool,
    parameters: &mut Vec<Parameter>,
) {
    if let Positions::Relative(buckets) = config.positions {
        parameters.push(matrix(&format!("{prefix}relative"), names.relative, buckets.count, config.heads));
    }
    for layer in 0..layers {
        layer_parameters(config, names, &format!("{prefix}layers.{layer}"), layer, cross, parameters);
    }
    if config.norm_order.ends_with_norm() {
        norm(config, format!("{prefix}norm"), names.norm.into(), config.hidden_size, parameters);
    }
}

fn layer_parameters(
    config: &ModelConfig,
    names: &StackNames,
    prefix: &str,
    layer: usize,
    cross: bool,
    parameters: &mut Vec<Parameter>,
) {
    let here = |name: &str| format!("{prefix}.{name}");
    let there = |stem: &str| format!("{}.{layer}.{stem}", names.layers);
    // The tensors of a linear layer and their numbers of outputs: several tensors, or one tensor that holds all outputs.
    let split = |stems: &[&str], outputs: &[usize]| -> Vec<(String, usize)> {
        match stems {
            [all] => vec![(there(all), outputs.iter().sum())],
            stems => stems.iter().map(|stem| there(stem)).zip(outputs.iter().copied()).collect(),
        }
    };
    let [width, head, inner] = [config.hidden_size, config.head_dim, config.intermediate_size];
    let [queries, keys] = [config.heads * head, config.kv_heads * head];
    let linear = |name: &str, sources, inputs, bias, kind, parameters: &mut Vec<Parameter>| {
        linear(names.transposed, here(name), sources, inputs, bias, kind, parameters);
    };

    norm(config, here("attention_norm"), there(names.attention_norm), width, parameters);
    linear(
        "qkv",
        split(names.qkv, &[queries, keys, keys]),
        width,
        config.qkv_bias,
        ParameterKind::Matrix,
        parameters,
    );
    if let Some(kind) = config.query_key_norm {
        norm(config, here("query_norm"), there(names.query_norm), kind.size(config.heads, head), parameters);
        norm(config, here("key_norm"), there(names.key_norm), kind.size(config.kv_heads, head), parameters);
    }
    linear(
        "output",
        split(&[names.output], &[width]),
        queries,
        config.output_bias,
        ParameterKind::Residual,
        parameters,
    );
    let around = config.norm_order.has_post_norms();
    if around {
        norm(config, here("attention_post_norm"), there(names.attention_post_norm), width, parameters);
    }

    if cross {
        norm(config, here("cross_norm"), there(names.cross_norm), width, parameters);
        let sources = split(&[names.cross_query], &[queries]);
        linear("cross_query", sources, width, config.qkv_bias, ParameterKind::Matrix, parameters);
        let sources = split(names.cross_keys_values, &[keys, keys]);
        linear("cross_keys_values", sources, width, config.qkv_bias, ParameterKind::Matrix, parameters);
        let sources = split(&[names.cross_output], &[width]);
        linear("cross_output", sources, queries, config.output_bias, ParameterKind::Residual, parameters);
    }

    norm(config, here("feed_forward_norm"), there(names.feed_forward_norm), width, parameters);
    let bias = config.feed_forward_bias;
    let up = vec![inner; if config.feed_forward.gated { 2 } else { 1 }];
    linear("up", split(names.up, &up), width, bias, ParameterKind::Matrix, parameters);
    linear("down", split(&[names.down], &[width]), inner, bias, ParameterKind::Residual, parameters);
    if around {
        norm(config, here("feed_forward_post_norm"), there(names.feed_forward_post_norm), width, parameters);
    }
}

/// A matrix that one tensor of a file holds; `stem` is the tensor's name without `.weight`.
pub(crate) fn matrix(name: &str, stem: &str, rows: usize, columns: usize) -> Parameter {
    let name_there = format!("{stem}.weight");
    let part = StoredTensor { name: name_there, shape: vec![rows, columns], transposed: false };
    Parameter { name: name.into(), shape: [rows, columns], kind: ParameterKind::Matrix, stored: vec![part] }
}

fn vector(name: String, sources: &[(String, usize)], kind: ParameterKind) -> Parameter {
    let parts = sources.iter().map(|(source, size)| StoredTensor {
        name: source.clone(),
        shape: vec![*size],
        transposed: false,
    });
    Parameter { name, shape: [1, sources.iter().map(|(_, size)| size).sum()], kind, stored: parts.collect() }
}

/// The parameters of a norm; `stem` is the name of their tensors without `.weight` or `.bias`.
pub(crate) fn norm(
    config: &ModelConfig,
    name: String,
    stem: String,
    width: usize,
    parameters: &mut Vec<Parameter>,
) {
    parameters.push(vector(name.clone(), &[(format!("{stem}.weight"), width)], ParameterKind::Scale));
    if config.norm == Norm::Layer {
        parameters.push(vector(
            format!("{name}.bias"),
            &[(format!("{stem}.bias"), width)],
            ParameterKind::Bias,
        ));
    }
}

/// The parameters of a linear layer, from the stems of its tensors and the widths of their outputs.
pub(crate) fn linear(
    transposed: bool,
    name: String,
    sources: Vec<(String, usize)>,
    inputs: usize,
    bias: bool,
    kind: ParameterKind,
    parameters: &mut Vec<Parameter>,
) {
    let parts = sources.iter().map(|(source, outputs)| StoredTensor {
        name: format!("{source}.weight"),
        shape: if transposed { vec![inputs, *outputs] } else { vec![*outputs, inputs] },
        transposed,
    });
    let outputs = sources.iter().map(|(_, outputs)| outputs).sum();
    parameters.push(Parameter {
        name: name.clone(),
        shape: [outputs, inputs],
        kind,
        stored: parts.collect(),
    });
    if bias {
        let sources: Vec<_> =
            sources.into_iter().map(|(source, outputs)| (format!("{source}.bias"), outputs)).collect();
        parameters.push(vector(format!("{name}.bias"), &sources, ParameterKind::Bias));
    }
}
