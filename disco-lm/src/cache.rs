//! Attention token by token, over keys and values that grow.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use crate::{
    attention::{Prefix, attention, by_head, group, padding_mask, select_rows, ungroup},
    host::{self, HostCache},
    layer::Attend,
    memory::Memory,
    relative::RelativeBias,
    spec::Spec,
    window::{Local, Sight},
};

/// Keys and values that grow by one token per sequence and step.
pub(crate) trait Growing: Attend {
    /// To be called once all layers have seen a step.
    fn advance(&mut self);

    /// Keeps only the sequences at `rows`.
    fn keep(&mut self, rows: &[usize]);
}

/// A cache for a row per sequence, with room for `steps` tokens behind the contexts that `which` names.
pub(crate) fn cache(
    prefix: &Prefix,
    which: Vec<usize>,
    steps: usize,
    spec: &Arc<Spec>,
    device: &Device,
) -> Box<dyn Growing> {
    if host::is_host(device) && spec.encoder.is_none() {
        return Box::new(HostCache::new(prefix, which, steps, spec));
    }
    Box::new(Cache::new(&prefix.rows(&which), steps, spec, device))
}

/// The cache of any device.
///
/// Room for every step is taken at once, and written in place: Burn copies a tensor on writing only while
/// another handle to it lives, so each is taken out, written and put back.
struct Cache {
    spec: Arc<Spec>,
    layers: Vec<Option<[Tensor<4>; 2]>>,
    padding: Option<Tensor<4>>,
    /// The number of tokens of each row's context.
    lengths: Vec<usize>,
    /// Of this step, for layers with a window.
    local: Option<Local>,
    /// Of this step, by distance.
    bias: Option<Tensor<4>>,
    memory: Option<Memory>,
    before: usize,
    filled: usize,
}

impl Cache {
    /// A cache that begins with `prefix`, a row per sequence, and has room for `steps` more tokens.
    fn new(prefix: &Prefix, steps: usize, spec: &Arc<Spec>, device: &Device) -> Self {
        let layers = prefix.layers.iter().map(|pair| {
            Some(pair.each_ref().map(|tensor| {
                let [batch, kv_heads, time, width] = tensor.dims();
                let room = Tensor::zeros([batch, kv_heads, time + steps, width], device);
                room.slice_assign([0..batch, 0..kv_heads, 0..time, 0..width], tensor.clone())
            }))
        });
        Self {
            spec: spec.clone(),
            layers: layers.collect(),
            padding: padding_mask(&prefix.lengths, prefix.time(), steps, device),
            lengths: prefix.lengths.clone(),
            local: None,
            bias: None,
            memory: prefix.memory.clone(),
            before: prefix.time(),
            filled: prefix.time(),
        }
    }
}

impl Attend for Cache {
    fn attend(&mut self, layer: usize, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
        let batch = queries.dims()[0];
        let [at, kv_heads] = [self.filled, self.spec.kv_heads];
        if layer == 0 {
            let step = at - self.before;
            let sight = Sight { lengths: &self.lengths, before: self.before, queries: step..step + 1 };
            self.local = Local::new(&self.spec, &sight, &queries.device());
        }
        let pair = self.layers[layer].take().expect("put back after every step");
        let mut new = [by_head(keys, batch), by_head(values, batch)].into_iter();
        let pair = pair.map(|room| {
            let [_, _, _, width] = room.dims();
            let new = new.next().expect("keys and values");
            room.slice_assign([0..batch, 0..kv_heads, at..at + 1, 0..width], new)
        });
        let seen = pair.each_ref().map(|tensor| tensor.clone().narrow(2, 0, at + 1));
        let padding = self.padding.as_ref().map(|padding| padding.clone().narrow(3, 0, at + 1));
        let mask = match self.local.as_ref().and_then(|local| local.mask(layer)) {
            Some(local) => Some(local.clone()),
            // A stack with a bias has start tokens for contexts, and so no padding.
            None => self.bias.clone().or(padding),
        };
        let queries = group(queries, batch, kv_heads);
        let mixed = attention(queries, seen, self.spec.attention_scale, mask.as_ref());
        self.layers[layer] = Some(pair);
        ungroup(mixed, 1)
    }

    fn relate(&mut self, bias: &RelativeBias) {
        let at = self.filled;
        self.bias = Some(bias.between(at..at + 1, 0..at + 1));
    }

    fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }
}

impl Growing for Cache {
    fn advance(&mut self) {
        self.filled += 1;
    }

    fn keep(&mut self, rows: &[usize]) {
        for layer in &mut self.layers {
            *layer = layer.take().map(|pair| pair.map(|tensor| select_rows(tensor, rows)));
        }
        self.padding = self.padding.take().map(|padding| select_rows(padding, rows));
        self.memory = self.memory.take().map(|memory| memory.rows(rows));
        self.lengths = rows.iter().map(|row| self.lengths[*row]).collect();
    }
}

#[cfg(test)]
mod tests {
    use disco_core::{Sampled, Streams};
    use serde_json::{Value, json};

    use crate::{
        Decoding, Generation,
        testing::{config, elsewhere, random},
    };

    /// In the log-probability of a sequence of at most 12 tokens, in f32.
    const TOLERANCE: f64 = 1e-4;

    /// The cache of the host and that of other devices, over contexts of several lengths, with sequences that end early
    /// and are packed out.
    #[track_caller]
    fn check(config: &Value) {
        let generation = Generation { max_new_tokens: 12, ..Generation::default() };
        let model = random(config, Decoding::default()).with_generation(generation).expect("settings");
        let contexts: [&[u32]; 3] = [&[5, 6, 7, 8, 9], &[8], &[3, 4]];
        let streams: Vec<Streams> = (0..3).map(|seed| Streams::new(seed, 20)).collect();
        let draw = || -> Vec<Sampled<Vec<u32>>> {
            model.draw(&contexts, &streams).expect("samples").into_iter().flatten().collect()
        };
        let (here, there) = (draw(), elsewhere(draw));
        assert!(here.iter().any(|sample| sample.value.len() == 12), "some go on to the end");
        assert!(here.iter().any(|sample| sample.value.len() < 6), "some end early");
        for (here, there) in here.iter().zip(&there) {
            assert_eq!(here.value, there.value);
            assert!(
                (here.log_prob - there.log_prob).abs() < TOLERANCE,
                "{} {}",
                here.log_prob,
                there.log_prob
            );
        }
    }

    #[test]
    fn all_devices_draw_alike() {
        check(&config(json!({"model_type": "llama", "num_key_value_heads": 2})));
    }

    #[test]
    fn all_devices_draw_alike_with_sliding_windows() {
        check(&config(json!({"model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 3})));
    }
}
