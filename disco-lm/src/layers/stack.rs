//! Layers on top of each other, with the relative position bias that they share and the norm at their end.

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
    /// The relative position bias of all layers, if there is one.
    relative: Option<RelativeBias>,
    layers: Vec<Block>,
    /// The norm after the last layer; `None` if every layer ends with a norm.
    norm: Option<NormWeights>,
}

/// Which tokens a token attends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To all tokens: an encoder.
    Bidirectional,
    /// To itself and the tokens before it: a decoder.
    Causal,
}

impl Stack {
    /// Takes the parameters of a stack from `from`, in the order of [`crate::architecture::parameters::stack`].
    pub(crate) fn assemble(
        config: &ModelConfig,
        layers: usize,
        direction: Direction,
        from: &mut ParameterReader<'_>,
    ) -> Self {
        let is_bidirectional = direction == Direction::Bidirectional;
        let relative = match config.positions {
            Positions::Relative(buckets) => {
                Some(RelativeBias { table: from.elements(), buckets, bidirectional: is_bidirectional })
            }
            Positions::Learned | Positions::Rotary(_) => None,
        };
        let cross = config.encoder.is_some() && !is_bidirectional;
        let layers = (0..layers).map(|_| Block::assemble(config, cross, from)).collect();
        let norm = config.norm_order.ends_with_norm().then(|| NormWeights::assemble(config, from));
        Self { relative, layers, norm }
    }

    /// Forward pass of all layers and the norm at their end.
    ///
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
        self.final_norm(config, x)
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

    /// The norm after the last layer, of the output of that layer: `[rows, hidden_size]`, each row independently of the others.
    pub(crate) fn final_norm(&self, config: &ModelConfig, x: Tensor<2>) -> Tensor<2> {
        match &self.norm {
            Some(norm) => norm.forward(config, x),
            None => x,
        }
    }

    /// Backward pass of [`layer`](Self::layer): see [`Block::backward`].
    #[expect(clippy::too_many_arguments, reason = "all that the backward pass of a layer needs")]
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

    /// Backward pass of [`final_norm`](Self::final_norm): the gradient of its input `x`, from `grad_hidden`, the gradient of its output.
    pub(crate) fn final_norm_backward(
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

    /// The keys and values of cross-attention in each layer of a decoder, from the last hidden states of the encoder,
    /// `[tokens, hidden_size]`: `[tokens, kv_heads, head_dim]` each.
    pub(crate) fn cross_keys_values(&self, config: &ModelConfig, encoded: &Tensor<2>) -> Vec<[Tensor<3>; 2]> {
        let cross_attentions = self.layers.iter().filter_map(|layer| layer.cross.as_ref());
        cross_attentions.map(|cross| cross.keys_values(config, encoded.clone())).collect()
    }
}
