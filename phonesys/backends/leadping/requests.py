"""Options of Leadping's list operation (schema `RequestDataOptions`)."""

from __future__ import annotations

from typing import Literal

import msgspec

Scalar = str | int | float | bool | None


class ExactMatch(msgspec.Struct, frozen=True):
    """Rows whose field equals a value."""

    field: str
    value: Scalar


class Range(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Rows whose field lies within bounds; omitted bounds are not sent."""

    field: str
    greater_than: Scalar = None
    greater_than_or_equal: Scalar = None
    less_than: Scalar = None
    less_than_or_equal: Scalar = None


class OrderBy(msgspec.Struct, frozen=True):
    """Order by a field."""

    field: str
    direction: Literal["asc", "desc"] = "asc"


class ListOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Filters and order of a listing; omitted options are not sent."""

    search: str | None = None
    search_fields: tuple[str, ...] | None = None
    filters: tuple[ExactMatch, ...] | None = None
    range_filters: tuple[Range, ...] | None = None
    order_by: tuple[OrderBy, ...] | None = None
    include_count: bool | None = None
