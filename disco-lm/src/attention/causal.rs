//! Causal attention over whole sequences, after a shared context or after none.

use burn::tensor::{Device, Tensor};

use crate::{
    architecture::model_config::ModelConfig,
    attention::{
        Attention,
        cross::EncoderOutput,
        mask::AttentionMasks,
        prefix::{KeyValues, Prefix, after},
        relative_bias::RelativeBias,
        sdpa::{attention, by_head, group, ungroup},
    },
};

/// CausalAttention attention over sequences of one length, after a context or after nothing.
pub(crate) struct CausalAttention<'a> {
    batch: usize,
    kv_heads: usize,
    scale: f64,
    prefix: Option<&'a Prefix>,
    sights: AttentionMasks,
    /// The sequences' own keys and values, kept if asked for.
    kept: Option<KeyValues>,
}

impl<'a> CausalAttention<'a> {
    /// For `batch` sequences of `time` tokens. `prefix` has a row per sequence.
    pub(crate) fn new(
        config: &ModelConfig,
        batch: usize,
        seq_len: usize,
        prefix: Option<&'a Prefix>,
        keep: bool,
        device: &Device,
    ) -> Self {
        let before = prefix.map_or(0, Prefix::seq_len);
        let lengths = prefix.map_or(&[][..], |prefix| &prefix.lengths);
        Self {
            batch,
            kv_heads: config.kv_heads,
            scale: config.attention_scale,
            prefix,
            sights: AttentionMasks::new(config, lengths, before, seq_len, device),
            kept: keep.then(Vec::new),
        }
    }

    /// The keys and values of the sequences.
    pub(crate) fn into_kept(self) -> KeyValues {
        self.kept.unwrap_or_default()
    }
}

impl Attention for CausalAttention<'_> {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let seq_len = queries.dims()[0] / self.batch;
        let own = [by_head(keys, self.batch), by_head(values, self.batch)];
        if let Some(kept) = &mut self.kept {
            kept.push(own.clone());
        }
        let seen = match self.prefix.and_then(|prefix| prefix.layer(layer)) {
            Some(before) => after(before, own),
            None => own,
        };
        let queries = group(queries, self.batch, self.kv_heads);
        ungroup(attention(queries, seen, self.scale, Some(self.sights.mask(layer))), seq_len)
    }

    fn set_position_bias(&mut self, bias: &RelativeBias) {
        // The bias goes by positions: all contexts are start tokens then, and so of one length.
        let before = self.prefix.map_or(0, Prefix::seq_len);
        let seen = self.sights.mask.dims()[3];
        self.sights.mask = self.sights.mask.clone() + bias.between(before..seen, 0..seen);
    }

    fn encoder_output(&self) -> Option<&EncoderOutput> {
        self.prefix.and_then(|prefix| prefix.encoder_output.as_ref())
    }
}
