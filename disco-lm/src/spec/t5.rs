//! T5 and Flan-T5: an encoder reads the context, a decoder writes (Raffel et al. 2020).

use super::{
    Activation, Encoder, Family, FeedForward, Fields, Norm, NormOrder, Positions, Spec, UNLIMITED,
    reciprocal_root,
};
use crate::{Result, relative::Buckets, weights::TensorSource};

pub(super) fn t5(fields: &Fields<'_>) -> Result<Spec> {
    let tanh = Activation::GeluTanh;
    let feed_forward = fields.choice(
        "feed_forward_proj",
        "relu",
        &[
            ("relu", FeedForward { activation: Activation::Relu, gated: false }),
            ("gated-gelu", FeedForward { activation: tanh, gated: true }),
            ("gated-silu", FeedForward { activation: Activation::Silu, gated: true }),
        ],
    )?;
    let width = fields.size("d_model", None)?;
    let heads = fields.size("num_heads", None)?;
    let encoder_layers = fields.layers("num_layers", None)?;
    let tied = fields.flag("tie_word_embeddings", true)?;
    // Newer files always say that the embeddings are tied, and keep the older meaning of it here.
    let scaled = fields.flag("scale_decoder_outputs", tied)?;
    let start = fields.size("decoder_start_token_id", Some(0))?;
    let vocabulary = fields.size("vocab_size", None)?;
    if start >= vocabulary {
        return Err(fields.refused("decoder_start_token_id", start, "below vocab_size"));
    }
    Ok(Spec {
        family: Family::T5,
        vocabulary,
        width,
        layers: fields.layers("num_decoder_layers", Some(encoder_layers))?,
        heads,
        kv_heads: heads,
        head_width: fields.size("d_kv", None)?,
        feed_forward_width: fields.size("d_ff", None)?,
        // Only distances count, and those beyond the largest share a bucket.
        max_positions: UNLIMITED,
        embedding_scale: 1.0,
        norm: Norm::Rms,
        norm_order: NormOrder::Before,
        norm_epsilon: fields.number("layer_norm_epsilon", Some(1e-6))?,
        positions: Positions::Relative(Buckets::from_config(fields)?),
        window: None,
        attention_scale: 1.0,
        feed_forward,
        qkv_bias: false,
        output_bias: false,
        feed_forward_bias: false,
        query_key_norm: false,
        tied: true,
        output_scale: if scaled { reciprocal_root(width) } else { 1.0 },
        encoder: Some(Encoder { layers: encoder_layers, start: start as u32 }),
    })
}

impl Spec {
    /// The same, untied if the weights have an output matrix that is not the embedding. Of T5 only they can
    /// say: newer configurations say of all models that they are tied.
    pub(crate) fn for_weights(self, source: &dyn TensorSource) -> Result<Self> {
        let stored = source.shapes();
        let names = ["lm_head.weight", "shared.weight"];
        let [Some(head), Some(embedding)] = names.map(|name| stored.get(name)) else { return Ok(self) };
        if self.family != Family::T5 {
            return Ok(self);
        }
        let read = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
            let mut values = vec![0.0; shape.iter().product()];
            source.read(name, &mut values)?;
            Ok(values)
        };
        let tied = head == embedding && read(names[0], head)? == read(names[1], embedding)?;
        Ok(Self { tied, ..self })
    }
}
