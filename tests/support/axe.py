# SPDX-License-Identifier: LGPL-2.1-or-later
"""What axe-core, the checker of accessibility, finds in a page."""

from typing import Any, TypedDict

from playwright.sync_api import Page

from tests.support.cockpit import DIST

_AXE = DIST.parent / "node_modules" / "axe-core" / "axe.min.js"
_SEVERE = ("serious", "critical")


class _Node(TypedDict):
    html: str
    target: list[Any]
    failureSummary: str


class _Violation(TypedDict):
    id: str
    impact: str
    help: str
    nodes: list[_Node]


def axe(page: Page) -> None:
    """Fail with all the serious and critical violations in the page as it is now."""
    # Debuggers may evaluate scripts that the page's Content-Security-Policy would refuse.
    page.evaluate(_AXE.read_text())
    violations: list[_Violation] = page.evaluate(
        "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
    )
    severe = [_described(found) for found in violations if found["impact"] in _SEVERE]
    assert not severe, "\n".join(["the page is not accessible", *severe])


def _described(violation: _Violation) -> str:
    nodes = "".join(
        f"\n  {node['target']}: {node['html']}\n    "
        + node["failureSummary"].replace("\n", "\n    ")
        for node in violation["nodes"]
    )
    return f"{violation['impact']}: {violation['id']}: {violation['help']}{nodes}"
