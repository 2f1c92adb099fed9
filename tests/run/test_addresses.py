"""Addresses are shown without what may be a key."""

import pytest

from burnish.run import without_keys


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("--judge http://me:pw@host:80/v1?key=abc#x --out o", "--judge http://host:80/v1 --out o"),
        ("'https://token@host/v1?a=b'", "'https://host/v1'"),
        ("http://host/v1", "http://host/v1"),
        ("http://host/v1;key=abc/chat?x", "http://host/v1"),
        ("http://host:1;params=abc and more", "http://host:1 and more"),
        ("http://host/v1#key=abc", "http://host/v1"),
        ("http://host/v1%3Fkey%3Dabc", "http://host/v1"),
        ("http://host/v1%3bkey=abc", "http://host/v1"),
        ("HTTPS://me:pw@host/v1?key=abc", "HTTPS://host/v1"),
        ("http://me:p/w@host/v1", "http://host/v1"),
        ("hf://key@datasets/owner/name", "hf://datasets/owner/name"),
        ("no such s3://id:key@bucket/x.jsonl: give a file", "no such s3://bucket/x.jsonl: give a file"),
        ("no address, me@host?", "no address, me@host?"),
    ],
)
def test_addresses_are_cut_to_host_and_path(text: str, cut: str) -> None:
    assert without_keys(text) == cut
