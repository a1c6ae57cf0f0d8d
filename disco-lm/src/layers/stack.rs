//! Layers on top of each other, with what they share.

use burn::tensor::Tensor;

use crate::{
    architecture::model_config::{ModelConfig, Positions},
    attention::{Attention, PackedAttention, RelativeBias},
    layers::{
        block::{Block, Mode},
        gradients::GradientAccumulator,
        norm::NormWeights,
        reader::ParameterReader,
        rotary::Angles,
        saved::SavedActivations,
    },
};

/// The layers of an encoder or of a decoder.
pub(crate) struct Stack {
    relative: Option<RelativeBias>,
    layers: Vec<Block>,
    /// Not there if every layer ends with a norm.
    norm: Option<NormWeights>,
}

/// What a stack of layers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Every token sees all others.
    Bidirectional,
    /// A token sees those before it.
    Causal,
}

impl Stack {
    /// Takes its tensors in the order of [`crate::architecture::parameters::stack`].
    pub(crate) fn assemble(
        config: &ModelConfig,
        layers: usize,
        direction: Direction,
        from: &mut ParameterReader<'_>,
    ) -> Self {
        let both_ways = direction == Direction::Bidirectional;
        let relative = match config.positions {
            Positions::Relative(buckets) => Some(RelativeBias { table: from.vector(), buckets, both_ways }),
            Positions::Learned | Positions::Rotary(_) => None,
        };
        let cross = config.encoder.is_some() && !both_ways;
        let layers = (0..layers).map(|_| Block::assemble(config, cross, from)).collect();
        let norm = config.norm_order.ends_with_norm().then(|| NormWeights::assemble(config, from));
        Self { relative, layers, norm }
    }

    /// - x, returns: `[tokens, hidden_size]`
    pub(crate) fn forward(
        &self,
        config: &ModelConfig,
        mut x: Tensor<2>,
        rotary: Option<&Angles>,
        attention: &mut dyn Attention,
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        if let Some(relative) = &self.relative {
            attention.set_position_bias(relative);
        }
        for index in 0..self.layers.len() {
            x = self.layer(index, config, x, rotary, attention, mode);
        }
        self.finish(config, x)
    }

    /// One layer: `[tokens, hidden_size]` to `[tokens, hidden_size]`.
    pub(crate) fn layer(
        &self,
        index: usize,
        config: &ModelConfig,
        x: Tensor<2>,
        rotary: Option<&Angles>,
        attention: &mut dyn Attention,
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        self.layers[index].forward(config, index, x, rotary, attention, mode)
    }

    /// What leaves the last layer, normalised. Each row by itself.
    pub(crate) fn finish(&self, config: &ModelConfig, x: Tensor<2>) -> Tensor<2> {
        match &self.norm {
            Some(norm) => norm.forward(config, x),
            None => x,
        }
    }

    /// The way back through [`layer`](Self::layer).
    #[expect(clippy::too_many_arguments, reason = "those of the layer")]
    pub(crate) fn layer_backward(
        &self,
        index: usize,
        config: &ModelConfig,
        saved: SavedActivations,
        rotary: Option<&Angles>,
        attention: &PackedAttention,
        grad_out: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<2> {
        self.layers[index].backward(config, index, saved, rotary, attention, grad_out, gradients)
    }

    /// The gradient of what [`finish`](Self::finish) was given, from that of what it gave.
    pub(crate) fn finish_backward(
        &self,
        config: &ModelConfig,
        x: Tensor<2>,
        grad_hidden: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<2> {
        match &self.norm {
            Some(norm) => {
                let zeros = x.zeros_like();
                norm.backward(config, x, grad_hidden, zeros, gradients)
            }
            None => grad_hidden,
        }
    }

    /// The keys and values that each layer of a decoder takes from encoded tokens,
    /// `[tokens, kv_heads, head_dim]` each.
    pub(crate) fn cross_keys_values(&self, config: &ModelConfig, encoded: &Tensor<2>) -> Vec<[Tensor<3>; 2]> {
        let crosses = self.layers.iter().filter_map(|layer| layer.cross.as_ref());
        crosses.map(|cross| cross.keys_values(config, encoded.clone())).collect()
    }
}
