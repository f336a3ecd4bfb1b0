# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page for Cockpit: the bridge that the package depends on finds it."""

from tests.acceptance.system import System

_PAGE = "/usr/share/cockpit/virtlayer"


def test_the_bridge_lists_the_page(system: System) -> None:
    listed = system.run("cockpit-bridge", "--packages")
    assert any(line.split()[:1] == ["virtlayer"] and _PAGE in line for line in listed.splitlines())


def test_the_files_of_the_page_are_installed(system: System) -> None:
    files = system.run("dpkg", "-L", "cockpit-virtlayer").split()
    for name in ("index.html", "index.js.gz", "index.css.gz", "manifest.json", "po.de.js.gz"):
        assert f"{_PAGE}/{name}" in files
    assert "/usr/share/metainfo/org.virtlayer.cockpit.metainfo.xml" in files
    copyright_text = system.run("cat", "/usr/share/doc/cockpit-virtlayer/copyright")
    assert "@patternfly/react-core" in copyright_text
