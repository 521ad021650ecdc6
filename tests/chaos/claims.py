"""Claims that a sweep must keep, whatever went wrong: each breach in words that name the account."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from phonesys import CallError, DecodeError, NotFound, Outcome, OutcomeUnknown, PhonesysError, RateLimited
from tests.chaos.promises import Fate, fate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from phonesys import Page, PhoneNumber
    from phonesys.sandbox import Moved, Sandbox, Served
    from phonesys.sandbox.state import Account
    from phonesys.sweep import AccountReport, SweepReport

COMPANY = ("leadconnector", "")
"""Under which the requests for tokens and for the list of locations are remembered."""
_LISTINGS = frozenset({"leadconnector.numbers", "leadping.list", "agents.list"})
_TOKENS = frozenset({"leadconnector.token", "leadconnector.location_token"})
_READ = frozenset({Outcome.DONE, Outcome.EMPTY})


@dataclass
class Found:
    """The content of one account's pages, in the order in which they came."""

    numbers: list[str] = field(default_factory=list[str])
    ids: list[str] = field(default_factory=list[str])
    rejected: list[bytes] = field(default_factory=list[bytes])
    pages: int = 0

    def add(self, page: Page[PhoneNumber]) -> None:
        self.pages += 1
        self.numbers += [number.number for number in page.numbers]
        self.ids += [number.id for number in page.numbers]
        self.rejected += [row.raw for row in page.rejected]


@dataclass
class Evidence:
    """One sweep, and all that is known of what really happened."""

    report: SweepReport
    found: Mapping[Account, Found]
    asked: frozenset[Account]
    """The accounts to be swept: all that there are."""
    before: Mapping[Account, frozenset[str]]
    after: Mapping[Account, frozenset[str]]
    history: Mapping[Account, list[Served]]
    moved: Mapping[Account, list[Moved]]
    not_connected: frozenset[str]
    counted: frozenset[str]
    """The backends whose vendor says how many rows there are."""
    retries: int
    deadline: float

    def always(self, account: Account) -> frozenset[str]:
        """Return the numbers that were there all the time: none comes back that was removed."""
        return self.before[account] & self.after[account]

    def ever(self, account: Account) -> frozenset[str]:
        """Return the numbers that were there at any time."""
        moved = {row.number for row in self.moved.get(account, ())}
        return self.before[account] | self.after[account] | moved

    def may_be_short(self, account: Account) -> bool:
        """Return True if numbers can be missed without a trace: rows came and went, and it cancelled out.

        A token, as Leadping's, skips none.
        """
        came = {row.added for row in self.moved.get(account, ())}
        return account[0] != "leadping" and len(came) > 1

    def met(self, account: Account) -> list[Served]:
        return [served for served in self.history.get(account, []) if served.fault]

    def outages(self) -> list[Served]:
        """Return what cut everybody off."""
        return [served for met in self.history.values() for served in met if served.fault == "refused"]


def history_of(sandbox: Sandbox) -> dict[Account, list[Served]]:
    """Sort the requests by the account that they were about."""
    history: dict[Account, list[Served]] = defaultdict(list)
    for served in sandbox.requests:
        known = served.backend != "leadconnector" or served.account != sandbox.oauth.company_id
        history[(served.backend, served.account) if known else COMPANY].append(served)
    return history


def moves_of(sandbox: Sandbox) -> dict[Account, list[Moved]]:
    """Sort the rows that came and went by the account that they belong to."""
    moves: dict[Account, list[Moved]] = defaultdict(list)
    for row in sandbox.moved:
        moves[row.backend, row.account].append(row)
    return moves


def breaches(evidence: Evidence) -> Iterator[str]:
    """Name everything that the sweep should not have done, or said."""
    yield from _of_the_report(evidence)
    for account, result in evidence.report.accounts.items():
        if account not in evidence.asked:
            yield f"{_name(account)} is in the report, and there is no such account"
            continue
        for breach in _of_account(evidence, account, result):
            yield f"{_name(account)} is {result.outcome}: {breach}{_told(evidence, account)}"


def short(evidence: Evidence) -> dict[Account, frozenset[str]]:
    """Find accounts that are done, or empty, without numbers that were there all the time."""
    missing = {
        account: _missing(evidence, account)
        for account, result in evidence.report.accounts.items()
        if result.outcome in _READ and account in evidence.asked
    }
    return {account: numbers for account, numbers in missing.items() if numbers}


def given_up(evidence: Evidence) -> int:
    """Count the accounts that failed with something that passes, before their retries were used up."""
    errors = [failure.error for failure in evidence.report.failures]
    return sum(
        isinstance(error, CallError) and error.transient and error.attempts <= evidence.retries
        for error in errors
    )


def _missing(evidence: Evidence, account: Account) -> frozenset[str]:
    found = evidence.found.get(account, Found())
    unfound = evidence.always(account) - set(found.numbers)
    missing = frozenset(number for number in unfound if not _is_in(number, found.rejected))
    # A row whose number a fault has cleared is listed by its id.
    return missing if len(missing) > found.numbers.count("") else frozenset()


def _is_in(number: str, rejected: Iterable[bytes]) -> bool:
    return any(f'"{number}"'.encode() in raw for raw in rejected)


def _name(account: Account) -> str:
    return " ".join(account)


def _told(evidence: Evidence, account: Account) -> str:
    told = "".join(
        f"\n      {served.method} {served.path} -> {served.status} {served.fault or ''}".rstrip()
        for served in evidence.history.get(account, [])
    )
    return f"\n    its requests:{told or ' none'}"


