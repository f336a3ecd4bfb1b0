# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reports to systemd: the journal, with fields, and the state of the service.

Without systemd, the same lines go to standard error, and the state is not reported.

Messages and fields contain names and texts of callers, images and other programs. They are escaped
here and nowhere else, so that none of them can look like a message of its own.
"""

import logging
import os
import sys
from types import TracebackType

import systemd.daemon
import systemd.journal

from virtlayer.printable import printable

JOB_STARTED = "1aa98c713ee645cc95cdbedcd592ddeb"
"""MESSAGE_ID of the start of a job, as in the journal's catalog."""
JOB_ENDED = "684300b1252c4d46a67c234b9ae49c6a"
"""MESSAGE_ID of the end of a job."""

type _ExceptionInfo = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)

_PREFIX = "VIRTLAYER_"
_ATTRIBUTE = "journal_fields"


def fields(message_id: str | None = None, **values: object) -> dict[str, object]:
    """Return what to pass as ``extra`` of a log call, so that the journal has these fields.

    Args:
        message_id: The MESSAGE_ID, if this message has one.
        values: Other fields; ``job=7`` becomes ``VIRTLAYER_JOB=7``. Empty ones are left out.
    """
    named = {
        _PREFIX + name.upper(): printable(str(value))
        for name, value in values.items()
        if value != ""
    }
    if message_id is not None:
        named["MESSAGE_ID"] = message_id
    return {_ATTRIBUTE: named}


def configure_logging(identifier: str, level: int = logging.INFO) -> None:
    """Send log messages to the journal if standard error goes there, else to standard error.

    Args:
        identifier: The name of this process in the journal (SYSLOG_IDENTIFIER).
        level: The lowest level that is logged.
    """
    handler: logging.Handler
    if _stderr_is_journal():
        handler = _JournalHandler(identifier)
        handler.setFormatter(_Escaped())
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Escaped("%(levelname)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def notify(**state: str | int) -> None:
    """Tell the service manager, if there is one (sd_notify(3)).

    Args:
        state: Such as ``READY=1`` or ``STATUS="…"``.
    """
    systemd.daemon.notify("\n".join(f"{name}={value}" for name, value in state.items()))


def watchdog_interval() -> float | None:
    """How often, in seconds, to send WATCHDOG=1: twice in the time that the manager waits.

    Returns:
        None if the manager does not watch (sd_watchdog_enabled(3)).
    """
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2_000_000 if microseconds.isdecimal() else None


class _Escaped(logging.Formatter):
    """Makes a message one line. The lines of a traceback follow, indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802 -- logging's name
        lines = super().formatException(ei).splitlines()
        return "\n".join(f"  {printable(line)}" for line in lines)


class _JournalHandler(logging.Handler):
    def __init__(self, identifier: str) -> None:
        super().__init__()
        self._identifier = identifier

    def emit(self, record: logging.LogRecord) -> None:
        extra: dict[str, str] = getattr(record, _ATTRIBUTE, {})
        try:
            systemd.journal.send(
                self.format(record),
                PRIORITY=_priority(record.levelno),
                LOGGER=record.name,
                CODE_FILE=record.pathname,
                CODE_LINE=record.lineno,
                CODE_FUNC=record.funcName,
                SYSLOG_IDENTIFIER=self._identifier,
                **extra,
            )
        except OSError:
            self.handleError(record)


def _priority(level: int) -> int:
    """The syslog(3) priority of a logging level."""
    for limit, priority in ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4)):
        if level >= limit:
            return priority
    return 6 if level >= logging.INFO else 7


def _stderr_is_journal() -> bool:
    """Compare standard error with JOURNAL_STREAM (systemd.exec(5))."""
    status = os.fstat(sys.stderr.fileno())
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
