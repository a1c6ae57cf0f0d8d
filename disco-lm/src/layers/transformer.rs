//! The transformer: from token ids to the hidden states that predict the next tokens.

use std::{collections::BTreeMap, sync::Arc};

use burn::tensor::Tensor;

use crate::{
    architecture::model_config::{ModelConfig, Positions},
    attention::{Attention, BidirectionalAttention, EncoderOutput, PackedAttention},
    device::transfer::indices,
    layers::{
        block::Mode,
        gradients::GradientAccumulator,
        low_rank::LowRank,
        reader::ParameterReader,
        rotary::{Angles, Rotary},
        saved::SavedActivations,
        stack::{Direction, Stack},
        weight::Weight,
    },
};

/// The index of the token embedding among the parameters.
const EMBEDDING: usize = 0;

/// The index of the position embedding, where positions are learned.
const POSITIONS: usize = 1;

/// A decoder with its parameters, and the encoder that reads its context if it has one.
pub(crate) struct Transformer {
    config: Arc<ModelConfig>,
    embedding: Weight,
    positions: Option<Weight>,
    rotary: Option<Rotary>,
    encoder: Option<Stack>,
    stack: Stack,
}

impl Transformer {
    /// Builds the layers from `weights`, in the order of [`crate::architecture::parameters::parameters`]. `low_rank` holds
    /// low-rank updates, by the index of the parameter that each stands beside. Handles are copied, not elements.
    /// The output matrix is no part of it, but of [`crate::model::lm_head::LmHead`].
    ///
    /// # Panics
    /// If there are fewer weights than parameters.
    pub(crate) fn assemble(
        config: &Arc<ModelConfig>,
        rotary: Option<Rotary>,
        weights: &[Weight],
        low_rank: &BTreeMap<usize, LowRank>,
    ) -> Self {
        let mut from = ParameterReader::new(weights, low_rank);
        let embedding = from.weight();
        let positions = (config.positions == Positions::Learned).then(|| from.weight());
        let encoder = config.encoder;
        let encoder = encoder
            .map(|encoder| Stack::assemble(config, encoder.layers, Direction::Bidirectional, &mut from));
        let stack = Stack::assemble(config, config.layers, Direction::Causal, &mut from);
        Self { config: config.clone(), embedding, positions, rotary, encoder, stack }
    }

    /// The normalised last hidden states.
    ///
    /// - ids, positions: one per token; `positions` are positions in the sequence
    /// - returns: `[tokens, hidden_size]`
    pub(crate) fn hidden_states(
        &self,
        ids: &[u32],
        positions: &[usize],
        attention: &mut dyn Attention,
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        let (x, angles) = self.embed(ids, positions);
        let x = self.stack.forward(&self.config, mode.branch(x), angles.as_ref(), attention, mode);
        scaled(x, self.config.output_scale)
    }

    /// The input of the first layer, `[tokens, hidden_size]`, and the rotary angles of the tokens' positions, if the model has
    /// rotary positions.
    pub(crate) fn embed(&self, ids: &[u32], positions: &[usize]) -> (Tensor<2>, Option<Angles>) {
        let mut x = self.embeddings(ids);
        let last = positions.iter().copied().max().unwrap_or(0);
        let positions = indices(positions.iter().copied(), &x.device());
        if let Some(table) = &self.positions {
            x = x + table.rows(positions.clone());
        }
        (x, self.rotary.as_ref().map(|rotary| rotary.at(&positions, last)))
    }

    /// One layer of a model without an encoder: `[tokens, hidden_size]` to `[tokens, hidden_size]`.
    pub(crate) fn layer(
        &self,
        index: usize,
        x: Tensor<2>,
        angles: Option<&Angles>,
        attention: &mut dyn Attention,
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        self.stack.layer(index, &self.config, x, angles, attention, mode)
    }

    /// The last hidden states, normalised and scaled, from the output of the last layer: `[rows, hidden_size]`, each row
    /// independently of the others.
    pub(crate) fn final_norm(&self, x: Tensor<2>) -> Tensor<2> {
        scaled(self.stack.final_norm(&self.config, x), self.config.output_scale)
    }

    /// Backward pass of [`layer`](Self::layer): see [`crate::layers::block::Block::backward`].
    pub(crate) fn layer_backward(
        &self,
        index: usize,
        saved: SavedActivations,
        angles: Option<&Angles>,
        attention: &PackedAttention,
        grad_out: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<2> {
        self.stack.layer_backward(index, &self.config, saved, angles, attention, grad_out, gradients)
    }

    /// Backward pass of [`final_norm`](Self::final_norm): the gradient of its input `x`, from `grad_hidden`, the gradient of its output.
    pub(crate) fn final_norm_backward(
        &self,
        x: Tensor<2>,
        grad_hidden: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<2> {
        self.stack.final_norm_backward(
            &self.config,
            x,
            scaled(grad_hidden, self.config.output_scale),
            gradients,
        )
    }

    /// Backward pass of [`embed`](Self::embed): adds the gradients of the embeddings to `gradients`, from `grad_x`, the gradient
    /// of the input of the first layer.
    pub(crate) fn embed_backward(
        &self,
        ids: &[u32],
        positions: &[usize],
        grad_x: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) {
        let rows = |values: &mut dyn Iterator<Item = usize>| indices(values, &grad_x.device());
        if let Some(table) = &self.positions {
            gradients.add_rows(
                POSITIONS,
                rows(&mut positions.iter().copied()),
                grad_x.clone(),
                table.shape(),
            );
        }
        let ids = rows(&mut ids.iter().map(|id| *id as usize));
        gradients.add_rows(
            EMBEDDING,
            ids,
            scaled(grad_x, self.config.embedding_scale),
            self.embedding.shape(),
        );
    }

    /// The encoder output for contexts of the given lengths, padded on the right to `seq_len` tokens; `None` if there is no
    /// encoder.
    pub(crate) fn encode(&self, ids: &[u32], lengths: &[usize], seq_len: usize) -> Option<EncoderOutput> {
        let encoder = self.encoder.as_ref()?;
        let mut attention =
            BidirectionalAttention::new(&self.config, lengths, seq_len, &self.embedding.device());
        let encoded =
            encoder.forward(&self.config, self.embeddings(ids), None, &mut attention, &mut Mode::Plain);
        let keys_values = self.stack.cross_keys_values(&self.config, &encoded);
        Some(attention.into_encoder_output(keys_values))
    }

    /// The scaled token embeddings: `[tokens, hidden_size]`.
    fn embeddings(&self, ids: &[u32]) -> Tensor<2> {
        let device = self.embedding.device();
        let rows = indices(ids.iter().map(|id| *id as usize), &device);
        scaled(self.embedding.rows(rows), self.config.embedding_scale)
    }
}

fn scaled(x: Tensor<2>, scale: f64) -> Tensor<2> {
    if scale == 1.0 { x } else { x.mul_scalar(scale) }
}
