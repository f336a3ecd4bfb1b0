# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts the results of operations to ``a{sv}``."""

import dataclasses
import functools

from dbus_next.signature import Variant

from virtlayer.dbus.names import image_path
from virtlayer.dbus.values import variants
from virtlayer.service.operations.create_volume import CreatedVolume
from virtlayer.service.operations.describe import VolumeDescription
from virtlayer.service.operations.disk_usage import DiskUsage
from virtlayer.service.operations.inspect import Inspection
from virtlayer.service.operations.layers import Freed
from virtlayer.service.operations.machines.describe_domain import DescribedDomain
from virtlayer.service.operations.machines.new_domain import CreatedDomain
from virtlayer.service.operations.machines.stop_domain import StoppedDomain
from virtlayer.service.operations.populate import Populated, PopulatedImage
from virtlayer.service.operations.pull_chain import PullResult
from virtlayer.service.operations.rescan import Rescanned
from virtlayer.service.operations.status import ImageStatus
from virtlayer.service.operations.whole_image import Format, WholeImageResult
from virtlayer.service.source.platform import Platform, host_platform


@functools.singledispatch
def result_variants(result: object) -> dict[str, Variant]:
    """Return the result of an operation as it is sent on the bus; empty for None."""
    assert result is None, f"no D-Bus value for {type(result)}"
    return {}


@result_variants.register
def _(result: PullResult) -> dict[str, Variant]:
    return variants(
        {
            "outcome": ("s", str(result.outcome)),
            "digest": ("s", result.digest),
            "image": ("o", image_path(result.image)),
            "name": ("s", result.name),
            "volume": ("s", result.volume),
            "path": ("s", str(result.path)),
            "volume-created": ("b", result.volume_created),
            "volumes": ("as", result.volumes),
            "layers-built": ("u", result.layers_built),
            "layers-reused": ("u", result.layers_reused),
            "bytes-downloaded": ("t", result.bytes_downloaded),
            "container-disk": ("b", result.container_disk),
            **_platform_fields(result.platform),
        }
    )


@result_variants.register
def _(result: WholeImageResult) -> dict[str, Variant]:
    fields: dict[str, tuple[str, object]] = {
        "digest": ("s", result.digest),
        "name": ("s", result.name),
        "volume": ("s", result.volume),
        "path": ("s", str(result.path)),
        "volume-created": ("b", True),
        "format": ("s", result.format),
        "volumes": ("as", [result.volume]),
        "layers-built": ("u", result.layers),
        "layers-reused": ("u", 0),
        "bytes-downloaded": ("t", result.bytes_downloaded),
        **_platform_fields(result.platform),
    }
    if result.format == Format.DIRECTORY:
        fields |= {
            "squashed": ("b", result.squashed),
            "skipped-devices": ("u", result.skipped_devices),
            "skipped-attributes": ("u", result.skipped_attributes),
        }
    else:
        fields["size"] = ("t", result.size)
    return variants(fields)


@result_variants.register
def _(result: CreatedVolume) -> dict[str, Variant]:
    return variants(
        {
            "image": ("o", image_path(result.image)),
            "volume": ("s", result.volume),
            "path": ("s", str(result.path)),
            "size": ("t", result.size),
        }
    )


@result_variants.register
def _(result: CreatedDomain) -> dict[str, Variant]:
    return variants(
        {
            "name": ("s", result.name),
            "uuid": ("s", result.uuid),
            "pool": ("s", result.pool),
            "image": ("s", result.image),
            "digest": ("s", result.digest),
            "volume": ("s", result.volume),
            "path": ("s", str(result.path)),
            "type": ("s", str(result.type)),
            "network": ("s", result.network),
            "kernel-version": ("s", result.kernel_version),
            "notes": ("as", list(result.notes)),
            "started": ("b", result.started),
        }
    )


@result_variants.register
def _(result: StoppedDomain) -> dict[str, Variant]:
    return variants({"forced": ("b", result.forced)})


@result_variants.register
def _(result: DescribedDomain) -> dict[str, Variant]:
    ended: dict[str, tuple[str, object]] = {}
    if result.exit_status is not None:
        ended = {"exit-status": ("i", result.exit_status)}
    ports = [(one.address, one.host, one.guest, str(one.transport)) for one in result.ports]
    return variants(
        {
            "name": ("s", result.name),
            "uuid": ("s", result.uuid),
            "state": ("s", str(result.state)),
            "pool": ("s", result.pool),
            "image": ("s", result.image),
            "digest": ("s", result.digest),
            "volume": ("s", result.volume),
            "type": ("s", str(result.type)),
            "boot": ("s", str(result.boot)),
            "streams": ("b", result.has_streams),
            "memory": ("t", result.memory),
            "vcpus": ("u", result.processors),
            "ephemeral": ("b", result.ephemeral),
            "autostart": ("b", result.autostart),
            "addresses": ("as", list(result.addresses)),
            "ports": ("a(sqqs)", ports),
            **ended,
        }
    )


