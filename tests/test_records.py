"""Numbers as plain data, in the hands of the libraries that they are meant for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from phonesys import (
    AgentNumber,
    LeadConnectorNumber,
    LeadpingNumber,
    LeadpingRow,
    NumberPool,
    NumberRecord,
    PhoneNumber,
)
from phonesys.record import to_record

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLES: Sequence[PhoneNumber] = (
    LeadConnectorNumber(
        number="+14155552671",
        label='=1+1"\n',
        country_code="USA",
        date_added="2025-01-02T03:04:05.678Z",
        account="loc_1",
        backend="agency",
        pool=NumberPool(id="pool_1", name="Rotation"),
    ),
    LeadpingRow(number="+442079460000", enabled=True, account="default", backend="leadping"),
    LeadpingNumber(number="+18005550100", account="default", backend="leadping"),
    AgentNumber(number="12345", agent_id="agent_9", account="default", backend="agents"),
)


def plain() -> list[dict[str, Any]]:
    return [number.to_dict() for number in SAMPLES]


def test_every_backends_numbers_have_the_same_keys() -> None:
    """Those of a record, in its order. The values are those of the record."""
    for number, values in zip(SAMPLES, plain(), strict=True):
        assert tuple(values) == NumberRecord.__struct_fields__
        assert msgspec.convert(values, NumberRecord) == to_record(number, number.backend)
        assert to_record(number, number.backend).to_dict() == values


def test_a_country_that_follows_from_the_number_is_marked() -> None:
    """The vendor's own word is not, and a number that does not say its country has none."""
    countries = [(values["country"], values["country_derived"]) for values in plain()]
    assert countries == [("US", None), ("GB", True), (None, None), (None, None)]


def test_json_takes_them() -> None:
    """With the standard library's encoder and no hooks; the text reads back as the same."""
    assert json.loads(json.dumps(plain())) == plain()


def test_fastapi_returns_them() -> None:
    """From an endpoint, with no response model and no encoder."""
    app = FastAPI()

    @app.get("/numbers")
    async def numbers() -> list[dict[str, Any]]:
        return plain()

    with TestClient(app) as client:
        response = client.get("/numbers")
    assert response.json() == plain()


def test_pandas_takes_them() -> None:
    """One row a number, and times that convert to a typed column."""
    frame = pd.DataFrame(plain())
    assert list(frame.columns) == list(NumberRecord.__struct_fields__)
    assert list(frame["number"]) == [number.number for number in SAMPLES]
    moment = pd.to_datetime(frame["created_at"])[0]
    assert moment == datetime(2025, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def test_polars_takes_them() -> None:
    """One row a number, null where the vendor does not say."""
    frame = pl.DataFrame(plain(), infer_schema_length=None)
    assert frame.columns == list(NumberRecord.__struct_fields__)
    assert frame["pool"].to_list() == ["pool_1", None, None, None]


def test_arrow_takes_them() -> None:
    """One row a number."""
    table = pa.Table.from_pylist(plain())
    assert table.column_names == list(NumberRecord.__struct_fields__)
    assert table.to_pylist() == plain()


@pytest.mark.parametrize("number", SAMPLES, ids=lambda number: type(number).__name__)
def test_a_number_is_shown_in_one_short_line(number: PhoneNumber) -> None:
    """Its class, number, status and place; not its forty fields."""
    assert (
        repr(number)
        == f"<{type(number).__name__} {number.number!r} {number.status}, {number.backend} {number.account!r}>"
    )
    record = to_record(number, number.backend)
    assert repr(record) == repr(number).replace(type(number).__name__, "NumberRecord")


def test_what_a_vendor_writes_stays_on_its_line() -> None:
    """Line breaks and control characters in a number or an account are escaped."""
    assert repr(AgentNumber(number="+1\n\x1b[2J", account="a\r")).isprintable()
