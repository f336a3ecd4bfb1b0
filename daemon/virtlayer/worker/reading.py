# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads a layer, in every sandboxed process that needs one."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

from virtlayer.protocol.layer_limits import LayerLimits
from virtlayer.worker.archive.archive import Archive, Entry
from virtlayer.worker.archive.stream import LayerStream
from virtlayer.worker.blob_reader import BlobReader
from virtlayer.worker.problems import TooLarge
from virtlayer.worker.refusal import WRONG_DIGEST, Refused

_REPORT_INTERVAL = 0.05


class LayerReading:
    """The reading of the layer of one request, with reports to the daemon.

    Args:
        request: The fields of ``service.workers.layer.LayerRequest``, and the limits.
        control: Where the reports go.
    """

    def __init__(self, request: dict[str, Any], control: socket.socket) -> None:
        self.limits = LayerLimits(**request["limits"])
        self.name = b""
        """The entry that is being used."""
        self._diff_id: str = request["diff_id"] or ""
        self._control = control
        self._reported = 0.0

    def read(
        self,
        blob: BlobReader,
        use: Callable[[Entry, Archive], None],
        expect: Callable[[list[bytes]], None] | None = None,
    ) -> int:
        """Use every entry of the layer; return their number.

        Args:
            blob: The blob, at its beginning.
            use: Called with each entry, and with the archive that its content is in.
            expect: Called before, with the first names, or what these may be.

        Raises:
            Refused: The archive is not the one that the diff_id names.
            LayerProblem: It breaks its format, or a limit; and what ``use`` raises.
            BrokenStream: The compressed bytes are damaged.
            UnsupportedCompression: They are compressed in a way that is not supported.
            StreamTooLong: The archive has too many bytes.
        """
        algorithm, expected = self._diff_id.split(":", 1)
        with LayerStream(blob, algorithm, self.limits.bytes, self._report) as stream:
            archive = Archive(stream, self.limits)
            if expect is not None:
                expect(archive.names_ahead())
            count = self._use_entries(archive, use)
            stream.drain()
            if stream.hexdigest() != expected:
                raise Refused(
                    WRONG_DIGEST,
                    f"unpacks to {algorithm}:{stream.hexdigest()}, but the configuration of the "
                    f"image says {self._diff_id}",
                )
        return count

    def stream(self, blob: BlobReader) -> LayerStream:
        """The uncompressed bytes of a blob that is not an archive; for a context.

        Args:
            blob: The blob, at its beginning. Its digest was verified before.
        """
        return LayerStream(blob, "sha256", self.limits.bytes, self._report)

    def _use_entries(self, archive: Archive, use: Callable[[Entry, Archive], None]) -> int:
        count = 0
        for entry in archive.entries():
            self.name = entry.name
            count += 1
            if count > self.limits.entries:
                raise TooLarge(f"more than {self.limits.entries} entries")
            use(entry, archive)
        return count

    def _report(self, consumed: int) -> None:
        """Tell the daemon how much of the blob has been read, twenty times a second at most."""
        now = time.monotonic()
        if now - self._reported >= _REPORT_INTERVAL:
            self._reported = now
            self._control.send(json.dumps({"consumed": consumed}).encode())
