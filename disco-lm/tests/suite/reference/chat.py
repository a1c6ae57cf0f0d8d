"""Conversations through chat templates, by Hugging Face transformers.

In an environment with transformers, and SmolLM2's folder (see smollm2.py):
    python disco-lm/tests/suite/reference/chat.py FOLDER > disco-lm/tests/suite/reference/chat.json
"""

import json
import sys

from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
tokenizer.bos_token, tokenizer.eos_token = "<|im_start|>", "<|im_end|>"
TEMPLATES = {
    "smollm2": tokenizer.chat_template,
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "mistral": "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}"
    "{% endif %}{% endfor %}",
    # Blocks on lines of their own, Python's methods, and every function that transformers offers.
    "everything": """{%- set ns = namespace(system='', turns=0) %}
{%- if messages[0].role == 'system' %}
    {%- set ns.system = messages[0]['content'].strip() %}
    {%- set messages = messages[1:] %}
{%- endif %}
{% if tools is not none %}
tools
{% endif %}
  {% if ns.system %}
System: {{ ns.system | upper }}
  {% endif %}
{% for message in messages %}
    {% if message.content.startswith('skip') %}{% continue %}{% endif %}
    {% set ns.turns = ns.turns + 1 %}
{{ loop.index }}/{{ ns.turns }} {{ message | tojson }}
{{ message.content.split(' ')[-1] }}{{ strftime_now('%%') }}
{% endfor %}
{{ {'b': [1, 2.5, true, none], 'a': '<é&"'} | tojson(indent=2) }}
{% if strftime_now is defined and add_generation_prompt %}
{{ eos_token }}Answer:
{%- endif %}
""",
}
user = {"role": "user", "content": " What is 2 + 2? "}
answer = {"role": "assistant", "content": "It's <4>, \"four\" & caf\u00e9."}
CONVERSATIONS = {
    "user": [user],
    "turns": [user, answer, {"role": "user", "content": "skip that\nline"}],
    "system": [{"role": "system", "content": "Be brief.\n"}, user],
}
rows = []
for name, template in TEMPLATES.items():
    for kind, messages in CONVERSATIONS.items():
        row = {"template": name, "conversation": kind, "messages": messages}
        try:
            row["text"] = tokenizer.apply_chat_template(messages, chat_template=template, add_generation_prompt=True, tokenize=False)
        except Exception as refusal:
            row["refusal"] = str(refusal)
        if name == "smollm2":
            row["ids"] = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
        rows.append(row)
tokens = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
print(json.dumps({"templates": TEMPLATES, "special_tokens": tokens, "rows": rows}, indent=1))
