"""Features for disco in Python: one file without dependencies, for Python 3.9 or newer.

    from disco_scorer import feature, serve

    @feature
    def polite(texts, contexts, **columns):
        return ["please" in text.lower() for text in texts]

    if __name__ == "__main__":
        serve()

In a run file:

    [[features]]
    name = "polite"
    kind = "command"
    run = ["python3", "scorers.py"]
    binary = true
    mean = 0.5

A feature is called with lists of the same length: `texts` (the samples, without their contexts), `contexts`, `tokens` (counts),
`finished` (whether the model ended the sample), and one list for each column of the contexts; a function names those that it wants,
and `**columns` takes the rest. It returns one value per text: a finite number, `True` or `False`, or `None` for a text that is to be
skipped (`Skip("why")` says why). Equal texts in equal contexts should get equal values.

A function of TRL's signature, `(prompts, completions, **columns) -> list of float`, is taken unchanged: `serve(function)` or
`@feature`. It is given the contexts as `prompts` and the texts as `completions`; with `messages=True` both as lists of messages,
`[{"role": "user", "content": context}]` and `[{"role": "assistant", "content": text}]`.

Standard input and output belong to the protocol: what a feature prints goes to standard error, which disco shows.
"""

import asyncio
import inspect
import json
import math
import os
import sys
import traceback

__all__ = ["Skip", "feature", "serve"]

_FEATURES = {}
_MESSAGES = set()
# The names of contexts and texts, for functions that are not of TRL's signature and for those that are.
_OWN, _TRL = {"texts", "contexts"}, {"completions", "prompts"}


class Skip:
    """The value of a text that is to be skipped, with the reason."""

    def __init__(self, reason):
        self.reason = str(reason)


def feature(function=None, *, name=None, messages=False):
    """Makes a function a feature, by its own name or by another: `@feature`, `@feature("name")`, `@feature(name="name")`."""
    if isinstance(function, str):
        function, name = None, function
    if function is None:
        return lambda wrapped: feature(wrapped, name=name, messages=messages)
    name = name or function.__name__
    if _FEATURES.get(name, function) is not function:
        raise ValueError(f"two features are named {name!r}")
    _FEATURES[name] = function
    if messages:
        _MESSAGES.add(name)
    return function


def _arguments(name, function, samples):
    """The keyword arguments of a call: those that the function takes, of all that is known of the samples."""
    columns = {}
    for index, sample in enumerate(samples):
        for column, value in sample.get("columns", {}).items():
            columns.setdefault(column, [None] * len(samples))[index] = value
    texts = [sample["text"] for sample in samples]
    contexts = [sample["context"] for sample in samples]
    known = {
        **columns,
        "tokens": [sample["tokens"] for sample in samples],
        "finished": [sample["finished"] for sample in samples],
        "texts": texts,
        "contexts": contexts,
        "completions": texts,
        "prompts": contexts,
    }
    if name in _MESSAGES:
        known["prompts"] = [[{"role": "user", "content": context}] for context in contexts]
        known["completions"] = [[{"role": "assistant", "content": text}] for text in texts]
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = [parameter for parameter in parameters if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)]
    for parameter in named:
        if parameter.default is parameter.empty and parameter.name not in known:
            there = ", ".join(columns) or "none"
            raise TypeError(f"feature {name!r} takes {parameter.name!r}, which is no column of the contexts; there are: {there}")
    wanted = {parameter.name for parameter in named}
    if takes_all:
        # TRL hands prompts and completions to every function, whether it names them or not.
        wanted |= known.keys() - _OWN - (set() if wanted & _TRL else _TRL)
    return {key: value for key, value in known.items() if key in wanted}


def _value(value, name, index):
    """A value as the protocol has it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Skip):
        return {"skip": value.reason}
    try:
        number = math.nan if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"feature {name!r} gave {value!r} for sample {index}; allowed: a finite number, True, False, None, Skip(reason)")
    return number


def _rows(request, features):
    samples, names = request["samples"], request["features"]
    unknown = [name for name in names if name not in features]
    if unknown:
        raise ValueError(f"no feature is named {unknown[0]!r}; there are: {', '.join(sorted(features)) or 'none'}")
    if not samples:
        return []
    columns = []
    for name in names:
        own_name, function = features[name]
        values = function(**_arguments(own_name, function, samples))
        if inspect.isawaitable(values):
            values = asyncio.run(_awaited(values))
        values = list(values)
        if len(values) != len(samples):
            raise ValueError(f"feature {name!r} gave {len(values)} values for {len(samples)} texts")
        columns.append([_value(value, name, index) for index, value in enumerate(values)])
    return [list(row) for row in zip(*columns)]


async def _awaited(values):
    return await values


def _last_line(error):
    """The last line of the error's traceback, and the place that it comes from."""
    said = traceback.format_exception_only(type(error), error)[-1].strip()
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    place = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    return said + place


def _answer(line, features):
    """The answer to a request, as an object."""
    identity = None
    try:
        request = json.loads(line)
        identity = request["id"]
        names = request["features"]
        if len(features) == 1 and len(names) == 1:
            # A single feature answers for whatever name the run file gives it.
            features = {names[0]: next(iter(features.values()))}
        return {"id": identity, "values": _rows(request, features)}
    except Exception as error:
        traceback.print_exc()
        return {"id": identity, "error": _last_line(error)}


def serve(*functions, messages=False):
    """Answers batches until the input ends, with the features that `@feature` has made and with `functions`. A single feature
    answers for whatever name the run file gives it."""
    for function in functions:
        feature(function, messages=messages)
    features = {name: (name, function) for name, function in _FEATURES.items()}
    # Streams of our own, so that neither a feature nor a program that it starts reads or writes a line of the protocol.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.stdout.flush()
    os.dup2(2, 1)
    for line in requests:
        answer = _answer(line, features)
        try:
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()
        except BrokenPipeError:
            # Nobody waits for an answer any more.
            os._exit(0)
