"""The features of xtask/specs/command.toml: an example of a program that gives values to samples."""

import re

from disco_scorer import Skip, feature, serve


@feature
def thou(texts, contexts, **columns):
    """Whether the old word for `you` occurs."""
    return [re.search(r"\b(thou|thee|thy)\b", text.lower()) is not None for text in texts]


@feature
def word_length(texts):
    """The mean number of letters of a word. A text without a word is left out."""
    words = [re.findall(r"[a-zA-Z']+", text) for text in texts]
    return [sum(map(len, found)) / len(found) if found else Skip("it has no word") for found in words]


if __name__ == "__main__":
    serve()
