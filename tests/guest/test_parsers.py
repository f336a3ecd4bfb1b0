# SPDX-License-Identifier: LGPL-2.1-or-later
"""The parsers of the init of machines, under the address and undefined behaviour sanitizers."""

import os
import struct
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from build_extensions import GUEST_FLAGS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from virtlayer.protocol.guest_config import MAGIC, GuestConfig
from virtlayer.protocol.streams import CONTENT_LIMIT, Record, RecordKind

_GUEST = Path(__file__).parents[2] / "daemon/virtlayer/guest"
_SOURCES = ("configuration.c", "failure.c", "image_file.c", "records.c", "users.c")
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")

type Probe = Callable[[str, Iterable[bytes]], list[str]]


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    program = tmp_path_factory.mktemp("probe") / "probe"
    source = Path(__file__).with_name("c") / "probe.c"
    files = [source, *(_GUEST / name for name in _SOURCES)]
    command: list[str | Path] = [
        "gcc",
        *GUEST_FLAGS,
        *_SANITIZERS,
        f"-I{_GUEST}",
        "-o",
        program,
        *files,
    ]
    subprocess.run(command, check=True)

    def run(parser: str, texts: Iterable[bytes]) -> list[str]:
        done = subprocess.run(
            [program, parser],
            input=b"".join(struct.pack("<I", len(text)) + text for text in texts),
            capture_output=True,
            check=False,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode(errors="replace").split("\n")[:-1]

    return run


def _configuration(*entries: tuple[bytes, bytes], end: bytes = bytes(4)) -> bytes:
    texts = (struct.pack("<I", len(text)) + text for entry in entries for text in entry)
    return MAGIC + b"".join(texts) + end


_PROGRAM = (b"argument", b"/bin/sh")


def test_configuration_that_the_service_writes_is_read(probe: Probe) -> None:
    config = GuestConfig(
        arguments=("/bin/sh", "", "-c"),
        environment=("A=", "B=c=d"),
        directory="/work",
        user="app:wheel",
        hostname="web-1",
        terminal=True,
        stop_signal=2,
        dhcp=False,
        is_init=True,
    )
    assert probe("configuration", [config.encoded()]) == [
        "/bin/sh||-c|A=|B=c=d|/work|app:wheel|web-1|1001|2"
    ]


def test_defaults_are_those_of_the_class(probe: Probe) -> None:
    whole = GuestConfig(arguments=("/bin/sh",), dhcp=False).encoded()
    assert probe("configuration", [_configuration(_PROGRAM)]) == probe("configuration", [whole])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(MAGIC[:-1], id="part of the magic"),
        pytest.param(b"\0" * 512, id="zeros"),
        pytest.param(MAGIC, id="no entries"),
        pytest.param(_configuration(_PROGRAM, end=b""), id="no end"),
        pytest.param(_configuration(_PROGRAM, end=b"\0\0\0"), id="part of the end"),
        pytest.param(_configuration(_PROGRAM, end=b"\xff\xff\xff\xff"), id="length beyond the end"),
        pytest.param(_configuration(_PROGRAM, end=b"\x01\0\0\0x"), id="key without value"),
        pytest.param(_configuration(), id="no program"),
        pytest.param(_configuration((b"argument", b"")), id="empty program"),
        pytest.param(_configuration((b"argument", b"a\0b")), id="NUL in a value"),
        pytest.param(_configuration(_PROGRAM, (b"argum\0nt", b"")), id="NUL in a key"),
        pytest.param(_configuration(_PROGRAM, (b"unknown", b"")), id="unknown key"),
        pytest.param(_configuration(_PROGRAM, (b"environment", b"A")), id="variable without value"),
        pytest.param(_configuration(_PROGRAM, (b"environment", b"=A")), id="variable without name"),
        pytest.param(_configuration(_PROGRAM, (b"terminal", b"2")), id="flag out of range"),
        pytest.param(_configuration(_PROGRAM, (b"terminal", b"")), id="empty flag"),
        pytest.param(_configuration(_PROGRAM, (b"stop-signal", b"0")), id="signal 0"),
        pytest.param(_configuration(_PROGRAM, (b"stop-signal", b"65")), id="signal 65"),
        pytest.param(_configuration(_PROGRAM, (b"stop-signal", b"9x")), id="signal with letters"),
        pytest.param(_configuration(_PROGRAM, (b"stop-signal", b" 9")), id="signal with a blank"),
        pytest.param(_configuration(_PROGRAM, (b"hostname", b"a\nb")), id="hostname of two lines"),
        pytest.param(_configuration(_PROGRAM, (b"hostname", b"a" * 65)), id="long hostname"),
    ],
)
def test_damaged_configuration_is_refused(probe: Probe, content: bytes) -> None:
    [line] = probe("configuration", [content])
    assert line.startswith("125 The configuration ")


def test_value_of_an_invalid_entry_is_not_shown(probe: Probe) -> None:
    [line] = probe("configuration", [_configuration(_PROGRAM, (b"environment", b"secret"))])
    assert line == '125 The configuration has an invalid "environment".'


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.binary(max_size=80).map(lambda rest: MAGIC + rest),
            st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=4)).map(
                lambda change: _damaged(*change)
            ),
        ),
        max_size=200,
    )
)
def test_random_configurations_are_read_or_refused(probe: Probe, contents: list[bytes]) -> None:
    lines = probe("configuration", contents)
    assert len(lines) >= len(contents)


def _damaged(place: int, change: bytes) -> bytes:
    config = GuestConfig(arguments=("/bin/sh", "-c"), environment=("A=1", "B=2"), user="app")
    content = config.encoded()
    return content[:place] + change + content[place + len(change) :]


