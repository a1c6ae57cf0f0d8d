//! A layer of a transformer, written once for every mode and architecture.
//!
//! Tokens are rows: a batch of sequences is one matrix `[tokens, hidden_size]`, so that every linear layer is one large
//! matmul. Prefill, scoring, training and drawing token by token differ only in where keys and values come from, which
//! [`Attention`] decides.

use burn::tensor::Tensor;

use crate::{
    architecture::model_config::{ModelConfig, NormOrder},
    attention::Attention,
    layers::{
        activation, linear::Linear, norm::NormWeights, reader::ParameterReader, rotary::Angles,
        saved::SavedActivations,
    },
};

/// Additional work of a forward pass.
pub(crate) enum Mode<'a> {
    /// Nothing in addition.
    Plain,
    /// Changes the embeddings, and each residual branch before it is added: dropout, in pretraining.
    Branch(&'a mut dyn FnMut(Tensor<2>) -> Tensor<2>),
    /// Saves the activations of one layer that its backward pass needs.
    Save(Box<SavedActivations>),
}

impl Mode<'_> {
    pub(crate) fn branch(&mut self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Branch(change) => change(x),
            Self::Plain | Self::Save(_) => x,
        }
    }

    fn save(&mut self, write: impl FnOnce(&mut SavedActivations)) {
        if let Self::Save(saved) = self {
            write(saved);
        }
    }
}

pub(crate) struct Block {
    pub(super) attention_norm: NormWeights,
    pub(super) qkv: Linear,
    pub(super) query_norm: Option<NormWeights>,
    pub(super) key_norm: Option<NormWeights>,
    pub(super) output: Linear,
    pub(super) attention_post_norm: Option<NormWeights>,
    pub(crate) cross: Option<Cross>,
    pub(super) feed_forward_norm: NormWeights,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) feed_forward_post_norm: Option<NormWeights>,
}

/// Cross-attention: a decoder's attention to the output of its encoder.
pub(crate) struct Cross {
    norm: NormWeights,
    query: Linear,
    keys_values: Linear,
    output: Linear,
}

impl Block {
    /// Takes the parameters of a layer from `from`, in the order of [`crate::architecture::parameters::stack`].
    pub(crate) fn assemble(config: &ModelConfig, cross: bool, from: &mut ParameterReader<'_>) -> Self {
        let around = config.norm_order.has_post_norms();
        Self {
            attention_norm: NormWeights::assemble(config, from),
            qkv: from.linear(config.qkv_bias),
            query_norm: config.query_key_norm.map(|_| NormWeights::assemble(config, from)),
            key_norm: config.query_key_norm.map(|_| NormWeights::assemble(config, from)),
            output: from.linear(config.output_bias),
            attention_post_norm: around.then(|| NormWeights::assemble(config, from)),
            cross: cross.then(|| Cross {
                norm: NormWeights::assemble(config, from),
                query: from.linear(config.qkv_bias),
                keys_values: from.linear(config.qkv_bias),
                output: from.linear(config.output_bias),
            }),
            feed_forward_norm: NormWeights::assemble(config, from),
            up: from.linear(config.feed_forward_bias),
            down: from.linear(config.feed_forward_bias),
            feed_forward_post_norm: around.then(|| NormWeights::assemble(config, from)),
        }
    }

    /// Forward pass of the layer with number `index`.
    ///
    /// - x, returns: `[tokens, hidden_size]`
    pub(crate) fn forward(
        &self,
        config: &ModelConfig,
        index: usize,
        x: Tensor<2>,
        rotary: Option<&Angles>,
        attention: &mut dyn Attention,
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        mode.save(|saved| saved.input = Some(x.clone()));
        let norms = (&self.attention_norm, self.attention_post_norm.as_ref());
        let x = residual(config, norms, x, mode, |x, mode| {
            let projected_attention = self.attend(config, index, x, rotary, attention, mode);
            mode.save(|saved| saved.projected_attention = norms.1.map(|_| projected_attention.clone()));
            projected_attention
        });
        let x = match &self.cross {
            Some(cross) => residual(config, (&cross.norm, None), x, mode, |x, _| {
                cross.attend(config, index, x, attention)
            }),
            None => x,
        };
        mode.save(|saved| saved.post_attention = Some(x.clone()));
        let norms = (&self.feed_forward_norm, self.feed_forward_post_norm.as_ref());
        residual(config, norms, x, mode, |x, mode| {
            let [inner, up] = activation::forward(config, self.up.forward(x));
            mode.save(|saved| saved.up = Some(up));
            let mlp_output = self.down.forward(inner);
            mode.save(|saved| saved.mlp_output = norms.1.map(|_| mlp_output.clone()));
            mlp_output
        })
    }

