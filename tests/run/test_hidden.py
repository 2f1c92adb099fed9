"""Keys in what servers say: every form in which a server may repeat one."""

import json

from burnish.run.hidden import basic, forms_of, without, without_in


def test_a_header_of_basic_authentication() -> None:
    """The example of RFC 7617, section 2."""
    assert basic("Aladdin", "open sesame") == "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_a_key_is_hidden_as_it_is_and_as_json_writes_it() -> None:
    key = 'sk-"quoted"/\\slash'
    told = {"error": {"headers": [f"Bearer {key}"], "body": json.dumps({"key": key}).replace("/", "\\/")}, key: 1}
    expected = {"error": {"headers": ["Bearer …"], "body": '{"key": "…"}'}, "…": 1}
    assert without_in(told, forms_of(key)) == expected


def test_a_user_and_a_password_are_hidden_in_the_header_and_alone() -> None:
    forms = forms_of("", "Aladdin", "open sesame")
    assert without("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==, Aladdin:open sesame, open sesame", forms) == "Basic …, …, …"
    assert without("key-as-user", forms_of("", "key-as-user", "")) == "…"


def test_a_short_key_is_no_secret_and_stays_in_replies() -> None:
    """`EMPTY` is the key of many servers without keys, and a word that a model may write."""
    told = {"content": "the box is EMPTY", "n": 1, "none": None}
    assert without_in(told, forms_of("EMPTY")) == told
    assert without("refused: EMPTY", forms_of("EMPTY")) == "refused: …"
    assert without("as it was", forms_of("")) == "as it was"
