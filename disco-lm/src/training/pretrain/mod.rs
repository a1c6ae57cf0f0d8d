//! Pretraining: trains a small model from random weights on a text.
//!
//! The embedded model was made with it. The objective is next-token prediction, with AdamW, dropout on the residual
//! branches, a warm-up and a cosine decay; forward pass, output layer and optimizer are those of tuning.

mod corpus;
mod held_out;

use std::collections::BTreeMap;

use self::held_out::plain_row;
use burn::tensor::{Device, Tensor};
use disco_tuner::{Adam, Optimizer, Update};
use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Error, Generation, LanguageModel, Result, TokenModel, TokenPolicy,
    architecture::{
        parameters::{ParameterKind, parameters},
        read_config,
    },
    device::transfer::upload,
    layers::block::Mode,
    model::forward::Target,
    training::autodiff::AutodiffPass,
    weights::Loaded,
};

pub use corpus::Corpus;

/// The token before and after every text.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// The architecture of a small Llama, and the settings of its training.
///
/// | field | default | range |
/// |---|---|---|
/// | `vocabulary` | 1024 | at least 257, and at least the number of tokens of the corpus' tokenizer |
/// | `width` | 192 | a multiple of `2 heads` |
/// | `layers`, `heads` | 5, 6 | at least 1 |
/// | `kv_heads` | 6 | a divisor of `heads` |
/// | `feed_forward`, `window`, `batch`, `steps` | 512, 128, 8, 1200 | at least 1 |
/// | `warm_up` | 100 | any |
/// | `learning_rate` | 0.002 | positive, finite |
/// | `weight_decay` | 0.1 | 0 or more, finite (not checked) |
/// | `dropout` | 0.1 | [0, 1) |
/// | `seed` | 0 | any |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pretrain {
    /// Number of entries of the byte-pair vocabulary, [`END_OF_TEXT`] and the 256 bytes included.
    pub vocabulary: usize,
    /// Hidden size: the width of the residual stream.
    pub width: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Number of key and value heads.
    pub kv_heads: usize,
    /// Intermediate size: the width of the feed-forward block.
    pub feed_forward: usize,
    /// Number of tokens of a training example; also the number of the model's positions.
    pub window: usize,
    /// Number of examples per step.
    pub batch: usize,
    /// Number of steps.
    pub steps: usize,
    /// Number of steps in which the learning rate grows linearly from 0.
    pub warm_up: usize,
    /// The largest learning rate; a cosine then lowers it to a tenth.
    pub learning_rate: f64,
    /// Weight decay of the matrices.
    pub weight_decay: f64,
    /// Dropout: the probability that a step sets a channel of a residual branch to zero.
    pub dropout: f64,
    /// Seed of the initial weights, the choice of examples, and the dropout.
    pub seed: u64,
}

impl Default for Pretrain {
    fn default() -> Self {
        Self {
            vocabulary: 1024,
            width: 192,
            layers: 5,
            heads: 6,
            kv_heads: 6,
            feed_forward: 512,
            window: 128,
            batch: 8,
            steps: 1200,
            warm_up: 100,
            learning_rate: 2e-3,
            weight_decay: 0.1,
            dropout: 0.1,
            seed: 0,
        }
    }
}

/// The progress of training after a step.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Number of steps done.
    pub step: usize,
    /// The step's training loss, in nats per token.
    pub loss: f64,
}

