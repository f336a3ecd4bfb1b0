# SPDX-License-Identifier: LGPL-2.1-or-later
"""The recording of the README: what a terminal has shown becomes an SVG."""

import os
import re
from xml.etree import ElementTree

from demo.recording.animation import animation
from demo.recording.frames import frames
from demo.recording.session import Printed, Session

from tests.examples.place import REPOSITORY


def test_what_is_typed_and_printed_is_in_the_picture() -> None:
    with Session(dict(os.environ)) as session:
        session.read_until(Session.PROMPT, 60)
        session.type("echo '<&'$((40 + 2))")
        session.read_until("<&42", 60)

    drawn = animation(frames(session.printed), "a shell")

    texts = ElementTree.fromstring(drawn).findall(".//{*}text")  # noqa: S314 - made above
    lines = {"".join(text.itertext()) for text in texts}
    assert {"$ echo '<&'$((40 + 2))", "<&42"} <= lines


def test_waiting_is_cut_and_keys_in_a_row_are_one_frame() -> None:
    made = frames([Printed(0.0, b"a"), Printed(0.01, b"b"), Printed(60.0, b"\x1b[31mc")])

    assert [frame.at for frame in made] == [0.0, 1.51]
    assert [span.text for span in made[0].lines[0]] == ["ab"]
    assert [(span.text, span.colour) for span in made[1].lines[0]] == [
        ("ab", "default"),
        ("c", "red"),
    ]


def test_the_picture_loads_nothing() -> None:
    picture = (REPOSITORY / "docs" / "run.svg").read_text()

    assert re.findall(r'(?:href|src)="(?!#)|url\(|@import|<script', picture) == []
