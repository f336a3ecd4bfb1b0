# SPDX-License-Identifier: LGPL-2.1-or-later
"""What another user's call names is read with that user's rights. These tests are root."""

import asyncio
import base64
import gzip
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bus.polkit import open_directory
from tests.support import images
from tests.support.leftovers import children, nothing_left
from tests.support.registry import Registry
from tests.support.sources import Sources
from virtlayer.errors import InvalidArgument, VirtlayerError
from virtlayer.programs import Identity
from virtlayer.service.source.access import Access

pytestmark = pytest.mark.root
NOBODY = Identity(pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid, ())
LAYERS = [images.layer(images.file("data", os.urandom(400_000))) for _ in range(2)]
CONTENT = images.image(LAYERS)
USER, PASSWORD = "me", "hunter2-Σ"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everyone may enter; pytest's are private."""
    with open_directory() as path:
        yield path


@pytest.fixture
def sources(place: Path) -> Iterator[Sources]:
    sources = Sources(place / "service")
    with nothing_left():
        yield sources
    assert sources.left() == []


@pytest.fixture(params=["oci", "oci-archive", "docker-archive", "dir", "schema-1"])
def local_image(request: pytest.FixtureRequest, place: Path) -> tuple[str, Path]:
    """A local image and its file or directory, one of every transport."""
    layout = images.write_layout(place / "layout", {"1": CONTENT})
    path = place / "image"
    if request.param == "oci":
        return f"oci:{layout}:1", layout
    if request.param == "docker-archive":
        # A compressed archive is unpacked to a temporary file first.
        plain = images.write_docker_archive(place / "plain", "demo:1", LAYERS)
        path.write_bytes(gzip.compress(plain.read_bytes(), 1))
        return f"docker-archive:{path}", path
    if request.param == "schema-1":
        with Registry(place / "registry", schema1=True) as registry:
            old = registry.push(f"oci:{layout}:1", "old:1", "--format=v2s1")
            _skopeo_copy(old, f"dir:{path}", "--src-tls-verify=false")
        return f"dir:{path}", path
    source = f"{request.param}:{path}"
    _skopeo_copy(f"oci:{layout}:1", source)
    return source, path


def _skopeo_copy(source: str, target: str, *options: str) -> None:
    subprocess.run(["skopeo", "copy", "--quiet", *options, source, target], check=True)


def give(path: Path, *, mode: int) -> None:
    """Make a tree nobody's own, with this mode at its top."""
    for each in (path, *path.rglob("*")):
        shutil.chown(each, NOBODY.uid, NOBODY.gid)
    path.chmod(mode)


async def test_the_users_own_images_are_read(
    sources: Sources, local_image: tuple[str, Path]
) -> None:
    source, path = local_image
    give(path, mode=0o700)
    blobs = await sources.blobs(source, Access(identity=NOBODY))
    assert [gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob for blob in blobs] == [
        gzip.decompress(layer.blob) for layer in LAYERS
    ]


async def test_images_of_others_are_not(sources: Sources, local_image: tuple[str, Path]) -> None:
    source, path = local_image
    path.chmod(0o700)
    with pytest.raises(VirtlayerError, match="permission denied"):
        await sources.blobs(source, Access(identity=NOBODY))
    assert len(await sources.blobs(source, Access())) == 2


async def test_links_out_of_an_image_lead_no_further_than_the_users_rights(
    sources: Sources, place: Path
) -> None:
    layout = images.write_layout(place / "layout", {"1": CONTENT})
    blob = layout / "blobs" / LAYERS[0].digest.replace(":", "/")
    secret = place / "secret"
    blob.rename(secret)
    secret.chmod(0o600)
    blob.symlink_to(secret)
    assert len(await sources.blobs(f"oci:{layout}:1", Access())) == 2
    with pytest.raises(VirtlayerError, match="permission denied"):
        await sources.blobs(f"oci:{layout}:1", Access(identity=NOBODY))


