# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real registry on loopback: Debian's docker-registry, with or without TLS and a password.

::

    with Registry(tmp_path / "registry") as registry:
        source = registry.store(image([...]), "demo:1")   # "docker://127.0.0.1:PORT/demo:1"
        # without TLS: tls-verify=false; with tls=True: cert-dir=registry.cert_dir

``store`` writes into the registry's storage, unchecked, so content may be as wrong as a test needs.
"""

import contextlib
import hashlib
import http.client
import re
import shutil
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.free_ports import free_port
from tests.support.images import Content
from tests.support.waiting import PATIENCE

_ACCESS = re.compile(
    r'^127\.0\.0\.1 - - \[[^]]*\] "(?P<method>[A-Z]+) (?P<path>/v2/[^ ]+) HTTP/[0-9.]+"'
    r" [0-9]+ (?P<size>[0-9]+) ",
    re.MULTILINE,
)
"""A line of the access log about a manifest, a blob or a list."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that a registry has answered.

    Attributes:
        method: Such as "GET".
        path: Without the host, such as "/v2/demo/manifests/1".
        size: Of the answer's body, in bytes; for HEAD, of the body that GET would get.
    """

    method: str
    path: str
    size: int


class Registry:
    """``with Registry(directory) as registry:`` — started on a free port, stopped and reaped.

    Args:
        directory: For the storage, the configuration, the log and the certificates; may have the
            storage of an earlier registry.
        tls: Serve HTTPS with a certificate of an own CA (``cert_dir``).
        htpasswd: User name and password that every request needs.
        schema1: Accept and serve Docker's schema 1 as well.
        port: A given port; 0 for a free one. Kept when the registry is started again.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tls: bool = False,
        htpasswd: tuple[str, str] | None = None,
        schema1: bool = False,
        port: int = 0,
    ) -> None:
        self.directory = directory
        self.storage = directory / "storage"
        self.cert_dir = directory / "certs"
        self.port = port
        self._tls = tls
        self._htpasswd = htpasswd
        self._schema1 = schema1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    def reference(self, name: str) -> str:
        """``docker://127.0.0.1:PORT/name``."""
        return f"docker://{self.host}/{name}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the registry and wait until it answers."""
        self.storage.mkdir(parents=True, exist_ok=True)
        if self._tls and not self.cert_dir.exists():
            self._make_certificates()
        if self._htpasswd:
            self._write_htpasswd(*self._htpasswd)
        for _ in range(5):
            # Another program may take the port between its choice and its use.
            port = self.port or free_port()
            if self._started(port):
                self.port = port
                return
        raise AssertionError(f"docker-registry does not start: {self.log()[-2000:]}")

    def stop(self) -> None:
        """End the registry and reap it; nothing happens if it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """The registry's output so far."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def requests(self, pattern: str) -> int:
        """How many lines of the access log have ``pattern`` in them."""
        lines = self.log().splitlines()
        return sum(pattern in line for line in lines if line.startswith("127.0.0.1 - - "))

    def answered(self) -> list[Request]:
        """The requests for manifests, blobs and lists that it has answered, in order."""
        return [
            Request(line["method"], line["path"], int(line["size"]))
            for line in _ACCESS.finditer(self.log())
        ]

    def store(self, content: Content, name: str) -> str:
        """Put content into the storage under ``repository:tag``; return its docker:// reference."""
        repository, _, tag = name.rpartition(":")
        root = self.storage / "docker/registry/v2"
        target = root / "repositories" / repository
        for digest, blob in content.blobs.items():
            _write(self.blob_path(digest), blob)
            _link(target / "_layers" / digest.replace(":", "/"), digest)
        manifests = {digest: body for digest, (_, body) in content.manifests.items()}
        for digest, body in (manifests | {content.digest: content.manifest}).items():
            _write(self.blob_path(digest), body)
            _link(target / "_manifests/revisions" / digest.replace(":", "/"), digest)
        tag_directory = target / "_manifests/tags" / tag
        _link(tag_directory / "current", content.digest)
        _link(tag_directory / "index" / content.digest.replace(":", "/"), content.digest)
        return self.reference(name)

    def blob_path(self, digest: str) -> Path:
        """The file of a blob or manifest in the storage; a test may change or remove it."""
        algorithm, _, hexadecimal = digest.partition(":")
        blobs = self.storage / "docker/registry/v2/blobs"
        return blobs / algorithm / hexadecimal[:2] / hexadecimal / "data"

    def lose(self, *digests: str) -> None:
        """Take blobs or manifests out of the storage; whatever names them stays."""
        for digest in digests:
            self.blob_path(digest).unlink()

    def push(self, source: str, name: str, *options: str) -> str:
        """Copy an image that skopeo can read (``oci:/path:tag``) here; return its reference."""
        command = ["skopeo", "copy", "--all", *options]
        if self._tls:
            command.append(f"--dest-cert-dir={self.cert_dir}")
        else:
            command.append("--dest-tls-verify=false")
        if self._htpasswd:
            command.append(f"--dest-creds={':'.join(self._htpasswd)}")
        subprocess.run([*command, source, self.reference(name)], check=True, capture_output=True)
        return self.reference(name)

    def _started(self, port: int) -> bool:
        config = self.directory / "config.yml"
        config.write_text(self.configuration(port))
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"},
            )
        try:
            ready = self._wait_until_ready(port)
        except BaseException:
            self.stop()
            raise
        if not ready:
            self.stop()
        return ready

    def _wait_until_ready(self, port: int) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.closing(self._connection(port)) as connection:
                try:
                    connection.request("GET", "/v2/")
                    return connection.getresponse().status in {200, 401}
                except ssl.SSLError:
                    raise
                except (OSError, http.client.HTTPException):
                    time.sleep(0.01)
        return False

    def _connection(self, port: int) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        context = ssl.create_default_context(cafile=str(self.cert_dir / "ca.crt"))
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)

    def configuration(self, port: int) -> str:
        """The content of its config.yml.

        Args:
            port: The port on which it listens.
        """
        lines = [
            "version: 0.1",
            "log: {level: warn, accesslog: {disabled: false}}",
            "storage:",
            f"  filesystem: {{rootdirectory: {self.storage}}}",
            "  delete: {enabled: true}",
            "http:",
            f"  addr: 127.0.0.1:{port}",
        ]
        if self._tls:
            lines += [
                "  tls:",
                f"    certificate: {self.directory}/server.crt",
                f"    key: {self.directory}/server.key",
            ]
        if self._htpasswd:
            lines.append(f"auth: {{htpasswd: {{realm: test, path: {self.directory}/htpasswd}}}}")
        if self._schema1:
            lines.append("compatibility: {schema1: {enabled: true}}")
        return "\n".join(lines) + "\n"

    def _write_htpasswd(self, user: str, password: str) -> None:
        line = subprocess.run(
            ["htpasswd", "-niB", "-C", "4", user],
            input=password.encode(),
            check=True,
            capture_output=True,
        ).stdout
        (self.directory / "htpasswd").write_bytes(line)

    def _make_certificates(self) -> None:
        authority = self.directory / "ca"
        authority.mkdir(exist_ok=True)
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        _openssl(
            *["req", "-x509", *key, "-days", "2", "-subj", "/CN=virtlayer test CA"],
            *["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
            *["-keyout", f"{authority}/ca.key", "-out", f"{authority}/ca.crt"],
        )
        _openssl(
            *["req", "-x509", *key, "-days", "2", "-subj", "/CN=127.0.0.1"],
            *["-CA", f"{authority}/ca.crt", "-CAkey", f"{authority}/ca.key"],
            *["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
            *["-addext", "basicConstraints=critical,CA:FALSE"],
            *["-keyout", f"{self.directory}/server.key", "-out", f"{self.directory}/server.crt"],
        )
        self.cert_dir.mkdir()
        shutil.copy(authority / "ca.crt", self.cert_dir / "ca.crt")


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _link(directory: Path, digest: str) -> None:
    assert len(digest.partition(":")[2]) in {64, hashlib.sha512().digest_size * 2}
    _write(directory / "link", digest.encode())