@result_variants.register
def _(result: Inspection) -> dict[str, Variant]:
    return variants(
        {
            "reference": ("s", result.reference),
            "digest": ("s", result.digest),
            "image-id": ("s", result.image_id),
            "platforms": ("as", result.platforms),
            "os": ("s", result.os),
            "architecture": ("s", result.architecture),
            "layers": ("a(sst)", result.layers),
            "size": ("t", result.size),
            "config": ("s", result.config),
            "policy-scope": ("s", result.policy_scope),
            "unsigned-accepted": ("b", result.unsigned_accepted),
            "container-disk": ("b", result.container_disk),
        }
    )


@result_variants.register
def _(result: Freed) -> dict[str, Variant]:
    return variants({"volumes": ("as", result.volumes), "bytes": ("t", result.bytes)})


@result_variants.register
def _(result: Populated) -> dict[str, Variant]:
    return variants({"images": ("aa{sv}", [result_variants(image) for image in result.images])})


@result_variants.register
def _(result: PopulatedImage) -> dict[str, Variant]:
    return variants(
        {
            "file": ("s", str(result.file)),
            "pool": ("s", result.pool),
            "name": ("s", result.name),
            "source": ("s", result.source),
            "outcome": ("s", str(result.outcome)),
            "digest": ("s", result.digest),
            "layers-built": ("u", result.layers_built),
            "bytes-downloaded": ("t", result.bytes_downloaded),
            "removed": ("as", result.removed),
            "error": ("s", result.error),
            "message": ("s", result.message),
        }
    )


@result_variants.register
def _(result: Rescanned) -> dict[str, Variant]:
    return variants(
        {
            "found": ("as", result.found),
            "lost": ("as", result.lost),
            "images-lost": ("as", result.images_lost),
            "orphans": ("u", result.orphans),
        }
    )


@result_variants.register
def _(result: DiskUsage) -> dict[str, Variant]:
    images = [(image.name, image.own, image.shared) for image in result.images]
    return variants(
        {
            "capacity": ("t", result.capacity),
            "available": ("t", result.available),
            "layers": ("u", result.layers),
            "layers-bytes": ("t", result.layer_bytes),
            "shared-bytes": ("t", result.shared_bytes),
            "volumes": ("u", result.volumes),
            "volumes-bytes": ("t", result.volume_bytes),
            "boot-volumes": ("u", result.boots),
            "boot-volumes-bytes": ("t", result.boot_bytes),
            "prunable-layers": ("u", result.prunable),
            "prunable-bytes": ("t", result.prunable_bytes),
            "images": ("a(stt)", images),
        }
    )


@result_variants.register
def _(result: VolumeDescription) -> dict[str, Variant]:
    maps = {}
    if result.ids is not None:
        ids = ("a(uuu)", [[*dataclasses.astuple(result.ids)]])
        maps = {"uid-map": ids, "gid-map": ids}
    access = {}
    if result.access is not None:
        access = {
            "monitors": ("as", list(result.access.monitors)),
            "user": ("s", result.access.user),
            "secret": ("s", result.access.secret),
            "secret-usage": ("s", result.access.usage),
        }
    return variants(
        {
            "path": ("s", str(result.path)),
            "format": ("s", result.format),
            "layer": ("b", result.layer),
            "image": ("s", result.image),
            "digest": ("s", result.digest),
            "config": ("s", result.config),
            "disk": ("b", result.disk),
            **maps,
            **access,
        }
    )


@result_variants.register
def _(result: ImageStatus) -> dict[str, Variant]:
    return variants(
        {
            "file": ("s", str(result.file)),
            "pool": ("s", result.pool),
            "name": ("s", result.name),
            "source": ("s", result.source),
            "digest": ("s", result.digest),
            "pulled-at": ("t", result.pulled_at),
            "checked-at": ("t", result.checked_at),
            "due-at": ("t", result.due_at),
            "versions": ("u", result.versions),
            "error": ("s", result.error),
            "message": ("s", result.message),
        }
    )


def _platform_fields(platform: Platform) -> dict[str, tuple[str, object]]:
    return {
        "platform": ("s", str(platform)),
        "host-platform": ("s", str(host_platform())),
        "foreign": ("b", platform.is_foreign),
    }
