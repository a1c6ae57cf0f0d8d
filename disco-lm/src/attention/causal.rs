//! Causal attention over whole sequences, with or without a prefilled context before each of them.

use burn::tensor::{Device, Tensor};

use crate::{
    architecture::model_config::ModelConfig,
    attention::{
        Attention,
        cross::EncoderOutput,
        mask::AttentionMasks,
        prefix::{KeyValues, Prefix, append},
        relative_bias::RelativeBias,
        sdpa::{attention, by_head, group, ungroup},
    },
};

/// Causal attention over sequences of one length. Each follows a prefilled context, or none of them does.
pub(crate) struct CausalAttention<'a> {
    batch: usize,
    kv_heads: usize,
    scale: f64,
    prefix: Option<&'a Prefix>,
    masks: AttentionMasks,
    /// The keys and values of the sequences, without those of their contexts; `None` if they are not to be saved.
    saved: Option<KeyValues>,
}

impl<'a> CausalAttention<'a> {
    /// For `batch` sequences of `seq_len` tokens. `prefix` has one row for each sequence. If `save`, their keys and values
    /// are saved.
    pub(crate) fn new(
        config: &ModelConfig,
        batch: usize,
        seq_len: usize,
        prefix: Option<&'a Prefix>,
        save: bool,
        device: &Device,
    ) -> Self {
        let context_len = prefix.map_or(0, Prefix::seq_len);
        let context_lengths = prefix.map_or(&[][..], |prefix| &prefix.lengths);
        Self {
            batch,
            kv_heads: config.kv_heads,
            scale: config.attention_scale,
            prefix,
            masks: AttentionMasks::new(config, context_lengths, context_len, seq_len, device),
            saved: save.then(Vec::new),
        }
    }

    /// The keys and values of the sequences; empty if they were not saved.
    pub(crate) fn into_key_values(self) -> KeyValues {
        self.saved.unwrap_or_default()
    }
}

impl Attention for CausalAttention<'_> {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let seq_len = queries.dims()[0] / self.batch;
        let own = [by_head(keys, self.batch), by_head(values, self.batch)];
        if let Some(saved) = &mut self.saved {
            saved.push(own.clone());
        }
        let keys_values = match self.prefix.and_then(|prefix| prefix.layer(layer)) {
            Some(context) => append(context, own),
            None => own,
        };
        let queries = group(queries, self.batch, self.kv_heads);
        ungroup(attention(queries, keys_values, self.scale, Some(self.masks.mask(layer))), seq_len)
    }

    fn set_position_bias(&mut self, bias: &RelativeBias) {
        // The bias depends on positions. Only a decoder with an encoder has one: each of its contexts is the start token,
        // so that all have one length.
        let context_len = self.prefix.map_or(0, Prefix::seq_len);
        let kv_len = self.masks.mask.dims()[3];
        self.masks.mask = self.masks.mask.clone() + bias.between(context_len..kv_len, 0..kv_len);
    }

    fn encoder_output(&self) -> Option<&EncoderOutput> {
        self.prefix.and_then(|prefix| prefix.encoder_output.as_ref())
    }
}
