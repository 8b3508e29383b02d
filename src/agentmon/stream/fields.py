"""What a field of a message means, as Spark columns: the same as contracts/values.py.

Every field comes as text, because from_json gives up a whole record over a text where it was promised
a number. No cast may fail: Spark's ANSI mode would end the query over one odd message.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F


def number(text: Column) -> Column:
    """The finite number that a text says, a double; null where it says none.

    The cast takes what contracts.values.number does and then Java's own: 1d, 0x1p3, NaN, a tab at either
    end. Those show in the first and last character and the x, which cost less than a regular expression.
    """
    plain = F.trim(text)
    last = F.substring(plain, -1, 1)
    framed = (plain >= "+") & (plain < ":") & (last >= ".") & (last < ":")
    value = F.when(framed & ~plain.contains("x") & ~plain.contains("X"), plain.try_cast("double"))
    return F.when(F.abs(value) < float("inf"), value)


def whole(text: Column) -> Column:
    """The number, cut toward zero, a bigint; null where it does not fit."""
    value = number(text)
    return F.when(F.abs(value) < 2.0**63, value.cast("bigint"))


def truth(text: Column) -> Column:
    """true, false, 1 and 0, in any case; null for anything else."""
    plain = F.lower(F.trim(text))
    return F.when(plain.isin("true", "1"), True).when(plain.isin("false", "0"), False)
