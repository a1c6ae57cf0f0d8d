//! The held-out loss of a corpus.

use crate::{
    Decoding, LanguageModel, Result,
    attention::CausalAttention,
    decoding::History,
    layers::block::Mode,
    model::forward::{PredictionRow, Target},
    training::pretrain::Corpus,
};

/// A row without a history: no decoding setting of pretraining depends on earlier tokens.
pub(super) fn plain_row(targets: Vec<Target>) -> PredictionRow<'static> {
    PredictionRow { targets, history: History::default() }
}

impl LanguageModel {
    /// The held-out loss of a corpus, in nats per character.
    ///
    /// It is the sum of the negative log-probabilities of all its tokens, the end tokens that separate texts included,
    /// divided by the number of characters. Decoding settings do not enter. Each token is predicted once, from at least
    /// half a window of earlier tokens where the corpus has that many.
    ///
    /// # Errors
    /// As [`TokenModel::token_log_probs`](crate::TokenModel::token_log_probs).
    pub fn nats_per_character(&self, corpus: &Corpus) -> Result<f64> {
        let model = self.tokens();
        let (stream, characters) = corpus.held_out();
        let window = model.shared.config.max_positions;
        let stride = (window / 2).max(1);
        let transformer = model.transformer();
        let plain = Decoding::default();
        let head = model.lm_head_with(&plain);
        // Input i predicts stream[i + 1]. A window that begins at `start` scores the inputs not yet scored.
        let inputs = stream.len() - 1;
        let mut windows = vec![(0, 0)];
        while windows[windows.len() - 1].0 + window < inputs {
            let start = (windows[windows.len() - 1].0 + stride).min(inputs - window);
            let scored = windows[windows.len() - 1].0 + window;
            windows.push((start, scored));
        }
        let mut nats = 0.0;
        for batch in windows.chunks(model.generation().batch) {
            let seq_len = window.min(inputs);
            let ids: Vec<u32> =
                batch.iter().flat_map(|(start, _)| &stream[*start..start + seq_len]).copied().collect();
            let positions: Vec<usize> = batch.iter().flat_map(|_| 0..seq_len).collect();
            let mut attention = CausalAttention::new(
                &model.shared.config,
                batch.len(),
                seq_len,
                None,
                false,
                &model.shared.device,
            );
            let hidden = transformer.hidden_states(&ids, &positions, &mut attention, &mut Mode::Plain);
            let rows: Vec<PredictionRow<'_>> = batch
                .iter()
                .flat_map(|&(start, scored)| {
                    (start..start + seq_len).map(move |input| {
                        let target = Target { sequence: 0, token: stream[input + 1] };
                        plain_row(if input >= scored { vec![target] } else { Vec::new() })
                    })
                })
                .collect();
            nats -= head.log_probs(&hidden, &rows)?.into_iter().flatten().sum::<f64>();
        }
        Ok(nats / characters as f64)
    }
}
