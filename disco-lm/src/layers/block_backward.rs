//! The backward pass of a layer.
//!
//! It is written by hand, although automatic differentiation computes the same gradient: autodiff saves every operand of
//! every operation, and works element by element on one thread. This backward pass saves only those activations that are
//! expensive to recompute ([`SavedActivations`]).

use burn::tensor::Tensor;

use crate::{
    architecture::model_config::ModelConfig,
    attention::PackedAttention,
    layers::{
        activation,
        block::Block,
        gradients::GradientAccumulator,
        rotary::Angles,
        saved::{SavedActivations, take_saved},
    },
};

impl Block {
    /// The gradient of the layer's input, from `grad_out`, the gradient of its output, both `[tokens, hidden_size]`; the
    /// gradients of its parameters are added to `gradients`.
    ///
    /// For layers whose norms are `NormOrder::Before` or `NormOrder::Around`, without cross-attention.
    #[expect(clippy::too_many_arguments, reason = "all that the backward pass of a layer needs")]
    pub(crate) fn backward(
        &self,
        config: &ModelConfig,
        index: usize,
        mut saved: SavedActivations,
        rotary: Option<&Angles>,
        attention: &PackedAttention,
        grad_out: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<2> {
        let grad_post_attention = self.feed_forward_backward(config, &mut saved, grad_out, gradients);
        self.attend_backward(config, index, &mut saved, rotary, attention, grad_post_attention, gradients)
    }

    /// The gradient of the feed-forward block's input, from `grad_out`, the gradient of its output, the residual connection
    /// included: both `[tokens, hidden_size]`.
    fn feed_forward_backward(
        &self,
        config: &ModelConfig,
        saved: &mut SavedActivations,
        grad_out: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<2> {
        let grad_mlp_output = match &self.feed_forward_post_norm {
            Some(norm) => norm.backward(
                config,
                take_saved(&mut saved.mlp_output),
                grad_out.clone(),
                grad_out.zeros_like(),
                gradients,
            ),
            None => grad_out.clone(),
        };
        // The gradient of `down` needs the input of its matmul, which was not saved: `inner_backward` recomputes it.
        let grad_inner = self.down.backward_input(grad_mlp_output.clone());
        let [inner, grad_up] = activation::backward(config, take_saved(&mut saved.up), grad_inner);
        self.down.backward_parameters(inner, grad_mlp_output, gradients);
        let post_attention = take_saved(&mut saved.post_attention);
        let normalised = self.feed_forward_norm.forward(config, post_attention.clone());
        let grad_normalised = self.up.backward(normalised, grad_up, gradients);
        self.feed_forward_norm.backward(config, post_attention, grad_normalised, grad_out, gradients)
    }

    /// The gradient of the attention block's input, from `grad_post_attention`, the gradient of its output, the residual
    /// connection included: both `[tokens, hidden_size]`.
    #[expect(clippy::too_many_arguments, reason = "all that the backward pass of a layer needs")]
    fn attend_backward(
        &self,
        config: &ModelConfig,
        index: usize,
        saved: &mut SavedActivations,
        rotary: Option<&Angles>,
        attention: &PackedAttention,
        grad_post_attention: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<2> {
        let grad_projected_attention = match &self.attention_post_norm {
            Some(norm) => norm.backward(
                config,
                take_saved(&mut saved.projected_attention),
                grad_post_attention.clone(),
                grad_post_attention.zeros_like(),
                gradients,
            ),
            None => grad_post_attention.clone(),
        };
        let grad_attention_output = self.output.backward(
            take_saved(&mut saved.attention_output),
            grad_projected_attention,
            gradients,
        );
        let qkv = take_saved(&mut saved.qkv);
        let queries_keys_values = self.heads(config, index, qkv.clone(), rotary);
        let [grad_queries, grad_keys, grad_values] =
            attention.backward(index, queries_keys_values, grad_attention_output);
        let mut grad_queries_keys = Tensor::cat(vec![grad_queries, grad_keys], 1);
        if let Some(angles) = rotary {
            grad_queries_keys = angles.rotate_backward(grad_queries_keys, config.is_windowed(index));
        }
        if let (Some(query_norm), Some(key_norm)) = (&self.query_norm, &self.key_norm) {
            let [heads, kv_heads] = [config.heads, config.kv_heads];
            let grad_parts =
                [(query_norm, 0, heads), (key_norm, heads, kv_heads)].map(|(norm, start, count)| {
                    let part = |x: &Tensor<3>| x.clone().narrow(1, start, count);
                    norm.backward_heads(config, part(&qkv), part(&grad_queries_keys), gradients)
                });
            grad_queries_keys = Tensor::cat(grad_parts.into(), 1);
        }
        let [tokens, heads, head_dim] = qkv.dims();
        let grad_qkv =
            Tensor::cat(vec![grad_queries_keys, grad_values], 1).reshape([tokens, heads * head_dim]);
        let input = take_saved(&mut saved.input);
        let normalised = self.attention_norm.forward(config, input.clone());
        let grad_normalised = self.qkv.backward(normalised, grad_qkv, gradients);
        self.attention_norm.backward(config, input, grad_normalised, grad_post_attention, gradients)
    }
}
