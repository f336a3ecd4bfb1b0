# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether KVM runs guests on this host, which is found once per boot and kept in /run.

libvirt offers KVM where /dev/kvm can be opened. In a virtual machine whose host does not support
nested guests well, a guest is then started, and stops within seconds.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from virtlayer.errors import Unsupported
from virtlayer.protocol.domains import DomainType

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FILE = "kvm.json"
_LOG_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether KVM runs guests.

    Attributes:
        works: Whether it does.
        reason: What became of the guest that was tried, as a part of a sentence; "" if it works.
        log: QEMU's last lines about that guest.
    """

    works: bool
    reason: str
    log: str


@dataclass(frozen=True, slots=True)
class ChosenType:
    """How a machine runs.

    Attributes:
        type: KVM or QEMU.
        kvm_known: Whether it is known if KVM runs guests, as far as this matters.
        notes: What the user should know, as sentences.
    """

    type: DomainType
    kvm_known: bool = True
    notes: tuple[str, ...] = ()


class Kvm:
    """Keeps the verdict.

    Args:
        directory: A directory below /run of this process's own; None to keep it in memory.
    """

    def __init__(self, directory: Path | None) -> None:
        self.runs_firmware = False
        """Whether KVM has run the firmware of a machine, which a kernel may still fail after."""
        self._directory = directory
        self._verdict: Verdict | None = None

    def verdict(self) -> Verdict | None:
        """Return the verdict; None if it is not known yet."""
        if self._verdict is None and self._directory is not None:
            # A file that cannot be read is written again.
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                kept = json.loads((self._directory / _FILE).read_text(encoding="utf-8"))
                if kept.pop("boot") == _boot_id():
                    self._verdict = Verdict(**kept)
        return self._verdict

    def keep(self, verdict: Verdict) -> None:
        """Keep a verdict until the host boots again."""
        self._verdict = verdict
        if self._directory is None:
            return
        kept = {**asdict(verdict), "log": verdict.log[-_LOG_LIMIT:], "boot": _boot_id()}
        # Without the file, the next keeper finds it out again.
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            new = self._directory / f".{_FILE}"
            new.write_text(json.dumps(kept), encoding="utf-8")
            new.rename(self._directory / _FILE)


def runtime_directory() -> Path | None:
    """The directory below /run for this process; None if there is none."""
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(given.partition(":")[0])
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(given) / "virtlayer-keeper"
    return None


def chosen_type(wanted: DomainType | None, *, offered: bool, verdict: Verdict | None) -> ChosenType:
    """Choose between KVM and QEMU.

    Args:
        wanted: What the request says; None for the better one that works.
        offered: Whether libvirt offers KVM.
        verdict: Whether KVM runs guests; None if that is not known yet.

    Raises:
        Unsupported: KVM is wanted and does not run guests.
    """
    if wanted is DomainType.QEMU:
        return ChosenType(DomainType.QEMU)
    if offered and verdict is None:
        return ChosenType(DomainType.KVM, kvm_known=False)
    if offered and verdict is not None and verdict.works:
        return ChosenType(DomainType.KVM)
    if verdict is None:
        reason, log = "libvirt does not offer KVM on this host", ""
    else:
        reason, log = f"KVM does not run guests on this host: {verdict.reason}", verdict.log
    if wanted is DomainType.KVM:
        lines = "; ".join(log.strip().splitlines())
        shown = f" QEMU's last lines: {lines}" if lines else ""
        raise Unsupported(
            f'The type "kvm" cannot be used: {reason}. Leave out the type, or use "qemu".{shown}'
        )
    return ChosenType(
        DomainType.QEMU, notes=(f"The machine is emulated, which is slow: {reason}.",)
    )


def _boot_id() -> str:
    """The id of this boot; "" where this process cannot read it: /run is empty after a boot."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
