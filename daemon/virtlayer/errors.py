# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every error that a caller can get.

The class name is the last part of the D-Bus error name (``org.virtlayer1.Error.<class name>``);
the message says what failed, on what, and what to do next, and never contains a secret.

::

    VirtlayerError
    ├── InvalidReference      the source does not parse
    ├── InvalidArgument       an argument or option has an invalid value
    ├── UnknownOption         an option key that this call does not have
    ├── ImageNotFound         the registry, file or catalog does not have the image
    ├── PlatformNotFound      the image exists, but not for that platform
    ├── RegistryAuth          the registry requires other credentials
    ├── RegistryUnavailable   the registry cannot be reached, or ended a transfer early
    ├── PolicyRejected        the host's policy.json does not allow the image
    ├── DigestMismatch        bytes are not the ones that their digest promises
    ├── MalformedLayer        a layer, manifest or config that breaks its specification
    ├── LayerTooLarge         a layer goes beyond a limit of the settings or of ext4
    ├── PoolNotFound          libvirt has no such pool
    ├── PoolInactive          the pool is defined but not started
    ├── PoolUnsupported       the pool's type cannot hold backing chains of files
    ├── PoolUnavailable       virtlayer-keeper, libvirt or a pool's directory cannot be reached
    ├── ImageExists           the name belongs to an image of another source
    ├── VolumeExists          a volume of that name is there
    ├── VolumeNotFound        no volume of that name is there
    ├── InUse                 something still needs what should be removed
    ├── NoSpace               the pool, the cache or the file system inside the volume is full
    ├── NotAuthorized         the caller may not do this
    ├── DomainExists          a domain of that name is there
    ├── DomainNotFound        no domain of that name was made by virtlayer
    ├── DomainFailed          a domain did not start, or did not reach its init
    ├── AmbiguousKernel       an image has several kernels, and none was chosen
    ├── Unsupported           this host lacks what the request needs, such as KVM
    ├── Busy                  a quota of the caller is used up
    ├── Cancelled             the job was cancelled
    ├── NoSuchJob             there is no such job, or it has ended
    ├── NoKernel              there is no kernel to boot with
    ├── Libvirt               libvirt failed in a way that none of the above covers
    ├── Internal              an internal error of virtlayer
    ├── ServiceUnavailable    virtlayerd cannot be reached; the client's own, never sent on the bus
    └── HostUnavailable       another host cannot be reached by ssh; the client's own as well
"""

from virtlayer.printable import printable


class VirtlayerError(Exception):
    """The root of the tree; only its subclasses are raised.

    Args:
        message: One or two sentences for the user: what failed, on what, what to do next. Text from
            callers, images and other programs is escaped here.
    """

    def __init__(self, message: str) -> None:
        self.message = printable(message)
        super().__init__(self.message)

    @property
    def name(self) -> str:
        """The last part of the D-Bus error name."""
        return type(self).__name__


class InvalidReference(VirtlayerError):
    """The source does not parse as an image reference."""


class InvalidArgument(VirtlayerError):
    """An argument or option has an invalid value."""


class UnknownOption(VirtlayerError):
    """An option key that this call does not have."""


class ImageNotFound(VirtlayerError):
    """The registry, file or catalog does not have the image."""


class PlatformNotFound(VirtlayerError):
    """The image exists, but not for the platform that was asked for."""


class RegistryAuth(VirtlayerError):
    """The registry refuses the credentials, or requires some."""


class RegistryUnavailable(VirtlayerError):
    """The registry cannot be reached, or ended a transfer early."""


class PolicyRejected(VirtlayerError):
    """The signature policy of this host (policy.json) does not allow the image."""


class DigestMismatch(VirtlayerError):
    """Bytes do not have the digest that was given for them."""


class MalformedLayer(VirtlayerError):
    """A layer, manifest or config breaks its specification."""


class LayerTooLarge(VirtlayerError):
    """A layer goes beyond a limit of the settings or of ext4."""


class PoolNotFound(VirtlayerError):
    """Libvirt has no pool of that name."""


class PoolInactive(VirtlayerError):
    """The pool is defined but not started."""


class PoolUnsupported(VirtlayerError):
    """The pool's type cannot hold backing chains of files."""


class PoolUnavailable(VirtlayerError):
    """virtlayer-keeper, libvirt or a pool's directory cannot be reached, or no longer."""


class ImageExists(VirtlayerError):
    """The name belongs to an image of another source."""


class VolumeExists(VirtlayerError):
    """A volume of that name is in the pool already."""


class VolumeNotFound(VirtlayerError):
    """The pool has no volume of that name."""


class InUse(VirtlayerError):
    """An object that should be removed is still in use."""


class NoSpace(VirtlayerError):
    """The pool, the cache, or the file system inside the volume is full."""


class NotAuthorized(VirtlayerError):
    """The caller may not do this."""


class DomainExists(VirtlayerError):
    """Libvirt already has a domain of that name."""


class DomainNotFound(VirtlayerError):
    """Libvirt has no domain of that name, or virtlayer has not made it."""


class DomainFailed(VirtlayerError):
    """A domain did not start, or did not reach its init."""


class AmbiguousKernel(VirtlayerError):
    """An image has several kernels, and the request does not choose one."""


class Unsupported(VirtlayerError):
    """This host lacks what the request needs: KVM, passt, or a feature of libvirt."""


class Busy(VirtlayerError):
    """A quota of the caller is used up; the message names the setting."""


class Cancelled(VirtlayerError):
    """The job was cancelled."""


class NoSuchJob(VirtlayerError):
    """There is no such job, or it has ended."""


class NoKernel(VirtlayerError):
    """There is no kernel for a machine to boot with."""


class Libvirt(VirtlayerError):
    """Libvirt failed in a way that no other error covers."""


class Internal(VirtlayerError):
    """An internal error of virtlayer; the journal has the details."""


class ServiceUnavailable(VirtlayerError):
    """virtlayerd or the bus cannot be reached, or stopped; only the client raises it."""


class HostUnavailable(VirtlayerError):
    """Another host cannot be reached by ssh, or no longer."""
