# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's cloud-init, which applies a seed to a copy of this system's /etc, in its own mounts.

Nothing is installed: the package is downloaded and unpacked once, into ``.cache/`` of the checkout.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.cache import kept

_SEED = "/var/lib/cloud/seed/nocloud"
_CONFIG = """\
datasource_list: [NoCloud]
users: [default]
ssh_genkeytypes: []
system_info: {distro: debian, default_user: {name: games}}
"""
"""As in a distribution's image. The default user is one that every Debian has."""

_BOOT = f"""\
set -e
mount -t tmpfs none "$PLACE"
mkdir "$PLACE/root" "$PLACE/games" "$PLACE/cloud-init"
chown games: "$PLACE/games"
cp -a /etc "$PLACE/etc"
mount --bind "$PLACE/etc" /etc
mount --bind "$MODULES" "$PLACE/cloud-init"
mount -t tmpfs none /var/lib
mount -t tmpfs none /run
sed -i "s|:/root:|:$PLACE/root:|; s|:/usr/games:|:$PLACE/games:|" /etc/passwd
rm -f /etc/ssh/ssh_host_*
mkdir -p /etc/cloud {_SEED}
cp "$SEED"/* {_SEED}/
cat >/etc/cloud/cloud.cfg
for number in $(seq "$BOOTS"); do
  PYTHONPATH="$PLACE/cloud-init:$STAGES" /usr/bin/python3 -m cloud_init_stages >"$PLACE/result"
  [ -z "$BETWEEN" ] || sh -ec "$BETWEEN"
done
cat "$PLACE/result"
"""
_STAGES = """\
import json, pwd, sys
from pathlib import Path
from cloudinit import sources, stages
from cloudinit.config import cc_set_passwords, cc_ssh
from cloudinit.settings import PER_ALWAYS

init = stages.Init(ds_deps=[sources.DEP_FILESYSTEM])
init.read_cfg()
init.initialize()
init.fetch(existing="check")
instance = init.instancify()
init.setup_datasource()
init.update()
new = not Path("/var/lib/cloud/instance/configured").exists()
init.consume_data(PER_ALWAYS)
cloud = init.cloudify()
if new:
    # Modules that cloud-init runs once for each instance.
    cc_ssh.handle("ssh", init.cfg, cloud, [])
    cc_set_passwords.handle("set_passwords", init.cfg, cloud, [])
    Path("/var/lib/cloud/instance/configured").touch()

def keys(user):
    path = Path(pwd.getpwnam(user).pw_dir, ".ssh/authorized_keys")
    return path.read_text().splitlines() if path.exists() else []

json.dump({
    "instance": instance,
    "hostname": cloud.get_hostname(fqdn=True).hostname,
    "keys": {user: keys(user) for user in ("root", "games")},
    "passwords": dict(line.split(":")[:2] for line in Path("/etc/shadow").read_text().splitlines()),
    "config": init.cfg,
}, sys.stdout, default=str)
"""


@dataclass(frozen=True)
class Applied:
    """What a machine has after cloud-init has run.

    Attributes:
        instance: The instance ID.
        hostname: The full host name.
        keys: The lines of authorized_keys, by user.
        passwords: The hashes in /etc/shadow, by user.
        config: The configuration of cloud-init's modules.
    """

    instance: str
    hostname: str
    keys: Mapping[str, Sequence[str]]
    passwords: Mapping[str, str]
    config: Mapping[str, object]


def applied(files: Mapping[str, bytes], *, boots: int = 1, between: str = "") -> Applied:
    """Let cloud-init apply a seed, as root.

    Args:
        files: The files of the seed.
        boots: How many times the machine boots.
        between: A shell command to run after each boot.
    """
    modules = _cloud_init()
    with tempfile.TemporaryDirectory(prefix="cloud-init-") as directory:
        seed, stages, place = (Path(directory, name) for name in ("seed", "stages", "place"))
        for path in (seed, stages, place):
            path.mkdir()
        for name, content in files.items():
            (seed / name).write_bytes(content)
        (stages / "cloud_init_stages.py").write_text(_STAGES)
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "bash", "-c", _BOOT],
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "MODULES": str(modules),
                "STAGES": str(stages),
                "SEED": str(seed),
                "PLACE": str(place),
                "BOOTS": str(boots),
                "BETWEEN": between,
            },
            input=_CONFIG,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return Applied(**json.loads(done.stdout))


def _cloud_init() -> Path:
    """The Python modules of cloud-init; the first call downloads them (0.6 MB)."""
    return kept("cloud-init", _make) / "usr/lib/python3/dist-packages"


def _make(directory: Path) -> Path:
    subprocess.run(["apt-get", "download", "-q", "cloud-init"], cwd=directory, check=True)
    [package] = directory.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, directory / "tree"], check=True)
    return directory / "tree"
