"""Desired states in files, as spreadsheets, programs and people write them."""

from __future__ import annotations

import codecs
import csv
import importlib
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phonesys import Action, ChangeRequest, InvalidArgument, PlanError
from phonesys.changes import read_changes
from phonesys.changes.reading.cells import Cell
from phonesys.changes.reading.numbers import restore_number
from phonesys.inventory.export.columns import COLUMNS
from phonesys.inventory.export.formats import Format, open_writer
from phonesys.record import NumberRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phonesys.errors import LineError

HELD = NumberRecord(
    provider="agents",
    backend="voice",
    account="default",
    id="007",
    number="+14155552671",
    label="=Müller; +1 desk\n'second' line",
    country="US",
    voice=True,
    sms=False,
    assignee="agent_9",
    created_at=datetime(2026, 3, 4, 15, 6, 7, tzinfo=UTC),
    monthly_amount="1.150",
)


def read(text: str | bytes) -> list[dict[str, Any]]:
    """Return what each row asks for, without its line."""
    data = text.encode() if isinstance(text, str) else text
    return [
        {
            **{
                name: value
                for name in ("backend", "account", "id", "number")
                if (value := getattr(one, name))
            },
            **one.fields,
        }
        for one in read_changes(data)
    ]


def mistakes(text: str | bytes) -> list[str]:
    with pytest.raises(PlanError) as caught:
        read(text)
    return [str(error) for error in caught.value.errors]


# Separators, encodings, headings


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: text.encode("utf-8-sig"),
        lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("cp1252"),
    ],
    ids=["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-16 without mark", "cp1252"],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_separator_encoding_and_newline_do_not_matter(
    separator: str, encode: Callable[[str], bytes], newline: str
) -> None:
    """Files that differ in nothing else ask for the same."""
    text = newline.join(["number,label", '+14155552671,"Müller, Köln"', ""]).replace(",", separator)
    text = text.replace(f"Müller{separator} Köln", f"Müller{separator} Köln")
    assert read(encode(text)) == [{"number": "+14155552671", "label": f"Müller{separator} Köln"}]


@pytest.mark.parametrize(
    "text",
    [
        " Number ;ASSIGNEE;;\n+14155552671;agent_9;;\n;;;\n",
        "sep=;\nNumber;Assignee\n+14155552671;agent_9\n",
        "\n\nnumber,assignee\n\n+14155552671,agent_9\n,\n",
        '"number"\t"assignee"\n"+14155552671"\t"agent_9"',
        '{"Number": "+14155552671", "assignee": "agent_9"}\n\n',
        '{"number": 14155552671, "country": "US", "assignee": "agent_9"}',
    ],
)
def test_headings_and_empty_cells(text: str) -> None:
    """Case, spaces, empty columns and empty rows do not matter."""
    (asked,) = read(text)
    asked.pop("country", None)
    assert asked == {"number": "+14155552671", "assignee": "agent_9"}


def test_a_heading_alone_asks_for_nothing() -> None:
    """As the findings of an audit that found nothing."""
    assert read_changes(b"number,assignee\r\n") == ()
    assert read_changes(b"severity,number\r\n", assign={"is_enabled": "false"}) == ()


def test_lines_are_those_of_the_file() -> None:
    """A change knows its line, after empty lines and cells of several lines too."""
    found = read_changes(b'\nnumber,label\n+14155552671,"a\nb"\n\n+14155552672,c\n')
    assert [(one.line, one.fields["label"]) for one in found] == [(3, "a\nb"), (6, "c")]


