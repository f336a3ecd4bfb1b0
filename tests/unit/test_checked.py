# SPDX-License-Identifier: LGPL-2.1-or-later
"""Replies with values of other types than the service's."""

from typing import Any

import pytest

from virtlayer.client.bus.answers import (
    DomainDetails,
    ImageDetails,
    ImageSummary,
    JobDetails,
    LayerProgress,
    Outcome,
    Progress,
)

JOB = {
    "Id": 7,
    "Kind": "pull",
    "Pool": "p",
    "State": "done",
    "Stage": "",
    "Progress": 1.0,
    "StartedBy": 0,
    "StartedAt": 1,
    "FinishedAt": 2,
    "Error": "",
}
DOMAIN = {
    "name": "a",
    "uuid": "u",
    "state": "running",
    "pool": "p",
    "image": "i",
    "digest": "d",
    "volume": "v",
    "type": "qemu",
    "boot": "kernel",
    "streams": True,
    "memory": 1,
    "vcpus": 1,
    "ephemeral": False,
    "autostart": False,
    "addresses": ["192.0.2.1"],
    "ports": [["192.0.2.9", 80, 80, "tcp"]],
}


def test_values_of_the_right_types_are_accepted() -> None:
    assert JobDetails.parse("/", JOB | {"Result": {"volumes": ["a"]}}).result == {"volumes": ["a"]}
    assert DomainDetails.parse(DOMAIN | {"exit_status": 3}).exit_status == 3
    assert DomainDetails.parse(DOMAIN).ports == (("192.0.2.9", 80, 80, "tcp"),)
    assert ImageDetails.parse("/", {"Name": "a", "Pool": "p", "Layers": [["x", "y", 5]]}).layers
    assert Outcome("done", "", "", {"volumes": ["a"]}).result == {"volumes": ["a"]}
    assert Progress(1.0, "", 1, 2, (LayerProgress("x", 1, 2, 3),)).layers


@pytest.mark.parametrize(
    "other", [{"Id": "7"}, {"Progress": 1}, {"Stage": b"x"}, {"Result": []}, {"StartedBy": True}]
)
def test_job_of_other_types_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        JobDetails.parse("/", JOB | other)


@pytest.mark.parametrize(
    "other",
    [
        {"addresses": [1]},
        {"ports": [["a", 1, 1]]},
        {"ports": [["a", 1, "1", "tcp"]]},
        {"exit_status": "3"},
        {"streams": 1},
    ],
)
def test_machine_of_other_types_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        DomainDetails.parse(DOMAIN | other)


def test_other_numbers_of_values_are_refused() -> None:
    for values in (["a"], ["a"] * 6, [1] * 5):
        with pytest.raises(TypeError):
            ImageSummary(*values)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), float("inf")])
def test_progress_beyond_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        Progress(fraction, "", 0, 0)
