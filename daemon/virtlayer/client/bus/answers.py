# SPDX-License-Identifier: LGPL-2.1-or-later
"""The replies of virtlayerd, as typed values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from virtlayer.client.bus.checked import Checked
from virtlayer.client.bus.failures import remote_error


@dataclass(frozen=True, slots=True)
class JobSummary(Checked):
    """One line of ``ListJobs``."""

    id: int
    path: str
    kind: str
    state: str
    source: str
    progress: float


@dataclass(frozen=True, slots=True)
class ImageSummary(Checked):
    """One line of ``ListImages``."""

    path: str
    pool: str
    name: str
    source: str
    digest: str


@dataclass(frozen=True, slots=True)
class PoolSummary(Checked):
    """One line of ``ListPools``; capacity and available are in bytes."""

    name: str
    kind: str
    state: str
    capacity: int
    available: int


@dataclass(frozen=True, slots=True)
class VolumeSummary(Checked):
    """One line of ``ListVolumes``; the size is the space that it uses in the pool, in bytes."""

    name: str
    kind: str
    image: str
    format: str
    size: int


@dataclass(frozen=True, slots=True)
class ImageSize(Checked):
    """The space that an image's own and shared layers use in the pool, in bytes."""

    own: int
    shared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage(Checked):
    """The contents of a pool: numbers of volumes, and bytes. The sizes of images are by name."""

    capacity: int
    available: int
    layers: int
    layers_bytes: int
    shared_bytes: int
    volumes: int
    volumes_bytes: int
    boot_volumes: int
    boot_volumes_bytes: int
    prunable_layers: int
    prunable_bytes: int
    images: dict[str, ImageSize]


@dataclass(frozen=True, slots=True)
class Layer(Checked):
    """A layer of an image in a pool; its size is in compressed bytes."""

    diff_id: str
    volume: str
    compressed_size: int


@dataclass(frozen=True, slots=True)
class FormerVersion(Checked):
    """A former version of an image; its times are in microseconds since 1970."""

    source: str
    digest: str
    volume: str
    pulled_at: int
    replaced_at: int
    is_kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDetails(Checked):
    """The properties of an image, and its object path. Private ones have a default for others."""

    path: str
    name: str
    pool: str
    source: str = ""
    digest: str = ""
    image_id: str = ""
    os: str = ""
    architecture: str = ""
    volume: str = ""
    layers: tuple[Layer, ...] = ()
    policy_scope: str = ""
    unsigned_accepted: bool = True
    size: int = 0
    pulled_at: int = 0
    former_versions: tuple[FormerVersion, ...] = ()
    broken: str = ""

    @classmethod
    def parse(cls, path: str, properties: Mapping[str, Any]) -> Self:
        """Make one of the reply of GetAll."""
        values = _known(cls, properties)
        layers = tuple(Layer(*one) for one in properties.get("Layers", ()))
        former = tuple(FormerVersion(*one) for one in properties.get("FormerVersions", ()))
        return cls(path=path, **values | {"layers": layers, "former_versions": former})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetails(Checked):
    """The properties of a job, and its object path. Private ones have a default for others."""

    path: str
    id: int
    kind: str
    pool: str
    state: str
    stage: str
    progress: float
    started_by: int
    started_at: int
    finished_at: int
    error: str
    source: str = ""
    message: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, path: str, properties: Mapping[str, Any]) -> Self:
        """Make one of the reply of GetAll."""
        return cls(path=path, **_known(cls, properties))


@dataclass(frozen=True, slots=True)
class DomainSummary(Checked):
    """One line of ``ListDomains``."""

    name: str
    uuid: str
    state: str
    pool: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainDetails(Checked):
    """The reply of ``DescribeDomain``. Private values have a default for others."""

    name: str
    uuid: str
    state: str
    pool: str
    image: str
    digest: str
    volume: str
    type: str
    boot: str
    streams: bool
    memory: int
    vcpus: int
    ephemeral: bool
    autostart: bool
    addresses: tuple[str, ...]
    ports: tuple[tuple[str, int, int, str], ...]
    exit_status: int | None = None

    @classmethod
    def parse(cls, description: Mapping[str, Any]) -> Self:
        """Make one of the reply."""
        values = _known(cls, description)
        ports = tuple(tuple(one) for one in description["ports"])
        return cls(**values | {"addresses": tuple(description["addresses"]), "ports": ports})

    @property
    def has_ended(self) -> bool:
        """Whether it has stopped, and runs only after another start."""
        return self.state in {"stopped", "crashed"}


@dataclass(frozen=True, slots=True)
class StartedJob(Checked):
    """The reply of ``Pull``, and the unique name of the daemon that sent it."""

    id: int
    path: str
    owner: str


@dataclass(frozen=True, slots=True)
class LayerProgress(Checked):
    """The progress of one layer, in compressed bytes."""

    digest: str
    downloaded: int
    applied: int
    size: int


@dataclass(frozen=True, slots=True)
class Progress(Checked):
    """The progress of a job.

    Attributes:
        fraction: The part done, 0 to 1.
        stage: The present stage.
        done: Bytes that have arrived.
        total: Bytes that must arrive.
        layers: The layers whose download has begun; empty if they were not requested.
    """

    fraction: float
    stage: str
    done: int
    total: int
    layers: tuple[LayerProgress, ...] = ()

    def __post_init__(self) -> None:
        """Check the values."""
        Checked.__post_init__(self)
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"a fraction is {self.fraction}")


@dataclass(frozen=True, slots=True)
class Outcome(Checked):
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


def _known(
    kind: type[ImageDetails | JobDetails | DomainDetails], properties: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the properties that a class has as fields: StartedBy as started_by."""
    wanted = {one.name for one in fields(kind)}
    named = {_snake_case(name): value for name, value in properties.items()}
    return {name: value for name, value in named.items() if name in wanted}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
