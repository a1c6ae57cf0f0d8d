//! The transformer: from token ids to the last hidden state, written once for every mode.
//!
//! Tokens are rows: a batch of sequences is one matrix `[tokens, width]`, so that every product is one large
//! matrix product. What differs between reading a context, scoring and drawing token by token is only where
//! keys and values come from, which is the matter of [`Attend`].

use std::sync::Arc;

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
}

impl Linear {
    /// `[n, in]` to `[n, out]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let y = x.matmul(self.weight.clone().transpose());
        match &self.bias {
            Some(bias) => y + bias.clone(),
            None => y,
        }
    }
}

impl Decoder {
    /// Puts tensors, in the order of [`crate::slots::slots`], in their places. Handles are copied, not values.
    ///
    /// # Panics
    /// If there are fewer tensors than slots.
    pub(crate) fn assemble(spec: &Arc<Spec>, rotary: Option<[Tensor<2>; 2]>, tensors: &[Tensor<2>]) -> Self {
        let mut tensors = tensors.iter().cloned();
        let mut next = || tensors.next().expect("one tensor per slot");
        let embedding = next();
        let positions = (spec.positions == Positions::Learned).then(&mut next);
        let layers = (0..spec.layers).map(|_| Layer::assemble(spec, &mut next)).collect();
        let norm = NormWeights::assemble(spec, &mut next);
        let head = (!spec.tied).then(&mut next);
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
        let device = self.embedding.device();
        let mut x = self.embedding.clone().select(0, indices(ids.iter().map(|id| *id as usize), &device));
        let places = indices(places.iter().copied(), &device);
        if let Some(positions) = &self.positions {
            x = x + positions.clone().select(0, places.clone());
        }
        x = branch(x);
        let rotary = self.rotary.as_ref().map(|tables| {
            // [tokens, 1, head_width]: the same for every head.
            tables.each_ref().map(|table| table.clone().select(0, places.clone()).unsqueeze_dim::<3>(1))
        });
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&self.spec, index, x, rotary.as_ref(), attention, branch);
        }
        self.norm.forward(&self.spec, x)
    }
}

impl Layer {
    fn assemble(spec: &Spec, next: &mut impl FnMut() -> Tensor<2>) -> Self {
        Self {
            attention_norm: NormWeights::assemble(spec, next),
            qkv: linear(next, spec.qkv_bias),
            query_norm: spec.query_key_norm.then(|| NormWeights::assemble(spec, next)),
            key_norm: spec.query_key_norm.then(|| NormWeights::assemble(spec, next)),
            output: linear(next, spec.output_bias),
            feed_forward_norm: NormWeights::assemble(spec, next),
            up: linear(next, spec.feed_forward_bias),
            down: linear(next, spec.feed_forward_bias),
        }
    }

    fn forward(
        &self,
        spec: &Spec,
        index: usize,
        x: Tensor<2>,
        rotary: Option<&[Tensor<3>; 2]>,
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

fn linear(next: &mut impl FnMut() -> Tensor<2>, bias: bool) -> Linear {
    let weight = next();
    Linear { weight, bias: bias.then(next) }
}

/// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: Burn's own takes a general power, which is slow.
fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    let cube = x.clone() * x.clone() * x.clone();
    let inner = (x.clone() + cube.mul_scalar(0.044715)).mul_scalar((2.0 / std::f64::consts::PI).sqrt());
    x.mul_scalar(0.5) * (inner.tanh() + 1.0)
}

impl NormWeights {
    fn assemble(spec: &Spec, next: &mut impl FnMut() -> Tensor<2>) -> Self {
        let scale = next();
        Self { scale, bias: (spec.norm == Norm::Layer).then(next) }
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
