//! A layer of a transformer, written once for every mode and architecture.
//!
//! Tokens are rows: a batch of sequences is one matrix `[tokens, width]`, so that every product is one large
//! matrix product. What differs between reading a context, scoring and drawing token by token is only where
//! keys and values come from, which is the matter of [`Attend`].

mod activation;
mod backward;
mod linear;
mod norm;

use burn::tensor::Tensor;

pub(crate) use self::{
    activation::activate,
    backward::Kept,
    linear::{Linear, Side, Supply},
    norm::NormWeights,
};
use crate::{
    memory::Memory,
    relative::RelativeBias,
    rope::Angles,
    spec::{NormOrder, Spec},
};

/// Where a layer's keys and values are kept, and how its queries meet them.
pub(crate) trait Attend {
    /// - queries: `[tokens, heads, head_width]`
    /// - keys, values: `[tokens, kv_heads, head_width]`
    /// - returns: `[tokens, heads * head_width]`
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2>;

    /// Called before the first layer of a stack whose scores have a bias by distance.
    fn relate(&mut self, bias: &RelativeBias);

    /// What an encoder has read; nothing if there is no encoder.
    fn memory(&self) -> Option<&Memory>;
}

/// What is done on the way through the layers besides.
pub(crate) enum Mode<'a> {
    /// Nothing.
    Plain,
    /// Something is done to each residual branch before it is added: dropout, in training.
    Branch(&'a mut dyn FnMut(Tensor<2>) -> Tensor<2>),
    /// What the way back through one layer needs is kept.
    Keep(Box<Kept>),
}

impl Mode<'_> {
    pub(crate) fn branch(&mut self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Branch(change) => change(x),
            Self::Plain | Self::Keep(_) => x,
        }
    }

    fn keep(&mut self, write: impl FnOnce(&mut Kept)) {
        if let Self::Keep(kept) = self {
            write(kept);
        }
    }
}

pub(crate) struct Layer {
    attention_norm: NormWeights,
    qkv: Linear,
    query_norm: Option<NormWeights>,
    key_norm: Option<NormWeights>,
    output: Linear,
    attention_post_norm: Option<NormWeights>,
    pub(crate) cross: Option<Cross>,
    feed_forward_norm: NormWeights,
    up: Linear,
    down: Linear,
    feed_forward_post_norm: Option<NormWeights>,
}

/// A decoder's attention to its encoder.
pub(crate) struct Cross {
    norm: NormWeights,
    query: Linear,
    keys_values: Linear,
    output: Linear,
}

impl Layer {
    /// Takes its tensors in the order of [`crate::slots::stack`].
    pub(crate) fn assemble(spec: &Spec, cross: bool, from: &mut Supply<'_>) -> Self {
        let around = spec.norm_order == NormOrder::Around;
        Self {
            attention_norm: NormWeights::assemble(spec, from),
            qkv: from.linear(spec.qkv_bias),
            query_norm: spec.query_key_norm.then(|| NormWeights::assemble(spec, from)),
            key_norm: spec.query_key_norm.then(|| NormWeights::assemble(spec, from)),
            output: from.linear(spec.output_bias),
            attention_post_norm: around.then(|| NormWeights::assemble(spec, from)),
            cross: cross.then(|| Cross {
                norm: NormWeights::assemble(spec, from),
                query: from.linear(spec.qkv_bias),
                keys_values: from.linear(spec.qkv_bias),
                output: from.linear(spec.output_bias),
            }),
            feed_forward_norm: NormWeights::assemble(spec, from),
            up: from.linear(spec.feed_forward_bias),
            down: from.linear(spec.feed_forward_bias),
            feed_forward_post_norm: around.then(|| NormWeights::assemble(spec, from)),
        }
    }

    /// - x, returns: `[tokens, width]`
    pub(crate) fn forward(
        &self,
        spec: &Spec,
        index: usize,
        x: Tensor<2>,
        rotary: Option<&Angles>,
        attention: &mut dyn Attend,
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        mode.keep(|kept| kept.input = Some(x.clone()));
        let norms = (&self.attention_norm, self.attention_post_norm.as_ref());
        let x = residual(spec, norms, x, mode, |x, mode| {
            let attended = self.attend(spec, index, x, rotary, attention, mode);
            mode.keep(|kept| kept.attended = norms.1.map(|_| attended.clone()));
            attended
        });
        let x = match &self.cross {
            Some(cross) => {
                residual(spec, (&cross.norm, None), x, mode, |x, _| cross.attend(spec, index, x, attention))
            }
            None => x,
        };
        mode.keep(|kept| kept.middle = Some(x.clone()));
        let norms = (&self.feed_forward_norm, self.feed_forward_post_norm.as_ref());
        residual(spec, norms, x, mode, |x, mode| {
            let [inner, up] = activation::inner(spec, self.up.forward(x));
            mode.keep(|kept| kept.up = Some(up));
            let fed = self.down.forward(inner);
            mode.keep(|kept| kept.fed = norms.1.map(|_| fed.clone()));
            fed
        })
    }

