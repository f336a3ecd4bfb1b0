# SPDX-License-Identifier: LGPL-2.1-or-later
"""How an image was obtained."""

from pathlib import Path

import pytest

from virtlayer.service.source.access import Access
from virtlayer.service.source.obtained import Obtained, how_obtained
from virtlayer.service.source.reference import parse_reference

REGISTRY = parse_reference("docker://registry.example:5000/team/image:1")
LOGINS = {"registry.example:5000": {"auth": "secret"}}


def test_image_without_credentials() -> None:
    assert how_obtained(REGISTRY, Access(), {}, insecure=False) == Obtained(
        registry="registry.example:5000",
        repository="registry.example:5000/team/image",
        with_credentials=False,
        verified=True,
    )


def test_image_with_credentials() -> None:
    assert how_obtained(REGISTRY, Access(), LOGINS, insecure=False).with_credentials


@pytest.mark.parametrize(
    "access",
    [
        Access(tls_verify=False),
        Access(cert_dir=Path("/certs")),
        Access(certificates={"ca.crt": b""}),
    ],
    ids=["no verification", "directory of certificates", "certificates"],
)
def test_certificates_of_the_caller_verify_nothing(access: Access) -> None:
    assert not how_obtained(REGISTRY, access, {}, insecure=False).verified


def test_certificates_of_a_configured_image_count(tmp_path: Path) -> None:
    access = Access(cert_dir=tmp_path, configured=True)
    obtained = how_obtained(REGISTRY, access, {}, insecure=False)
    assert (obtained.verified, obtained.with_credentials) == (True, False)
    assert not how_obtained(REGISTRY, access, {}, insecure=True).verified


def test_client_key_is_a_credential(tmp_path: Path) -> None:
    in_memory = Access(certificates={"client.cert": b"", "client.key": b""})
    (tmp_path / "client.key").touch()
    for access in (in_memory, Access(cert_dir=tmp_path), Access(cert_dir=tmp_path / "absent")):
        assert how_obtained(REGISTRY, access, {}, insecure=False).with_credentials
    only_a_ca = Access(certificates={"ca.crt": b""})
    assert not how_obtained(REGISTRY, only_a_ca, {}, insecure=False).with_credentials


def test_insecure_registry_of_the_host_verifies_nothing() -> None:
    assert not how_obtained(REGISTRY, Access(), {}, insecure=True).verified


def test_local_source_has_no_registry() -> None:
    obtained = how_obtained(parse_reference("oci:/srv/layout:1"), Access(), {}, insecure=False)
    assert (obtained.registry, obtained.repository) == (None, None)
    assert not obtained.verified
