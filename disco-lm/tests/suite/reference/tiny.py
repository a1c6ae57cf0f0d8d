"""Tiny random models in Hugging Face's layout, and what transformers computes with them.

Run from the root of the repository, in an environment with torch, transformers and safetensors:
    python disco-lm/tests/suite/reference/tiny.py disco-lm/tests/suite/reference [NAME...]
It writes one folder per model, or for each NAME (config.json, model.safetensors, for classifiers tokenizer.json), with
its reference values (golden.json). Everything is float32 with eager attention; the seeds are fixed, but the
trainers of the tokenizers break ties as they like, so that a classifier made again has other ids.
"""

import json
import pathlib
import sys

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    Gemma3TextConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    RobertaConfig,
)

ROOT = pathlib.Path(sys.argv[1])
WANTED = sys.argv[2:]
TEXTS = [
    "the weather is fine today",
    "rain",
    "the rain came down and the wind did blow, but the ship sailed on to the south of the island",
    "",
    "a fine ship; a foul wind!",
]


def rounded(tensor, digits=6):
    return json.loads(json.dumps(tensor.tolist()), parse_float=lambda text: round(float(text), digits))


def random_weights(model, seed, deviation=0.25):
    """Weights large enough for every part of the model to matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            is_scale = value.dim() == 1 and name.endswith("weight") and model.config.model_type != "gemma3_text"
            value.copy_(torch.randn(value.shape, generator=generator) * deviation + float(is_scale))


def write(name, model, golden):
    folder = ROOT / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    golden = {"model": name, "transformers": transformers.__version__, **golden}
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")


def word_pieces():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=80, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def byte_pairs():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=80, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def classifier(name, config, tokenizer, seed):
    if WANTED and name not in WANTED:
        return
    positions = config.max_position_embeddings - (2 if config.model_type == "roberta" else 0)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    random_weights(model, seed)
    cases = []
    for text in TEXTS:
        whole = tokenizer.encode(text).ids
        tokenizer.enable_truncation(positions)
        cut = tokenizer.encode(text).ids
        tokenizer.no_truncation()
        with torch.no_grad():
            logits = model(torch.tensor([cut])).logits[0]
        case = {"text": text, "ids": cut, "fits": whole == cut, "logits": rounded(logits)}
        cases.append({**case, "log_probs": rounded(torch.log_softmax(logits.double(), -1))})
    assert not all(case["fits"] for case in cases)
    write(name, model, {"cases": cases})
    tokenizer.save(str(ROOT / name / "tokenizer.json"))


LABELS = {0: "bad", 1: "middling", 2: "good"}
SHAPE = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
tokenizer = word_pieces()
config = BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=16, id2label=LABELS, **SHAPE)
classifier("bert", config, tokenizer, 1)
tokenizer = byte_pairs()
config = RobertaConfig(
    vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=26, type_vocab_size=1, id2label=LABELS,
    layer_norm_eps=1e-5, **SHAPE
)
classifier("roberta", config, tokenizer, 2)


def decoder(name, config, seed):
    """The layout of the golden folder's decoders."""
    if WANTED and name not in WANTED:
        return
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    random_weights(model, seed)
    generator = torch.Generator().manual_seed(seed)
    draw = lambda count: torch.randint(2, config.vocab_size, (count,), generator=generator).tolist()
    context = draw(6)
    samples = [draw(9), draw(4) + [1], [1], draw(8) + [1]]
    coefficients = [0.7, -1.3, 0.4, 2.0]
    rows, total = [], 0.0
    for coefficient, sample in zip(coefficients, samples):
        logits = model(torch.tensor([context + sample])).logits[0]
        log_probs = torch.log_softmax(logits, -1)[len(context) - 1 : -1]
        rows.append(log_probs[range(len(sample)), sample])
        total = total + coefficient * rows[-1].sum()
        if not rows[1:]:
            first = logits
    total.backward()
    write(name, model, {
        "context_ids": context,
        "samples": samples,
        "logits_first_sample": rounded(first.detach()),
        "token_log_probs": [rounded(row.detach()) for row in rows],
        "log_probs": [rounded(row.detach().double().sum()) for row in rows],
        "coef": coefficients,
        "gradient_l2": {name: rounded(value.grad.double().norm()) for name, value in model.named_parameters()},
        "decoding": [],
    })


SHAPE = dict(
    vocab_size=64, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
    max_position_embeddings=64, eos_token_id=1, bos_token_id=0, pad_token_id=None,
)
decoder("mistral-window", MistralConfig(num_hidden_layers=2, sliding_window=4, **SHAPE), 3)
config = Qwen2Config(
    num_hidden_layers=3, use_sliding_window=True, sliding_window=4, max_window_layers=1, tie_word_embeddings=True, **SHAPE
)
decoder("qwen2-window", config, 4)
config = Gemma3TextConfig(
    num_hidden_layers=3, sliding_window=4, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    head_dim=8, query_pre_attn_scalar=12, **SHAPE
)
decoder("gemma3", config, 5)
config = Phi3Config(num_hidden_layers=2, sliding_window=4, tie_word_embeddings=False, **SHAPE)
decoder("phi3", config, 6)
decoder("olmo2", Olmo2Config(num_hidden_layers=2, tie_word_embeddings=False, **SHAPE), 7)
