//! Bidirectional attention, as in an encoder: every token sees all tokens of its sequence.

use burn::tensor::{Device, Tensor};

use crate::{
    architecture::model_config::ModelConfig,
    attention::{
        Attention,
        cross::EncoderOutput,
        mask::padding_mask,
        relative_bias::RelativeBias,
        sdpa::{attention, by_head, group, ungroup},
    },
};

/// Bidirectional attention over sequences that are padded on the right to one length.
pub(crate) struct BidirectionalAttention {
    lengths: Vec<usize>,
    seq_len: usize,
    scale: f64,
    /// Hides the padding: `[batch, 1, 1, seq_len]`.
    padding: Option<Tensor<4>>,
    /// Padding mask plus relative position bias: broadcast to `[batch, heads, seq_len, seq_len]`.
    mask: Option<Tensor<4>>,
}

impl BidirectionalAttention {
    /// For sequences of the given lengths, padded on the right to `seq_len` tokens.
    pub(crate) fn new(config: &ModelConfig, lengths: &[usize], seq_len: usize, device: &Device) -> Self {
        let padding = padding_mask(lengths, seq_len, 0, device);
        let lengths = lengths.to_vec();
        Self { lengths, seq_len, scale: config.attention_scale, mask: padding.clone(), padding }
    }

    /// The encoder output that a decoder attends to, from the keys and values that each layer of the decoder computes from the
    /// encoder's hidden states.
    ///
    /// - projected: keys and values for each layer, `[batch * seq_len, kv_heads, head_dim]` each
    pub(crate) fn into_encoder_output(self, projected: Vec<[Tensor<3>; 2]>) -> EncoderOutput {
        let batch = self.lengths.len();
        let layers = projected.into_iter().map(|pair| pair.map(|tensor| by_head(tensor, batch))).collect();
        EncoderOutput { layers, scale: self.scale, lengths: self.lengths, padding: self.padding }
    }
}

impl Attention for BidirectionalAttention {
    fn attend(&mut self, _: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let kv_heads = keys.dims()[1];
        let batch = self.lengths.len();
        let keys_values = [by_head(keys, batch), by_head(values, batch)];
        let queries = group(queries, batch, kv_heads);
        ungroup(attention(queries, keys_values, self.scale, self.mask.as_ref()), self.seq_len)
    }

    fn set_position_bias(&mut self, bias: &RelativeBias) {
        let bias = bias.between(0..self.seq_len, 0..self.seq_len);
        self.mask = Some(match &self.padding {
            Some(padding) => bias + padding.clone(),
            None => bias,
        });
    }

    fn encoder_output(&self) -> Option<&EncoderOutput> {
        None
    }
}