_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
app:x:1000:1001:App:/home/app:/bin/sh
app:x:5:5:second of that name:/second:/bin/sh
nohome:x:1002:1002:::/bin/sh
1234:x:77:78:a number as a name:/num:/bin/sh

badid:x:zzz:5:bad:/home/bad:/bin/sh
noid:x::5:bad:/home/bad:/bin/sh
badgid:x:80:zzz:bad:/home/bad:/bin/sh
hugeid:x:4294967296:5:bad:/home/bad:/bin/sh
lastid:x:4294967295:5:bad:/home/bad:/bin/sh
negative:x:-1:5:bad:/home/bad:/bin/sh
short
:x:90:91::/noname:/bin/sh
cut:x:95:96:c:/cut"""
_GROUP = """\
root:x:0:
app:x:1001:
wheel:x:10:app
video:x:44:x,app
video:x:45:
almost:x:46:app2,ap,xapp
extra:x:5:app,root
twice:x:5:app
badgid:x:y:app
rootextra:x:6:root"""

# As `podman run -u USER -w /work` has them (5.4 with crun 1.21), but for lines that are damaged:
# there, podman takes the user for root.
_USERS = {
    "": "0:0 5,6 /root",
    "root": "0:0 0,5,6 /root",
    "0": "0:0 0,5,6 /root",
    "0:0": "0:0 0 /root",
    "root:video": "0:44 44 /root",
    ":wheel": "0:10 10 /root",
    "app": "1000:1001 1001,10,44,5 /home/app",
    "1000": "1000:1001 1001,10,44,5 /home/app",
    "+1000": "1000:1001 1001,10,44,5 /home/app",
    "app:": "1000:1001 1001 /home/app",
    "app:wheel": "1000:10 10 /home/app",
    "app:99": "1000:99 99 /home/app",
    "nohome": "1002:1002 1002 ",
    "1234": "1234:0 0 /work",
    "77": "77:78 78 /num",
    "90": "90:91 91 /noname",
    "12345": "12345:0 0 /work",
    "12345:55": "12345:55 55 /work",
    "2147483647": "2147483647:0 0 /work",
    "cut": "95:96 96 /cut",
}
_NO_USERS = (
    "nosuch",
    "nosuch:wheel",
    "app:nosuch",
    "-1",
    "-0x",
    "2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "app:-1",
    "app:4294967295",
    " app",
    "app ",
    "badid",
    "noid",
    "badgid",
    "80",
    "hugeid",
    "lastid",
    "negative",
    "short",
    "app:badgid",
    "app:wheel:x",
)


def _lookup(probe: Probe, users: Iterable[str], passwd: str, group: str) -> dict[str, str]:
    names = list(users)
    texts = [text.encode() for name in names for text in (name, passwd, group)]
    return dict(zip(names, probe("users", texts), strict=True))


def test_users_are_those_of_podman(probe: Probe) -> None:
    assert _lookup(probe, _USERS, _PASSWD, _GROUP) == _USERS


def test_user_that_is_not_found_is_never_root(probe: Probe) -> None:
    lines = _lookup(probe, _NO_USERS, _PASSWD, _GROUP).values()
    assert [line for line in lines if not line.startswith("126 ")] == []


def test_numbers_need_no_files(probe: Probe) -> None:
    users = {"": "0:0  ", "0": "0:0 0 /work", "5": "5:0 0 /work", "5:6": "5:6 6 /work"}
    assert _lookup(probe, users, "", "") == users
    assert _lookup(probe, ["root"], "", "") == {
        "root": '126 The image has no user "root" in its /etc/passwd. Name another user.'
    }


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(*[st.text("ap01:\n,-+ x", max_size=60).map(str.encode)] * 3), max_size=200)
)
def test_random_users_are_found_or_refused(
    probe: Probe, lookups: list[tuple[bytes, bytes, bytes]]
) -> None:
    lines = probe("users", [text for lookup in lookups for text in lookup])
    assert len(lines) >= len(lookups)


def _shown(records: Iterable[Record]) -> str:
    return "".join(
        f"{record.kind}:{len(record.content)}:{sum(record.content)} " for record in records
    )


_RECORDS = (
    Record(RecordKind.STDIN, b"input"),
    Record(RecordKind.END_OF_INPUT, b""),
    Record(RecordKind.STDIN, b"x" * CONTENT_LIMIT),
    Record(RecordKind.SIGNAL, b"\x02"),
)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 4096, 65544, 200_000])
def test_records_are_taken_however_they_arrive(probe: Probe, size: int) -> None:
    data = b"".join(record.encoded() for record in _RECORDS)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert "".join(probe("records", pieces)) == _shown(_RECORDS)


def test_noise_between_records_is_skipped(probe: Probe) -> None:
    too_long = struct.pack("<3sBI", b"\xa5VL", RecordKind.STDIN, CONTENT_LIMIT + 1)
    noise = (b"\xa5VL", b"\xa5", b"noise", too_long, bytes(100_000), too_long * 9000, b"\xa5V")
    data = b"".join(part + _RECORDS[0].encoded() for part in noise)
    [line] = probe("records", [data])
    assert line == _shown([_RECORDS[0]] * len(noise))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from(_RECORDS[:2]))))
def test_records_follow_any_noise(probe: Probe, parts: list[bytes | Record]) -> None:
    data = [part if isinstance(part, bytes) else part.encoded() for part in parts]
    # A header in the noise can claim what follows, at most as much as the content of one record.
    pause = bytes(CONTENT_LIMIT + 8)
    lines = probe("records", [*data, pause, _RECORDS[0].encoded()])
    assert lines[-1] == _shown(_RECORDS[:1])
