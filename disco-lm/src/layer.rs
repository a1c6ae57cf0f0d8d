//! A layer of a transformer, written once for every mode and architecture.
//!
//! Tokens are rows: a batch of sequences is one matrix `[tokens, width]`, so that every product is one large
//! matrix product. What differs between reading a context, scoring and drawing token by token is only where
//! keys and values come from, which is the matter of [`Attend`].

use std::collections::BTreeMap;

use burn::tensor::{Tensor, activation};

use crate::{
    host,
    memory::Memory,
    relative::RelativeBias,
    rope::Angles,
    spec::{Activation, Norm, NormOrder, Spec},
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

/// What is done to a residual branch before it is added: dropout in training, nothing elsewhere.
pub(crate) type Branch<'a> = dyn FnMut(Tensor<2>) -> Tensor<2> + 'a;

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
        branch: &mut Branch<'_>,
    ) -> Tensor<2> {
        let norms = (&self.attention_norm, self.attention_post_norm.as_ref());
        let x = residual(spec, norms, x, branch, |x| self.attend(spec, index, x, rotary, attention));
        let x = match &self.cross {
            Some(cross) => {
                residual(spec, (&cross.norm, None), x, branch, |x| cross.attend(spec, index, x, attention))
            }
            None => x,
        };
        let norms = (&self.feed_forward_norm, self.feed_forward_post_norm.as_ref());
        residual(spec, norms, x, branch, |x| self.feed_forward(spec, x))
    }

    fn attend(
        &self,
        spec: &Spec,
        index: usize,
        x: Tensor<2>,
        rotary: Option<&Angles>,
        attention: &mut dyn Attend,
    ) -> Tensor<2> {
        let tokens = x.dims()[0];
        let [heads, kv_heads, width] = [spec.heads, spec.kv_heads, spec.head_width];
        let qkv = self.qkv.forward(x).reshape([tokens, heads + 2 * kv_heads, width]);
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
        let queries = queries_keys.clone().narrow(1, 0, heads);
        let keys = queries_keys.narrow(1, heads, kv_heads);
        self.output.forward(attention.attend(index, queries, keys, values))
    }

    fn feed_forward(&self, spec: &Spec, x: Tensor<2>) -> Tensor<2> {
        let up = self.up.forward(x);
        let kind = spec.feed_forward.activation;
        let inner = if spec.feed_forward.gated && kind == Activation::Silu && host::holds(&up) {
            host::gated_silu(up)
        } else if spec.feed_forward.gated {
            let half = spec.feed_forward_width;
            activate(kind, up.clone().narrow(1, 0, half)) * up.narrow(1, half, half)
        } else {
            activate(kind, up)
        };
        self.down.forward(inner)
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
    branch: &mut Branch<'_>,
    block: impl FnOnce(Tensor<2>) -> Tensor<2>,
) -> Tensor<2> {
    match spec.norm_order {
        NormOrder::Before | NormOrder::Around => {
            let inner = block(norm.forward(spec, x.clone()));
            let inner = match post_norm {
                Some(norm) => norm.forward(spec, inner),
                None => inner,
            };
            x + branch(inner)
        }
        NormOrder::After => {
            let inner = block(x.clone());
            norm.forward(spec, x + branch(inner))
        }
    }
}

pub(crate) fn activate(kind: Activation, x: Tensor<2>) -> Tensor<2> {
    match kind {
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Relu => activation::relu(x),
        Activation::Tanh => x.tanh(),
    }
}

/// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: Burn's own takes a general power, which is slow.
fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    let cube = x.clone() * x.clone() * x.clone();
    let inner = (x.clone() + cube.mul_scalar(0.044715)).mul_scalar((2.0 / std::f64::consts::PI).sqrt());
    x.mul_scalar(0.5) * (inner.tanh() + 1.0)
}

pub(crate) struct Linear {
    weight: Tensor<2>,
    bias: Option<Tensor<2>>,
    side: Option<Side>,
}

/// A product of low rank beside a matrix: `x down^T up^T` is added to `x weight`. The dense product of the two
/// is never formed.
///
/// - down: `[rank, in]`
/// - up: `[out, rank]`
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) down: Tensor<2>,
    pub(crate) up: Tensor<2>,
}

impl Side {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.down.clone().transpose()).matmul(self.up.clone().transpose())
    }
}

impl Linear {
    /// `[n, in]` to `[n, out]`.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let side = self.side.as_ref().map(|side| side.forward(x.clone()));
        let y = x.matmul(self.weight.clone());
        let y = match side {
            Some(side) => y + side,
            None => y,
        };
        match &self.bias {
            Some(bias) => y + bias.clone(),
            None => y,
        }
    }
}

/// Tensors in the order of the slots, each to be taken once.
pub(crate) struct Supply<'a> {
    tensors: &'a [Tensor<2>],
    sides: &'a BTreeMap<usize, Side>,
    next: usize,
}

impl<'a> Supply<'a> {
    /// `sides` are by index of the slot.
    pub(crate) fn new(tensors: &'a [Tensor<2>], sides: &'a BTreeMap<usize, Side>) -> Self {
        Self { tensors, sides, next: 0 }
    }

    /// # Panics
    /// If there are fewer tensors than slots.
    pub(crate) fn tensor(&mut self) -> Tensor<2> {
        self.next += 1;
        self.tensors[self.next - 1].clone()
    }

    pub(crate) fn linear(&mut self, bias: bool) -> Linear {
        let side = self.sides.get(&self.next).cloned();
        Linear { weight: self.tensor(), bias: bias.then(|| self.tensor()), side }
    }
}

pub(crate) struct NormWeights {
    scale: Tensor<2>,
    bias: Option<Tensor<2>>,
}

impl NormWeights {
    pub(crate) fn assemble(spec: &Spec, from: &mut Supply<'_>) -> Self {
        let scale = from.tensor();
        Self { scale, bias: (spec.norm == Norm::Layer).then(|| from.tensor()) }
    }

    pub(crate) fn forward(&self, spec: &Spec, x: Tensor<2>) -> Tensor<2> {
        match spec.norm {
            Norm::Rms | Norm::RmsFromOne => {
                let scale = match spec.norm {
                    Norm::RmsFromOne => self.scale.clone() + 1.0,
                    _ => self.scale.clone(),
                };
                if host::holds(&x) && host::holds(&scale) {
                    return host::rms_norm(x, &scale, spec.norm_epsilon);
                }
                let mean_square = (x.clone() * x.clone()).mean_dim(1);
                x * (mean_square + spec.norm_epsilon).sqrt().recip() * scale
            }
            Norm::Layer => {
                let centred = x.clone() - x.mean_dim(1);
                let variance = (centred.clone() * centred.clone()).mean_dim(1);
                let scaled = centred * (variance + spec.norm_epsilon).sqrt().recip() * self.scale.clone();
                match &self.bias {
                    Some(bias) => scaled + bias.clone(),
                    None => scaled,
                }
            }
        }
    }

    /// Normalises each head by itself (Qwen3).
    fn forward_heads(&self, spec: &Spec, x: Tensor<3>) -> Tensor<3> {
        let [tokens, heads, width] = x.dims();
        self.forward(spec, x.reshape([tokens * heads, width])).reshape([tokens, heads, width])
    }
}
