"""Tiny tokenizers and chat templates that end an answer in the manner of well-known families, written anew."""

from data import tokenizers_on_the_spot as spot
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

GEMMA = (
    "<bos>{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# Ends the whole conversation with another token than each answer.
PHI = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}<|endoftext|>{% endif %}"
)
LLAMA3 = (
    "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAMA2 = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system message here') }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}<s>[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }} </s>{% endif %}{% endfor %}"
)
# Requires a system message, and writes text between an answer and its end.
STRICT = (
    "{% if messages[0].role != 'system' %}{{ raise_exception('system first') }}{% endif %}"
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if m.role == 'assistant' %} (over)</s>{% endif %}\n"
    "{% endfor %}"
)
PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}"
# Always asks for the next answer, and ends none.
HEADERS = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}\n{% endfor %}<|assistant|>\n"
# One token between all messages, the tokenizer's EOS.
TURNS = "{% for m in messages %}{{ m.content }}<|endoftext|>{% endfor %}"
BROKEN = "{{ raise_exception('never') }}"
SHOUTING = "{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}"


def make(template: str | None, eos: str | None, *others: str, plain: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer: EOS, then the padding token, then `others` from the id 256 on, then `plain` tokens.

    `plain` tokens are added ones that are not special.
    """
    tokenizer = spot.make(bos=None, eos=eos, template=None)
    tokenizer.add_tokens([AddedToken(token, special=True) for token in others], special_tokens=True)
    tokenizer.add_tokens([AddedToken(token, special=False) for token in plain])
    tokenizer.chat_template = template
    return tokenizer