def test_all_mistakes_are_reported_at_once() -> None:
    """Each has its line."""
    text = "id,number,is_enabled,action\n1,,maybe,\n,,true,\n2,,ja,explode\n,1.41556E+10,true,\n3,,1,,,x\n"
    assert mistakes(text) == [
        "line 2: is_enabled: expected true or false, got 'maybe'",
        "line 3: expected a number or an id",
        "line 4: action: expected one of update, delete, create, buy, got 'explode'",
        "line 5: number: '1.41556E+10' has lost digits; format the column as text in the spreadsheet",
        "line 6: 6 cells under 4 headings; is a quote missing?",
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "line 1: the file is empty; expected a heading such as number,assignee"),
        ("\n \n", "line 1: the file is empty; expected a heading such as number,assignee"),
        (
            "+14155552671,agent_9\n",
            "line 1: expected a heading such as number,assignee, got '+14155552671,agent_9'",
        ),
        ("number,asignee\n+14155552671,x\n", "line 1: unknown column 'asignee'; did you mean assignee?"),
        (
            "Phone Number,label\n+14155552671,x\n",
            "line 1: unknown column 'Phone Number'; did you mean number?",
        ),
        ("number,agent_id\n+14155552671,x\n", "line 1: unknown column 'agent_id'; did you mean assignee?"),
        ("number,label,Label\n+14155552671,x,y\n", "line 1: two columns are named label"),
        ("number,,label\n+14155552671,x,y\n", "line 1: column 2 has no heading"),
        ("label\nx\n", "line 2: expected a column number or id"),
        (
            "number,backend\n+14155552671,a\n",
            "line 2: expected a column to set, such as assignee, label, status or is_enabled",
        ),
        ('number,label\n+14155552671,"x\n', "line 2: not CSV: unexpected end of data"),
        ("number,label\n+14155552671,caf\xe9 \xc3\xa9\n".encode("latin-1"), "line 2: not valid UTF-8"),
        (b"number,label\n+14155552671,\x81\n", "line 2: not valid text in cp1252"),
        ('{"number": "+1', "line 1: not a line of JSON: Input data was truncated"),
        (
            '[{"number": "x"}]',
            "line 1: expected an object, got '[{\"number\": \"x\"}]'; jq -c '.[]' splits a list",
        ),
        (
            '{"number": "+14155552671", "label": ["x"]}',
            "line 1: label: expected text, got a list or an object",
        ),
        ('{"number": "+14155552671", "label": true}', "line 1: label: expected text, got true"),
        (
            '{"id": "1", "label": "x", "color": 1}\n{"id": "2", "color": 2}',
            "line 1: unknown column 'color'; expected the columns of an export, and action",
        ),
        (
            '{"phonesys_plan": 1, "count": 1}\n{"position": 1}',
            "line 1: this is a plan already, and not a file of desired states; apply it",
        ),
        (b"PK\x03\x04 and nothing else", "line 1: not an Excel workbook: BadZipFile: File is not a zip file"),
    ],
)
def test_files_that_are_none(text: str | bytes, mistake: str) -> None:
    """The message says what was expected."""
    assert mistakes(text) == [mistake]


SHAPES = st.sampled_from(
    [b"", b"number,label\n", b'{"number": ', b"PK\x03\x04", b"\xff\xfe", b"sep=;\n", b"[" * 3000]
)
PIECES = st.lists(
    st.sampled_from(
        [
            b"+14155552671",
            b",",
            b";",
            b'"',
            b"\n",
            b"\r",
            b"\t",
            b"\0",
            b"\xe9",
            b"1E+10",
            b"{",
            b"}",
            b"[",
            b":",
            b"'=",
        ]
    )
    | st.binary(max_size=4),
    max_size=30,
).map(b"".join)


@given(data=st.builds(bytes.__add__, SHAPES, PIECES))
@example(data=b'{"number": "+14155552671", "label": ' + b"[" * 100_000)
def test_any_file_is_read_or_refused(data: bytes) -> None:
    """With our errors, and each mistake in a line of the file."""
    lines = data.count(b"\n") + data.count(b"\r") + 1
    errors: tuple[LineError, ...] = ()
    found: tuple[ChangeRequest, ...] = ()
    try:
        found = read_changes(data)
    except PlanError as refused:
        errors = refused.errors
    assert all(1 <= (error.line or 0) <= lines for error in errors)
    assert all(change.number or change.id or change.action is not Action.UPDATE for change in found)


# Values


@pytest.mark.parametrize("word", ["TRUE", "true", "WAHR", "ja", "1", "1.0", "VRAI", "Yes", "да", " on "])
def test_true(word: str) -> None:
    """Spreadsheets write it in their own language."""
    assert read(f"number;is_enabled\n+14155552671;{word}\n")[0]["is_enabled"] is True


@pytest.mark.parametrize("word", ["FALSE", "false", "FALSCH", "nein", "0", "0.0", "FAUX", "no", "ЛОЖЬ"])
def test_false(word: str) -> None:
    """As above."""
    assert read(f"number;is_enabled\n+14155552671;{word}\n")[0]["is_enabled"] is False


def test_an_empty_cell_clears() -> None:
    """In CSV an empty cell is nothing, as null is in JSON."""
    assert read("number,assignee\n+14155552671,\n") == read('{"number": "+14155552671", "assignee": null}')
    assert read("number,assignee\n+14155552671,\n")[0]["assignee"] is None


