//! The parameter reader: gives the parameters of a model to its layers, in order.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::layers::{linear::Linear, low_rank::LowRank, weight::Weight};

/// Weights in the order of [`parameters`](crate::architecture::parameters::parameters), each of which is taken once. Handles are
/// copied, not elements.
pub(crate) struct ParameterReader<'a> {
    weights: &'a [Weight],
    low_rank: &'a BTreeMap<usize, LowRank>,
    next: usize,
}

impl<'a> ParameterReader<'a> {
    /// `low_rank` holds updates by the index of the parameter that they stand beside.
    pub(crate) fn new(weights: &'a [Weight], low_rank: &'a BTreeMap<usize, LowRank>) -> Self {
        Self { weights, low_rank, next: 0 }
    }

    /// The index of the next parameter.
    pub(crate) fn index(&self) -> usize {
        self.next
    }

    /// The next parameter, as a matrix to multiply by or to take rows of.
    ///
    /// # Panics
    /// If there are fewer weights than parameters.
    pub(crate) fn weight(&mut self) -> Weight {
        self.next += 1;
        self.weights[self.next - 1].clone()
    }

    /// The next parameter, a small one whose elements are used one by one: a norm's scale, a bias, a table.
    ///
    /// # Panics
    /// As [`weight`](Self::weight).
    pub(crate) fn elements(&mut self) -> Tensor<2> {
        self.weight().to_f32()
    }

    /// A linear layer from the next parameter, and from the one after it if it has a bias.
    ///
    /// # Panics
    /// As [`weight`](Self::weight).
    pub(crate) fn linear(&mut self, bias: bool) -> Linear {
        let parameter = self.index();
        let low_rank = self.low_rank.get(&parameter).cloned();
        Linear { parameter, weight: self.weight(), bias: bias.then(|| self.elements()), low_rank }
    }
}
