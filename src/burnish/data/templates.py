"""Renders conversations as text with the tokenizer's chat template.

A conversation is rendered message by message. Each rendering must begin with the previous one, so that the concatenated
pieces equal the template's text for the whole conversation.
"""

from transformers import PreTrainedTokenizerBase

from burnish.data.formats import Messages
from burnish.run import UserError

Piece = tuple[str, bool]
"""A text and whether its tokens are trained."""


def render(messages: Messages, tokenizer: PreTrainedTokenizerBase, where: str, answer_next: bool = False) -> str:
    """The template's text for `messages`; with `answer_next`, including the generation prompt.

    Raises UserError, beginning with `where`, if the tokenizer has no template or the template rejects the messages.
    """
    if not tokenizer.chat_template:
        raise UserError(
            f"{where}: is a conversation, but the tokenizer has no chat template; set `chat_template` in its "
            "tokenizer_config.json or use plain text."
        )
    try:
        # A batch of one, because an empty conversation alone is rejected.
        texts = tokenizer.apply_chat_template([messages], tokenize=False, add_generation_prompt=answer_next)
    except Exception as error:  # whatever the template's own code raises
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        raise UserError(
            f"{where}: the chat template rejects its messages ({reason}); fix or remove the row."
        ) from error
    return str(texts[0])


def split(
    prompt: Messages, answers: tuple[Messages, ...], tokenizer: PreTrainedTokenizerBase, where: str
) -> tuple[str, list[list[Piece]]]:
    """The prompt's text, and each answer as pieces: True for the assistant's turns, False for the text between them.

    Text after the last assistant turn is dropped. The prompt ends with the generation prompt, or, if any answer begins
    with a message of another role, with the prompt's last message.

    Raises UserError if a longer rendering does not begin with the shorter one: the template rewrites earlier text.
    """
    answer_next = all(answer[0]["role"] == "assistant" for answer in answers)
    start = render(prompt, tokenizer, where, answer_next) if prompt or answer_next else ""
    return start, [_pieces(prompt, start, answer_next, answer, tokenizer, where) for answer in answers]


def _pieces(
    prompt: Messages, start: str, answer_next: bool, answer: Messages, tokenizer: PreTrainedTokenizerBase, where: str
) -> list[Piece]:
    pieces: list[Piece] = []
    conversation, text = list(prompt), start
    for message in answer:
        if message["role"] == "assistant":
            # If all answers begin with the assistant, the prompt already ends with this header.
            first = answer_next and len(conversation) == len(prompt)
            header = text if first else render(conversation, tokenizer, where, answer_next=True)
            if header != text:
                pieces.append((_continuation(text, header, where), False))
            turn = render([*conversation, message], tokenizer, where)
            pieces.append((_continuation(header, turn, where), True))
            text = turn
        conversation.append(message)
    return pieces


def _continuation(text: str, longer: str, where: str) -> str:
    if not longer.startswith(text):
        raise UserError(
            f"{where}: the chat template changes earlier text when a message follows, so the answer cannot be "
            "separated from its prompt; use another template, or rows with a single answer."
        )
    if longer == text:
        raise UserError(f"{where}: the chat template writes nothing for the assistant's message; use another template.")
    return longer[len(text) :]
