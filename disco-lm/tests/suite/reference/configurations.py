"""Configurations with a field added, removed or changed, and what transformers computes with them.

In an environment with torch, transformers, numpy and safetensors:
    python disco-lm/tests/suite/reference/configurations.py [SEED COUNT] > disco-lm/tests/suite/reference/configurations.json
Without arguments: one change at a time, the list below. With them: COUNT configurations with one to three changes each, from SEED.

The weights are those of the tensors' names (`values`), so that no file holds them; tests/suite/configurations.rs makes the same. A value of
null means that transformers refuses the configuration, or finds no tensor for a parameter and draws it at random; "type" that it
refuses the type of a value, which it does for fields that change nothing too.
"""

import contextlib
import io
import json
import os
import random
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
import numpy as np
import torch
import transformers
from safetensors.torch import save_file

transformers.logging.set_verbosity(50)
SHAPE = dict(
    vocab_size=24, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, intermediate_size=24,
    max_position_embeddings=32, eos_token_id=0, bos_token_id=0, pad_token_id=None,
)
ENCODER = dict(
    vocab_size=24, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_position_embeddings=32,
    id2label={0: "bad", 1: "middling", 2: "good"},
)
BASES = {
    "gpt2": transformers.GPT2Config(vocab_size=24, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0),
    "llama": transformers.LlamaConfig(head_dim=8, tie_word_embeddings=False, **SHAPE),
    "mistral": transformers.MistralConfig(head_dim=8, sliding_window=6, tie_word_embeddings=False, **SHAPE),
    "qwen2": transformers.Qwen2Config(tie_word_embeddings=True, **SHAPE),
    "qwen3": transformers.Qwen3Config(head_dim=8, **SHAPE),
    "gemma3_text": transformers.Gemma3TextConfig(
        head_dim=8, query_pre_attn_scalar=12, sliding_window=5, layer_types=["sliding_attention", "full_attention"], **SHAPE),
    "phi3": transformers.Phi3Config(tie_word_embeddings=False, **SHAPE),
    "olmo2": transformers.Olmo2Config(tie_word_embeddings=False, **SHAPE),
    "t5": transformers.T5Config(
        vocab_size=24, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_decoder_layers=2, num_heads=2, decoder_start_token_id=3,
        relative_attention_num_buckets=8, relative_attention_max_distance=12, eos_token_id=0, pad_token_id=0),
    "bert": transformers.BertConfig(**ENCODER),
    "roberta": transformers.RobertaConfig(type_vocab_size=1, pad_token_id=1, **ENCODER),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=24, dim=16, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=32, id2label=ENCODER["id2label"]),
}
CLASSIFIERS = {"bert", "roberta", "distilbert"}
CONTEXT = [5, 17, 20, 3, 11, 8, 7, 9, 2, 13, 22, 6]
TOKENS = [4, 1, 21, 12, 9, 15]
REMOVED = "__removed__"

