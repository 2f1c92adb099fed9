"""Chat templates in the manner of well-known families, written for these tests, with what they write as text.

Each `Family` says how its template writes one turn of the assistant, so that tests can write the expected text.
"""

from dataclasses import dataclass

SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}{% endif %}"


@dataclass(frozen=True)
class Family:
    """A template, its special tokens, and what it writes behind an answer; `rewrites`: earlier turns change."""

    template: str
    tokens: tuple[str, ...]
    end: str
    rewrites: bool = False


def headers(opener: str, closer: str, end: str, before: str = "", last: str = "") -> str:
    """A template of turns `opener` role `closer` content `end`, as most families have it."""
    return (
        f"{before}{{% for m in messages %}}{{{{ '{opener}' + m['role'] + '{closer}' + m['content'] + '{end}' }}}}"
        f"{{% endfor %}}{{% if add_generation_prompt %}}{{{{ '{opener}assistant{closer}' }}}}"
        f"{{% else %}}{{{{ '{last}' }}}}{{% endif %}}"
    )


LLAMA_2 = Family(
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}",
    (),
    " </s>",
)
MISTRAL = Family(
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST]' + m['content'] + '[/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}",
    ("[INST]", "[/INST]"),
    "</s>",
)
LLAMA_3 = Family(
    headers("<|start_header_id|>", "<|end_header_id|>\\n\\n", "<|eot_id|>", "{{ bos_token }}"),
    ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "<|eot_id|>",
)
CHATML = Family(headers("<|im_start|>", "\\n", "<|im_end|>\\n"), ("<|im_start|>", "<|im_end|>"), "<|im_end|>")
QWEN_25 = Family(
    headers(
        "<|im_start|>",
        "\\n",
        "<|im_end|>\\n",
        "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}{% endif %}",
    ),
    ("<|im_start|>", "<|im_end|>"),
    "<|im_end|>",
)
GEMMA = Family(
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role'])"
    " + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
    ("<start_of_turn>", "<end_of_turn>"),
    "<end_of_turn>",
)
PHI = Family(
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}",
    ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
    "<|end|>",
)
QWEN_3 = Family(
    "{% set found = namespace(last=-1) %}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{% set found.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}"
    "{% set said = m['content'] %}{% set thought = m['reasoning_content'] or '' %}"
    "{% if m['role'] == 'assistant' and '</think>' in said %}"
    "{% set thought = said.split('</think>')[0].split('<think>')[-1].strip('\\n') %}"
    "{% set said = said.split('</think>')[-1].lstrip('\\n') %}{% endif %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' and loop.index0 > found.last and (loop.last or thought) %}"
    "{{ '<think>\\n' + thought + '\\n</think>\\n\\n' }}{% endif %}{{ said + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{% endif %}",
    ("<|im_start|>", "<|im_end|>", "<think>", "</think>"),
    "<|im_end|>",
    rewrites=True,
)
R1 = Family(
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '<|User|>' + m['content'] }}"
    "{% elif m['role'] == 'assistant' %}{{ '<|Assistant|>' + m['content'].split('</think>')[-1] + eos_token }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|Assistant|><think>\\n' }}{% endif %}",
    ("<|User|>", "<|Assistant|>", "<think>", "</think>"),
    "</s>",
    rewrites=True,
)
QWQ = Family(
    headers("<|im_start|>", "\\n", "<|im_end|>\\n").replace(
        "{{ '<|im_start|>assistant\\n' }}", "{{ '<|im_start|>assistant\\n<think>\\n' }}"
    ),
    ("<|im_start|>", "<|im_end|>", "<think>", "</think>"),
    "<|im_end|>",
    rewrites=True,
)

FAMILIES = {
    "Llama 2": LLAMA_2,
    "Llama 3": LLAMA_3,
    "Mistral": MISTRAL,
    "Qwen 2.5": QWEN_25,
    "Qwen 3": QWEN_3,
    "Gemma": GEMMA,
    "Phi": PHI,
    "ChatML": CHATML,
    "R1": R1,
}
TOKENS = tuple(dict.fromkeys(token for family in FAMILIES.values() for token in family.tokens))
