# SPDX-License-Identifier: LGPL-2.1-or-later
"""The benchmark gives no figures for wrong outputs, and shows a missed target as missed."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench import measure, places
from bench.archive import Layer
from bench.cases.case import Outcome
from bench.chart import chart
from bench.inputs import Image, Inputs
from bench.measure import Arena, Series
from bench.report import Report
from bench.result import Finished, at
from bench.rows import Figures, Row
from bench.trees import WrongTree, _listing, kept_tree

from tests.support.registry import Registry

_IMAGE = Image("tiny", f"sha256:{'1' * 64}", (Layer("sha256:2", "sha256:3", 1, 1, 1),))


@pytest.fixture
def arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arena:
    """An arena that knows the right tree of one image: a file that says "right"."""
    monkeypatch.setattr(places, "CACHE", tmp_path)
    monkeypatch.setattr(places, "TREES", tmp_path)
    monkeypatch.setattr(measure, "warm", lambda *_: None)
    right = _tree(tmp_path / "right", "right")
    kept_tree(_IMAGE).write_text(json.dumps(_listing(right)))
    return Arena(Inputs(Registry(tmp_path)), runs=2)


def _tree(root: Path, text: str) -> Path:
    root.mkdir()
    (root / "file").write_text(text)
    return root


def test_right_outputs_are_counted(arena: Arena, tmp_path: Path) -> None:
    @contextlib.contextmanager
    def contestant(_image: Image, _directory: Path) -> Iterator[Finished]:
        yield Finished(1.5, 10, at(tmp_path / "right"), {"memory": 7})

    series = arena.compete({"honest": (contestant, _IMAGE)})
    assert series["honest"] == Series((1.5, 1.5), 10, {"memory": (7, 7)})


def test_a_wrong_output_has_no_figures(arena: Arena) -> None:
    @contextlib.contextmanager
    def contestant(_image: Image, directory: Path) -> Iterator[Finished]:
        yield Finished(0.1, 10, at(_tree(directory / "wrong", "wrong")))

    with pytest.raises(WrongTree, match=r"""hasty made a wrong tree of "tiny"(.|\n)*b'file'"""):
        arena.compete({"hasty": (contestant, _IMAGE)})


def test_a_missed_target_is_shown_as_missed() -> None:
    rows = (
        Row("a", "b", 0.5, Figures((1.0, 3.0, 2.0), "s"), Figures((4.0, 4.0, 8.0), "s")),
        Row("c", "d", 0.4, Figures((1.0, 3.0, 2.0), "s"), Figures((4.0, 4.0, 8.0), "s")),
        Row("memory", "", 50e6, Figures((40e6, 60e6, 40e6), "MB")),
        Row("e", "f", None, Figures((1.0,), "s"), Figures((2.0,), "s")),
    )
    assert [(row.measured, row.met) for row in rows] == [
        (0.5, True),
        (0.5, False),
        (60e6, False),
        (0.5, True),
    ]
    outcomes = {"big": Outcome(rows, {"virtlayer": Series((2.0,))})}
    report = Report("2026-01-01", {"processor": "one"}, 3, outcomes, {"fat": "wrong"})
    lines = report.text().splitlines()
    assert [line.split()[-1] for line in lines[1:5]] == ["met", "MISSED", "MISSED", "—"]
    assert "fat: no figures. wrong" in lines
    # The fourth row has no target to be drawn beside.
    assert len(ElementTree.fromstring(chart(report)).findall(".//{*}rect")) == 1 + 1 + 3  # noqa: S314
