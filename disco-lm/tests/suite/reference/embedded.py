"""Reference values of the embedded model, by Hugging Face transformers.

Run from the root of the repository, in an environment with torch, transformers and safetensors:
    python disco-lm/tests/suite/reference/embedded.py > disco-lm/tests/reference/embedded.json
"""

import json

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

FOLDER = "models/tiny-shakespeare"
CONTEXTS = ["ROMEO:\n", "KING RICHARD III:\nNow is the winter", "", "First Citizen:\nBefore we proceed any further, hear me speak.\n\n"]

model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
cases = []
for seed, context in enumerate(CONTEXTS):
    torch.manual_seed(seed)
    ids = tokenizer(context, return_tensors="pt").input_ids
    drawn = model.generate(ids, do_sample=True, top_k=0, max_new_tokens=24)[0]
    with torch.no_grad():
        logits = model(drawn[None]).logits[0]
    log_probs = torch.log_softmax(logits.double(), -1)
    start = ids.shape[1]
    cases.append({
        "context": context,
        "context_ids": ids[0].tolist(),
        "tokens": drawn[start:].tolist(),
        "text": tokenizer.decode(drawn[start:], skip_special_tokens=True),
        "last_logits": [round(value, 5) for value in logits[-1].tolist()],
        "token_log_probs": [round(log_probs[start - 1 + i, drawn[start + i]].item(), 6) for i in range(len(drawn) - start)],
    })
print(json.dumps({"transformers": transformers.__version__, "max_new_tokens": 24, "cases": cases}))
