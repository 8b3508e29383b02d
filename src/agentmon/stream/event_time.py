"""A message's own time as microseconds since 1970, as Spark columns."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F

#: 2000-01-01: times before are taken for a clock that was never set.
EPOCH_2000_US = 946_684_800_000_000

#: ISO 8601 as producers write it; \z because $ would let a line break pass.
#: No year 0: Python has none.
_ISO = r"\A(?!0000)\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?\z"
_OFFSET_WITHOUT_COLON = r"([+-]\d{2})(\d{2})\z"


def message_time_us(text: Column, number: Callable[[Column], Column]) -> Column:
    """Epoch seconds, milliseconds (from 1e11) or microseconds (from 1e14), or ISO text; a double, or null."""
    x = number(text)
    size = F.abs(x)
    us = F.when(size >= 1e14, x).when(size >= 1e11, x * 1e3).otherwise(x * 1e6)
    # floor() would make a 64-bit number, and fail on one that is too large for it.
    told = F.when(F.abs(us) < 2.5e17, F.floor(us).cast("double")).otherwise(us)
    upper = F.upper(text)
    iso = F.when(
        upper.rlike(_ISO), F.unix_micros(F.regexp_replace(upper, _OFFSET_WITHOUT_COLON, "$1:$2").try_cast("timestamp"))
    )
    return F.when(x.isNotNull(), told).otherwise(iso.cast("double"))
