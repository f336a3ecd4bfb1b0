# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers of libvirt-LXC, each with a libvirtd of its own; for tests that run as root."""

import subprocess
from pathlib import Path

from tests.support.waiting import PATIENCE

# libvirt 11.3 starts no container where both versions of cgroups are mounted. The state of this
# libvirtd is in memory, in a mount namespace that ends with the script. The script is the first
# process of a PID namespace: when it ends, the kernel kills libvirtd. SIGTERM is not enough: just
# after a container has ended, this libvirtd sometimes hangs for 30 seconds and exits with status 1.
# It sometimes misses the end of a container that ends at once, and calls it running for good: so
# the script waits for the end of the container's controller, the only one in the PID namespace.
_SCRIPT = """
if mountpoint -q /sys/fs/cgroup/unified; then umount -l /sys/fs/cgroup/unified; fi
for directory in /run /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
    mkdir -p $directory
    mount -t tmpfs tmpfs $directory
done
mkdir -p /run/libvirt /var/lib/libvirt/lxc /var/log/libvirt/lxc
printf 'auth_unix_rw = "none"\\nauth_unix_ro = "none"\\n' >/etc/libvirt/libvirtd.conf
libvirtd --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirtd.pid &
export LIBVIRT_DEFAULT_URI=lxc:///system
until virsh uri >/dev/null 2>&1; do kill -0 $! || exit 1; sleep 0.02; done
virsh define "$1"
virsh start "$2" || { cat /var/log/libvirt/lxc/*; exit 1; }
while grep --quiet --no-messages --line-regexp libvirt_lxc /proc/[0-9]*/comm; do sleep 0.02; done
"""


def run_container(description: Path, name: str) -> None:
    """Start a container, and wait until its program has ended.

    Args:
        description: A file with its domain XML.
        name: The domain's name.
    """
    unshare = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    with subprocess.Popen(
        [*unshare, "sh", "-euxc", _SCRIPT, "sh", str(description), name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
    ) as process:
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
    assert process.returncode == 0, f"status {process.returncode} after:\n{output[-4000:]}"
