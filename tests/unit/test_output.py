# SPDX-License-Identifier: LGPL-2.1-or-later
"""Data of an image cannot control the terminal."""

import json
from xml.etree.ElementTree import Element, fromstring, tostring

import pytest

from virtlayer.client.output import print_error, print_json, print_xml
from virtlayer.errors import PoolNotFound

HOSTILE = "a\x7f\x9b31m\u202e\u2028\U000e0001\x1b[0m \u00fc\u4e16"


def test_json_has_no_character_that_a_terminal_interprets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_json({HOSTILE: [HOSTILE]})
    text = capsys.readouterr().out
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == {HOSTILE: [HOSTILE]}
    assert "\u00fc\u4e16" in text


def test_error_as_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(PoolNotFound(HOSTILE), as_json=True)
    text = capsys.readouterr().err
    assert text.rstrip("\n").isprintable()
    assert json.loads(text)["error"] == "PoolNotFound"


def test_xml_has_no_character_that_a_terminal_interprets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = "a\x85\x9b31m\u202e\u00a0\u2028\U000e0001 \u00fc\u4e16"
    root = Element("domain", name=hostile)
    root.text = hostile
    print_xml(tostring(root, encoding="unicode") + "\n")
    text = capsys.readouterr().out
    assert text.replace("\n", "").isprintable()
    read = fromstring(text)  # noqa: S314 -- our own
    assert (read.text, read.get("name")) == (hostile, hostile)