@pytest.mark.parametrize(
    "text",
    [
        "severity,code,number,id,accounts\nwarning,idle,+14155552671,,leadping:default\n",
        "Number;Notes;Country;;label\n14155552671;call them;US;x;y\n",
        '{"number": "+14155552671", "accounts": ["leadping:default"], "label": ["x"]}',
    ],
)
def test_fields_for_every_row(text: str) -> None:
    """Any list of numbers will do then: other columns are not read."""
    (change,) = read_changes(text.encode(), assign={"is_enabled": "no", "assignee": "", "label": "'=1"})
    assert change.number == "+14155552671"
    assert change.fields == {"is_enabled": False, "assignee": None, "label": "'=1"}
    (change,) = read_changes(text.encode(), assign={"action": "delete"})
    assert (change.action, change.fields) == (Action.DELETE, {})


def test_fields_for_every_row_must_exist() -> None:
    """A number's identity is no field."""
    for fields in ({"asignee": "x"}, {"number": "x"}):
        with pytest.raises(InvalidArgument, match="no field is named"):
            read_changes(b"number\n+14155552671\n", assign=fields)
    with pytest.raises(PlanError, match="line 2: is_enabled: expected true or false, got 'perhaps'"):
        read_changes(b"number\n+14155552671\n", assign={"is_enabled": "perhaps"})


def test_actions() -> None:
    """An action may have no number, where the vendor chooses one."""
    found = read_changes(b"action,backend,label,number\nBuy,leadping,Desk,\ndelete,,,+14155552671\n")
    assert [one.action for one in found] == [Action.BUY, Action.DELETE]


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        ("+14155552671", None, "+14155552671"),
        ("+1 (415) 555-2671", None, "+14155552671"),
        ("tel:+1-415-555-2671", None, "+14155552671"),
        ("0014155552671", None, "+14155552671"),
        ("+49 (0) 30 1234567", None, "+49301234567"),
        ("14155552671", "US", "+14155552671"),
        ("14155552671.0", "us", "+14155552671"),
        ("1.4155552671E+10", "USA", "+14155552671"),
        ("1,4155552671E+10", "US", "+14155552671"),
        ("4930 1234567", "DE", "+49301234567"),
        ("18884418172", "CA", "+18884418172"),
        ("3912345678", "IT", "3912345678"),
        ("14155552671", None, "14155552671"),
        ("14155552671", "DE", "14155552671"),
        ("(415) 555-2671", "US", "4155552671"),
        ("030 1234567", "DE", "0301234567"),
        ("4930123", "DE", "4930123"),
        ("12345", "US", "12345"),
        ("ACME", "US", "ACME"),
    ],
)
def test_numbers_are_restored(text: str, country: str | None, expected: str) -> None:
    """A lost `+` comes back if the country shows that it was lost; no digit is ever invented."""
    assert restore_number(text, country) == expected


@pytest.mark.parametrize("text", ["1.41556E+10", "4,91511E+12", "1E+10", "1.415555267e10"])
def test_lost_digits_are_refused(text: str) -> None:
    """Unless an id identifies the number."""
    assert "has lost digits" in mistakes(f"number;assignee\n{text};agent_9\n")[0]
    assert read(f"id;number;assignee\n9;{text};agent_9\n") == [{"id": "9", "assignee": "agent_9"}]


# Exports


def exported(*records: NumberRecord, format_: Format = Format.CSV, bom: bool = False) -> bytes:
    file = io.BytesIO()
    writer = open_writer(format_, file, bom=bom)
    writer.write(records)
    writer.close()
    return file.getvalue()


def differences(data: bytes, held: NumberRecord = HELD) -> dict[str, Any]:
    """Return what a file asks for that is not so."""
    (change,) = read_changes(data)
    assert change.id == held.id
    assert change.number in {None, held.number}
    return {name: value for name, value in change.fields.items() if not is_held(value, getattr(held, name))}


def is_held(value: Any, held: Any) -> bool:
    if isinstance(value, Cell):
        return value.is_held(held)
    if isinstance(held, datetime):
        return bool(value == msgspec.to_builtins(held))
    return bool(value == held)


@pytest.mark.parametrize("format_", [Format.CSV, Format.JSONL, Format.XLSX])
def test_an_export_asks_for_nothing(format_: Format) -> None:
    """Whatever its format, unedited it is what is held."""
    assert differences(exported(HELD, format_=format_, bom=True)) == {}


def test_an_edited_export_asks_for_what_was_edited() -> None:
    """Of all its columns."""
    edited = exported(HELD).replace(b"agent_9", b"agent_8").replace(b"true", b"FALSCH", 1)
    assert differences(edited) == {"assignee": "agent_8", "voice": False}


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
LIKE_FORMULAS = st.text(st.sampled_from("=+-@'\"\t\r\n; ,07Ea\u00a0"), max_size=8)


@given(label=TEXTS | LIKE_FORMULAS)
def test_any_label_comes_back(label: str) -> None:
    """Guards against formulas, quotes, separators and line breaks are no changes."""
    held = msgspec.structs.replace(HELD, label=label.strip(" \t\r\n\u00a0") or None)
    assert differences(exported(held), held) == {}
    assert differences(exported(held, format_=Format.JSONL), held) == {}


