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


def build(directory: Path, *, umask: int) -> dict[str, bytes]:
    """Build the page from a copy of its sources; return its files."""
    copied = shutil.copytree(
        COCKPIT, directory, ignore=shutil.ignore_patterns("node_modules", "dist", "build")
    )
    (copied / "node_modules").symlink_to(COCKPIT / "node_modules")
    subprocess.run(["node", "build.mjs"], cwd=copied, umask=umask, check=True)
    return {path.name: path.read_bytes() for path in (copied / "dist").iterdir()}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the page."""
    return build(tmp_path_factory.mktemp("page") / "cockpit", umask=0o022)


def bundled(page: dict[str, bytes]) -> dict[str, str]:
    """The npm packages in the page, and their versions."""
    text = page["LICENSES"].decode()
    return dict(re.findall(r"^=== (\S+) (\S+) \(", text, re.MULTILINE))


def test_the_same_sources_give_the_same_bytes_in_another_directory(
    page: dict[str, bytes], tmp_path: Path
) -> None:
    assert build(tmp_path / "some" / "other", umask=0o077) == page


def test_the_page_names_no_font_that_cockpit_does_not_serve(page: dict[str, bytes]) -> None:
    fonts = set(re.findall(r"url\(([^)]*woff[^)]*)\)", page["index.css"].decode()))
    assert fonts
    for font in fonts:
        assert Path("/usr/share/cockpit", font.removeprefix("../../")).is_file(), font


def test_debian_and_the_spec_name_all_npm_packages(page: dict[str, bytes]) -> None:
    copyright_text = (PACKAGING / "debian" / "copyright").read_text()
    spec = (PACKAGING / "rpm" / "virtlayer.spec").read_text()
    assert {"react", "@patternfly/react-core"} <= bundled(page).keys()
    for name, version in bundled(page).items():
        assert re.search(rf"^  (.* )?{name}(,|$)", copyright_text, re.MULTILINE), name
        assert f"bundled(npm({name})) = {version}\n" in spec, name


def test_debian_names_all_copyright_holders(page: dict[str, bytes]) -> None:
    copyright_text = (PACKAGING / "debian" / "copyright").read_text()
    holders = re.findall(
        r"^Copyright (?:\(c\) )?(?!and )(.*)$", page["LICENSES"].decode(), re.MULTILINE
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
    assert (DIST / ".sources").exists(), "the page is not built: run `make cockpit`"
    directory = installed / "usr/share/cockpit/virtlayer"
    files = {
        path.name.removesuffix(".gz"): gzip.decompress(path.read_bytes())
        if path.suffix == ".gz"
        else path.read_bytes()
        for path in directory.iterdir()
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
