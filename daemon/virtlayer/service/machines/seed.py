# SPDX-License-Identifier: LGPL-2.1-or-later
"""Composes the seed of a machine whose disk image has cloud-init: a small ISO 9660 image.

It is for cloud-init's data source NoCloud, which reads it from the disk with the label ``cidata``:

- ``meta-data`` has the instance ID, the host name and the public keys.
- ``user-data`` is that of the caller, byte by byte.
- ``vendor-data`` has the rest: root's password, and the permission to log in as root by a key.

A value in the caller's user-data therefore never removes one of the options, or the other way
round: cloud-init applies both. All values are written as JSON, which is also YAML.
"""

import io
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.hostname import checked_hostname
from virtlayer.protocol.ssh_keys import checked_keys, has_options
from virtlayer.service.source.passed_descriptor import content_of
from virtlayer.sizes import MIB, human_size

USER_DATA_LIMIT = MIB
"""Bytes; clouds have limits of 16 to 256 KiB."""
LABEL = "cidata"
_HASH = re.compile(r"\$[!-9;-~]+")
"""As crypt(5) has it: printable, without a colon."""
_READABLE_BY_ROOT = 0o100400

_BOOTHOOK = """\
#cloud-boothook
#!/bin/sh
# A boothook runs at each boot, but the password is set only at the first: it may be changed later.
done=/var/lib/cloud/instance/virtlayer-root-password
[ -e "$done" ] || {{ printf '%s\\n' {line} | chpasswd -e && : >"$done"; }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """The settings for cloud-init; ``repr()`` shows no secret.

    Attributes:
        instance_id: The UUID of the machine. A new one makes cloud-init set up the machine again.
        hostname: The machine's name; None for that of the image.
        ssh_authorized_keys: Public keys of root and of the default user of the image, without
            options.
        root_password_hash: Root's password as crypt(5) has it; None for none.
        user_data: The caller's data for cloud-init, of any kind that it knows; None for none.

    Raises:
        InvalidArgument: One of them is invalid.
    """

    instance_id: UUID
    hostname: str | None = None
    ssh_authorized_keys: tuple[str, ...] = ()
    root_password_hash: str | None = field(default=None, repr=False)
    user_data: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.hostname is not None:
            checked_hostname(self.hostname)
        for number, key in enumerate(checked_keys(self.ssh_authorized_keys), start=1):
            if has_options(key):
                raise InvalidArgument(
                    f"SSH key {number} has options, which cloud-init would drop for root, so that "
                    "the key could do more than you allow. Give the key without options, or put it "
                    "into the user-data."
                )
        if self.root_password_hash is not None and not _HASH.fullmatch(self.root_password_hash):
            raise InvalidArgument("The hash of root's password is not one of crypt(5).")
        if self.user_data is not None and len(self.user_data) > USER_DATA_LIMIT:
            raise InvalidArgument(
                f"The user-data for cloud-init has more than {human_size(USER_DATA_LIMIT)}. Let it "
                'fetch the rest ("#include" in the documentation of cloud-init).'
            )

    def files(self) -> dict[str, bytes]:
        """Return the contents of the files in the image, by their names."""
        files = {"meta-data": _json(self._meta_data()), "user-data": self.user_data or b""}
        if vendor_data := self._vendor_data():
            # Several kinds of data in one file.
            files["vendor-data"] = b"#cloud-config-archive\n" + _json(vendor_data)
        return files

    def _meta_data(self) -> Mapping[str, object]:
        data: dict[str, object] = {"instance-id": str(self.instance_id)}
        if self.hostname is not None:
            data["local-hostname"] = self.hostname
        if self.ssh_authorized_keys:
            data["public-keys"] = checked_keys(self.ssh_authorized_keys)
        return data

    def _vendor_data(self) -> list[Mapping[str, str]]:
        parts: list[Mapping[str, str]] = []
        if self.ssh_authorized_keys:
            # Otherwise cloud-init lets root's keys print only that root may not log in.
            config = "#cloud-config\n" + json.dumps({"disable_root": False})
            parts.append({"type": "text/cloud-config", "content": config})
        if self.root_password_hash is not None:
            line = shlex.quote(f"root:{self.root_password_hash}")
            script = _BOOTHOOK.format(line=line)
            parts.append({"type": "text/cloud-boothook", "content": script})
        return parts


async def read_user_data(descriptor: int, deadline: float) -> bytes:
    """Read the caller's user-data.

    Args:
        descriptor: That of the option "user-data-fd"; the caller closes it.
        deadline: From ``passed_descriptor.secrets_deadline``.

    Raises:
        InvalidArgument: It cannot be read, does not end in time, or is too large.
    """
    return await content_of(descriptor, 'The option "user-data-fd"', USER_DATA_LIMIT, deadline)


def seed_image(seed: Seed) -> bytes:
    """Return the image: ISO 9660 with Rock Ridge and Joliet; only root can read the files in it.

    It contains secrets: the volume with it must be readable by its machine only.
    """
    # Only here: it would cost every idle service 3 MB.
    from pycdlib import PyCdlib

    iso = PyCdlib()
    iso.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    try:
        for name, content in seed.files().items():
            iso.add_fp(
                io.BytesIO(content),
                len(content),
                f"/{name.upper().replace('-', '_')}.;1",
                rr_name=name,
                joliet_path=f"/{name}",
                file_mode=_READABLE_BY_ROOT,
            )
        image = io.BytesIO()
        iso.write_fp(image)
    finally:
        iso.close()
    return image.getvalue()


def _json(value: object) -> bytes:
    # No escapes for characters beyond U+FFFF: those of JSON are not those of YAML.
    return f"{json.dumps(value, ensure_ascii=False)}\n".encode()