@given(label=TEXTS | LIKE_FORMULAS)
def test_python_rewrites_nothing(label: str) -> None:
    """A program that reads an export and writes it in another dialect changes nothing."""
    held = msgspec.structs.replace(HELD, label=label.strip(" \t\r\n\u00a0") or None)
    rows = list(csv.reader(io.StringIO(exported(held).decode(), newline="")))
    text = io.StringIO()
    csv.writer(text, csv.excel_tab, quoting=csv.QUOTE_ALL).writerows(rows)
    assert differences(text.getvalue().encode("utf-16"), held) == {}


def rewritten(**cells: str) -> bytes:
    """Return an export with other cells."""
    rows = list(csv.reader(io.StringIO(exported(HELD).decode(), newline="")))
    for name, cell in cells.items():
        rows[1][rows[0].index(name)] = cell
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows(rows)
    return text.getvalue().encode()


@pytest.mark.parametrize(
    "cells",
    [
        {"number": "14155552671"},
        {"number": "1.41556E+10"},
        {"voice": "WAHR", "sms": "FALSCH"},
        {"monthly_amount": "1.15"},
        {"monthly_amount": "1,15"},
        {"created_at": "2026-03-04 15:06:07"},
        {"created_at": "2026-03-04 15:06:07+00:00"},
        {"created_at": "2026-03-04T15:06:07.000000Z"},
        {"created_at": "04.03.2026 15:06"},
        {"created_at": "3/4/26 3:06 PM"},
    ],
)
def test_cells_that_spreadsheets_rewrite(cells: dict[str, str]) -> None:
    """Another spelling of a value is no change."""
    assert differences(rewritten(**cells)) == {}


@pytest.mark.parametrize(
    "cells",
    [
        {"monthly_amount": "1.16"},
        {"created_at": "2027-03-04 15:06:07"},
        {"created_at": "05.03.2026 15:06"},
        {"country": "DE"},
        {"label": ""},
        {"assignee": "9"},
    ],
)
def test_cells_that_were_edited(cells: dict[str, str]) -> None:
    """Another value is a change, in columns that cannot be changed too."""
    assert differences(rewritten(**cells)).keys() == cells.keys()


def test_text_that_looks_like_a_number() -> None:
    """A spreadsheet takes the zeros from 007. In JSON, 7 is another text."""
    held = msgspec.structs.replace(HELD, label="007", assignee="+14155552671")
    rows = exported(held).replace(b",007,US", b",7,US").replace(b",+14155552671,", b",14155552671,")
    assert differences(rows, held) == {}
    assert read('{"id": "1", "label": "7"}') == [{"id": "1", "label": "7"}]
    assert type(read('{"id": "1", "label": "7"}')[0]["label"]) is str


def test_characters_that_an_encoding_lacks() -> None:
    """Excel's plain CSV replaces them; that is no new label."""
    held = msgspec.structs.replace(HELD, label="Łódź \N{TELEPHONE RECEIVER} Büro")
    saved = exported(held).decode().replace(held.label or "", "?ód? ?? Büro").encode("cp1252")
    assert differences(saved, held) == {}
    other = exported(held).decode().replace(held.label or "", "?ód? ?? Biro é").encode("cp1252")
    assert differences(other, held).keys() == {"label"}


def test_a_workbook(tmp_path: Path) -> None:
    """Cells may be numbers or truth values. A worksheet under the same headings continues the first."""
    openpyxl: Any = importlib.import_module("openpyxl")  # has no types
    book = openpyxl.Workbook()
    sheets = [book.active, book.create_sheet("numbers 2"), book.create_sheet("notes")]
    sheets[0].append(["Number", "Country", "is enabled", "label"])
    sheets[0].append([14155552671, "US", True, 7])
    sheets[0].append([None, None])
    sheets[1].append(["Number", "Country", "is enabled", "label"])
    sheets[1].append(["+14155552672", "US", False, "x"])
    sheets[2].append(["call them", 1])
    book.save(tmp_path / "changes.xlsx")
    found = read_changes(tmp_path / "changes.xlsx")
    assert [(one.number, one.fields["is_enabled"], one.fields["label"]) for one in found] == [
        ("+14155552671", True, "7"),
        ("+14155552672", False, "x"),
    ]


def test_every_column_of_an_export_is_known() -> None:
    """A new column is read as well."""
    names = [column.name for column in COLUMNS]
    line = ",".join(names)
    assert [mistake for mistake in [line] if read(f"{line}\n{',' * names.index('id')}9\n") == []] == []
