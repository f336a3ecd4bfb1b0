# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options in messages of the service, as the command line names them."""

import pytest

from virtlayer.client.bus.failures import remote_error
from virtlayer.errors import InvalidArgument


@pytest.mark.parametrize(
    ("message", "typed"),
    [
        (
            'Use the option "tls-verify=false" if you trust the registry.',
            "Use --tls-verify=false if you trust the registry.",
        ),
        (
            'The option "hostname" requires the option "volume".',
            "--hostname requires --volume.",
        ),
        ('The option "auth-fd" gives more than 1 MiB.', "--authfile gives more than 1 MiB."),
        ('Invalid option "volume-size": 5 B.', "Invalid --volume-size: 5 B."),
        ('The option "source-fd" gave no data.', "SOURCE gave no data."),
        ('The pool "options" has no image "a".', 'The pool "options" has no image "a".'),
    ],
)
def test_options_have_the_names_of_the_command_line(message: str, typed: str) -> None:
    found = remote_error("org.virtlayer1.Error.InvalidArgument", message)
    assert (type(found), found.message) == (InvalidArgument, typed)
