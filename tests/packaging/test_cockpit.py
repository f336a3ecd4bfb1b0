# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page for Cockpit in the packages: licences, same bytes of the same sources, and its files."""

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import CHECKOUT

COCKPIT = CHECKOUT / "cockpit"
DIST = COCKPIT / "dist"
PACKAGING = CHECKOUT / "packaging"
_METADATA = PACKAGING / "cockpit" / "org.virtlayer.cockpit.metainfo.xml"
_LICENCES = """\
import { licencesOf } from "./scripts/licenses.mjs";
await licencesOf(["some"], process.argv[1]);
"""


@pytest.fixture(scope="module", autouse=True)
def _page() -> None:
    assert (DIST / ".sources").exists(), "the page is not built: run `make cockpit`"


def bundled() -> dict[str, str]:
    """The npm packages in the page, and their versions."""
    text = (DIST / "LICENSES").read_text()
    return dict(re.findall(r"^=== (\S+) (\S+) \(", text, re.MULTILINE))


def copy_of_sources(directory: Path) -> Path:
    copied = shutil.copytree(
        COCKPIT,
        directory / "cockpit",
        ignore=shutil.ignore_patterns("node_modules", "dist", "build"),
    )
    (copied / "node_modules").symlink_to(COCKPIT / "node_modules")
    return copied


def test_the_same_sources_give_the_same_bytes_in_another_directory(tmp_path: Path) -> None:
    copied = copy_of_sources(tmp_path)
    subprocess.run(["node", "build.mjs"], cwd=copied, umask=0o077, check=True)
    built = {path.name: path.read_bytes() for path in (copied / "dist").iterdir()}
    assert built == {path.name: path.read_bytes() for path in DIST.iterdir()}


def test_the_page_names_no_font_that_cockpit_does_not_serve() -> None:
    fonts = set(re.findall(r"url\(([^)]*woff[^)]*)\)", (DIST / "index.css").read_text()))
    assert fonts
    for font in fonts:
        assert Path("/usr/share/cockpit", font.removeprefix("../../")).is_file(), font


def test_debian_and_the_spec_name_all_npm_packages() -> None:
    copyright_text = (PACKAGING / "debian" / "copyright").read_text()
    spec = (PACKAGING / "rpm" / "virtlayer.spec").read_text()
    assert {"react", "@patternfly/react-core"} <= bundled().keys()
    for name, version in bundled().items():
        assert re.search(rf"^  (.* )?{name}(,|$)", copyright_text, re.MULTILINE), name
        assert f"bundled(npm({name})) = {version}\n" in spec, name


def test_debian_names_all_copyright_holders() -> None:
    copyright_text = (PACKAGING / "debian" / "copyright").read_text()
    holders = re.findall(
        r"^Copyright (?:\(c\) )?(?!and )(.*)$", (DIST / "LICENSES").read_text(), re.MULTILINE
    )
    for holder in holders:
        # The years of several packages are one range there.
        assert re.sub(r"^[-0-9, ]+", "", holder).rstrip(".") in copyright_text, holder


@pytest.mark.parametrize(
    ("licence", "file", "message"),
    [("SSPL-1.0", "LICENSE", "is under SSPL-1.0"), ("MIT", "README", "no file with its licence")],
)
def test_the_build_stops_at_a_licence_that_is_not_known(
    tmp_path: Path, licence: str, file: str, message: str
) -> None:
    package = tmp_path / "some"
    package.mkdir()
    (package / "package.json").write_text(json.dumps({"version": "1", "license": licence}))
    (package / file).write_text("Some text\n")
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", _LICENCES, str(tmp_path)],
        cwd=COCKPIT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr


def test_all_files_of_the_page_are_installed(installed: Path) -> None:
    page = installed / "usr/share/cockpit/virtlayer"
    files = {
        path.name.removesuffix(".gz"): gzip.decompress(path.read_bytes())
        if path.suffix == ".gz"
        else path.read_bytes()
        for path in page.iterdir()
    }
    # Their texts are in the copyright file of the package.
    built = {path.name for path in DIST.iterdir()} - {".sources", "LICENSES"}
    assert files == {name: (DIST / name).read_bytes() for name in built}


def test_appstream_accepts_the_metadata(installed: Path) -> None:
    path = installed / "usr/share/metainfo" / _METADATA.name
    command = (
        *("appstreamcli", "validate", "--no-net", "--pedantic"),
        # The project has no home page of its own yet.
        "--override=url-homepage-missing=info",
    )
    done = subprocess.run([*command, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the last commit."""
    directory = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--shared", CHECKOUT, directory], check=True)
    return directory


def source_tree(clone: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "packaging" / "source-tree", directory],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_release_without_a_page_is_refused(clone: Path, tmp_path: Path) -> None:
    done = source_tree(clone, tmp_path / "tree")
    assert done.returncode == 1
    assert 'Run "make cockpit"' in done.stderr


def test_a_release_with_a_page_of_other_sources_is_refused(clone: Path, tmp_path: Path) -> None:
    dist = clone / "cockpit" / "dist"
    dist.mkdir()
    (dist / ".sources").write_text("0" * 64 + "\n")
    done = source_tree(clone, tmp_path / "tree")
    assert done.returncode == 1
    assert "was built from other sources" in done.stderr


def test_a_release_has_the_page(clone: Path, tmp_path: Path) -> None:
    dist = clone / "cockpit" / "dist"
    dist.mkdir()
    (dist / "index.html").write_text("<html></html>\n")
    hashed = subprocess.run(
        [clone / "cockpit" / "scripts" / "hash-sources"], capture_output=True, check=True
    )
    (dist / ".sources").write_bytes(hashed.stdout)
    done = source_tree(clone, tmp_path / "tree")
    assert (done.returncode, done.stderr) == (0, "")
    tree = tmp_path / "tree"
    assert (tree / "cockpit/dist/index.html").is_file()
    assert (tree / "daemon/virtlayer/version.py").is_file()
    # A source that was deleted, or changed, is another one.
    (clone / "cockpit/src/page.css").unlink()
    other = subprocess.run(
        [clone / "cockpit" / "scripts" / "hash-sources"], capture_output=True, check=True
    )
    assert other.stdout != hashed.stdout
