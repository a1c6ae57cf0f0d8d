"""The log-probability of token ids after a context, by transformers: reads JSON lines, writes a number for each.

In an environment with torch and transformers:
    echo '{"folder": "golden/t5-relu", "context": [5, 6], "tokens": [7, 1]}' | python scores.py
"""

import json
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

for line in sys.stdin:
    case = json.loads(line)
    folder, context, tokens = case["folder"], case["context"], case["tokens"]
    config = AutoConfig.from_pretrained(folder)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model, info = kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    with torch.no_grad():
        if config.is_encoder_decoder:
            start = [config.decoder_start_token_id] + tokens[:-1]
            logits = model(input_ids=torch.tensor([context]), decoder_input_ids=torch.tensor([start])).logits[0]
        else:
            logits = model(torch.tensor([context + tokens])).logits[0][len(context) - 1 : -1]
    print(torch.log_softmax(logits.double(), -1)[range(len(tokens)), tokens].sum().item())
