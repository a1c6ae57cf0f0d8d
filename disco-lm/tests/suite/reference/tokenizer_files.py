"""Tokenizers and the files beside them, loaded by Hugging Face transformers: the ids of a text, and what a completion adds to a text.

In an environment with transformers (5.23 or later), from small tokenizers that have a `tokenizer.json` each (FOLDER/NAME/tokenizer.json for the
names in BASES):
    python disco-lm/tests/suite/reference/tokenizer_files.py FOLDER > disco-lm/tests/suite/reference/tokenizer_files.json

A case is a base with changes: `tokenizer` are values at paths inside of tokenizer.json, `files` are other files. A case with `refused` names a
field: this project refuses it instead, because two files contradict each other or the value depends on chance.
"""

import json
import os
import pathlib
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from transformers import AutoTokenizer  # noqa: E402

BASES = {"bytes": "tok_added_in_config", "words": "cls_case", "pieces": "tok_spm"}
folder = pathlib.Path(sys.argv[1])
bases = {name: json.loads((folder / path / "tokenizer.json").read_text()) for name, path in BASES.items()}
MODELS = {"bytes": {"model_type": "llama"}, "words": {"model_type": "bert"}, "pieces": {"model_type": "llama"}}
GENERIC = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
LLAMA = {**GENERIC, "tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>"}
METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never", "split": False}
BERT = {"tokenizer_class": "BertTokenizer"}
FLAGS = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
TURN = {"290": {"content": "<|turn|>", **FLAGS}}
BERT_TEXT = "Nobody Asked Café 日本 the baker"
vocabulary = bases["bytes"]["model"]["vocab"]
merges = "#version: 0.2\n" + "\n".join(m if isinstance(m, str) else " ".join(m) for m in bases["bytes"]["model"]["merges"]) + "\n"
words = "\n".join(sorted(bases["words"]["model"]["vocab"], key=bases["words"]["model"]["vocab"].get)) + "\n"
OLD = {"tokenizer.json": None, "vocab.json": vocabulary, "merges.txt": merges}
OLD_WORDS = {"tokenizer.json": None, "vocab.txt": words}


def config(base, **changes):
    return {"tokenizer_config.json": {**base, **changes}}


