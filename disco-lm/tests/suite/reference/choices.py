"""Log-probabilities of listed answers by transformers, with the ids that lm-evaluation-harness gives them.

In an environment with torch and transformers:
    python disco-lm/tests/suite/reference/choices.py FOLDER > disco-lm/tests/suite/reference/choices.json
FOLDER is that of SmolLM2-135M, as smollm2.py makes it.
"""

import json
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = sys.argv[1]
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(folder)

CASES = [
    ["The capital of France is", [" Paris", " London", " Saint-Denis", " Paris, of course", " P"]],
    ["Question: What do bees make?\nA. milk\nB. honey\nC. silk\nAnswer:", [" A", " B", " C"]],
    ["The day after Monday is\n", ["Tuesday", "Sunday", "Dienstag \u706b\u66dc\u65e5"]],
]


def encode_pair(context, continuation):
    """`TemplateLM._encode_pair` of lm-evaluation-harness 0.4.9, for contexts that do not end with a space."""
    whole = tokenizer.encode(context + continuation, add_special_tokens=False)
    context_ids = tokenizer.encode(context, add_special_tokens=False)
    return context_ids, whole[len(context_ids) :]


cases = []
for context, choices in CASES:
    rows = []
    for choice in choices:
        context_ids, ids = encode_pair(context, choice)
        whole = torch.tensor([context_ids + ids + [tokenizer.eos_token_id]])
        with torch.no_grad():
            log_probs = torch.log_softmax(model(whole).logits[0].double(), -1)
        start = len(context_ids)
        of_tokens = [log_probs[start - 1 + i, token].item() for i, token in enumerate(whole[0, start:].tolist())]
        rows.append({"text": choice, "ids": ids, "log_prob": round(sum(of_tokens[:-1]), 5), "with_end": round(sum(of_tokens), 5)})
    cases.append({"context": context, "choices": rows})
print(json.dumps({"transformers": transformers.__version__, "cases": cases}))
