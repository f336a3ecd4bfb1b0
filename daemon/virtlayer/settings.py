# SPDX-License-Identifier: LGPL-2.1-or-later
"""The settings of virtlayerd, typed, from TOML.

Every key has a default, so an absent file is a complete one. A key that is not known here is
refused, with its place, because a misspelt limit would have no effect.
"""

import os
from dataclasses import dataclass, field, fields
from pathlib import Path

from virtlayer.errors import InvalidArgument
from virtlayer.sizes import GIB, MIB, check_virtual_size
from virtlayer.toml import Misfit, read_toml

_IDLE_SECONDS = 60
CONTAINER_IDS = 65536
"""How many ids a container has: from 0 on, and as many on the host."""
DEEPEST_CHAIN = 24
"""Layer volumes. libvirt 11.3 started a machine on 24 of them with its overlay on top, and on no 25
(libvirt and qemu nest as deep as the chain; 12.0 takes 200)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """``[storage]``: the volumes."""

    virtual_size: int = 16 * GIB
    """Virtual size of new chains in bytes: a multiple of 1 MiB, from 64 MiB to 63 TiB."""
    depth_limit: int = 16
    """The most layer volumes in one chain, from 1 to 24; in an RBD pool, at most 6."""

    def __post_init__(self) -> None:
        try:
            check_virtual_size("storage.virtual-size", self.virtual_size)
        except InvalidArgument as error:
            raise Misfit("virtual-size", error.message) from error
        if not 1 <= self.depth_limit <= DEEPEST_CHAIN:
            raise Misfit(
                "depth-limit",
                f'"storage.depth-limit" must be from 1 to {DEEPEST_CHAIN}: libvirt cannot start a '
                "domain on a longer chain.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """``[cache]``: the downloaded blobs."""

    directory: Path | None = None
    """Where blobs are kept; by default ``blobs`` in the cache directory of the service."""
    size_limit: int = 10 * GIB
    """The least recently used blobs go when all together are larger than this (bytes)."""
    archives_limit: int = 20 * GIB
    """Bytes that copies of callers' archives, and what skopeo unpacks or converts, may have, all
    together, while jobs read them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """``[registries]``: how images are obtained."""

    authfile: Path | None = None
    """Logins for configured images, as ``skopeo login`` writes them; by default there are none. A
    call never gets them."""
    policy: Path | None = None
    """Whose signatures images need, as containers-policy.json(5) has it. By default
    /etc/containers/policy.json; for a user's own service ~/.config/containers/policy.json if it
    exists."""
    signatures: str = "policy"
    """With "policy", every image that the policy accepts is accepted. With "required", an image for
    which the policy accepts unsigned images is refused."""

    def __post_init__(self) -> None:
        if self.signatures not in {"policy", "required"}:
            raise Misfit("signatures", '"registries.signatures" must be "policy" or "required".')


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """``[jobs]``: how many jobs run, and how long finished ones stay listed."""

    running_limit: int = 4
    """Jobs beyond this number wait in the queue; a user without a running job may start one more,
    until twice as many run. Jobs that start, stop or remove machines are not counted."""
    keep_seconds: int = 300
    """Seconds for which a finished job stays listed."""
    keep_number: int = 200
    """How many finished jobs stay readable at most; beyond that, the user with most of them loses
    the oldest, first of those that have not failed."""

    def __post_init__(self) -> None:
        if self.running_limit < 1:
            raise Misfit("running-limit", '"jobs.running-limit" must be 1 or more.')


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSettings:
    """``[quota]``: what each user may have at a time.

    Only ``inspections`` is for root, too, and for the user of a session.
    """

    calls: int = 16
    """Calls in flight, other than those that wait for a job."""
    waiting_calls: int = 64
    """Calls that wait for a job."""
    queued_jobs: int = 64
    """Jobs in the queue; running ones do not count."""
    descriptors: int = 64
    """File descriptors that came with calls and are still open."""
    streams: int = 16
    """Open streams of machines: programs that read their output or type. All users together may
    have eight times as many."""
    inspections: int = 2
    """Images that are being inspected; further calls wait. All users together may have four times
    as many."""

    def __post_init__(self) -> None:
        for quota in fields(self):
            if getattr(self, quota.name) < 1:
                key = quota.name.replace("_", "-")
                raise Misfit(key, f'"quota.{key}" must be 1 or more.')


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSettings:
    """``[layer]``: the limits of one layer."""

    entries_limit: int = 4_000_000
    """Archive entries in one layer."""
    bytes_limit: int = 1024 * GIB
    """Unpacked bytes of one layer's archive."""
    path_limit: int = 4096
    """Bytes of one entry's path."""
    header_limit: int = 1 * MIB
    """Bytes of the extended headers of one entry: many times what Linux can store of them."""
    segments_limit: int = 250_000
    """Stretches of data in one sparse file."""
    memory_limit: int = 2 * GIB
    """Address space of the layer worker, in bytes."""
    cpu_limit: int = 6 * 60 * 60
    """Processor time of the layer worker over all layers of a job, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySettings:
    """``[directory]``: directories of images, which containers run on."""

    id_base: int = 1_048_576
    """The id of the host for id 0 of an image with the option id-map; the next 65535 ids follow it.
    No user of the host may have one of them."""

    def __post_init__(self) -> None:
        if not CONTAINER_IDS <= self.id_base <= 2**32 - 1 - CONTAINER_IDS:
            raise Misfit(
                "id-base",
                f'"directory.id-base" must be from {CONTAINER_IDS} to '
                f"{2**32 - 1 - CONTAINER_IDS}: lower IDs belong to the host.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSettings:
    """``[machine]``: machines that are made of images."""

    kernel: str | None = None
    """The image whose kernel boots machines of images without a kernel; by default this host's
    kernel does. It is looked for in the pool of the machine, then in ``kernel-pool``."""
    kernel_pool: str | None = None
    """Another pool that can have that image; by default there is none."""

    def __post_init__(self) -> None:
        if self.kernel_pool is not None and self.kernel is None:
            raise Misfit("kernel-pool", '"machine.kernel-pool" requires "machine.kernel".')


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """``[service]``: the daemon itself."""

    idle_timeout: int | None = None
    """Seconds without a job or a call after which the daemon ends; 0 for never. By default 60 for
    one that is started on demand, and never for one that was started by hand."""
    state_directory: Path | None = None
    """The directory of the catalog; by default ``$STATE_DIRECTORY`` or the XDG state directory."""

    def idle_seconds(self, *, on_demand: bool) -> int:
        """The idle timeout in seconds; 0 for none.

        Args:
            on_demand: Whether the next call starts the process again.
        """
        if self.idle_timeout is not None:
            return self.idle_timeout
        return _IDLE_SECONDS if on_demand else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings."""

    storage: StorageSettings = field(default_factory=StorageSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    registries: RegistrySettings = field(default_factory=RegistrySettings)
    jobs: JobSettings = field(default_factory=JobSettings)
    quota: QuotaSettings = field(default_factory=QuotaSettings)
    layer: LayerSettings = field(default_factory=LayerSettings)
    directory: DirectorySettings = field(default_factory=DirectorySettings)
    machine: MachineSettings = field(default_factory=MachineSettings)
    service: ServiceSettings = field(default_factory=ServiceSettings)


def load_settings(path: Path, *, required: bool = False) -> Settings:
    """Read the settings from a TOML file.

    Args:
        path: The file.
        required: Whether it must exist. Otherwise, if it does not, every setting has its default.

    Raises:
        InvalidArgument: The file is not TOML, has an unknown key, or a value of the wrong type; or
            it must exist and does not.
    """
    try:
        return read_toml(path, Settings)
    except FileNotFoundError:
        if required:
            raise InvalidArgument(f"--config: the file {path} does not exist.") from None
        return Settings()


def configuration_directory(*, session: bool) -> Path:
    """Where the settings and ``images.d`` are (FHS 3.0 "/etc", XDG base directories)."""
    if not session:
        return Path("/etc/virtlayer")
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "virtlayer"


def images_directory(*, session: bool) -> Path:
    """The directory with the configured images that Populate updates."""
    return configuration_directory(session=session) / "images.d"


def policy_file(settings: Settings, *, session: bool) -> Path:
    """The policy.json that decides about signatures."""
    if settings.registries.policy is not None:
        return settings.registries.policy
    own = Path.home() / ".config" / "containers" / "policy.json"
    return own if session and own.exists() else Path("/etc/containers/policy.json")


def state_directory(settings: Settings, *, session: bool) -> Path:
    """The directory of the catalog (systemd.exec(5) StateDirectory=, XDG base directories)."""
    return settings.service.state_directory or _directory(
        "STATE_DIRECTORY",
        "XDG_STATE_HOME",
        ".local/state",
        "/var/lib/virtlayer/service",
        session=session,
    )


def blob_directory(settings: Settings, *, session: bool) -> Path:
    """The directory of the blob cache (systemd.exec(5) CacheDirectory=, XDG base directories)."""
    return settings.cache.directory or (
        _directory(
            "CACHE_DIRECTORY", "XDG_CACHE_HOME", ".cache", "/var/cache/virtlayer", session=session
        )
        / "blobs"
    )


def runtime_directory(*, session: bool) -> Path:
    """The directory for sockets and authfiles: in memory, and private."""
    return _directory(
        "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", ".cache/run", "/run/virtlayer", session=session
    )


def _directory(
    from_systemd: str, from_xdg: str, below_home: str, system: str, *, session: bool
) -> Path:
    if given := os.environ.get(from_systemd):
        return Path(given.split(":")[0])
    if not session:
        return Path(system)
    base = os.environ.get(from_xdg)
    return (Path(base) if base else Path.home() / below_home) / "virtlayer"
