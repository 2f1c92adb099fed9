"""Tiny tokenizers made on the spot: byte-level, each id known from its text by `ids`."""

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors
from tokenizers.decoders import ByteLevel
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Writes BOS itself, needs no generation prompt, ends each answer with EOS.
LLAMA = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<s>[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}</s>{% endif %}{% endfor %}"
)
# An answer that is not the last one is rendered otherwise.
FORGETFUL = (
    "{% for m in messages %}{{ m['role'] }}:{% if m['role'] == 'assistant' and not loop.last %}(gone)"
    "{% else %}{{ m['content'] }}{% endif %};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


def make(
    bos: str | None = "<s>",
    eos: str | None = "</s>",
    pad: str | None = "<pad>",
    template: str | None = None,
    merges: tuple[tuple[str, str], ...] = (),
) -> PreTrainedTokenizerFast:
    """A tokenizer whose ids are bytes: the byte b is the id b; then come merges, then added tokens, from 256 on."""
    alphabet = byte_characters()
    vocabulary = {character: byte for byte, character in alphabet.items()}
    vocabulary |= {left + right: 256 + number for number, (left, right) in enumerate(merges)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\s?\S+|\s+"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    backend.decoder = ByteLevel()
    named = {"bos_token": bos, "eos_token": eos, "pad_token": pad}
    special = list(dict.fromkeys(token for token in named.values() if token))
    for token in ("<|im_start|>", "<|im_end|>"):
        if template == CHATML and token not in special:
            special.append(token)
    backend.add_special_tokens([AddedToken(token, special=True) for token in special])
    # As many tokenizers do: asked for special tokens, it would write BOS and EOS around every text.
    around = [(token, backend.token_to_id(token)) for token in special]
    backend.post_processor = processors.TemplateProcessing(
        single=[*filter(None, (bos,)), "$A", *filter(None, (eos,))], special_tokens=around
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **{k: v for k, v in named.items() if v})
    tokenizer.chat_template = template
    return tokenizer


def byte_characters() -> dict[int, str]:
    """Byte-level BPE's printable stand-in for each byte: itself if printable, else the next unused one from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + k) for k, b in enumerate(others)}


def ids(text: str) -> list[int]:
    """The ids of plain text: its bytes."""
    return list(text.encode())
