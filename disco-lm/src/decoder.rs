//! The transformer: from token ids to the last hidden state, written once for every mode.
//!
//! Tokens are rows: a batch of sequences is one matrix `[tokens, width]`, so that every product is one large
//! matrix product. What differs between reading a context, scoring and drawing token by token is only where
//! keys and values come from, which is the matter of [`Attend`].

use std::{collections::BTreeMap, sync::Arc};

use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use crate::{
    rope::rotate,
    spec::{FeedForward, Norm, Positions, Spec},
};

/// Where a layer's keys and values are kept, and how its queries meet them.
pub(crate) trait Attend {
    /// - queries: `[tokens, heads, head_width]`
    /// - keys, values: `[tokens, kv_heads, head_width]`
    /// - returns: `[tokens, heads * head_width]`
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2>;
}

/// What is done to a residual branch before it is added: dropout in training, nothing elsewhere.
pub(crate) type Branch<'a> = dyn FnMut(Tensor<2>) -> Tensor<2> + 'a;

/// A decoder whose parameters are in place.
pub(crate) struct Decoder {
    spec: Arc<Spec>,
    embedding: Tensor<2>,
    positions: Option<Tensor<2>>,
    rotary: Option<[Tensor<2>; 2]>,
    layers: Vec<Layer>,
    norm: NormWeights,
    head: Option<Tensor<2>>,
}

struct Layer {
    attention_norm: NormWeights,
    qkv: Linear,
    query_norm: Option<NormWeights>,
    key_norm: Option<NormWeights>,
    output: Linear,
    feed_forward_norm: NormWeights,
    up: Linear,
    down: Linear,
}

struct NormWeights {
    scale: Tensor<2>,
    bias: Option<Tensor<2>>,
}

struct Linear {
    weight: Tensor<2>,
    bias: Option<Tensor<2>>,
    side: Option<Side>,
}

/// A product of low rank beside a matrix: `x down^T up^T` is added to `x weight^T`. The dense product of the two
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
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let side = self.side.as_ref().map(|side| side.forward(x.clone()));
        let y = x.matmul(self.weight.clone().transpose());
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

impl Decoder {
    /// Puts tensors, in the order of [`crate::slots::slots`], in their places, and beside those of `sides` its
    /// low-rank products, by index of the slot. Handles are copied, not values.
    ///
    /// # Panics
    /// If there are fewer tensors than slots.
    pub(crate) fn assemble(
        spec: &Arc<Spec>,
        rotary: Option<[Tensor<2>; 2]>,
        tensors: &[Tensor<2>],
        sides: &BTreeMap<usize, Side>,
    ) -> Self {
        let mut from = Supply { tensors, sides, next: 0 };
        let embedding = from.tensor();
        let positions = (spec.positions == Positions::Learned).then(|| from.tensor());
        let layers = (0..spec.layers).map(|_| Layer::assemble(spec, &mut from)).collect();
        let norm = NormWeights::assemble(spec, &mut from);
        let head = (!spec.tied).then(|| from.tensor());
        Self { spec: spec.clone(), embedding, positions, rotary, layers, norm, head }
    }

    /// The matrix `[vocabulary, width]` that turns hidden states into logits.
    pub(crate) fn head(&self) -> &Tensor<2> {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// The normalised last hidden states.
    ///
    /// - ids, places: one per token; `places` are positions in the sequence
    /// - returns: `[tokens, width]`
    pub(crate) fn hidden(
        &self,
        ids: &[u32],
        places: &[usize],
        attention: &mut dyn Attend,
        branch: &mut Branch<'_>,
    ) -> Tensor<2> {
        let (x, rotary) = self.embed(ids, places);
        let mut x = branch(x);
        for index in 0..self.layers.len() {
            x = self.layer(index, x, rotary.as_ref(), attention, branch);
        }
        self.finish(x)
    }

    /// What enters the first layer, `[tokens, width]`, and the angles of the tokens' places.
    pub(crate) fn embed(&self, ids: &[u32], places: &[usize]) -> (Tensor<2>, Option<Angles>) {
        let device = self.embedding.device();
        let mut x = self.embedding.clone().select(0, indices(ids.iter().map(|id| *id as usize), &device));
        let places = indices(places.iter().copied(), &device);
        if let Some(positions) = &self.positions {
            x = x + positions.clone().select(0, places.clone());
        }
        let rotary = self.rotary.as_ref().map(|tables| {
            tables.each_ref().map(|table| table.clone().select(0, places.clone()).unsqueeze_dim::<3>(1))
        });
        (x, rotary)
    }

    /// One layer: `[tokens, width]` to `[tokens, width]`.
    pub(crate) fn layer(
        &self,
        index: usize,
        x: Tensor<2>,
        rotary: Option<&Angles>,
        attention: &mut dyn Attend,
        branch: &mut Branch<'_>,
    ) -> Tensor<2> {
        self.layers[index].forward(&self.spec, index, x, rotary, attention, branch)
    }

    /// What leaves the last layer, normalised. Each row by itself.
    pub(crate) fn finish(&self, x: Tensor<2>) -> Tensor<2> {
        self.norm.forward(&self.spec, x)
    }
}

/// Cosines and sines of the places of tokens, `[tokens, 1, head_width]` each: the same for every head.
pub(crate) type Angles = [Tensor<3>; 2];

/// Tensors in the order of the slots, each to be taken once.
struct Supply<'a> {
    tensors: &'a [Tensor<2>],
    sides: &'a BTreeMap<usize, Side>,
    next: usize,
}

