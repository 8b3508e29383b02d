"""What the figures mean, engine-free: outcome, trend, sessions, and the histogram behind p50 and p95."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence

#: A session without an id, or without a reward of its own, ends after this much silence.
SESSION_SILENCE_S = 30 * 60

#: How many rewards the trend looks at on either side, and how many rows keep them.
TREND_SPAN = 10
RECENT_REWARDS = 2 * TREND_SPAN

#: Rows of this agent come from `agentmon selftest` and are left out of status.
SELFTEST_AGENT = "agentmon-selftest"

#: Relative error of a quantile read from the histogram of durations.
HISTOGRAM_ACCURACY = 0.01
#: Ratio of one bucket's upper bound to the one below (DDSketch, Masson et al., VLDB 2019, section 2.1).
HISTOGRAM_GAMMA = (1 + HISTOGRAM_ACCURACY) / (1 - HISTOGRAM_ACCURACY)
#: The bucket of durations that are zero or negative.
ZERO_BUCKET = -10_000


def outcome(success: bool | None, reward: float | None) -> bool | None:
    """Whether an action succeeded: what the message says, else whether it was rewarded, else unknown."""
    if success is not None:
        return success
    return None if reward is None else reward > 0


def trend(rewards: Sequence[float]) -> str:
    """improving, declining or stable: mean of the last 10 rewards against the 10 before.

    >>> trend([0.0] * 10 + [1.0] * 10), trend([1.0] * 19)
    ('improving', 'stable')
    """
    if len(rewards) < 2 * TREND_SPAN:
        return "stable"
    last = _mean(rewards[-TREND_SPAN:])
    before = _mean(rewards[-2 * TREND_SPAN : -TREND_SPAN])
    margin = 0.1 * abs(before)
    if last > before + margin:
        return "improving"
    return "declining" if last < before - margin else "stable"


def _mean(values: Sequence[float]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # their sum is beyond a double, their mean is not
        return math.fsum(value / len(values) for value in values)


def bucket_of(value: float) -> int:
    """The histogram bucket of a duration: i such that gamma^(i-1) < value <= gamma^i."""
    if value <= 0:
        return ZERO_BUCKET
    return math.ceil(math.log(value) / math.log(HISTOGRAM_GAMMA))


def bucket_value(bucket: int) -> float:
    """The value that stands for a bucket, within HISTOGRAM_ACCURACY of every value in it."""
    if bucket == ZERO_BUCKET:
        return 0.0
    # 2 gamma^i / (gamma + 1), written so that it stays within a double in the last bucket too.
    return min(HISTOGRAM_GAMMA ** (bucket - 1) * (1 + HISTOGRAM_ACCURACY), sys.float_info.max)


def quantile(buckets: Mapping[int, int], q: float) -> float | None:
    """The q-quantile of the values counted in a histogram of bucket → count; None when empty.

    By nearest rank: the smallest value such that at least the fraction q (over 0, up to 1) of all values are no larger.

    >>> [round(quantile({bucket_of(10): 1, bucket_of(20): 1}, q) or 0) for q in (0.5, 0.95)]
    [10, 20]
    """
    rank = q * sum(buckets.values())
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= rank and seen:
            return bucket_value(bucket)
    return None
