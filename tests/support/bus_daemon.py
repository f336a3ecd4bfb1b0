# SPDX-License-Identifier: LGPL-2.1-or-later
"""Private dbus-daemons for tests: of the session's type, or of the system's with our policy."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from tests.support.waiting import PATIENCE

_POLICY = Path(__file__).parents[2] / "dbus" / "org.virtlayer1.conf"
_SHIPPED_BY_SYSTEM = Path("/usr/share/dbus-1/system.d")

_SESSION_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  {servicedirs}
  <policy context="default">
    <allow user="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
  <limit name="max_message_size">1000000000</limit>
  <limit name="max_replies_per_connection">50000</limit>
</busconfig>
"""

# The default policy and limits of a system bus are dbus-daemon's system.conf's; it cannot be
# included, because it changes the user and the place of the socket.
_SYSTEM_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  {servicedirs}
  {policies}
  <!-- Tests also start the service as root; our policy lets user virtlayer own its name. -->
  <policy user="root">
    <allow own="org.virtlayer1"/>
  </policy>
</busconfig>
"""


@dataclass(frozen=True, slots=True)
class Bus:
    """A running bus."""

    address: str
    pid: int
    session: bool

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, with this bus as the session bus or the system bus."""
        variable = "DBUS_SESSION_BUS_ADDRESS" if self.session else "DBUS_SYSTEM_BUS_ADDRESS"
        return dict(os.environ) | {variable: self.address}

    def busctl(self, *arguments: str, check: bool = True) -> str:
        """Run busctl on this bus, and return what it prints."""
        return self.run("busctl", f"--address={self.address}", *arguments, check=check)

    def run(self, *command: str, check: bool = True) -> str:
        """Run a client on this bus; return its output, and what it says about errors with it."""
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout


@contextlib.contextmanager
def session_bus(
    directory: Path,
    *,
    services: Path | None = None,
    environment: Mapping[str, str] | None = None,
    inside: Sequence[str] = (),
) -> Iterator[Bus]:
    """Run a bus like a user's.

    Args:
        directory: An empty one, for its socket and configuration.
        services: A directory of activation files.
        environment: Of the bus and of what it starts; the bus then finds activation files where
            this environment says, as a user's does. By default that of the tests.
        inside: What a command line begins with that runs a program where the bus is to run.
    """
    servicedirs = f"<servicedir>{escape(str(services))}</servicedir>" if services else ""
    if environment is not None:
        servicedirs = "<standard_session_servicedirs/>"
    with _running(
        directory,
        _SESSION_CONFIG,
        environment,
        session=True,
        inside=inside,
        servicedirs=servicedirs,
    ) as bus:
        yield bus


@contextlib.contextmanager
def system_bus(
    directory: Path, *, services: Path | None = None, others: Sequence[str] = ()
) -> Iterator[Bus]:
    """Run a bus like the system's, with the policy that this project ships.

    Args:
        directory: An empty one that every user may enter.
        services: A directory of activation files; services run as the user of the bus.
        others: Further policies, by the names of their files in the system's folder.
    """
    servicedirs = f"<servicedir>{escape(str(services))}</servicedir>" if services else ""
    files = [_POLICY, *(_SHIPPED_BY_SYSTEM / name for name in others)]
    policies = "\n".join(f"<include>{escape(str(path))}</include>" for path in files)
    with _running(
        directory, _SYSTEM_CONFIG, session=False, servicedirs=servicedirs, policies=policies
    ) as bus:
        yield bus


@contextlib.contextmanager
def _running(
    directory: Path,
    config: str,
    environment: Mapping[str, str] | None = None,
    *,
    session: bool,
    inside: Sequence[str] = (),
    **values: str,
) -> Iterator[Bus]:
    socket = directory / "bus"
    file = directory / "bus.conf"
    file.write_text(config.format(socket=socket, **values), encoding="utf-8")
    options = ("--nofork", "--nopidfile", "--print-address=1", f"--config-file={file}")
    with subprocess.Popen(
        [*inside, "dbus-daemon", *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as daemon:
        try:
            assert daemon.stdout is not None
            address = daemon.stdout.readline().strip().split(",")[0]
            assert address, "dbus-daemon did not start"
            yield Bus(address, daemon.pid, session)
        finally:
            daemon.send_signal(signal.SIGTERM)
