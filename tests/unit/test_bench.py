# SPDX-License-Identifier: LGPL-2.1-or-later
"""The benchmark gives no figures for wrong outputs, and shows a missed target as missed."""

import argparse
import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench import __main__, machine, measure, places, record
from bench.archive import Layer
from bench.cases.case import Outcome, Setting
from bench.chart import chart
from bench.inputs import Image, Inputs
from bench.measure import Arena, Series
from bench.places import DOCUMENTATION
from bench.publish import publish, refuse_changes
from bench.report import CaseReport, markdown, text
from bench.result import Finished, at
from bench.rows import Figures, Row, Unit
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
    report = {"big": _case_report(rows), "fat": _case_report((), refused="wrong\nhere")}
    lines = text(report).splitlines()
    assert [line.split()[-1] for line in lines[1:5]] == ["met", "MISSED", "MISSED", "—"]
    assert "fat: no figures. wrong" in lines
    assert "- fat: no figures. wrong" in markdown(report).splitlines()
    # The fourth row has no target to be drawn beside.
    assert len(ElementTree.fromstring(chart(report)).findall(".//{*}rect")) == 1 + 1 + 3  # noqa: S314


def _case_report(rows: tuple[Row, ...], refused: str = "", runs: int = 3) -> CaseReport:
    series = {
        f"{number} runs": Series((2.0,) * number, 1, {"idle": (1.0,)}) for number in {runs, 3}
    }
    outcome = Outcome(rows, series if rows else {})
    return CaseReport("2026-01-01", "abc", {"processor": "one"}, 1.5, outcome, refused)


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ("s", "0.25 / 1.50 s"),
        ("ms", "250.0 / 1500.0 ms"),
        ("MB", "0 / 0 MB"),
        ("number", "0 / 2"),
        ("exponent", "0.25 / 1.50"),
    ],
)
def test_figures_are_shown_in_their_unit(unit: Unit, shown: str) -> None:
    assert Figures((), unit).shown(0.25, 1.5) == shown


def test_none_of_a_thing_can_be_a_target() -> None:
    none, one = (Row("left", "", 0, Figures((float(left),), "number")) for left in (0, 1))
    assert (none.met, one.met) == (True, False)
    assert "1 of 0" in chart({"volume": _case_report((none, one))})


def test_a_case_is_published_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.publish.DOCUMENTATION", tmp_path)
    page, row = tmp_path / "performance.md", Row("a", "", 2.0, Figures((1.0,), "s"))
    page.write_text("before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n")
    others = {"fat": _case_report((row,)), "big": _case_report((row,)), "gone": _case_report(())}
    record.write(others, tmp_path / "performance.json")
    publish("big", _case_report((row,), runs=1))
    known = record.read(tmp_path / "performance.json")
    assert list(known) == ["big", "fat"]
    assert known == {"fat": others["fat"], "big": _case_report((row,), runs=1)}
    lines = page.read_text().splitlines()
    assert [lines[0], lines[-1]] == ["before", "after"]
    assert "- big: 1 to 3 runs on 2026-01-01, commit abc" in lines
    assert "- fat: 3 runs on 2026-01-01, commit abc" in lines
    assert "- The machine: processor one" in lines


def test_the_published_figures_can_be_read() -> None:
    report = record.read(DOCUMENTATION / "performance.json")
    assert markdown(report) in (DOCUMENTATION / "performance.md").read_text()


def test_changes_in_no_commit_are_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.machine.REPOSITORY", tmp_path)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/performance.md").write_text("figures of the case before")
    refuse_changes()
    (tmp_path / "program.py").write_text("print()")
    with pytest.raises(SystemExit, match=r"Commit them first\.\n\?\? program\.py"):
        refuse_changes()


def test_a_case_that_fails_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "CACHE", tmp_path)
    monkeypatch.setattr(__main__, "started_machine", lambda *_: contextlib.nullcontext())

    class Failing:
        def measured(self, _setting: Setting) -> Outcome:
            raise SystemExit("umoci: exit status 1")

    inputs = Inputs(Registry(tmp_path))
    assert __main__._outcome(Failing(), inputs, 1) == (
        Outcome((), {}),
        "SystemExit: umoci: exit status 1",
    )


def test_first_run_in_a_new_clone_makes_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / ".cache" / "bench"
    for module in (places, machine):
        monkeypatch.setattr(module, "CACHE", cache)
    monkeypatch.setattr(places, "REGISTRY", cache / "registry")
    monkeypatch.setattr(__main__, "started_machine", lambda *_: contextlib.nullcontext())

    class Empty:
        """No figures."""

        def measured(self, _setting: Setting) -> Outcome:
            return Outcome((), {})

    monkeypatch.setattr(__main__, "CASES", {"empty": Empty()})
    arguments = argparse.Namespace(case=None, runs=1, largest_pool=20)
    [(name, report)] = __main__._measured(arguments)
    assert (name, report.refused) == ("empty", "")
    assert report.machine["file system"]


def test_an_interrupt_ends_all_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "CACHE", tmp_path)
    monkeypatch.setattr(__main__, "started_machine", lambda *_: contextlib.nullcontext())

    class Interrupted:
        def measured(self, _setting: Setting) -> Outcome:
            try:
                raise KeyboardInterrupt
            finally:
                raise AssertionError("libvirtd has ended, too")

    with pytest.raises(KeyboardInterrupt):
        __main__._outcome(Interrupted(), Inputs(Registry(tmp_path)), 1)
