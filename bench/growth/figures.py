# SPDX-License-Identifier: LGPL-2.1-or-later
"""How an operation grows from one size of a pool to another, against n log n.

What an operation takes in an empty pool is subtracted first: a large constant part would hide how
the rest grows. A quadratic operation then grows 11.1 times from 1,500 to 5,000 images, n log n
allows 3.9 times, and the measured value is the ratio of the two. What is small against the constant
part is noise, so a tenth of that is allowed in addition: an operation whose quadratic part takes
more than a quarter of its linear part, and that tenth once and a half, at 5,000 images is missed.
"""

import math
import statistics
from collections.abc import Mapping

from bench.measure import Series
from bench.rows import Figures, Row, Unit

_NOISE = 0.1


def growth(case: str, part: str, series: Mapping[int, Series], unit: Unit) -> Row:
    """Compare what an operation takes in the largest pool with what n log n allows.

    Args:
        case: What virtlayer does.
        part: The operation.
        series: By the number of images. The smallest pool in which this was measured, the empty
            one if possible, shows the constant part.
        unit: Of the figures.
    """
    least, *_, second, largest = sorted(size for size in series if part in series[size].parts)
    constant = statistics.median(series[least].parts[part])
    smaller = statistics.median(series[second].parts[part]) - constant
    factor = largest * math.log(largest) / (second * math.log(second))
    allowed = factor * max(0.0, smaller) + _NOISE * constant
    grown = tuple(max(0.0, value - constant) for value in series[largest].parts[part])
    return Row(
        *(f"{case}: growth from {second:,} to {largest:,} images", "n log n", 1.0),
        *(Figures(grown, unit), Figures((allowed,), unit)),
    )
