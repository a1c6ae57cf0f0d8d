"""The fields that transformers reads of the configurations of each supported model.

In an environment with transformers and torch:
    python disco-lm/tests/suite/reference/fields.py > disco-lm/tests/suite/reference/fields.json
For each `model_type`: the fields of the configuration class, those of `attribute_map`, and those that the modelling code reads as
`config.FIELD`, without names that only code sets.
"""

import dataclasses
import json
import pathlib
import re

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

TYPES = ["gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma3_text", "phi3", "olmo2", "t5", "bert", "roberta", "xlm-roberta", "distilbert"]
# Set by code, or of the parts of Gemma 3 that read images.
CODE = re.compile(r"^(_.*|get_.*|to_.*|text_config|vision_config|image_token_id|mm_tokens_per_image|num_labels|default_theta)$")
ROOT = pathlib.Path(transformers.__file__).parent / "models"

found = {}
for kind in TYPES:
    config = CONFIG_MAPPING[kind]
    fields = {field.name for field in dataclasses.fields(config)} | set(config.attribute_map)
    module = config.__module__.split(".")[-2]
    for path in (ROOT / module).glob("modeling_*.py"):
        fields |= set(re.findall(r"\bconfig\.([a-z_0-9]+)", path.read_text()))
    if "rope_parameters" in fields:
        fields |= {"rope_scaling", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings"}
    found[kind] = sorted(field for field in fields if not CODE.match(field))
print(json.dumps({"transformers": transformers.__version__, "fields": found}))