impl Supply<'_> {
    fn tensor(&mut self) -> Tensor<2> {
        self.next += 1;
        self.tensors[self.next - 1].clone()
    }

    fn linear(&mut self, bias: bool) -> Linear {
        let side = self.sides.get(&self.next).cloned();
        Linear { weight: self.tensor(), bias: bias.then(|| self.tensor()), side }
    }
}

impl Layer {
    fn assemble(spec: &Spec, from: &mut Supply<'_>) -> Self {
        Self {
            attention_norm: NormWeights::assemble(spec, from),
            qkv: from.linear(spec.qkv_bias),
            query_norm: spec.query_key_norm.then(|| NormWeights::assemble(spec, from)),
            key_norm: spec.query_key_norm.then(|| NormWeights::assemble(spec, from)),
            output: from.linear(spec.output_bias),
            feed_forward_norm: NormWeights::assemble(spec, from),
            up: from.linear(spec.feed_forward_bias),
            down: from.linear(spec.feed_forward_bias),
        }
    }

    fn forward(
        &self,
        spec: &Spec,
        index: usize,
        x: Tensor<2>,
        rotary: Option<&Angles>,
        attention: &mut dyn Attend,
        branch: &mut Branch<'_>,
    ) -> Tensor<2> {
        let tokens = x.dims()[0];
        let [heads, kv_heads, width] = [spec.heads, spec.kv_heads, spec.head_width];
        let qkv = self.qkv.forward(self.attention_norm.forward(spec, x.clone()));
        let qkv = qkv.reshape([tokens, heads + 2 * kv_heads, width]);
        let values = qkv.clone().narrow(1, heads + kv_heads, kv_heads);
        let mut queries_keys = qkv.narrow(1, 0, heads + kv_heads);
        if let (Some(query_norm), Some(key_norm)) = (&self.query_norm, &self.key_norm) {
            let queries = query_norm.forward_heads(spec, queries_keys.clone().narrow(1, 0, heads));
            let keys = key_norm.forward_heads(spec, queries_keys.narrow(1, heads, kv_heads));
            queries_keys = Tensor::cat(vec![queries, keys], 1);
        }
        if let Some([cos, sin]) = rotary {
            queries_keys = rotate(queries_keys, cos, sin);
        }
        let queries = queries_keys.clone().narrow(1, 0, heads);
        let keys = queries_keys.narrow(1, heads, kv_heads);
        let mixed = attention.attend(index, queries, keys, values);
        let x = x + branch(self.output.forward(mixed));

        let up = self.up.forward(self.feed_forward_norm.forward(spec, x.clone()));
        let inner = match spec.feed_forward {
            FeedForward::GatedSilu => {
                let half = spec.feed_forward_width;
                activation::silu(up.clone().narrow(1, 0, half)) * up.narrow(1, half, half)
            }
            FeedForward::Gelu => gelu_tanh(up),
        };
        x + branch(self.down.forward(inner))
    }
}

/// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: Burn's own takes a general power, which is slow.
fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    let cube = x.clone() * x.clone() * x.clone();
    let inner = (x.clone() + cube.mul_scalar(0.044715)).mul_scalar((2.0 / std::f64::consts::PI).sqrt());
    x.mul_scalar(0.5) * (inner.tanh() + 1.0)
}

impl NormWeights {
    fn assemble(spec: &Spec, from: &mut Supply<'_>) -> Self {
        let scale = from.tensor();
        Self { scale, bias: (spec.norm == Norm::Layer).then(|| from.tensor()) }
    }

    fn forward(&self, spec: &Spec, x: Tensor<2>) -> Tensor<2> {
        match spec.norm {
            Norm::Rms => {
                let mean_square = (x.clone() * x.clone()).mean_dim(1);
                x * (mean_square + spec.norm_epsilon).sqrt().recip() * self.scale.clone()
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

/// Uploads indices.
pub(crate) fn indices(values: impl IntoIterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}