FLAGS = [True, False, None]
ACTIVATIONS = ["gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu", "silu", "swish", "tanh", "quick_gelu", "mish", None]
ROPES = [
    None, {}, {"rope_type": "default", "rope_theta": 100.0}, {"rope_theta": 500.0}, {"type": "linear", "factor": 2.0},
    {"rope_type": "linear", "factor": 4.0, "rope_theta": 1000.0}, {"rope_type": "linear"}, {"rope_type": "dynamic", "factor": 2.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}, {"type": "yarn", "factor": 2.0},
    {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16, "beta_fast": 4, "beta_slow": 2},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "attention_factor": 0.7},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "mscale": 0.707, "mscale_all_dim": 0.5},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "mscale": 2.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "truncate": False},
    {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 16},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    {"rope_type": "longrope", "short_factor": [1.5] * 4, "long_factor": [2.0] * 4, "original_max_position_embeddings": 8},
    {"rope_type": "proportional", "partial_rotary_factor": 0.5}, {"rope_type": "default", "partial_rotary_factor": 0.5},
    {"full_attention": {"rope_type": "linear", "factor": 2.0}},
    {"full_attention": {"rope_type": "yarn", "factor": 4.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}},
]
VALUES = {
    "hidden_act": ACTIVATIONS, "activation_function": ACTIVATIONS, "hidden_activation": ACTIVATIONS, "activation": ACTIVATIONS,
    "dense_act_fn": ACTIVATIONS,
    "feed_forward_proj": ["gelu", "silu", "gated-gelu", "gated-silu", "gated-relu", "relu", "tanh", "gated-tanh"],
    "rms_norm_eps": [1e-3, 0.1, 1], "layer_norm_epsilon": [1e-3, 0.1], "layer_norm_eps": [1e-3, 0.1],
    "attention_bias": FLAGS, "mlp_bias": FLAGS, "use_sliding_window": FLAGS, "tie_word_embeddings": FLAGS, "scale_attn_weights": FLAGS,
    "scale_attn_by_inverse_layer_idx": FLAGS, "reorder_and_upcast_attn": FLAGS, "is_decoder": FLAGS, "add_cross_attention": FLAGS,
    "use_cache": FLAGS, "is_encoder_decoder": FLAGS, "is_gated_act": FLAGS, "scale_decoder_outputs": FLAGS,
    "use_bidirectional_attention": FLAGS, "sinusoidal_pos_embds": FLAGS,
    "sliding_window": [1, 2, 5, 100, None, 0], "max_window_layers": [0, 1, 5], "sliding_window_pattern": [1, 2, 3],
    "layer_types": [["full_attention"] * 2, ["sliding_attention", "full_attention"], ["sliding_attention"] * 2, ["full_attention"], None],
    "rope_parameters": ROPES, "rope_scaling": ROPES, "rope_theta": [100.0, 1e6, None], "rope_local_base_freq": [100.0],
    "partial_rotary_factor": [0.5, 1.0], "original_max_position_embeddings": [8],
    "head_dim": [8, 4, None], "d_kv": [8, 4], "num_key_value_heads": [1, 2, None], "query_pre_attn_scalar": [4, 64],
    "final_logit_softcapping": [1.0, None], "attn_logit_softcapping": [1.0, None], "pretraining_tp": [2], "attention_dropout": [0.5],
    "resid_pdrop": [0.5], "embd_pdrop": [0.5], "dropout_rate": [0.5], "hidden_dropout_prob": [0.5], "initializer_range": [0.5],
    "chunk_size_feed_forward": [2], "per_layer_config": [{"0": {"rms_norm_eps": 0.5}}],
    "quantization_config": [{"quant_method": "gptq", "bits": 4}], "torch_dtype": ["float32"], "num_hidden_layers": [1, 2, 3],
    "n_layer": [1, 2], "hidden_size": [16], "n_embd": [16], "num_attention_heads": [1, 2], "n_head": [1, 2], "n_inner": [64, None],
    "num_heads": [1, 2], "num_decoder_layers": [1, 2, None], "num_layers": [1], "decoder_start_token_id": [3, 0, 1],
    "relative_attention_max_distance": [20], "relative_attention_num_buckets": [8, 16], "max_position_embeddings": [32, 64],
    "n_positions": [32], "pad_token_id": [1, 0, None], "vocab_size": [24], "position_embedding_type": ["absolute", "relative_key"],
    "type_vocab_size": [1, 2], "problem_type": ["regression", None], "id2label": [None, {"0": 0, "1": 1, "2": 2}, {"0": "x", "1": "x", "2": "y"}], "num_labels": [2, 3],
    "logit_scale": [0.5], "embedding_multiplier": [2.0], "attention_multiplier": [0.5], "n_ctx": [7], "use_qk_norm": [True], "alibi": [True],
}
COMMON = [
    "tie_word_embeddings", "chunk_size_feed_forward", "per_layer_config", "quantization_config", "torch_dtype", "use_cache", "logit_scale",
    "embedding_multiplier", "attention_multiplier", "initializer_range", "pad_token_id", "vocab_size", "alibi",
]
LLAMA = COMMON + [
    "hidden_act", "rms_norm_eps", "attention_bias", "mlp_bias", "sliding_window", "use_sliding_window", "max_window_layers", "layer_types",
    "rope_parameters", "rope_scaling", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings", "head_dim",
    "num_key_value_heads", "attention_dropout", "pretraining_tp", "num_hidden_layers", "num_attention_heads", "max_position_embeddings",
    "hidden_size", "use_qk_norm",
]
FIELDS = {
    "gpt2": COMMON + [
        "activation_function", "layer_norm_epsilon", "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn",
        "add_cross_attention", "resid_pdrop", "embd_pdrop", "n_layer", "n_embd", "n_head", "n_inner", "n_positions", "n_ctx",
        "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings",
    ],
    **{name: LLAMA for name in ("llama", "mistral", "qwen2", "qwen3", "phi3", "olmo2")},
    "gemma3_text": LLAMA + [
        "hidden_activation", "query_pre_attn_scalar", "final_logit_softcapping", "attn_logit_softcapping", "use_bidirectional_attention",
        "rope_local_base_freq", "sliding_window_pattern",
    ],
    "t5": COMMON + [
        "feed_forward_proj", "dense_act_fn", "is_gated_act", "scale_decoder_outputs", "layer_norm_epsilon", "d_kv", "num_heads",
        "num_decoder_layers", "num_layers", "decoder_start_token_id", "relative_attention_max_distance", "relative_attention_num_buckets",
        "dropout_rate", "is_encoder_decoder", "is_decoder", "num_hidden_layers", "num_attention_heads", "head_dim", "hidden_size",
    ],
    "bert": COMMON + [
        "hidden_act", "layer_norm_eps", "position_embedding_type", "is_decoder", "add_cross_attention", "type_vocab_size",
        "hidden_dropout_prob", "problem_type", "id2label", "num_labels", "num_attention_heads", "num_hidden_layers",
    ],
    "roberta": COMMON + ["hidden_act", "layer_norm_eps", "position_embedding_type", "is_decoder", "type_vocab_size", "num_attention_heads"],
    "distilbert": COMMON + ["activation", "sinusoidal_pos_embds", "hidden_size", "num_attention_heads", "num_hidden_layers"],
}


