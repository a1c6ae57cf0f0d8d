//! The language model: from token ids to the hidden states that predict the next ones.

use std::{collections::BTreeMap, sync::Arc};

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::{
    layer::{Attend, Kept, Mode, Side, Supply},
    memory::{BothWays, Memory},
    rope::{Angles, Rotary},
    spec::{Positions, Spec},
    stack::{Direction, Stack},
    sums::Sums,
    together::Together,
};

/// The slot of the embeddings.
const EMBEDDING: usize = 0;
/// That of the positions, where they are learned.
const POSITIONS: usize = 1;

/// A decoder whose parameters are in place, with the encoder that reads its context if it has one.
pub(crate) struct Decoder {
    spec: Arc<Spec>,
    embedding: Tensor<2>,
    positions: Option<Tensor<2>>,
    rotary: Option<Rotary>,
    encoder: Option<Stack>,
    stack: Stack,
}

impl Decoder {
    /// Puts tensors, in the order of [`crate::slots::slots`], in their places, and beside those of `sides` its
    /// low-rank products, by index of the slot. Handles are copied, not values.
    /// The output matrix is not the decoder's: it is [`crate::head::Head`]'s.
    ///
    /// # Panics
    /// If there are fewer tensors than slots.
    pub(crate) fn assemble(
        spec: &Arc<Spec>,
        rotary: Option<Rotary>,
        tensors: &[Tensor<2>],
        sides: &BTreeMap<usize, Side>,
    ) -> Self {
        let mut from = Supply::new(tensors, sides);
        let embedding = from.tensor();
        let positions = (spec.positions == Positions::Learned).then(|| from.tensor());
        let encoder = spec.encoder;
        let encoder =
            encoder.map(|encoder| Stack::assemble(spec, encoder.layers, Direction::BothWays, &mut from));
        let stack = Stack::assemble(spec, spec.layers, Direction::Causal, &mut from);
        Self { spec: spec.clone(), embedding, positions, rotary, encoder, stack }
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
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        let (x, angles) = self.embed(ids, places);
        let x = self.stack.forward(&self.spec, mode.branch(x), angles.as_ref(), attention, mode);
        scaled(x, self.spec.output_scale)
    }

    /// What enters the first layer, `[tokens, width]`, and the angles of the tokens' places.
    pub(crate) fn embed(&self, ids: &[u32], places: &[usize]) -> (Tensor<2>, Option<Angles>) {
        let mut x = self.embeddings(ids);
        let last = places.iter().copied().max().unwrap_or(0);
        let places = indices(places.iter().copied(), &x.device());
        if let Some(positions) = &self.positions {
            x = x + positions.clone().select(0, places.clone());
        }
        (x, self.rotary.as_ref().map(|rotary| rotary.at(&places, last)))
    }

    /// One layer of a model without an encoder: `[tokens, width]` to `[tokens, width]`.
    pub(crate) fn layer(
        &self,
        index: usize,
        x: Tensor<2>,
        angles: Option<&Angles>,
        attention: &mut dyn Attend,
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        self.stack.layer(index, &self.spec, x, angles, attention, mode)
    }

    /// What leaves the last layer, normalised. Each row by itself.
    pub(crate) fn finish(&self, x: Tensor<2>) -> Tensor<2> {
        scaled(self.stack.finish(&self.spec, x), self.spec.output_scale)
    }

    /// The way back through [`layer`](Self::layer): see [`crate::layer::Layer::backward`].
    pub(crate) fn layer_backward(
        &self,
        index: usize,
        kept: Kept,
        angles: Option<&Angles>,
        attention: &Together,
        of_out: Tensor<2>,
        sums: &mut Sums<'_>,
    ) -> Tensor<2> {
        self.stack.layer_backward(index, &self.spec, kept, angles, attention, of_out, sums)
    }

    /// The gradient of what [`finish`](Self::finish) was given, `x`, from that of what it gave.
    pub(crate) fn finish_backward(
        &self,
        x: Tensor<2>,
        of_hidden: Tensor<2>,
        sums: &mut Sums<'_>,
    ) -> Tensor<2> {
        self.stack.finish_backward(&self.spec, x, scaled(of_hidden, self.spec.output_scale), sums)
    }

    /// From the gradient of what [`embed`](Self::embed) gave to those of the embeddings.
    pub(crate) fn embed_backward(&self, ids: &[u32], places: &[usize], of_x: Tensor<2>, sums: &mut Sums<'_>) {
        let rows = |values: &mut dyn Iterator<Item = usize>| indices(values, &of_x.device());
        if let Some(positions) = &self.positions {
            sums.add_rows(POSITIONS, rows(&mut places.iter().copied()), of_x.clone(), positions);
        }
        let ids = rows(&mut ids.iter().map(|id| *id as usize));
        sums.add_rows(EMBEDDING, ids, scaled(of_x, self.spec.embedding_scale), &self.embedding);
    }

    /// What the encoder makes of contexts of the given lengths, padded on the right to `time` tokens; nothing
    /// if there is no encoder.
    pub(crate) fn encode(&self, ids: &[u32], lengths: &[usize], time: usize) -> Option<Memory> {
        let encoder = self.encoder.as_ref()?;
        let mut attention = BothWays::new(&self.spec, lengths, time, &self.embedding.device());
        let encoded =
            encoder.forward(&self.spec, self.embeddings(ids), None, &mut attention, &mut Mode::Plain);
        let keys_values = self.stack.cross_keys_values(&self.spec, &encoded);
        Some(attention.into_memory(keys_values))
    }

    fn embeddings(&self, ids: &[u32]) -> Tensor<2> {
        let device = self.embedding.device();
        let rows = indices(ids.iter().map(|id| *id as usize), &device);
        scaled(self.embedding.clone().select(0, rows), self.spec.embedding_scale)
    }
}

fn scaled(x: Tensor<2>, scale: f64) -> Tensor<2> {
    if scale == 1.0 { x } else { x.mul_scalar(scale) }
}

/// Uploads indices.
pub(crate) fn indices(values: impl IntoIterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}
