# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that judge the effect of a change from repeated runs with and without it, for the tuning benchmark.

Runs come in pairs, and chance decides the order within a pair. If the change has no effect, a pair's difference is as
likely to be negative as positive, whatever its distribution (R. A. Fisher, The Design of Experiments, 1935, section
21). So all patterns of signs are equally likely. The p-value is the share of patterns that are at least as extreme as
the observed one, and it is exact. A difference counts by its rank and not by its size (F. Wilcoxon, Biometrics Bulletin
1, 1945). So a single run that another tenant of the machine disturbed does not decide the verdict. Holm's procedure
(Scandinavian Journal of Statistics 6, 1979) keeps the chance of any false verdict in a family of comparisons at most
ALPHA, which is 1 in 100.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
import statistics

ALPHA = 0.01
# `sign_flip_p` enumerates 2 x 2^(MOST_PAIRS / 2) sums.
MOST_PAIRS = 32

HELPED, NO_DIFFERENCE, WORSE, NOT_MEASURED = "helped", "no difference", "worse", "not measured"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The verdict of one comparison.

    `ratio` is the median over the pairs of "figure with the change / figure without it". Below 1 the change is better,
    because every metric is better when it is smaller. `p` is the p-value, and `pairs` the number of pairs.
    """

    verdict: str
    ratio: float
    p: float
    pairs: int


def pairs_needed(comparisons: int) -> int:
    """Return how many pairs of runs each comparison of a family needs before any verdict is possible.

    The argument is the number of comparisons in the family.
    """
    return math.ceil(math.log2(2 * comparisons / ALPHA))


def sign_flip_p(differences: list[float]) -> float:
    """Return the exact two-sided p-value of the sum of differences, if each sign is equally likely.

    To save time, the differences are divided into two halves. The sums of each half with all signs are computed, and
    then combined. So 32 differences need 2 x 65,536 sums. Differences of exactly 0 carry no information and are left
    out. Raises ValueError for more than MOST_PAIRS.
    """
    told = [abs(difference) for difference in differences if difference]
    if len(told) > MOST_PAIRS:
        raise ValueError(f"{len(told)} pairs are more than {MOST_PAIRS}")
    if not told:
        return 1.0
    seen = abs(sum(differences)) * (1 - 1e-12)  # rounding must not exclude the observed pattern
    half = len(told) // 2
    left, right = _sums(told[:half]), sorted(_sums(told[half:]))
    extreme = sum(
        len(right) - bisect.bisect_left(right, seen - part) + bisect.bisect_right(right, -seen - part) for part in left
    )
    return min(1.0, extreme / 2.0 ** len(told))


def _sums(values: list[float]) -> list[float]:
    sums = [0.0]
    for value in values:
        sums = [part + value for part in sums] + [part - value for part in sums]
    return sums


def signed_ranks(differences: list[float]) -> list[float]:
    """Return for each difference the rank of its size, with the sign of the difference.

    Equal sizes get their mean rank. A difference of 0 gets the value 0.
    """
    sizes = sorted(abs(difference) for difference in differences if difference)

    def rank(size: float) -> float:
        return (bisect.bisect_left(sizes, size) + 1 + bisect.bisect_right(sizes, size)) / 2

    return [math.copysign(rank(abs(d)), d) if d else 0.0 for d in differences]


def judge(families: dict[str, list[tuple[float, float]]]) -> dict[str, Verdict]:
    """Return a dictionary: name → verdict of each comparison.

    A comparison is a list of pairs of positive figures: (with the change, without it). All comparisons are one family:
    the chance that any verdict among them is false is at most ALPHA.
    """
    measured = {name: pairs for name, pairs in families.items() if pairs}
    ranks = {name: signed_ranks([math.log(a) - math.log(b) for a, b in pairs]) for name, pairs in measured.items()}
    p_values = {name: sign_flip_p(values) for name, values in ranks.items()}
    called = _holm(p_values, len(families))
    verdicts = {}
    for name in families:
        if name not in measured:
            verdicts[name] = Verdict(NOT_MEASURED, 1.0, 1.0, 0)
            continue
        word = NO_DIFFERENCE
        if name in called:
            word = HELPED if sum(ranks[name]) < 0 else WORSE
        ratio = statistics.median(a / b for a, b in measured[name])
        verdicts[name] = Verdict(word, ratio, p_values[name], len(measured[name]))
    return verdicts


def _holm(p_values: dict[str, float], comparisons: int) -> set[str]:
    called: set[str] = set()
    for name, p in sorted(p_values.items(), key=lambda item: item[1]):
        if p > ALPHA / (comparisons - len(called)):
            break
        called.add(name)
    return called
