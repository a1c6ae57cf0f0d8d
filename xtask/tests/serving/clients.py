"""The official clients of OpenAI's API against `cargo xtask serve`.

    python clients.py URL FOLDER

URL is the server's, such as http://127.0.0.1:8000; FOLDER holds the model that it serves, in Hugging Face's format. Needs openai; with lm_eval
(lm-evaluation-harness), a task is scored through the server too, and with torch beside it compared with transformers.
"""

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import openai

CONTEXT = "KING RICHARD III:\n"
# Of the sum of some tens of log-probabilities, in f32 on both sides.
TOLERANCE = 1e-3


def check_openai(url):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)
    model = client.models.list().data[0].id
    asked = {"model": model, "prompt": CONTEXT, "n": 2, "seed": 7, "max_tokens": 20, "logprobs": 2}
    whole = client.completions.create(**asked)
    assert client.completions.create(**asked).choices == whole.choices, "a seed gives the same completions"
    texts = [""] * 2
    for chunk in client.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
        usage = chunk.usage
    assert texts == [choice.text for choice in whole.choices], "a stream says the same"
    assert usage == whole.usage and usage.completion_tokens > 0
    for choice in whole.choices:
        assert len(choice.logprobs.tokens) == len(choice.logprobs.token_logprobs)
        assert all(log_prob <= 0 for log_prob in choice.logprobs.token_logprobs)
    scored = client.completions.create(model=model, prompt=CONTEXT, max_tokens=0, echo=True, logprobs=0)
    assert scored.choices[0].text == CONTEXT
    assert scored.choices[0].logprobs.token_logprobs[0] is None
    try:
        chat = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Who?"}], max_tokens=5)
        assert chat.choices[0].message.role == "assistant"
    except openai.BadRequestError as error:
        assert "no chat template" in error.message, error
    for wrong, kind in [({"temperature": -1}, openai.BadRequestError), ({"model": "other"}, openai.NotFoundError)]:
        try:
            client.completions.create(**{**asked, **wrong})
            raise SystemExit(f"{wrong} was accepted")
        except kind as error:
            assert error.body["type"] == "invalid_request_error", error.body
    print("openai", openai.__version__, "ok")
    return model


def check_lm_eval(url, model, folder):
    import lm_eval
    from lm_eval.tasks import TaskManager

    documents = [
        {"question": "KING RICHARD III:\nMy horse", "choices": ["!", ", my lord.", " is dead"], "answer": 0},
        {"question": "ROMEO:\n", "choices": ["O, speak again", "xyzzy qqq", "And"], "answer": 0},
        {"question": "First Citizen:\n", "choices": ["We are accounted poor citizens", "Speak"], "answer": 1},
    ]
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "data.jsonl"
        data.write_text("".join(json.dumps(document) + "\n" for document in documents))
        task = {
            "task": "lines", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test", "output_type": "multiple_choice", "doc_to_text": "{{question}}",
            "doc_to_choice": "choices", "doc_to_target": "answer", "target_delimiter": "",
            "metric_list": [{"metric": "acc"}],
        }

        def evaluate(kind, arguments):
            found = lm_eval.simple_evaluate(
                model=kind, model_args=arguments, tasks=[task], task_manager=TaskManager(include_defaults=False),
                log_samples=True, bootstrap_iters=0,
            )
            samples = sorted(found["samples"]["lines"], key=lambda sample: sample["doc_id"])
            return [[(float(one[0]), str(one[1])) for one in sample["filtered_resps"]] for sample in samples]

        # By default, lm_eval takes a tokenizer's begin token with the one model, and leaves it out with the other.
        ours = evaluate(
            "local-completions",
            {"model": model, "base_url": f"{url}/v1/completions", "tokenizer": folder, "num_concurrent": 4,
             "max_retries": 1, "batch_size": 2, "max_length": 100, "add_bos_token": True},
        )
        assert len(ours) == len(documents)
        print("lm_eval", lm_eval.__version__, ours)
        if importlib.util.find_spec("torch") is None:
            print("lm_eval ok; without torch, not compared with transformers")
            return
        theirs = evaluate(
            "hf",
            {"pretrained": folder, "dtype": "float32", "device": "cpu", "max_length": 100, "add_bos_token": True},
        )
    pairs = [(a, b) for one, other in zip(ours, theirs) for a, b in zip(one, other)]
    largest = max(abs(a[0] - b[0]) for a, b in pairs)
    assert largest < TOLERANCE and all(a[1] == b[1] for a, b in pairs), (ours, theirs)
    print(f"lm_eval ok; largest distance from transformers {largest:.1e} over {len(pairs)} continuations")


if __name__ == "__main__":
    url, folder = sys.argv[1:]
    name = check_openai(url)
    if importlib.util.find_spec("lm_eval") is None:
        print("without lm_eval")
    else:
        check_lm_eval(url, name, folder)