def _of_the_report(evidence: Evidence) -> Iterator[str]:
    report = evidence.report
    unlisted = {failure.provider for failure in report.failures if failure.account is None}
    missing = [a for a in evidence.asked - report.accounts.keys() if a[0] not in unlisted]
    if missing:
        yield f"{len(missing)} accounts are missing from the report, such as {_name(min(missing))}"
    if report.outcomes != Counter(result.outcome for result in report.accounts.values()):
        yield f"the counts by outcome, {report.outcomes}, are not those of the accounts"
    for name in ("numbers", "pages", "rejected", "duplicates"):
        total = sum(getattr(result, name) for result in report.accounts.values())
        if getattr(report, name) != total:
            yield f"report.{name} is {getattr(report, name)}, its accounts have {total}"
    failed = {(f.provider, f.account) for f in report.failures if f.account is not None}
    if failed != {a for a, result in report.accounts.items() if result.outcome is Outcome.FAILED}:
        yield "report.failures are not the accounts that failed"
    for failure in report.failures:
        if failure.account is None and not evidence.met(COMPANY):
            yield f"the accounts could not be listed, for no reason: {failure.error!r}"
        if getattr(failure.error, "backend", None) != failure.provider:
            yield f"an error does not say whose it is: {failure.error!r}"
    if Outcome.NOT_REACHED in report.outcomes:
        yield "accounts were not reached, though nothing ended the sweep"


def _of_account(evidence: Evidence, account: Account, result: AccountReport) -> Iterator[str]:
    yield from _counts(evidence.found.get(account, Found()), result)
    yield from _numbers(evidence, account, result)
    if result.outcome is Outcome.FAILED:
        yield from _unexplained(evidence, account, result.error)
    else:
        yield from _taken_for_data(evidence, account)
    if result.outcome is Outcome.NOT_CONNECTED and account[1] not in evidence.not_connected:
        yield "it does have a phone system"
    if result.outcome in _READ and account[1] in evidence.not_connected:
        yield "it has no phone system"


def _counts(found: Found, result: AccountReport) -> Iterator[str]:
    handed = (len(found.numbers), found.pages, len(found.rejected))
    if handed != (result.numbers, result.pages, result.rejected):
        said = (result.numbers, result.pages, result.rejected)
        yield f"(numbers, pages, rejected) are {handed}, and {said} in the report"
    if result.outcome is Outcome.EMPTY and any(handed[::2]):
        yield f"(numbers, rejected) are {handed[::2]}"
    if result.outcome is Outcome.DONE and not any(handed[::2]):
        yield "it has no numbers"


def _numbers(evidence: Evidence, account: Account, result: AccountReport) -> Iterator[str]:
    found = evidence.found.get(account, Found())
    for what, values in (("ids", found.ids), ("numbers", found.numbers)):
        twice = sorted(value for value, count in Counter(values).items() if value and count > 1)
        if twice:
            yield f"{len(twice)} {what} came twice, such as {twice[0]}"
    ever = evidence.ever(account)
    if foreign := set(found.numbers) - ever - {""}:
        yield f"{len(foreign)} numbers are not its own, such as {min(foreign)}"
    if result.outcome not in _READ or evidence.may_be_short(account):
        return
    if missing := _missing(evidence, account):
        yield f"{len(missing)} of {len(ever)} numbers were not found, such as {min(missing)}"


def _unexplained(evidence: Evidence, account: Account, error: PhonesysError | None) -> Iterator[str]:
    """Describe a failure whose reason is no fault that the account met."""
    if not isinstance(error, CallError):
        yield f"its error is {error!r}"
        return
    if (error.backend, error.account) != account:
        yield f"its error is about another one: {error}"
    if not str(error).startswith(" ".join(account[:1])):
        yield f"its error does not say where: {error}"
    met = [*evidence.met(account), *evidence.outages()]
    if "no token of" in error.message:
        met += evidence.met(COMPANY)
    if not any(_explains(evidence, account, served, error) for served in met):
        yield f"no fault that it met explains its error after {error.attempts} attempts, {error!r}"


def _explains(evidence: Evidence, account: Account, served: Served, error: CallError) -> bool:
    kind, expected = fate(served)
    if account[1] in evidence.not_connected and isinstance(error, NotFound):
        return True  # the vendor's sentence was spoilt
    if served.fault == "missing-fields" and served.route == "leadconnector.pools":
        return isinstance(error, DecodeError)  # a pool without its id
    if kind is Fate.AGAIN and served.route in _TOKENS:
        return isinstance(error, OutcomeUnknown) or error.transient  # a refresh is a write
    if kind is Fate.AGAIN:
        waits = isinstance(error, RateLimited) and (error.retry_after or 0) > evidence.deadline
        # An outage may cost so many retries at once that the client has none left.
        return error.transient and (error.attempts > evidence.retries or waits or served.fault == "refused")
    return expected is not None and isinstance(error, expected)


def _taken_for_data(evidence: Evidence, account: Account) -> Iterator[str]:
    if account[1] in evidence.not_connected:
        return
    last = {served.path: served for served in evidence.history.get(account, [])}
    for path, served in last.items():  # an answer that an outage cut off is asked for again
        spoilt = served.route in _LISTINGS and served.fault and served.status is not None
        if spoilt and fate(served)[0] is Fate.FAILS and not _is_beyond_end(evidence, account, path):
            yield f"{served.fault} was taken for an answer to {path}"


def _is_beyond_end(evidence: Evidence, account: Account, path: str) -> bool:
    """Return True if a page begins behind the last row that the account ever had: it was a guess."""
    query = parse_qs(urlsplit(path).query)
    if account[0] != "leadconnector" or "pageSize" not in query:
        return False
    return int(query["page"][0]) * int(query["pageSize"][0]) >= len(evidence.ever(account))
