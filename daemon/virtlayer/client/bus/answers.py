# SPDX-License-Identifier: LGPL-2.1-or-later
"""What virtlayerd answers, as typed values."""

from dataclasses import dataclass

from virtlayer.client.bus.failures import remote_error


@dataclass(frozen=True, slots=True)
class JobSummary:
    """One line of ``ListJobs``."""

    id: int
    path: str
    kind: str
    state: str
    source: str
    progress: float


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """One line of ``ListImages``."""

    path: str
    pool: str
    name: str
    source: str
    digest: str


@dataclass(frozen=True, slots=True)
class StartedJob:
    """What ``Pull`` answers, and the unique name of the daemon that did."""

    id: int
    path: str
    owner: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: the part done (0 to 1), and how many bytes of how many have arrived."""

    fraction: float
    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: ``state`` is done, failed or cancelled."""

    state: str
    error: str
    message: str
    result: dict[str, object]

    def raise_for_failure(self) -> None:
        """Raise the error that the job ended with, if it did.

        Raises:
            VirtlayerError: Of the class that the daemon named.
        """
        if self.state != "done":
            raise remote_error(self.error, self.message)