def values(name, shape):
    """The elements of a tensor, from its name: 24 bits of splitmix64, from -0.5 to 0.5; scales of norms are around 1."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        word = np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        word = word ^ (word >> np.uint64(31))
    elements = (word >> np.uint64(40)).astype(np.float32) / np.float32(2**24) - np.float32(0.5)
    lower = name.lower()
    if len(shape) == 1 and lower.endswith("weight") and ("norm" in lower or ".ln_" in lower):
        elements = elements + np.float32(1)
    return torch.from_numpy(elements.reshape(shape))


def model_class(kind):
    if kind in CLASSIFIERS:
        return transformers.AutoModelForSequenceClassification
    return transformers.AutoModelForSeq2SeqLM if kind == "t5" else transformers.AutoModelForCausalLM


def base(kind):
    """The base configuration as a dictionary, and the shapes of its tensors."""
    config = json.loads(BASES[kind].to_json_string(use_diff=False))
    for key in ("transformers_version", "_name_or_path", "label2id"):
        config.pop(key, None)
    model = model_class(kind).from_config(BASES[kind])
    tied = set(model.all_tied_weights_keys) if hasattr(model, "all_tied_weights_keys") else set()
    tensors = {name: list(value.shape) for name, value in model.named_parameters() if name not in tied}
    return config, tensors


def score(kind, folder):
    quiet = io.StringIO()
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            model, info = model_class(kind).from_pretrained(
                folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
            if info["missing_keys"] or info["mismatched_keys"]:
                return None
            model.eval()
            with torch.no_grad():
                if kind in CLASSIFIERS:
                    return model(torch.tensor([CONTEXT])).logits[0].double().tolist()
                if kind == "t5":
                    start = model.config.decoder_start_token_id
                    decoder = torch.tensor([[start] + TOKENS[:-1]])
                    logits = model(input_ids=torch.tensor([CONTEXT]), decoder_input_ids=decoder).logits[0]
                else:
                    logits = model(torch.tensor([CONTEXT + TOKENS])).logits[0][len(CONTEXT) - 1 : -1]
                rows = torch.log_softmax(logits.double(), -1)
                found = rows[range(len(TOKENS)), TOKENS].tolist()
                return found if all(np.isfinite(found)) else None
    except Exception as error:
        return "type" if type(error).__name__.startswith("Strict") else None


def changed(config, changes):
    config = dict(config)
    for field, value in changes.items():
        if value == REMOVED:
            config.pop(field, None)
        else:
            config[field] = value
    return config


def candidates(kind, config):
    """All changes of one field."""
    found = [{field: value} for field in dict.fromkeys(FIELDS[kind]) for value in VALUES[field]]
    found += [{field: REMOVED} for field in config if field not in ("model_type", "architectures", "pad_token_id")]
    if kind == "gemma3_text":
        found += [{"rope_parameters": REMOVED, "rope_scaling": value} for value in ROPES]
    if kind == "t5":
        found += [{"feed_forward_proj": value, "dense_act_fn": REMOVED, "is_gated_act": REMOVED} for value in VALUES["feed_forward_proj"]]
    return [change for change in found if not all(config.get(f, REMOVED) == v for f, v in change.items())]


def main():
    generator = random.Random(int(sys.argv[1])) if sys.argv[1:] else None
    kinds, cases = {}, []
    for kind in BASES:
        config, tensors = base(kind)
        kinds[kind] = {"config": config, "tensors": tensors}
        single = candidates(kind, config)
        if generator is None:
            lists = [{}] + single
        else:
            count = int(sys.argv[2]) // len(BASES)
            lists = []
            for _ in range(count):
                merged = {}
                for change in generator.sample(single, generator.choice([1, 2, 2, 3])):
                    merged.update(change)
                lists.append(merged)
        with tempfile.TemporaryDirectory() as folder:
            save_file({name: values(name, shape) for name, shape in tensors.items()}, f"{folder}/model.safetensors", {"format": "pt"})
            for changes in lists:
                with open(f"{folder}/config.json", "w") as file:
                    json.dump(changed(config, changes), file)
                found = score(kind, folder)
                if isinstance(found, list):
                    found = [round(value, 6) for value in found]
                cases.append([kind, changes, found])
    out = {"transformers": transformers.__version__, "context": CONTEXT, "tokens": TOKENS, "kinds": kinds}
    head = json.dumps(out)[:-1]
    print(head + ', "cases": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]}")


main()
