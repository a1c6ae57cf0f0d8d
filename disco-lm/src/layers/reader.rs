//! The parameter reader: hands the parameters of a model to its layers, in order.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::layers::{linear::Linear, low_rank::LowRank};

/// Tensors in the order of the parameters, each to be taken once.
pub(crate) struct ParameterReader<'a> {
    tensors: &'a [Tensor<2>],
    low_rank: &'a BTreeMap<usize, LowRank>,
    next: usize,
}

impl<'a> ParameterReader<'a> {
    /// `low_rank` are by index of the parameter.
    pub(crate) fn new(tensors: &'a [Tensor<2>], low_rank: &'a BTreeMap<usize, LowRank>) -> Self {
        Self { tensors, low_rank, next: 0 }
    }

    /// The parameter of the tensor that is next.
    pub(crate) fn parameter(&self) -> usize {
        self.next
    }

    /// # Panics
    /// If there are fewer tensors than parameters.
    pub(crate) fn tensor(&mut self) -> Tensor<2> {
        self.next += 1;
        self.tensors[self.next - 1].clone()
    }

    pub(crate) fn linear(&mut self, bias: bool) -> Linear {
        let parameter = self.parameter();
        let low_rank = self.low_rank.get(&parameter).cloned();
        Linear { parameter, weight: self.tensor(), bias: bias.then(|| self.tensor()), low_rank }
    }
}
