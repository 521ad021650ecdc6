"""Rules of a backend's changes: the fields that it can set, and the effects of a change, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec


class FieldRule(msgspec.Struct, frozen=True, kw_only=True):
    """A field that a backend can set. Its name is a column of an export, or a word of the backend's own."""

    parameter: str
    """Key in `Write.wanted`: the parameter of the backend's method."""
    type: Literal["text", "flag"] = "text"
    words: Mapping[str, str] = {}
    """Accepted values, and the vendor's words for them. Empty if any text is accepted."""
    max_length: int | None = None
    nullable: bool = False
    """True if None means that the number has none. Otherwise None means that the vendor does not say."""
    clearable: bool = False
    """True if None can be set."""
    checked: bool = False
    """True if `check_field` looks up whether the vendor knows the value."""
    cost: str | None = None
    """Costs in words of a value that is not False; None if it costs nothing."""
    attribute: str | None = None
    """Attribute of the backend's numbers that holds the value of a field that is no column."""


class NewNumberRule(msgspec.Struct, frozen=True, kw_only=True):
    """Creation or purchase of a number by a backend."""

    kind: Literal["create", "assign", "purchase"]
    """Kind of the `Write`."""
    fields: tuple[str, ...] = ()
    """Fields that can be set with it."""
    required: tuple[str, ...] = ()
    needs_number: bool = True
    """False if the vendor may choose the number."""
    cost: str | None = None
    """Costs in words; None if it costs nothing."""
    irreversible: str | None = None
    """Reason why the number cannot be given back; None if it can be deleted."""


class ChangeRules(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that a backend can make."""

    vendor: str
    """Name of the vendor in sentences."""
    fields: Mapping[str, FieldRule] = {}
    update: tuple[str, ...] = ()
    """Fields of a held number that can be set, all with one request."""
    create: NewNumberRule | None = None
    buy: NewNumberRule | None = None
    deletes: bool = False
    delete_irreversible: str | None = None
    """Reason why a deleted number cannot be created again; None if it can."""
    follows: Mapping[str, str] = {}
    """Columns that only follow from a field, by column. They are ignored beside that field."""
    refusals: Mapping[str, str] = {}
    """Sentences for columns that the vendor documents no way to change, where there is more to say."""
    route: str | None = None
    """Field that names the receiver of a number's calls."""
    switch: str | None = None
    """Field that switches a number off."""
    switched_off: str | bool | None = None
    """Value of that field for a number that is switched off."""

    def refusal(self, column: str) -> str:
        """Return the sentence with which a change of this column is refused."""
        return self.refusals.get(column) or f"{self.vendor} documents no way to change {column}"


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's statement on whether a number can be bought."""

    available: bool
    price: str | None = None
    """Price in words, such as `1.15 USD a month`; None if the vendor does not say."""
