"""Numbers to find, in any spelling, from arguments, a file or stdin."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from phonesys._extras import require_extra
from phonesys._matching import NumberQuery
from phonesys._validation import is_e164
from phonesys.config.accounts import STDIN
from phonesys.config.paths import expand
from phonesys.errors import InvalidArgument, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from phonesys.cli.filters import PageWriter
    from phonesys.model import Page, PhoneNumber
    from phonesys.sweep import SweepReport


class NumberQueries:
    """Queries, indexed so that a long list costs little more than one."""

    def __init__(self, queries: Iterable[NumberQuery]) -> None:
        self.all = list(dict.fromkeys(queries))
        self._by_digits = {query.digits: query for query in self.all if query.is_international}
        self._others = [query for query in self.all if not query.is_international]

    def matching(self, spelling: str) -> list[NumberQuery]:
        """Return the queries that a number of an account is a result of."""
        if not is_e164(spelling):
            return [query for query in self.all if query.matches(spelling)]
        exact = self._by_digits.get(spelling[1:])
        return [*([exact] if exact else []), *(query for query in self._others if query.matches(spelling))]


def read_queries(numbers: Iterable[str], file: str | None, country: str | None) -> NumberQueries:
    """Parse numbers, and those in a file; raise UsageError for one that cannot be a number.

    `-` among the numbers, or as the file, is stdin.
    """
    spellings: list[str] = []
    for number in numbers:
        spellings.extend(_read(STDIN) if number == STDIN else [number])
    if file is not None:
        spellings.extend(_read(file))
    if not spellings:
        raise UsageError("expected a number, - for stdin, or --numbers FILE")
    return NumberQueries(_parse(spelling, country) for spelling in spellings)


def _read(source: str) -> list[str]:
    try:
        if source == STDIN:
            return list(_numbers(sys.stdin))
        with expand(source, "--numbers").open(encoding="utf-8-sig") as lines:
            return list(_numbers(lines))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "expected UTF-8"
        raise UsageError(f"--numbers {source}: {reason}") from None


def _numbers(lines: TextIO) -> Iterator[str]:
    for line in lines:
        if (text := line.strip()) and not text.startswith("#"):
            yield text


def _parse(spelling: str, country: str | None) -> NumberQuery:
    query = NumberQuery.parse(spelling)
    if country is None or query.is_international or query.search_text is None:
        return query
    return NumberQuery.parse(_international(spelling, country))


def _international(spelling: str, country: str) -> str:
    """Return E.164 of a national spelling, as people of that country write it."""
    phonenumbers = require_extra("audit", "phonenumbers")
    if country.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise UsageError(f"--country {country}: expected two letters of ISO 3166, such as US")
    try:
        number = phonenumbers.parse(spelling, country.upper())
    except phonenumbers.NumberParseException as error:
        raise InvalidArgument(f"{spelling!r:.80} is not a number of {country}: {error}") from None
    text: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return text


class ResultCounts(dict[NumberQuery, int]):
    """The number of results of each query."""

    def __init__(self, queries: NumberQueries) -> None:
        super().__init__(dict.fromkeys(queries.all, 0))
        self._queries = queries

    def add(self, spelling: str) -> bool:
        """Count a number of an account. Return True if it is a result."""
        found = self._queries.matching(spelling)
        for query in found:
            self[query] += 1
        return bool(found)


class QueryWriter:
    """Passes the numbers that were asked for to another writer, and counts them by query."""

    def __init__(self, writer: PageWriter, queries: NumberQueries) -> None:
        self._writer = writer
        self.counts = ResultCounts(queries)

    async def page(self, page: Page[PhoneNumber]) -> None:
        """Write the results in a page."""
        results = tuple(number for number in page.numbers if self.counts.add(number.number))
        if results:
            await self._writer.page(msgspec.structs.replace(page, numbers=results))

    async def close(self, report: SweepReport) -> None:
        """Close the other writer."""
        await self._writer.close(report)
