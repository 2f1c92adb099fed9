"""Tiny tokenizers made on the spot: byte-level, each id known from its text by `ids`."""

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
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


WORDS = ("Hi", "there", "Yes", "indeed", "And", "then", "No", "thanks", "Boats", "user", "assistant", "INST", "think")
"""Words of which the SentencePiece-like tokenizers below have tokens, with and without a space before them."""


def sentencepiece(
    scheme: str,
    model: str = "bpe",
    added: tuple[str, ...] = (),
    strips: bool = False,
    adders: tuple[bool, bool] = (False, False),
) -> PreTrainedTokenizerFast:
    """A tokenizer as SentencePiece's, with byte fallback; ids 0, 1 and 2 are `<unk>`, `<s>` and `</s>`.

    `scheme` says where it writes "▁" before a text: always, first or never (Metaspace), or "prepend", which is how
    Llama 2's tokenizer normalises each piece between added tokens. `adders`: BOS before and EOS behind a text.
    """
    characters = [*map(chr, range(33, 127)), "▁"]
    words = [start + word for word in WORDS for start in ("▁", "")]
    if model == "unigram":
        scored = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *((f"<0x{b:02X}>", -20.0) for b in range(256))]
        scored += [(one, -9.0) for one in characters] + [(word, -4.0) for word in words]
        backend = Tokenizer(models.Unigram(scored, unk_id=0, byte_fallback=True))
    else:
        vocabulary = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *characters]
        merges: list[tuple[str, str]] = []
        for word in words:  # each word's letters are joined from the left
            merges += [pair for end in range(1, len(word)) if (pair := (word[:end], word[end])) not in merges]
        vocabulary += [left + right for left, right in merges]
        numbers = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
        backend = Tokenizer(models.BPE(numbers, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if scheme == "prepend":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=True)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = [*(AddedToken(one, special=True) for one in ("<unk>", "<s>", "</s>"))]
    special += [AddedToken(one, special=True, normalized=False, lstrip=strips, rstrip=strips) for one in added]
    return finished(backend, special, ("<s>", "</s>"), adders)


def byte_level(added: tuple[str, ...] = (), adders: tuple[bool, bool] = (False, False), trim: bool = False):
    """A tokenizer as GPT-2's, whose tokens are bytes and the words above; `trim`: offsets leave out spaces."""
    backend = Tokenizer(models.BPE(unk_token=None))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    special = [AddedToken(one, special=True) for one in ("<s>", "</s>", *added)]
    return finished(backend, special, ("<s>", "</s>"), adders, [processors.ByteLevel(trim_offsets=trim)])


def finished(
    backend: Tokenizer,
    special: list[AddedToken],
    named: tuple[str, str],
    adders: tuple[bool, bool],
    first: list[processors.PostProcessor] | None = None,
) -> PreTrainedTokenizerFast:
    """A backend with its added tokens and, if it has adders, BOS and EOS around every text."""
    backend.add_special_tokens(special)
    bos, eos = named
    around = processors.TemplateProcessing(
        single=[*([bos] if adders[0] else []), "$A", *([eos] if adders[1] else [])],
        special_tokens=[(token, backend.token_to_id(token)) for token in named],
    )
    backend.post_processor = processors.Sequence([*(first or []), around])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos, eos_token=eos)
