"""Adapters made by PEFT on golden models, with what transformers says of them; and the same of a folder that disco wrote.

Run from the root of the repository, in an environment with torch, transformers, peft and safetensors:
    python disco-lm/tests/suite/reference/adapters.py
makes the folders beside this file. With pairs of a golden model's folder and an adapter's,
    python disco-lm/tests/suite/reference/adapters.py golden/gpt2 ADAPTER ...
prints a list of what `reference.json` would hold; the coefficients and samples are those of the golden model.
"""

import json
import math
import pathlib
import sys

import torch
import transformers
import peft
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent / "adapters"
CASES = {
    "llama-gqa-tied": {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "v_proj", "up_proj", "down_proj"]},
    "gpt2": {"r": 2, "lora_alpha": 4, "target_modules": ["c_attn", "c_proj"], "use_rslora": True},
    "qwen3": {"r": 4, "lora_alpha": 8, "target_modules": ["k_proj", "o_proj", "gate_proj"], "layers_to_transform": [1]},
}


def values(model, golden):
    """Log-probabilities of the golden samples, and norms of the gradient of their weighted sum."""
    log_probs = []
    for tokens in golden["samples"]:
        ids = torch.tensor([golden["context_ids"] + tokens])
        start = len(golden["context_ids"])
        rows = torch.log_softmax(model(ids).logits[0].double(), -1)[start - 1 : -1]
        log_probs.append(rows[torch.arange(len(tokens)), torch.tensor(tokens)].sum())
    sum(c * l for c, l in zip(golden["coef"], log_probs)).backward()
    norms = {
        name.replace(".default", ""): parameter.grad.double().norm().item()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return {"log_probs": [l.item() for l in log_probs], "gradient_l2": norms}


def load(folder):
    golden = json.loads((folder / "golden.json").read_text())
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), golden


def make():
    for name, settings in CASES.items():
        base, golden = load(pathlib.Path("golden") / name)
        torch.manual_seed(7)
        config = LoraConfig(task_type="CAUSAL_LM", **settings)
        model = get_peft_model(base, config).eval()
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(parameter, std=0.3 / math.sqrt(parameter.shape[1]))
        folder = HERE / name
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        # The folder that the base was read from is of no use to others.
        config = json.loads((folder / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = None
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        reference = {"peft": peft.__version__, "transformers": transformers.__version__, **values(model, golden)}
        (folder / "reference.json").write_text(json.dumps(reference, indent=1) + "\n")


if len(sys.argv) == 1:
    make()
else:
    rows = []
    for folder, adapter in zip(sys.argv[1::2], sys.argv[2::2]):
        base, golden = load(pathlib.Path(folder))
        rows.append(values(PeftModel.from_pretrained(base, adapter, is_trainable=True).eval(), golden))
    print(json.dumps(rows))