CASES = [
    ("bytes", [], config(GENERIC), "x<s>y</s> the baker", None),
    ("bytes", [], config(GENERIC, added_tokens_decoder=TURN), "x<|turn|>y", None),
    ("bytes", [], config(GENERIC, added_tokens_decoder={"290": {**TURN["290"], "lstrip": True, "rstrip": True}}), "x <|turn|> y", None),
    ("bytes", [], config(GENERIC, added_tokens_decoder={"290": {**TURN["290"], "special": False}}), "x<|turn|>y", None),
    ("bytes", [], config(GENERIC, added_tokens_decoder={"295": TURN["290"]}), "x<|turn|>y", "added_tokens_decoder"),
    ("bytes", [], config(GENERIC, added_tokens_decoder={"1": {"content": "<s>", **FLAGS, "rstrip": True}}), "x<s> y", None),
    ("bytes", [], {**config(GENERIC), "added_tokens.json": {"<|turn|>": 290}}, "x<|turn|>y", None),
    ("bytes", [], config(GENERIC, pad_token="[PAD]", extra_special_tokens=["<e1>"], image_token="<img>"), "x[PAD]<e1><img>", None),
    ("bytes", [], config(GENERIC, additional_special_tokens=["<e1>", {"__type": "AddedToken", "content": "<e2>", **FLAGS}]), "x<e1><e2>y", None),
    ("bytes", [], {**config(GENERIC), "special_tokens_map.json": {"bos_token": "<zz>", "eos_token": {"content": "<yy>", **FLAGS}}}, "x<zz><yy>y", None),
    ("bytes", [], {**config(GENERIC, added_tokens_decoder=TURN), "special_tokens_map.json": {"bos_token": "<zz>"}}, "x<zz>y", None),
    ("bytes", [["/added_tokens", []]], config(GENERIC), "x<s>y</s><unk>", None),
    ("bytes", [["/pre_tokenizer/add_prefix_space", True]], config(GENERIC), "the baker", None),
    ("bytes", [["/pre_tokenizer/add_prefix_space", True]], config(GENERIC, tokenizer_class="GPT2Tokenizer", unk_token="<unk>"), "the baker", None),
    ("bytes", [], config(GENERIC, tokenizer_class="GPT2Tokenizer", unk_token="<unk>", add_prefix_space=True), "the baker", None),
    ("bytes", [], config(GENERIC, tokenizer_class="GPT2TokenizerFast", unk_token="<unk>"), "the baker", None),
    ("bytes", [], config(GENERIC, add_prefix_space=True), "the baker", None),
    ("bytes", [], config(GENERIC, add_bos_token=True, add_eos_token=True), "the baker", None),
    ("bytes", [], config(GENERIC, split_special_tokens=True), "x<s>y", "split_special_tokens"),
    ("bytes", [["/truncation", {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}], ["/padding", {
        "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>"}]],
        config(GENERIC, model_max_length=3, padding_side="left", clean_up_tokenization_spaces=True), "the baker", None),
    ("bytes", [], {}, "x<s> the baker", None),
    ("words", [], config(BERT, do_lower_case=True), BERT_TEXT, None),
    ("words", [], config(BERT, do_lower_case=False), BERT_TEXT, None),
    ("words", [["/normalizer/lowercase", False]], config(BERT, do_lower_case=True), BERT_TEXT, None),
    ("words", [["/normalizer/lowercase", False]], config(BERT), BERT_TEXT, "do_lower_case"),
    ("words", [["/normalizer/lowercase", False]], config(GENERIC, do_lower_case=True, bos_token=None, eos_token=None), BERT_TEXT, None),
    ("words", [], config(BERT, do_lower_case=True, strip_accents=False), BERT_TEXT, None),
    ("words", [], config(BERT, do_lower_case=True, tokenize_chinese_chars=False), BERT_TEXT, None),
    ("words", [], config(BERT, tokenizer_class="DistilBertTokenizer", do_lower_case=False), BERT_TEXT, None),
    ("words", [], {}, BERT_TEXT, None),
    ("pieces", [], config(GENERIC, unk_token="<unk>"), "the baker", None),
    ("pieces", [], config(GENERIC, unk_token="<unk>", add_prefix_space=False), "the baker", None),
    ("pieces", [], config(GENERIC, tokenizer_class="LlamaTokenizer", unk_token="<unk>", legacy=False), "the baker", None),
    *[
        ("pieces", [], config(LLAMA, **changes), "  the baker</s>the", None)
        for changes in [{}, {"legacy": True}, {"add_prefix_space": False}, {"add_prefix_space": None, "legacy": None}]
    ],
    ("pieces", [["/normalizer", None], ["/pre_tokenizer", METASPACE]], config(LLAMA), "the baker</s>the", None),
    ("pieces", [["/normalizer", None], ["/pre_tokenizer", METASPACE]], config(LLAMA, tokenizer_class="LlamaTokenizerFast", legacy=True), "the</s>the", None),
    ("pieces", [], {**config(LLAMA, add_prefix_space=False), "config.json": {"model_type": "mistral"}}, "  the baker</s>the", None),
    ("pieces", [], {**config(LLAMA, add_prefix_space=False), "config.json": {"model_type": "phi3"}}, "the</s>the", None),
    ("bytes", [], config(LLAMA), "  the baker</s>the", None),
    ("bytes", [], {**OLD, **config(GENERIC, tokenizer_class="GPT2Tokenizer", unk_token="<unk>")}, "x<s> the baker", None),
    ("bytes", [], {**OLD, **config(GENERIC, tokenizer_class="GPT2Tokenizer", unk_token="<unk>", add_bos_token=True, add_prefix_space=True)}, "the baker", None),
    ("bytes", [], {**OLD, **config(GENERIC, tokenizer_class="RobertaTokenizer", unk_token="<unk>", pad_token="<unk>")}, "the baker<mask>", None),
    ("bytes", [], {**OLD, **config({}, tokenizer_class="Qwen2Tokenizer")}, "the baker 12's<|endoftext|>", None),
    ("bytes", [], {**OLD, **config(GENERIC, tokenizer_class="CLIPTokenizer")}, "the baker", "tokenizer_class"),
    ("words", [], {**OLD_WORDS, **config(BERT, do_lower_case=False)}, BERT_TEXT, None),
    ("words", [], {**OLD_WORDS}, BERT_TEXT, None),
]


def load(base, changes, files):
    with tempfile.TemporaryDirectory() as place:
        tokenizer = json.loads(json.dumps(bases[base]))
        for path, value in changes:
            *parents, last = path[1:].split("/")
            target = tokenizer
            for name in parents:
                target = target[name]
            target[last] = value
        contents = {"config.json": MODELS[base], "tokenizer.json": tokenizer, **files}
        for name, content in contents.items():
            if content is not None:
                text = content if isinstance(content, str) else json.dumps(content)
                pathlib.Path(place, name).write_text(text, encoding="utf-8")
        return AutoTokenizer.from_pretrained(place)


rows = []
for base, changes, files, text, refused in CASES:
    ids = None if refused else load(base, changes, files)(text)["input_ids"]
    rows.append({"base": base, "tokenizer": changes, "files": files, "text": text, "ids": ids, "refused": refused})
completions = []
for base in BASES:
    tokenizer = load(base, [], config(GENERIC if base != "words" else BERT))
    ids = tokenizer("the baker asked about the river", add_special_tokens=False)["input_ids"]
    bos = tokenizer("the")["input_ids"][:1] if base == "pieces" else []
    for cut in range(1, len(ids)):
        texts = [tokenizer.decode(part, skip_special_tokens=True) for part in (bos + ids[:cut], bos + ids)]
        if texts[1].startswith(texts[0]):
            completions.append({"base": base, "context": bos + ids[:cut], "tokens": ids[cut:], "text": texts[1][len(texts[0]):]})
print(json.dumps({"bases": bases, "models": MODELS, "rows": rows, "completions": completions}, ensure_ascii=False))
