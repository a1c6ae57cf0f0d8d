"""The work of `cargo xtask bench lm`, done with PyTorch and Hugging Face transformers as well as they allow.

Takes a job (xtask/src/bench/job.rs) as its argument, prints the outcome; both are JSON. What a user of these
libraries would do to be fast is done: the context is read once and its cache shared, logits are computed for the
positions that predict something and reduced at once, nothing is computed that has no weight, no gradient is
recorded where none is wanted.
"""

import contextlib
import copy
import json
import math
import os
import sys
import time

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

job = json.loads(sys.argv[1])
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
torch.manual_seed(0)
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

started = time.perf_counter()
model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(job["model"])
loaded = time.perf_counter() - started

context = tokenizer(job["context"], return_tensors="pt").input_ids
ends = model.generation_config.eos_token_id
ends = torch.tensor(ends if isinstance(ends, list) else [ends])
length = job["max_new_tokens"]


def chosen(logits, tokens):
    """The log-probability of each token, without a tensor of all log-probabilities."""
    return logits.gather(-1, tokens[..., None])[..., 0] - logits.logsumexp(-1)


@torch.no_grad()
def sample(model, count):
    """`count` sequences, cut behind their end tokens."""
    read = model(context, use_cache=True, logits_to_keep=1)
    cache: DynamicCache = read.past_key_values
    cache.batch_repeat_interleave(count)
    logits = read.logits[:, -1].expand(count, -1)
    finished = torch.zeros(count, dtype=torch.bool)
    columns, log_prob = [], torch.zeros(count)
    for position in range(length):
        tokens = torch.multinomial(logits.softmax(-1), 1)
        log_prob += chosen(logits, tokens[:, 0]).masked_fill(finished, 0.0)
        columns.append(tokens.masked_fill(finished[:, None], int(ends[0])))
        finished |= torch.isin(tokens[:, 0], ends)
        if finished.all() or position + 1 == length:
            break
        logits = model(tokens, past_key_values=cache, use_cache=True).logits[:, -1]
    rows = torch.cat(columns, 1).tolist()
    return [cut(row) for row in rows], log_prob


def cut(row):
    last = next((at for at, token in enumerate(row) if token in ends), len(row) - 1)
    return row[: last + 1]


def log_probs(model, rows):
    """The log-probability of each sequence, by one forward pass over the batch."""
    width = max(len(row) for row in rows)
    tokens = torch.tensor([row + [int(ends[0])] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1.0] * len(row) + [0.0] * (width - len(row)) for row in rows])
    whole = torch.cat([context.expand(len(rows), -1), tokens], 1)
    # Padding comes behind the tokens that are scored, so that no attention mask is needed.
    logits = model(whole[:, :-1], use_cache=False, logits_to_keep=width).logits
    return (chosen(logits, tokens) * mask).sum(1)


def batches(rows, size):
    """Of like length, so that there is little to pad."""
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
    return [order[at : at + size] for at in range(0, len(rows), size)]


@torch.no_grad()
def score(model, rows):
    scored = torch.zeros(len(rows))
    for batch in batches(rows, 32):
        scored[batch] = log_probs(model, [rows[i] for i in batch])
    return scored


def step(base, policy, optimizer, successes):
    """One step of 64 samples, `successes` of which are taken to be in the target's support."""
    rows, log_proposal = sample(policy, job["count"])
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    assert len(texts) == job["count"]
    with base_weights():
        log_base = score(base, rows[:successes])
    log_z = (log_base - log_proposal[:successes]).logsumexp(0) - math.log(len(rows))
    if job["work"].startswith("forward-kl"):
        rows, weight = rows[:successes], lambda i, own: -torch.exp(log_base[i] - own.detach() - log_z)
    else:
        # f' is ln(2)/2 where the target is zero, and (ln 2 - softplus(-ln(pi/p)))/2 where it is not.
        infinite = torch.full((len(rows) - successes,), -torch.inf)
        log_target = torch.cat([log_base, infinite]) - log_z
        weight = lambda i, own: (math.log(2) - torch.nn.functional.softplus(log_target[i] - own.detach())) / 2
    for batch in batches(rows, job["micro_batch"]):
        own = log_probs(policy, [rows[i] for i in batch])
        (weight(batch, own) * own).sum().div(job["count"]).backward()
    optimizer.step()
    optimizer.zero_grad()


outcome = {"seconds": [], "tokens": []}


def timed(work):
    """After one repetition that does not count."""
    for repetition in range(job["repetitions"] + 1):
        started = time.perf_counter()
        tokens = work(repetition)
        if repetition > 0:
            outcome["seconds"].append(time.perf_counter() - started)
            outcome["tokens"].append(tokens)


if job["work"] == "load":
    outcome["seconds"] = [loaded]
elif job["work"].startswith("sample"):
    timed(lambda _: sum(len(row) for row in sample(model, job["count"])[0]))
elif job["work"] == "score":

    def work(_):
        outcome["log_probs"] = score(model, job["sequences"]).tolist()
        return sum(len(row) for row in job["sequences"])

    timed(work)
else:
    if job["work"].endswith("lora"):
        from peft import LoraConfig, get_peft_model

        base = model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
        base_weights = model.disable_adapter
    else:
        base, base_weights = copy.deepcopy(model).requires_grad_(False), contextlib.nullcontext
    # Fused, the fastest that PyTorch has on a CPU.
    tuned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(tuned, lr=job["learning_rate"], fused=True)
    timed(lambda repetition: step(base, model, optimizer, job["successes"][repetition]) or 0)

with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
outcome["peak_bytes"] = [int(peak.split()[1]) * 1024]
outcome["program"] = f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
print(json.dumps(outcome))
