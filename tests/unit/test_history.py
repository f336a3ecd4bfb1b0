# SPDX-License-Identifier: LGPL-2.1-or-later
"""The history of an image, as its author wrote it."""

import pytest

from virtlayer.client.bus.answers import Layer
from virtlayer.client.commands.history import history_rows

LAYERS = (Layer("sha256:a", "layer-a", 10), Layer("sha256:b", "layer-b", 20))


def test_steps_get_their_layers_the_last_one_first() -> None:
    config = {
        "history": [
            {"created": "2026-11-25T19:00:05.123456789Z", "created_by": "ADD rootfs /"},
            {"created_by": "ENV a=b", "empty_layer": True, "comment": "buildkit"},
            {"created_by": "RUN make"},
        ]
    }
    rows = history_rows(config, LAYERS)
    assert [(row["created_by"], row["volume"], row["compressed_size"]) for row in rows] == [
        ("RUN make", "layer-b", 20),
        ("ENV a=b", None, 0),
        ("ADD rootfs /", "layer-a", 10),
    ]
    assert [row["comment"] for row in rows] == [None, "buildkit", None]
    assert rows[-1]["created_at"] == "2026-11-25T19:00:05.123Z"


@pytest.mark.parametrize(
    "config",
    [
        None,
        [],
        {},
        {"history": None},
        {"history": "x"},
        {"history": [1, {"created": 5, "created_by": {"a": 1}, "comment": []}]},
        {"history": [{"created": "0001-01-01T00:00:00Z"}]},
        {"history": [{}, {}, {}, {}]},
    ],
)
def test_every_layer_is_listed_for_any_config(config: object) -> None:
    rows = history_rows(config, LAYERS)
    assert [row["volume"] for row in rows if row["volume"]] == ["layer-b", "layer-a"]
