"""Templates rendered by Hugging Face transformers' own Jinja: expressions one by one, and templates in the style of published models.

In an environment with transformers (any version from 5 on):
    python disco-lm/tests/suite/reference/jinja.py > disco-lm/tests/suite/reference/jinja.json

Templates without a text are refused by transformers, or only by this project: those whose texts hold addresses in memory (ADDRESSES), and
those with whole numbers above 64 bits or features of Jinja that it does not support (REFUSED).
"""

import datetime
import json
import pathlib
import re

from transformers.utils import chat_template_utils

NOW = 1_739_157_944


class Clock(datetime.datetime):
    @classmethod
    def now(cls):
        return cls.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)


chat_template_utils.datetime = Clock
USER = {"role": "user", "content": ' Where is the "baker"?\nIn <b>Zürich</b> & 日本? '}
ANSWER = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nIn the valley."}
WHY = {"role": "user", "content": "Why?"}
SYSTEM = {"role": "system", "content": "Be  brief."}
CONVERSATIONS = {"user": [USER], "turns": [USER, ANSWER, WHY], "system": [SYSTEM, USER, ANSWER, WHY]}


def render(template, conversation):
    variables = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True, "tools": None, "documents": None}
    try:
        compiled = chat_template_utils._compile_jinja_template(template)
        return compiled.render(messages=CONVERSATIONS[conversation], **variables)
    except Exception:
        return None


folder = pathlib.Path(__file__).parent
ADDRESSES = re.compile(r" at 0x|<class |<TemplateReference")
REFUSED = re.compile(r"\{% block|__class__|\.append %|\*\*30|807 \+ 1|:\.3\}'\.format\(3")
rows = []


def add(template, conversations):
    texts = {name: render(template, name) for name in conversations}
    for name, text in texts.items():
        if REFUSED.search(template) or ADDRESSES.search(text or ""):
            texts[name] = None
    rows.append({"template": template, "texts": texts})


for line in (folder / "jinja_expressions.txt").read_text(encoding="utf-8").split("\n"):
    if line:
        add(line, ["system"])
models = (folder / "jinja_models.txt").read_text(encoding="utf-8").split("\n====\n")
for template in models + [models[0].replace("\n", "\r\n") + "\r\n", models[3].replace("\n", "\r\n")]:
    add(template, CONVERSATIONS)
print(json.dumps({"now": NOW, "conversations": CONVERSATIONS, "rows": rows}, ensure_ascii=False, indent=0))
