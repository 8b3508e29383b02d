"""Types of columns as Spark SQL writes them, taken apart: lake/ and stream/ say them in other words."""

from __future__ import annotations


def parts_of(spark_type: str) -> tuple[str, list[str]]:
    """A type's own name and the types within; those of a struct with their names before a colon.

    >>> parts_of("bigint"), parts_of("map<int,struct<a:int,b:map<int,int>>>")
    (('bigint', []), ('map', ['int', 'struct<a:int,b:map<int,int>>']))
    """
    outer, _, rest = spark_type.strip().partition("<")
    text = rest.removesuffix(">")
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "<") - (char == ">")
        if char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return outer, [*parts, text[start:]] if text else []
