# SPDX-License-Identifier: LGPL-2.1-or-later
"""Gets the key of a cephx user from a secret of libvirt.

libvirt gives the value of a secret only if it is not private (https://libvirt.org/formatsecret.html).
The key is in no error, and in the memory of this process only until it is passed on.
"""

from xml.etree import ElementTree

from virtlayer.errors import PoolUnavailable, PoolUnsupported, VirtlayerError
from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.kinds.rbd.source import SecretReference
from virtlayer.protocol.virsh import virsh

type _Secret = libvirt.virSecret


async def secret_value(hypervisor: Hypervisor, pool: str, secret: SecretReference) -> bytes:
    """Get the value of a secret: the key, decoded.

    Args:
        hypervisor: The connection to libvirt.
        pool: The pool, for error messages.
        secret: The secret that its description names.

    Raises:
        PoolUnavailable: There is no such secret, or it has no value.
        PoolUnsupported: libvirt does not give its value, or it is for something else.
        VirtlayerError: libvirt does not answer.
    """
    found = await hypervisor.call(_value, hypervisor.uri, pool, secret)
    if isinstance(found, VirtlayerError):
        raise found
    return found


async def secret_uuid(
    hypervisor: Hypervisor, pool: str, secret: SecretReference | None
) -> str | None:
    """Return the UUID of a secret; None if there is none.

    Args:
        hypervisor: The connection to libvirt.
        pool: The pool, for error messages.
        secret: The secret that its description names.

    Raises:
        PoolUnavailable: libvirt does not have it.
        VirtlayerError: libvirt does not answer.
    """
    if secret is None:
        return None
    if secret.uuid:
        return secret.uuid
    found = await hypervisor.call(_uuid, secret)
    if found is None:
        raise _missing(hypervisor.uri, pool, secret)
    return found


def _uuid(connection: Connection, reference: SecretReference) -> str | None:
    secret = _found(connection, reference)
    return None if secret is None else str(secret.UUIDString())


def _value(
    connection: Connection, uri: str, pool: str, reference: SecretReference
) -> bytes | VirtlayerError:
    """The value of a secret, or what is wrong with it.

    An error is returned, because ``Hypervisor.call`` translates only those of libvirt.
    """
    secret = _found(connection, reference)
    if secret is None:
        return _missing(uri, pool, reference)
    uuid = secret.UUIDString()
    if secret.usageType() != libvirt.VIR_SECRET_USAGE_TYPE_CEPH:
        return PoolUnsupported(
            f'The secret {uuid}, which the pool "{pool}" names, is not for Ceph. Define one with '
            f"<usage type='ceph'>, and name it in the pool: {virsh(uri, 'pool-edit', pool)}"
        )
    root = ElementTree.fromstring(secret.XMLDesc())  # noqa: S314 -- libvirt wrote it
    if root.get("private") == "yes":
        return PoolUnsupported(
            f'The secret {uuid} of the pool "{pool}" is private: libvirt does not give the key to '
            "virtlayer-keeper. Save its description, change private='yes' there to private='no', "
            f"and define it again: {virsh(uri, 'secret-dumpxml', uuid)} >secret.xml; "
            f"{virsh(uri, 'secret-undefine', uuid)}; {virsh(uri, 'secret-define', 'secret.xml')}; "
            f"{_set_value(uri, uuid)}"
        )
    try:
        value: bytes = secret.value()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_SECRET:
            raise
        value = b""
    if not value:
        return PoolUnavailable(
            f'The secret {uuid} of the pool "{pool}" has no value. Set it to the key of the cephx '
            f"user, which a file contains: {_set_value(uri, uuid)}"
        )
    return value


def _found(connection: Connection, reference: SecretReference) -> _Secret | None:
    try:
        if reference.uuid:
            return connection.secretLookupByUUIDString(reference.uuid)
        ceph = libvirt.VIR_SECRET_USAGE_TYPE_CEPH
        return connection.secretLookupByUsage(ceph, reference.usage)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_SECRET:
            raise
    return None


def _missing(uri: str, pool: str, reference: SecretReference) -> PoolUnavailable:
    name = reference.uuid or f'for the usage "{reference.usage}"'
    return PoolUnavailable(
        f'libvirt has no secret {name}, which the pool "{pool}" names. '
        f'"{virsh(uri, "secret-list")}" lists those that there are. Define it with '
        f'"{virsh(uri, "secret-define", "FILE")}", or name another one with '
        f'"{virsh(uri, "pool-edit", pool)}".'
    )


def _set_value(uri: str, uuid: str) -> str:
    return virsh(uri, "secret-set-value", uuid, "--file", "KEYFILE")