async def test_the_program_has_nothing_but_the_users_rights(sources: Sources, place: Path) -> None:
    layout = images.write_layout(place / "layout", {"1": CONTENT})
    groups = (NOBODY.gid, 12345)
    identity = Identity(NOBODY.uid, NOBODY.gid, groups)
    before = children()
    async with sources.open(f"oci:{layout}:1", Access(identity=identity)):
        (pid,) = children() - before
        process = Path(f"/proc/{pid}")
        status = dict(
            line.split(":", 1) for line in (process / "status").read_text().splitlines() if line
        )
        names = {
            variable.partition(b"=")[0]
            for variable in (process / "environ").read_bytes().split(b"\0")
        }
    assert status["Uid"].split() == [str(NOBODY.uid)] * 4
    assert status["Gid"].split() == [str(NOBODY.gid)] * 4
    assert status["Groups"].split() == sorted(map(str, groups))
    assert {status[name].strip("\t0") for name in ("CapPrm", "CapEff", "CapAmb")} == {""}
    assert status["NoNewPrivs"].strip() == "1"
    assert names == {b"PATH", b"LANG", b"HOME", b""}


async def test_a_program_of_another_user_dies_with_ours() -> None:
    """A kernel may forget the signal of a parent's death when a process changes its user."""
    script = (
        "import asyncio\n"
        "from virtlayer.programs import Identity, running\n"
        "async def main():\n"
        f"    identity = Identity({NOBODY.uid}, {NOBODY.gid}, ())\n"
        "    async with running(['sleep', '1000'], identity=identity) as program:\n"
        "        print(program.pid, flush=True)\n"
        "        await asyncio.sleep(1000)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    while b"sleep" not in Path(f"/proc/{pid}/cmdline").read_bytes()[:6]:
        await asyncio.sleep(0.01)
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(20):
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text():
            await asyncio.sleep(0.01)


@pytest.fixture
def secured(place: Path) -> Iterator[Registry]:
    """A registry with TLS and a password."""
    with Registry(place / "registry", tls=True, htpasswd=(USER, PASSWORD)) as registry:
        registry.store(CONTENT, "team/demo:1")
        yield registry


def write_authfile(registry: Registry, path: Path) -> Path:
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    path.write_text(json.dumps({"auths": {registry.host: {"auth": pair}}}))
    path.chmod(0o600)
    return path


async def test_the_users_own_files_are_taken_when_the_call_comes(
    secured: Registry, sources: Sources, place: Path
) -> None:
    authfile = write_authfile(secured, place / "auth.json")
    certificates = place / "own-certs"
    shutil.copytree(secured.cert_dir, certificates)
    (certificates / "notes.txt").write_text("no certificate")
    for path in (authfile, certificates):
        give(path, mode=0o700)
    access = Access(authfile=authfile, cert_dir=certificates, identity=NOBODY)
    settled = await access.settled()
    # From now on nothing that happens to them matters.
    shutil.rmtree(certificates)
    authfile.unlink()
    assert PASSWORD not in repr(settled)
    assert "CERTIFICATE" not in repr(settled)
    assert (await sources.image(secured.reference("team/demo:1"), settled)).digest == CONTENT.digest


async def test_files_of_others_are_not_taken(
    secured: Registry, sources: Sources, place: Path
) -> None:
    reference = secured.reference("team/demo:1")
    authfile = write_authfile(secured, place / "auth.json")
    link = place / "link"
    link.symlink_to(authfile)
    for path in (authfile, link):
        with pytest.raises(InvalidArgument, match="cannot be read with your rights"):
            await sources.image(reference, Access(authfile=path, identity=NOBODY))
    secured.cert_dir.chmod(0o700)
    with pytest.raises(InvalidArgument, match=r"cert-dir .* cannot be read with your rights"):
        await sources.image(reference, Access(cert_dir=secured.cert_dir, identity=NOBODY))
    secured.cert_dir.chmod(0o755)
    (secured.cert_dir / "ca.crt").chmod(0o600)
    with pytest.raises(InvalidArgument, match=r"certificate .* cannot be read with your rights"):
        await sources.image(reference, Access(cert_dir=secured.cert_dir, identity=NOBODY))


async def test_files_without_end_hold_nobody_up(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virtlayer.service.source.foreign_files._SECONDS", 0.2)
    os.mkfifo(place / "fifo", mode=0o666)
    with nothing_left():
        with pytest.raises(InvalidArgument, match="does not end"):
            await Access(authfile=place / "fifo", identity=NOBODY).settled()
        with pytest.raises(InvalidArgument, match="too long"):
            await Access(authfile=Path("/dev/zero"), identity=NOBODY).settled()


async def test_a_directory_of_very_many_files_is_refused(place: Path) -> None:
    directory = place / "certs"
    directory.mkdir(mode=0o755)
    for number in range(40):
        (directory / f"{number}.crt").touch()
    with nothing_left(), pytest.raises(InvalidArgument, match="more than 32 certificates"):
        await Access(cert_dir=directory, identity=NOBODY).settled()
