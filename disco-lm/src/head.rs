//! Hidden states to log-probabilities, in chunks: no tensor over all rows and the whole vocabulary exists.

use std::ops::Range;

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::{
    Decoding, Result,
    rows::Target,
    token_model::{download, upload},
};

/// How many logits are held at once: 32 MB.
const CHUNK: usize = 8 << 20;

/// The output layer: the matrix `[vocabulary, width]`, and what is made of its logits.
pub(crate) struct Head<'a> {
    weight: Tensor<2>,
    decoding: &'a Decoding,
}

/// What comes back through the output layer.
pub(crate) struct HeadGradient {
    /// `[rows, width]`.
    pub(crate) of_hidden: Tensor<2>,
    /// `[vocabulary, width]`, if it was asked for.
    pub(crate) of_weight: Option<Tensor<2>>,
}

impl<'a> Head<'a> {
    /// `weight` is plain, not of an automatic-differentiation graph: the gradient is formed by hand.
    pub(crate) fn new(weight: Tensor<2>, decoding: &'a Decoding) -> Self {
        Self { weight, decoding }
    }

    fn vocabulary(&self) -> usize {
        self.weight.dims()[0]
    }

    fn chunks(&self, rows: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let size = (CHUNK / self.vocabulary()).max(1);
        (0..rows).step_by(size).map(move |start| start..(start + size).min(rows))
    }

    /// The logits of some rows: `[rows, width]` to `rows * vocabulary` numbers.
    pub(crate) fn logits(&self, hidden: Tensor<2>) -> Result<Vec<f32>> {
        download(hidden.matmul(self.weight.clone().transpose()))
    }

    /// Draws one token per row, by one number in [0, 1) each, with its log-probability.
    pub(crate) fn draw(&self, logits: &[f32], uniforms: &[f64]) -> Result<Vec<(u32, f64)>> {
        logits
            .par_chunks(self.vocabulary())
            .zip(uniforms)
            .map(|(logits, uniform)| {
                let next = self.decoding.next_token(logits)?;
                let token = next.at(*uniform);
                Ok((token, next.log_prob(token)))
            })
            .collect()
    }

    /// The log-probability of every target of every row.
    pub(crate) fn log_probs(&self, hidden: &Tensor<2>, targets: &[Vec<Target>]) -> Result<Vec<Vec<f64>>> {
        let mut log_probs = Vec::with_capacity(targets.len());
        for rows in self.chunks(targets.len()) {
            let logits = self.logits(hidden.clone().narrow(0, rows.start, rows.len()))?;
            let chunk: Result<Vec<Vec<f64>>> = logits
                .par_chunks(self.vocabulary())
                .zip(&targets[rows])
                .map(|(logits, targets)| {
                    let next = self.decoding.next_token(logits)?;
                    Ok(targets.iter().map(|target| next.log_prob(target.token)).collect())
                })
                .collect();
            log_probs.extend(chunk?);
        }
        Ok(log_probs)
    }

    /// The gradient of `sum_targets weight[sequence] * log_prob(target)`.
    ///
    /// That of the output matrix only if `of_weight` asks for it: a frozen matrix has no use for it. The logits
    /// are computed again, which is cheaper than keeping them.
    pub(crate) fn gradient(
        &self,
        hidden: &Tensor<2>,
        targets: &[Vec<Target>],
        weights: &[f64],
        of_weight: bool,
    ) -> Result<HeadGradient> {
        let vocabulary = self.vocabulary();
        let mut of_hidden = Vec::new();
        let mut sum: Option<Tensor<2>> = None;
        for rows in self.chunks(targets.len()) {
            let states = hidden.clone().narrow(0, rows.start, rows.len());
            let mut logits = self.logits(states.clone())?;
            logits.par_chunks_mut(vocabulary).zip(&targets[rows.clone()]).try_for_each(
                |(row, targets)| {
                    let gradient = {
                        let next = self.decoding.next_token(row)?;
                        let weighted = targets.iter().map(|target| (target.token, weights[target.sequence]));
                        next.gradient(weighted)
                    };
                    row.copy_from_slice(&gradient);
                    Ok::<_, crate::Error>(())
                },
            )?;
            let gradient = upload(logits, [rows.len(), vocabulary], &self.weight.device());
            of_hidden.push(gradient.clone().matmul(self.weight.clone()));
            if of_weight {
                let product = gradient.transpose().matmul(states);
                sum = Some(match sum {
                    Some(sum) => sum + product,
                    None => product,
                });
            }
        }
        Ok(HeadGradient { of_hidden: Tensor::cat(of_hidden, 0), of_weight: sum })
    }
}