impl Pretrain {
    fn validate(&self) -> Result<()> {
        for (field, value) in [
            ("vocabulary", self.vocabulary),
            ("width", self.width),
            ("layers", self.layers),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("feed_forward", self.feed_forward),
            ("window", self.window),
            ("batch", self.batch),
            ("steps", self.steps),
        ] {
            if value == 0 {
                return Err(Error::invalid(field, value, "at least 1"));
            }
        }
        if !self.width.is_multiple_of(2 * self.heads) {
            return Err(Error::invalid(
                "heads",
                self.heads,
                "such that width / heads is a whole, even number",
            ));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(Error::invalid(
                "kv_heads",
                self.kv_heads,
                format!("a divisor of heads, {}", self.heads),
            ));
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return Err(Error::invalid("weight_decay", self.weight_decay, "not negative, and finite"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::invalid("dropout", self.dropout, "[0, 1)"));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(Error::invalid("learning_rate", self.learning_rate, "positive and finite"));
        }
        Ok(())
    }

    /// The `config.json` of the model.
    fn config(&self, end: u32) -> serde_json::Value {
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.width / self.heads,
            "intermediate_size": self.feed_forward,
            "max_position_embeddings": self.window,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            "attention_bias": false,
            "attention_dropout": 0.0,
            "mlp_bias": false,
            "tie_word_embeddings": true,
            "initializer_range": INITIAL_DEVIATION,
            "bos_token_id": end,
            "eos_token_id": end,
        })
    }

    /// The learning rate of a step: a linear warm-up, then a cosine down to a tenth.
    fn rate(&self, step: usize) -> f64 {
        if step < self.warm_up {
            return self.learning_rate * (step + 1) as f64 / self.warm_up as f64;
        }
        let done = (step - self.warm_up) as f64 / (self.steps - self.warm_up).max(1) as f64;
        self.learning_rate * (0.55 + 0.45 * (std::f64::consts::PI * done).cos())
    }

    /// Trains a model on the training part of a corpus.
    ///
    /// `observe` is called after every step, with the model at that step; its error ends the training.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting; [`Error::NotFinite`] if the loss diverges.
    pub fn train(
        &self,
        corpus: &Corpus,
        device: &Device,
        mut observe: impl FnMut(Progress, &LanguageModel) -> Result<()>,
    ) -> Result<LanguageModel> {
        self.validate()?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let base = self.initial(corpus, device, &mut rng)?;
        let mut policy = TokenPolicy::new(base.tokens().clone());
        for step in 0..self.steps {
            let loss = self.step(corpus, &mut policy, step, &mut rng)?;
            observe(Progress { step: step + 1, loss }, &base.with_tokens(policy.model().clone()))?;
        }
        Ok(base.with_tokens(policy.model().clone()))
    }

    /// One step; returns its loss.
    fn step(
        &self,
        corpus: &Corpus,
        policy: &mut TokenPolicy,
        step: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<f64> {
        let model = policy.model();
        let mut ids = Vec::with_capacity(self.batch * self.window);
        let mut rows = Vec::with_capacity(self.batch * self.window);
        for sequence in 0..self.batch {
            let window = corpus.window(self.window + 1, rng)?;
            ids.extend_from_slice(&window[..self.window]);
            rows.extend(window[1..].iter().map(|&token| plain_row(vec![Target { sequence, token }])));
        }
        let mut dropout = |x| self.drop(x, rng);
        let count = rows.len() as f64;
        let pass =
            AutodiffPass::from_windows(model, &ids, self.window, rows, &mut Mode::Branch(&mut dropout))?;
        let loss = -pass.log_probs.iter().sum::<f64>() / count;
        let gradient = pass.backward(&vec![-1.0 / count; self.batch])?;
        let adam = Adam { beta2: 0.99, weight_decay: self.weight_decay, ..Adam::default() };
        policy.follow(
            gradient,
            &Update {
                optimizer: Optimizer::AdamW(adam),
                learning_rate: self.rate(step),
                max_gradient_norm: Some(1.0),
            },
        )?;
        Ok(loss)
    }

    /// Dropout: sets elements to zero at random, and scales the others so that the mean stays the same.
    fn drop(&self, x: Tensor<2>, rng: &mut impl Rng) -> Tensor<2> {
        if self.dropout == 0.0 {
            return x;
        }
        let [rows, columns] = x.dims();
        let scale = (1.0 / (1.0 - self.dropout)) as f32;
        let limit = (self.dropout * f64::from(u32::MAX)) as u32;
        let mask = (0..rows * columns).map(|_| if rng.next_u32() < limit { 0.0 } else { scale }).collect();
        let mask = upload(mask, [rows, columns], &x.device().inner());
        x * mask
    }

    /// The model before its first step: normal weights; matrices that write to the residual stream have a smaller deviation.
    fn initial(&self, corpus: &Corpus, device: &Device, rng: &mut impl Rng) -> Result<LanguageModel> {
        let end = corpus.end();
        let json_config = self.config(end);
        let config = read_config(&json_config, std::path::Path::new("config.json"))?;
        let residual = INITIAL_DEVIATION / (2.0 * self.layers as f64).sqrt();
        let values = parameters(&config)
            .iter()
            .map(|parameter| {
                let count = parameter.shape[0] * parameter.shape[1];
                match parameter.kind {
                    ParameterKind::Scale => vec![1.0; count],
                    ParameterKind::Bias => vec![0.0; count],
                    ParameterKind::Matrix => {
                        (0..count).map(|_| (normal(rng) * INITIAL_DEVIATION) as f32).collect()
                    }
                    ParameterKind::Residual => (0..count).map(|_| (normal(rng) * residual) as f32).collect(),
                }
            })
            .collect();
        let generation = Generation { max_new_tokens: (self.window / 2).max(1), ..Generation::default() };
        let max_new_tokens = generation.max_new_tokens;
        let tokens = TokenModel::from_loaded(
            Loaded { values, ignored: Vec::new() },
            config,
            vec![end],
            device,
            generation,
        )?;
        let json = |value: serde_json::Value| value.to_string().into_bytes();
        let files = BTreeMap::from([
            ("config.json".to_string(), json(json_config)),
            (
                "generation_config.json".to_string(),
                json(json!({"bos_token_id": end, "eos_token_id": end, "max_new_tokens": max_new_tokens})),
            ),
            ("tokenizer.json".to_string(), corpus.tokenizer().to_json()?.into_bytes()),
            (
                "tokenizer_config.json".to_string(),
                json(json!({
                    "tokenizer_class": "PreTrainedTokenizerFast",
                    "bos_token": END_OF_TEXT,
                    "eos_token": END_OF_TEXT,
                    "model_max_length": self.window,
                    "clean_up_tokenization_spaces": false,
                })),
            ),
        ]);
        LanguageModel::new(tokens, corpus.tokenizer().clone(), files)
    }
}

/// The standard deviation of initial weights.
const INITIAL_DEVIATION: f64 = 0.02;

/// A standard normal number (Box and Muller 1958).
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}
