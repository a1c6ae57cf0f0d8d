"""Tiny GGUF files for the tests, and what they hold according to gguf-py, transformers and sentencepiece.

In an environment with numpy, torch, transformers, safetensors, gguf and sentencepiece:
    python disco-lm/tests/suite/reference/gguf_files.py GOLDEN disco-lm/tests/suite/reference [NAME...]
GOLDEN is the folder of the golden models; those that tiny.py made are beside this script. Writes, or for each NAME only its model,
- gguf-kinds.gguf, gguf-kinds.json: a tensor of random blocks of every kind of quantisation, and its values by gguf-py;
- gguf-NAME.gguf: golden models in F32, their queries and keys reordered as llama.cpp's converter does;
- gguf-sentencepiece.gguf, gguf-sentencepiece.json: a tokenizer of the `llama` kind, and sentencepiece's own ids.
"""

import json
import pathlib
import sys
import tempfile

import gguf
import numpy as np
import sentencepiece
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import load_file

golden, out = map(pathlib.Path, sys.argv[1:3])
rng = np.random.default_rng(0)


def kinds():
    """Random bits are valid blocks as long as the half-precision scales in them are finite."""
    halves = {  # where scales are in a block
        Kind.Q4_0: [0], Kind.Q4_1: [0, 2], Kind.Q5_0: [0], Kind.Q5_1: [0, 2], Kind.Q8_0: [0],
        Kind.Q2_K: [80, 82], Kind.Q3_K: [108], Kind.Q4_K: [0, 2], Kind.Q5_K: [0, 2], Kind.Q6_K: [208],
        Kind.IQ4_NL: [0], Kind.IQ4_XS: [0],
    }
    writer = gguf.GGUFWriter(out / "gguf-kinds.gguf", "llama")
    values = {}
    columns, rows = 512, 2
    for kind in [Kind.F32, Kind.F16, Kind.BF16, *halves]:
        per_block, size = gguf.GGML_QUANT_SIZES[kind]
        if kind in halves:
            blocks = rng.integers(0, 256, (rows * columns // per_block, size), dtype=np.uint8)
            for at in halves[kind]:
                scales = rng.normal(size=(len(blocks), 1)).astype(np.float16)
                blocks[:, at : at + 2] = scales.view(np.uint8)
            data = blocks.reshape(rows, -1)
        else:
            data = gguf.quantize(rng.normal(size=(rows, columns)).astype(np.float32), kind)
        dequantized = gguf.dequantize(data, kind).reshape(rows, columns)
        if kind == Kind.F16:
            data = data.view(np.float16)
        elif kind == Kind.F32:
            data = data.view(np.float32)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        # Exact: every float32 has its own hexadecimal digits.
        values[kind.name] = dequantized.astype(">f4").tobytes().hex()
    finish(writer)
    (out / "gguf-kinds.json").write_text(json.dumps({"shape": [rows, columns], "values": values}) + "\n")


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def reorder(rows, heads):
    """The order in which llama.cpp keeps the rows of queries and keys: pairs that are rotated together are neighbours."""
    return rows.reshape(heads, 2, len(rows) // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def model(name):
    folder = next(root / name for root in (golden, out) if (root / name).is_dir())
    config = json.loads((folder / "config.json").read_text())
    arch = config["model_type"]
    writer = gguf.GGUFWriter(out / f"gguf-{name}.gguf", arch)
    if arch == "gpt2":
        layers, heads, kv_heads = config["n_layer"], config["n_head"], config["n_head"]
        writer.add_embedding_length(config["n_embd"])
        writer.add_feed_forward_length(config["n_inner"] or 4 * config["n_embd"])
        writer.add_context_length(config["n_positions"])
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    else:
        layers, heads, kv_heads = (config[f"num_{k}"] for k in ("hidden_layers", "attention_heads", "key_value_heads"))
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        theta = rope.get("rope_theta", config.get("rope_theta", 10000.0))
        head = config.get("head_dim") or config["hidden_size"] // heads
        writer.add_embedding_length(config["hidden_size"])
        writer.add_feed_forward_length(config["intermediate_size"])
        writer.add_context_length(config["max_position_embeddings"])
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_head_count_kv(kv_heads)
        writer.add_rope_freq_base(theta)
        writer.add_key_length(head)
        if arch == "phi3" and config["sliding_window"]:
            writer.add_sliding_window(config["sliding_window"])
        if rope.get("rope_type", "default") == "llama3":
            writer.add_tensor("rope_freqs.weight", llama3_factors(rope, theta, head))
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    end = config["eos_token_id"]
    for key, token in zip([writer.add_eos_token_id, writer.add_eot_token_id], end if isinstance(end, list) else [end]):
        key(token)
    names = gguf.get_tensor_name_map(next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == arch), layers)
    for key, value in load_file(folder / "model.safetensors").items():
        value = value.astype(np.float32)
        stem, suffix = key.rsplit(".", 1)
        if arch == "gpt2" and key.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            value = value.T
        if arch == "llama" and "q_proj" in key:
            value = reorder(value, heads)
        if arch == "llama" and "k_proj" in key:
            value = reorder(value, kv_heads)
        if arch == "gpt2" and key.endswith((".attn.bias", ".attn.masked_bias")):
            continue
        writer.add_tensor(f"{names.get_name(stem)}.{suffix}", np.ascontiguousarray(value))
    finish(writer)


def llama3_factors(rope, theta, head):
    original, factor = rope["original_max_position_embeddings"], rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    factors = []
    for frequency in 1.0 / theta ** (np.arange(0, head, 2) / head):
        wavelength = 2 * np.pi / frequency
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, dtype=np.float32)


TEXTS = [
    "It was a cold and stormy night", "the king and the queen", " two  spaces", "one\nline", "caf\u00e9 \u4f60\u597d", "a",
    "KING RICHARD III: my lord, my lord!", "1234 times 56",
]


def sentence_piece():
    sentences = (
        "the king and the queen went into the cold night and my lord was there. it was a stormy night of the year. "
        "my lord the king said to the queen that the night was cold and that the storm would pass before the morning. "
        "KING RICHARD III: my kingdom for a horse, said he, and so he rode into the night with his lord."
    ).split(". ")
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"{folder}/m"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_prefix=prefix, vocab_size=380, model_type="bpe", byte_fallback=True,
            normalization_rule_name="identity", remove_extra_whitespaces=False, hard_vocab_limit=False, minloglevel=2,
        )
        piece = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
    size = piece.vocab_size()
    types = gguf.TokenType
    token_types = [
        types.UNKNOWN if piece.is_unknown(i) else types.CONTROL if piece.is_control(i) else types.BYTE if piece.is_byte(i) else types.NORMAL
        for i in range(size)
    ]
    width, head = 8, 8
    writer = gguf.GGUFWriter(out / "gguf-sentencepiece.gguf", "llama")
    for key, value in [
        (writer.add_embedding_length, width), (writer.add_feed_forward_length, 8), (writer.add_context_length, 64),
        (writer.add_layer_norm_rms_eps, 1e-5), (writer.add_head_count, 1), (writer.add_head_count_kv, 1),
        (writer.add_block_count, 1), (writer.add_bos_token_id, piece.bos_id()), (writer.add_eos_token_id, piece.eos_id()),
        (writer.add_tokenizer_model, "llama"), (writer.add_token_list, [piece.id_to_piece(i).encode() for i in range(size)]),
        (writer.add_token_scores, [piece.get_score(i) for i in range(size)]), (writer.add_token_types, token_types),
    ]:
        key(value)
    shapes = {
        "token_embd": (size, width), "output_norm": (width,), "blk.0.attn_norm": (width,), "blk.0.ffn_norm": (width,),
        **{f"blk.0.{n}": (8, 8) for n in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")},
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(size=shape).astype(np.float16 if len(shape) > 1 else np.float32))
    finish(writer)
    rows = [{"text": text, "ids": [piece.bos_id(), *piece.encode(text)]} for text in TEXTS]
    (out / "gguf-sentencepiece.json").write_text(json.dumps(rows, indent=1) + "\n")


WANTED = sys.argv[3:]
if not WANTED:
    kinds()
for name in ("gpt2", "llama-gqa-tied", "llama-untied-rope3", "qwen2", "qwen3", "phi3", "olmo2"):
    if not WANTED or name in WANTED:
        model(name)
if not WANTED:
    sentence_piece()
