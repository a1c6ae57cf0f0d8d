//! The way back through a layer.
//!
//! Written by hand where automatic differentiation would do: that keeps every operand of every operation, and works
//! element by element on one thread. What is kept here is what is dear to compute again.

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
    /// The gradient of what entered the layer, from that of what has left it, both `[tokens, hidden_size]`; those of its
    /// parameters are added to `gradients`.
    ///
    /// For layers that have their norms before their blocks, and do not see an encoder.
    #[expect(clippy::too_many_arguments, reason = "what a layer is made of")]
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
        let grad_middle = self.feed_forward_backward(config, &mut saved, grad_out, gradients);
        self.attend_backward(config, index, &mut saved, rotary, attention, grad_middle, gradients)
    }

    fn feed_forward_backward(
        &self,
        config: &ModelConfig,
        saved: &mut SavedActivations,
        grad_out: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<2> {
        let grad_fed = match &self.feed_forward_post_norm {
            Some(norm) => norm.backward(
                config,
                take_saved(&mut saved.mlp_output),
                grad_out.clone(),
                grad_out.zeros_like(),
                gradients,
            ),
            None => grad_out.clone(),
        };
        // The product's own gradients need its input, which the gradient of that input gives along the way.
        let grad_inner = self.down.backward_input(grad_fed.clone());
        let [inner, grad_up] = activation::inner_backward(config, take_saved(&mut saved.up), grad_inner);
        self.down.backward_parameters(inner, grad_fed, gradients);
        let post_attention = take_saved(&mut saved.post_attention);
        let normal = self.feed_forward_norm.forward(config, post_attention.clone());
        let grad_normal = self.up.backward(normal, grad_up, gradients);
        self.feed_forward_norm.backward(config, post_attention, grad_normal, grad_out, gradients)
    }

    #[expect(clippy::too_many_arguments, reason = "what a layer is made of")]
    fn attend_backward(
        &self,
        config: &ModelConfig,
        index: usize,
        saved: &mut SavedActivations,
        rotary: Option<&Angles>,
        attention: &PackedAttention,
        grad_middle: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<2> {
        let grad_attended = match &self.attention_post_norm {
            Some(norm) => norm.backward(
                config,
                take_saved(&mut saved.projected_attention),
                grad_middle.clone(),
                grad_middle.zeros_like(),
                gradients,
            ),
            None => grad_middle.clone(),
        };
        let grad_mixed =
            self.output.backward(take_saved(&mut saved.attention_output), grad_attended, gradients);
        let qkv = take_saved(&mut saved.qkv);
        let seen = self.heads(config, index, qkv.clone(), rotary);
        let [grad_queries, grad_keys, grad_values] = attention.backward(index, seen, grad_mixed);
        let mut grad_queries_keys = Tensor::cat(vec![grad_queries, grad_keys], 1);
        if let Some(angles) = rotary {
            grad_queries_keys = angles.rotate_back(grad_queries_keys, config.is_windowed(index));
        }
        if let (Some(query_norm), Some(key_norm)) = (&self.query_norm, &self.key_norm) {
            let [heads, kv_heads] = [config.heads, config.kv_heads];
            let parts = [(query_norm, 0, heads), (key_norm, heads, kv_heads)].map(|(norm, start, count)| {
                let part = |x: &Tensor<3>| x.clone().narrow(1, start, count);
                norm.backward_heads(config, part(&qkv), part(&grad_queries_keys), gradients)
            });
            grad_queries_keys = Tensor::cat(parts.into(), 1);
        }
        let [tokens, heads, width] = qkv.dims();
        let grad_qkv = Tensor::cat(vec![grad_queries_keys, grad_values], 1).reshape([tokens, heads * width]);
        let input = take_saved(&mut saved.input);
        let normal = self.attention_norm.forward(config, input.clone());
        let grad_normal = self.qkv.backward(normal, grad_qkv, gradients);
        self.attention_norm.backward(config, input, grad_normal, grad_middle, gradients)
    }
}
