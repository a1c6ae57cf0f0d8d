//! Layers on top of each other, with what they share.

use burn::tensor::Tensor;

use crate::{
    layer::{Attend, Kept, Layer, Mode, NormWeights, Supply},
    relative::RelativeBias,
    rope::Angles,
    spec::{NormOrder, Positions, Spec},
    sums::Sums,
    together::Together,
};

/// The layers of an encoder or of a decoder.
pub(crate) struct Stack {
    relative: Option<RelativeBias>,
    layers: Vec<Layer>,
    /// Not there if every layer ends with a norm.
    norm: Option<NormWeights>,
}

/// What a stack of layers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Every token sees all others.
    BothWays,
    /// A token sees those before it.
    Causal,
}

impl Stack {
    /// Takes its tensors in the order of [`crate::slots::stack`].
    pub(crate) fn assemble(spec: &Spec, layers: usize, direction: Direction, from: &mut Supply<'_>) -> Self {
        let both_ways = direction == Direction::BothWays;
        let relative = match spec.positions {
            Positions::Relative(buckets) => Some(RelativeBias { table: from.tensor(), buckets, both_ways }),
            Positions::Learned | Positions::Rotary(_) => None,
        };
        let cross = spec.encoder.is_some() && !both_ways;
        let layers = (0..layers).map(|_| Layer::assemble(spec, cross, from)).collect();
        let norm = (spec.norm_order != NormOrder::After).then(|| NormWeights::assemble(spec, from));
        Self { relative, layers, norm }
    }

    /// - x, returns: `[tokens, width]`
    pub(crate) fn forward(
        &self,
        spec: &Spec,
        mut x: Tensor<2>,
        rotary: Option<&Angles>,
        attention: &mut dyn Attend,
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        if let Some(relative) = &self.relative {
            attention.relate(relative);
        }
        for index in 0..self.layers.len() {
            x = self.layer(index, spec, x, rotary, attention, mode);
        }
        self.finish(spec, x)
    }

    /// One layer: `[tokens, width]` to `[tokens, width]`.
    pub(crate) fn layer(
        &self,
        index: usize,
        spec: &Spec,
        x: Tensor<2>,
        rotary: Option<&Angles>,
        attention: &mut dyn Attend,
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        self.layers[index].forward(spec, index, x, rotary, attention, mode)
    }

    /// What leaves the last layer, normalised. Each row by itself.
    pub(crate) fn finish(&self, spec: &Spec, x: Tensor<2>) -> Tensor<2> {
        match &self.norm {
            Some(norm) => norm.forward(spec, x),
            None => x,
        }
    }

    /// The way back through [`layer`](Self::layer).
    #[expect(clippy::too_many_arguments, reason = "those of the layer")]
    pub(crate) fn layer_backward(
        &self,
        index: usize,
        spec: &Spec,
        kept: Kept,
        rotary: Option<&Angles>,
        attention: &Together,
        of_out: Tensor<2>,
        sums: &mut Sums<'_>,
    ) -> Tensor<2> {
        self.layers[index].backward(spec, index, kept, rotary, attention, of_out, sums)
    }

    /// The gradient of what [`finish`](Self::finish) was given, from that of what it gave.
    pub(crate) fn finish_backward(
        &self,
        spec: &Spec,
        x: Tensor<2>,
        of_hidden: Tensor<2>,
        sums: &mut Sums<'_>,
    ) -> Tensor<2> {
        match &self.norm {
            Some(norm) => {
                let zeros = x.zeros_like();
                norm.backward(spec, x, of_hidden, zeros, sums)
            }
            None => of_hidden,
        }
    }

    /// The keys and values that each layer of a decoder takes from encoded tokens,
    /// `[tokens, kv_heads, head_width]` each.
    pub(crate) fn cross_keys_values(&self, spec: &Spec, encoded: &Tensor<2>) -> Vec<[Tensor<3>; 2]> {
        let crosses = self.layers.iter().filter_map(|layer| layer.cross.as_ref());
        crosses.map(|cross| cross.keys_values(spec, encoded.clone())).collect()
    }
}