    fn attend(
        &self,
        config: &ModelConfig,
        index: usize,
        x: Tensor<2>,
        rotary: Option<&Angles>,
        attention: &mut dyn Attention,
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        let tokens = x.dims()[0];
        let heads = config.heads + 2 * config.kv_heads;
        let qkv = self.qkv.forward(x).reshape([tokens, heads, config.head_dim]);
        mode.save(|saved| saved.qkv = Some(qkv.clone()));
        let [queries, keys, values] = self.heads(config, index, qkv, rotary);
        let attention_output = attention.attend(index, queries, keys, values);
        mode.save(|saved| saved.attention_output = Some(attention_output.clone()));
        self.output.forward(attention_output)
    }

    /// Queries, keys and values; queries and keys are normalised and rotated where the architecture does so.
    ///
    /// - qkv: `[tokens, heads + 2 * kv_heads, head_dim]`
    pub(super) fn heads(
        &self,
        config: &ModelConfig,
        index: usize,
        qkv: Tensor<3>,
        rotary: Option<&Angles>,
    ) -> [Tensor<3>; 3] {
        let [heads, kv_heads] = [config.heads, config.kv_heads];
        let values = qkv.clone().narrow(1, heads + kv_heads, kv_heads);
        let mut queries_keys = qkv.narrow(1, 0, heads + kv_heads);
        if let (Some(query_norm), Some(key_norm)) = (&self.query_norm, &self.key_norm) {
            let queries = query_norm.forward_heads(config, queries_keys.clone().narrow(1, 0, heads));
            let keys = key_norm.forward_heads(config, queries_keys.narrow(1, heads, kv_heads));
            queries_keys = Tensor::cat(vec![queries, keys], 1);
        }
        if let Some(angles) = rotary {
            queries_keys = angles.rotate(queries_keys, config.is_windowed(index));
        }
        [queries_keys.clone().narrow(1, 0, heads), queries_keys.narrow(1, heads, kv_heads), values]
    }
}

impl Cross {
    /// The keys and values of the encoder's tokens: `[tokens, kv_heads, head_dim]` each.
    ///
    /// - encoded: the last hidden states of the encoder, `[tokens, hidden_size]`
    pub(crate) fn keys_values(&self, config: &ModelConfig, encoded: Tensor<2>) -> [Tensor<3>; 2] {
        let tokens = encoded.dims()[0];
        let keys_values =
            self.keys_values.forward(encoded).reshape([tokens, 2 * config.kv_heads, config.head_dim]);
        [0, 1].map(|half| keys_values.clone().narrow(1, half * config.kv_heads, config.kv_heads))
    }

    fn attend(
        &self,
        config: &ModelConfig,
        index: usize,
        x: Tensor<2>,
        attention: &mut dyn Attention,
    ) -> Tensor<2> {
        let tokens = x.dims()[0];
        let queries = self.query.forward(x).reshape([tokens, config.heads, config.head_dim]);
        let encoder_output =
            attention.encoder_output().expect("a decoder with an encoder runs after a context");
        self.output.forward(encoder_output.attend(index, queries))
    }
}

/// A residual block: `x` plus the output of `block`, with the norms where the architecture has them ([`NormOrder`]).
fn residual(
    config: &ModelConfig,
    (norm, post_norm): (&NormWeights, Option<&NormWeights>),
    x: Tensor<2>,
    mode: &mut Mode<'_>,
    block: impl FnOnce(Tensor<2>, &mut Mode<'_>) -> Tensor<2>,
) -> Tensor<2> {
    match config.norm_order {
        NormOrder::Before | NormOrder::Around => {
            let inner = block(norm.forward(config, x.clone()), mode);
            let inner = match post_norm {
                Some(norm) => norm.forward(config, inner),
                None => inner,
            };
            x + mode.branch(inner)
        }
        NormOrder::OnBranch => {
            let inner = norm.forward(config, block(x.clone(), mode));
            x + mode.branch(inner)
        }
        NormOrder::After => {
            let inner = block(x.clone(), mode);
            norm.forward(config, x + mode.branch(inner))
        }
    }
}
