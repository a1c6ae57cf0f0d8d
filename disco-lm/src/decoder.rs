//! The language model: from token ids to the hidden states that predict the next ones.

use std::{collections::BTreeMap, sync::Arc};

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::{
    layer::{Attend, Branch, Side, Supply},
    memory::{BothWays, Memory},
    rope::{Angles, Rotary},
    spec::{Positions, Spec},
    stack::{Direction, Stack},
};

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
        branch: &mut Branch<'_>,
    ) -> Tensor<2> {
        let (x, angles) = self.embed(ids, places);
        let x = self.stack.forward(&self.spec, branch(x), angles.as_ref(), attention, branch);
        scaled(x, self.spec.output_scale)
    }

    /// What enters the first layer, `[tokens, width]`, and the angles of the tokens' places.
    pub(crate) fn embed(&self, ids: &[u32], places: &[usize]) -> (Tensor<2>, Option<Angles>) {
        let mut x = self.embeddings(ids);
        let places = indices(places.iter().copied(), &x.device());
        if let Some(positions) = &self.positions {
            x = x + positions.clone().select(0, places.clone());
        }
        (x, self.rotary.as_ref().map(|rotary| rotary.at(&places)))
    }

    /// One layer of a model without an encoder: `[tokens, width]` to `[tokens, width]`.
    pub(crate) fn layer(
        &self,
        index: usize,
        x: Tensor<2>,
        angles: Option<&Angles>,
        attention: &mut dyn Attend,
        branch: &mut Branch<'_>,
    ) -> Tensor<2> {
        self.stack.layer(index, &self.spec, x, angles, attention, branch)
    }

    /// What leaves the last layer, normalised. Each row by itself.
    pub(crate) fn finish(&self, x: Tensor<2>) -> Tensor<2> {
        scaled(self.stack.finish(&self.spec, x), self.spec.output_scale)
    }

    /// What the encoder makes of contexts of the given lengths, padded on the right to `time` tokens; nothing
    /// if there is no encoder.
    pub(crate) fn encode(&self, ids: &[u32], lengths: &[usize], time: usize) -> Option<Memory> {
        let encoder = self.encoder.as_ref()?;
        let mut attention = BothWays::new(&self.spec, lengths, time, &self.embedding.device());
        let encoded = encoder.forward(&self.spec, self.embeddings(ids), None, &mut attention, &mut |x| x);
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
