"""What Hugging Face transformers makes of logits: by its logits processors, and by greedy and beam search.

Run from the root of the repository, in an environment with torch, transformers and safetensors:
    python disco-lm/tests/suite/reference/decoding.py > disco-lm/tests/suite/reference/decoding.json
The rows are those that `generate` itself drew from, so that the order of the processors is its own.
"""

import json

import torch
import transformers
from transformers import AutoModelForCausalLM

FOLDER = "golden/llama-gqa-tied"
CONTEXT = [58, 78, 34, 85, 36, 78, 78]
NEW = 6
# Those of transformers, with the names that disco gives them.
NAMES = {"suppress_tokens": "forbidden_tokens"}
DECODINGS = [
    {},
    {"temperature": 0.6},
    {"temperature": 1.7, "top_k": 5},
    {"min_p": 0.3},
    {"temperature": 0.5, "min_p": 0.05},
    {"typical_p": 0.2},
    {"typical_p": 0.9},
    {"temperature": 0.4, "typical_p": 0.5},
    {"repetition_penalty": 1.8},
    {"repetition_penalty": 0.6},
    {"suppress_tokens": [3, 36, 78, 90]},
    {"min_new_tokens": 3},
    {"repetition_penalty": 2.5, "temperature": 0.7, "top_k": 40},
    {"repetition_penalty": 1.4, "min_new_tokens": 3, "suppress_tokens": [7, 85], "temperature": 0.8, "top_k": 60, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.8},
    {"temperature": 2.0, "top_k": 30, "top_p": 0.7, "typical_p": 0.6},
    {"top_p": 0.8, "min_p": 0.4, "temperature": 0.9},
]
BEAMS = [
    {"num_beams": 1},
    {"num_beams": 1, "repetition_penalty": 2.0},
    {"num_beams": 3, "num_return_sequences": 3},
    {"num_beams": 5, "num_return_sequences": 2, "length_penalty": 0.0, "early_stopping": "never"},
    {"num_beams": 4, "num_return_sequences": 4, "length_penalty": 2.0},
    {"num_beams": 4, "num_return_sequences": 4, "length_penalty": 2.0, "early_stopping": True},
    {"num_beams": 4, "num_return_sequences": 4, "length_penalty": 1.5, "early_stopping": "never"},
    {"num_beams": 6, "num_return_sequences": 6, "length_penalty": -1.0},
    {"num_beams": 8, "num_return_sequences": 8, "early_stopping": True},
]
BEAM_CONTEXTS = [[58, 78, 34, 85, 36], [7, 7], [90, 3, 12, 40, 41, 42, 43, 44]]
BEAM_NEW = 8
# Several, and likely ones, so that beams finish early, late and not at all.
BEAM_ENDS = [2, 54, 69, 79]


def numbers(row):
    return [None if value == -float("inf") else round(value, 6) for value in row.tolist()]


def cut(tokens, ends):
    """The tokens up to the end token, without padding."""
    stops = [place for place, token in enumerate(tokens) if token in ends]
    return tokens[: stops[0] + 1] if stops else tokens


model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
end = model.config.eos_token_id
off = {"do_sample": True, "top_k": 0, "return_dict_in_generate": True, "output_scores": True, "pad_token_id": end}
decodings = []
for index, decoding in enumerate(DECODINGS):
    ids = torch.tensor([CONTEXT])
    for seed in range(1000 * index, 1000 * index + 1000):
        torch.manual_seed(seed)
        drawn = model.generate(ids, max_new_tokens=NEW, **{**off, **decoding})
        tokens = drawn.sequences[0, len(CONTEXT) :].tolist()
        # A token that repeats makes the repetition penalty visible; one that ends too early hides the rest.
        if end not in tokens and (len(set(tokens)) < NEW or "top_k" in decoding or "top_p" in decoding or "min_p" in decoding):
            break
    else:
        raise SystemExit(f"no suitable sample with {decoding}")
    scores = [torch.log_softmax(row[0].double(), -1) for row in drawn.scores]
    named = {NAMES.get(name, name): value for name, value in decoding.items()}
    decodings.append({
        "decoding": named,
        "tokens": tokens,
        "token_log_probs": [round(row[token].item(), 6) for row, token in zip(scores, tokens)],
        "rows": {str(place): numbers(scores[place]) for place in (2, NEW - 1)},
    })

beams = []
for settings in BEAMS:
    for context in BEAM_CONTEXTS:
        found = model.generate(
            torch.tensor([context]), max_new_tokens=BEAM_NEW, pad_token_id=end, do_sample=False,
            eos_token_id=BEAM_ENDS, return_dict_in_generate=True, output_scores=True, **settings,
        )
        sequences = [cut(row[len(context) :].tolist(), BEAM_ENDS) for row in found.sequences]
        scores = found.sequences_scores.tolist() if settings["num_beams"] > 1 else []
        beams.append({"settings": settings, "context": context, "sequences": sequences, "scores": [round(score, 6) for score in scores]})

print(json.dumps({
    "transformers": transformers.__version__, "folder": FOLDER, "context": CONTEXT,
    "decodings": decodings, "beam_new_tokens": BEAM_NEW, "beam_ends": BEAM_ENDS, "beams": beams,
}))