    fn attend(
        &self,
        spec: &Spec,
        index: usize,
        x: Tensor<2>,
        rotary: Option<&Angles>,
        attention: &mut dyn Attend,
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        let tokens = x.dims()[0];
        let heads = spec.heads + 2 * spec.kv_heads;
        let qkv = self.qkv.forward(x).reshape([tokens, heads, spec.head_width]);
        mode.keep(|kept| kept.qkv = Some(qkv.clone()));
        let [queries, keys, values] = self.heads(spec, index, qkv, rotary);
        let mixed = attention.attend(index, queries, keys, values);
        mode.keep(|kept| kept.mixed = Some(mixed.clone()));
        self.output.forward(mixed)
    }

    /// Queries, keys and values, with what is done to the heads of the first two.
    ///
    /// - qkv: `[tokens, heads + 2 * kv_heads, head_width]`
    fn heads(&self, spec: &Spec, index: usize, qkv: Tensor<3>, rotary: Option<&Angles>) -> [Tensor<3>; 3] {
        let [heads, kv_heads] = [spec.heads, spec.kv_heads];
        let values = qkv.clone().narrow(1, heads + kv_heads, kv_heads);
        let mut queries_keys = qkv.narrow(1, 0, heads + kv_heads);
        if let (Some(query_norm), Some(key_norm)) = (&self.query_norm, &self.key_norm) {
            let queries = query_norm.forward_heads(spec, queries_keys.clone().narrow(1, 0, heads));
            let keys = key_norm.forward_heads(spec, queries_keys.narrow(1, heads, kv_heads));
            queries_keys = Tensor::cat(vec![queries, keys], 1);
        }
        if let Some(angles) = rotary {
            queries_keys = angles.rotate(queries_keys, spec.is_windowed(index));
        }
        [queries_keys.clone().narrow(1, 0, heads), queries_keys.narrow(1, heads, kv_heads), values]
    }
}

impl Cross {
    /// The keys and values of encoded tokens: `[tokens, kv_heads, head_width]` each.
    ///
    /// - encoded: `[tokens, width]`
    pub(crate) fn keys_values(&self, spec: &Spec, encoded: Tensor<2>) -> [Tensor<3>; 2] {
        let tokens = encoded.dims()[0];
        let both = self.keys_values.forward(encoded).reshape([tokens, 2 * spec.kv_heads, spec.head_width]);
        [0, 1].map(|which| both.clone().narrow(1, which * spec.kv_heads, spec.kv_heads))
    }

    fn attend(&self, spec: &Spec, index: usize, x: Tensor<2>, attention: &mut dyn Attend) -> Tensor<2> {
        let tokens = x.dims()[0];
        let queries = self.query.forward(x).reshape([tokens, spec.heads, spec.head_width]);
        let memory = attention.memory().expect("a decoder with an encoder runs after a context");
        self.output.forward(memory.attend(index, queries))
    }
}

/// Adds what a block makes of `x` to it, with the block's norm where the architecture has it.
fn residual(
    spec: &Spec,
    (norm, post_norm): (&NormWeights, Option<&NormWeights>),
    x: Tensor<2>,
    mode: &mut Mode<'_>,
    block: impl FnOnce(Tensor<2>, &mut Mode<'_>) -> Tensor<2>,
) -> Tensor<2> {
    match spec.norm_order {
        NormOrder::Before | NormOrder::Around => {
            let inner = block(norm.forward(spec, x.clone()), mode);
            let inner = match post_norm {
                Some(norm) => norm.forward(spec, inner),
                None => inner,
            };
            x + mode.branch(inner)
        }
        NormOrder::After => {
            let inner = block(x.clone(), mode);
            norm.forward(spec, x + mode.branch(inner))
        }
    }
}
