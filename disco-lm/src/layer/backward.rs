//! The way back through a layer.
//!
//! Written by hand where automatic differentiation would do: that keeps every operand of every operation, and works
//! element by element on one thread. What is kept here is what is dear to compute again.

use burn::tensor::Tensor;

use super::{Layer, activation};
use crate::{
    rope::Angles,
    spec::{NormOrder, Spec},
    sums::Sums,
    together::Together,
};

/// What a layer has computed on the way forwards, for the way back.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// What entered the layer: `[tokens, width]`.
    pub(super) input: Option<Tensor<2>>,
    /// Queries, keys and values as the product leaves them: `[tokens, heads + 2 * kv_heads, head_width]`.
    pub(super) qkv: Option<Tensor<3>>,
    /// What attention gives: `[tokens, heads * head_width]`.
    pub(super) mixed: Option<Tensor<2>>,
    /// Before the norm behind the block, where there is one: `[tokens, width]`.
    pub(super) attended: Option<Tensor<2>>,
    /// What enters the feed-forward block: `[tokens, width]`.
    pub(super) middle: Option<Tensor<2>>,
    /// What leaves its first product: `[tokens, feed_forward_width]`, twice as wide if it is gated.
    pub(super) up: Option<Tensor<2>>,
    /// Before the norm behind the block, where there is one: `[tokens, width]`.
    pub(super) fed: Option<Tensor<2>>,
}

impl Kept {
    /// Of a layer that is run again when its turn comes.
    pub(crate) fn input_alone(input: Tensor<2>) -> Self {
        Self { input: Some(input), ..Self::default() }
    }

    /// What entered the layer, if nothing else has been kept.
    pub(crate) fn to_run_again(&self) -> Option<Tensor<2>> {
        if self.qkv.is_none() { self.input.clone() } else { None }
    }

    /// About how many numbers it holds per token.
    pub(crate) fn numbers(spec: &Spec) -> usize {
        let norms = if spec.norm_order == NormOrder::Around { 2 } else { 0 };
        let heads = 2 * spec.heads + 2 * spec.kv_heads;
        let up = if spec.feed_forward.gated { 2 } else { 1 };
        (2 + norms) * spec.width + heads * spec.head_width + up * spec.feed_forward_width
    }
}

/// Takes what must have been kept.
fn taken<T>(kept: &mut Option<T>) -> T {
    kept.take().expect("kept on the way forwards")
}

impl Layer {
    /// The gradient of what entered the layer, from that of what has left it, both `[tokens, width]`; those of its
    /// parameters are added to `sums`.
    ///
    /// For layers that have their norms before their blocks, and do not see an encoder.
    #[expect(clippy::too_many_arguments, reason = "what a layer is made of")]
    pub(crate) fn backward(
        &self,
        spec: &Spec,
        index: usize,
        mut kept: Kept,
        rotary: Option<&Angles>,
        attention: &Together,
        of_out: Tensor<2>,
        sums: &mut Sums<'_>,
    ) -> Tensor<2> {
        let of_middle = self.feed_forward_backward(spec, &mut kept, of_out, sums);
        self.attend_backward(spec, index, &mut kept, rotary, attention, of_middle, sums)
    }

    fn feed_forward_backward(
        &self,
        spec: &Spec,
        kept: &mut Kept,
        of_out: Tensor<2>,
        sums: &mut Sums<'_>,
    ) -> Tensor<2> {
        let of_fed = match &self.feed_forward_post_norm {
            Some(norm) => {
                norm.backward(spec, taken(&mut kept.fed), of_out.clone(), of_out.zeros_like(), sums)
            }
            None => of_out.clone(),
        };
        // The product's own gradients need its input, which the gradient of that input gives along the way.
        let of_inner = self.down.through(of_fed.clone());
        let [inner, of_up] = activation::inner_backward(spec, taken(&mut kept.up), of_inner);
        self.down.parameters_backward(inner, of_fed, sums);
        let middle = taken(&mut kept.middle);
        let normal = self.feed_forward_norm.forward(spec, middle.clone());
        let of_normal = self.up.backward(normal, of_up, sums);
        self.feed_forward_norm.backward(spec, middle, of_normal, of_out, sums)
    }

    #[expect(clippy::too_many_arguments, reason = "what a layer is made of")]
    fn attend_backward(
        &self,
        spec: &Spec,
        index: usize,
        kept: &mut Kept,
        rotary: Option<&Angles>,
        attention: &Together,
        of_middle: Tensor<2>,
        sums: &mut Sums<'_>,
    ) -> Tensor<2> {
        let of_attended = match &self.attention_post_norm {
            Some(norm) => norm.backward(
                spec,
                taken(&mut kept.attended),
                of_middle.clone(),
                of_middle.zeros_like(),
                sums,
            ),
            None => of_middle.clone(),
        };
        let of_mixed = self.output.backward(taken(&mut kept.mixed), of_attended, sums);
        let qkv = taken(&mut kept.qkv);
        let seen = self.heads(spec, index, qkv.clone(), rotary);
        let [of_queries, of_keys, of_values] = attention.backward(index, seen, of_mixed);
        let mut of_queries_keys = Tensor::cat(vec![of_queries, of_keys], 1);
        if let Some(angles) = rotary {
            of_queries_keys = angles.rotate_back(of_queries_keys, spec.is_windowed(index));
        }
        if let (Some(query_norm), Some(key_norm)) = (&self.query_norm, &self.key_norm) {
            let [heads, kv_heads] = [spec.heads, spec.kv_heads];
            let parts = [(query_norm, 0, heads), (key_norm, heads, kv_heads)].map(|(norm, start, count)| {
                let part = |x: &Tensor<3>| x.clone().narrow(1, start, count);
                norm.backward_heads(spec, part(&qkv), part(&of_queries_keys), sums)
            });
            of_queries_keys = Tensor::cat(parts.into(), 1);
        }
        let [tokens, heads, width] = qkv.dims();
        let of_qkv = Tensor::cat(vec![of_queries_keys, of_values], 1).reshape([tokens, heads * width]);
        let input = taken(&mut kept.input);
        let normal = self.attention_norm.forward(spec, input.clone());
        let of_normal = self.qkv.backward(normal, of_qkv, sums);
        self.attention_norm.backward(spec, input, of_normal, of_middle, sums)
    }
}
