"""The protocols that a backend must or may satisfy, and the backends that are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TypeVar, cast, runtime_checkable

from phonesys._entry_points import entry_points
from phonesys.errors import UnknownProvider, Unsupported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from importlib.metadata import EntryPoint

    from phonesys.change_rules import ChangeRules, Offer
    from phonesys.errors import OutcomeUnknown
    from phonesys.model import Cursor, NumberForSale, NumberPool, Page, PhoneNumber
    from phonesys.sandbox import Sandbox
    from phonesys.telemetry.observers import Observers
    from phonesys.writes import Reconciled, Value, Write

ENTRY_POINTS = "phonesys.providers"
"""The entry-point group under which backends register."""


@runtime_checkable
class NumberProvider(Protocol):
    """A backend: it holds numbers in accounts and lists them in pages.

    A sweep needs nothing more. Further abilities are separate protocols, below. A backend that is an async
    context manager is opened and closed with its system. A backend that never lists a number twice in an
    account may declare `unique_numbers = True`; its rows are then identified by number instead of `id`. A
    class that describes its configuration, `info = BackendInfo(…)`, is configured like the built-in ones.
    """

    @property
    def name(self) -> str:
        """The backend's name, unique within a system."""
        ...

    def accounts(self) -> AsyncIterator[str]:
        """Yield the ids of all accounts that can be listed."""
        ...

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[PhoneNumber]:
        """Fetch the page at `cursor`, the first one by default.

        Must be safe to repeat. Raise PhoneSystemMissing for an account that has no phone system.
        """
        ...


class NamedAccount(NamedTuple):
    """An account and the name that people know it by, if the vendor gives one."""

    id: str
    name: str | None


@runtime_checkable
class AccountsWithNames(Protocol):
    """Can list its accounts with their names, at the cost of `accounts()`."""

    def accounts_with_names(self) -> AsyncIterator[NamedAccount]:
        """Yield the accounts that `accounts()` yields."""
        ...


@runtime_checkable
class SharesCompany(Protocol):
    """May read all its accounts through one company, such as the agency that installed an app.

    The accounts of a company stay in one shard of a sweep, since they share its rate window and its list.
    """

    @property
    def company(self) -> str | None:
        """The id of the company, or None if each account stands alone."""
        ...


@runtime_checkable
class SearchesNumbers(Protocol):
    """Can ask the vendor for the rows that match a number, which may include other numbers."""

    async def search(self, account: str, number: str, cursor: Cursor | None = None) -> Page[PhoneNumber]:
        """Fetch a page of matching rows. `number` is E.164, or digits where the country code is not known."""
        ...


@runtime_checkable
class OverlapsPages(Protocol):
    """Pages by index and size, and can list an account in pages that share rows with their neighbours.

    A sweep compares the shared rows. They show whether rows moved between two pages, without any further
    request. The pages must state their `offset` and `overlap`.
    """

    overlaps: bool
    """True at first. A sweep sets it to False if the vendor does not really page by index and size."""

    async def overlapping_page(self, account: str, cursor: Cursor | None = None) -> Page[PhoneNumber]:
        """Fetch the page at `cursor`, the first one by default. The cursors are not those of `page`."""
        ...


@runtime_checkable
class VerifiesRows(Protocol):
    """Pages by offset, and can check a single row.

    A sweep uses it to see whether rows moved between two pages. The pages must state their `offset`.
    """

    async def has_row_at(self, account: str, offset: int, row: str) -> bool:
        """Return True if that row, by its id or unique number, is still at the offset, from 0.

        Also return True if the vendor's response does not show it.
        """
        ...


@runtime_checkable
class NotifiesObservers(Protocol):
    """Reports its requests, waits, retries and failures to observers, as every `HttpBackend` does."""

    @property
    def observers(self) -> Observers:
        """The observers. A system adds its own while it is open."""
        ...


@runtime_checkable
class GetsNumbers(Protocol):
    """Can fetch one number by its id."""

    async def get(self, number_id: str) -> PhoneNumber:
        """Fetch the number. Raise NotFound."""
        ...


@runtime_checkable
class CreatesNumbers(Protocol):
    """Can create a number."""

    async def create(self, *, name: str, number: str | None = None) -> PhoneNumber:
        """Create the number, once. Raise OutcomeUnknown if the response is lost."""
        ...


@runtime_checkable
class AssignsNumbers(Protocol):
    """Can assign a number to an agent."""

    async def assign(
        self, *, phone_number: str, agent_id: str, friendly_name: str | None = None
    ) -> PhoneNumber:
        """Assign the number, once. Raise OutcomeUnknown if the response is lost."""
        ...


@runtime_checkable
class UpdatesNumbers(Protocol):
    """Can update a number. Supported fields depend on the vendor."""

    @property
    def update(self) -> Callable[..., Any]:
        """Update the given fields: `await backend.update(number_id, field=…)`."""
        ...


@runtime_checkable
class DeletesNumbers(Protocol):
    """Can delete a number."""

    async def delete(self, number_id: str) -> None:
        """Delete the number. Raise NotFound."""
        ...


@runtime_checkable
class ReconcilesWrites(Protocol):
    """Can look up the outcome of a write whose response was lost."""

    async def reconcile(self, lost: OutcomeUnknown, /) -> Reconciled[PhoneNumber]:
        """Look up whether the write was executed, for as long as it may still be under way."""
        ...


@runtime_checkable
class ChangesNumbers(Protocol):
    """States the changes that it can make, and makes them, so that changes can be planned and applied.

    A backend that updates or deletes numbers also has `get(number_id, *, account)`, which raises NotFound.
    """

    @property
    def change_rules(self) -> ChangeRules:
        """The changes that it can make."""
        ...

    async def carry_out(self, write: Write, /) -> PhoneNumber | None:
        """Send a write, once. Return the number afterwards, or None if it is not known or deleted.

        Raise OutcomeUnknown if the response is lost. Any other error that does not state `not_executed` is
        taken for the same.
        """
        ...

    async def reconcile(
        self, lost: OutcomeUnknown | Write, /, *, grace_period: float, clock_skew: float
    ) -> Reconciled[PhoneNumber]:
        """Look up whether a write was executed, also one that another process sent."""
        ...


@runtime_checkable
class ChecksFields(Protocol):
    """Can look up whether the vendor would accept the value of a field."""

    async def check_field(self, account: str, field: str, value: Value, /) -> str | None:
        """Return the problem with a value, in words, or None."""
        ...


@runtime_checkable
class OffersNumbers(Protocol):
    """Can look up whether a number can be bought, and at what price."""

    async def offer(self, account: str, number: str, fields: Mapping[str, Value], /) -> Offer:
        """Look up a number, in E.164. `fields` are those that are to be set with the purchase."""
        ...


@runtime_checkable
class ListsNumbersForSale(Protocol):
    """Can search the vendor's numbers for sale."""

    async def for_sale(
        self, *, account: str | None = None, country: str | None = None, digits: str | None = None
    ) -> tuple[NumberForSale, ...]:
        """Search numbers for sale: for an account, of a country, containing these digits."""
        ...


@runtime_checkable
class HasPools(Protocol):
    """Keeps numbers in pools."""

    async def pools(self, account: str, /) -> tuple[NumberPool, ...]:
        """Fetch the account's pools."""
        ...


@runtime_checkable
class ListsAgents(Protocol):
    """Assigns numbers to agents, and can list both."""

    async def agents(self) -> tuple[Any, ...]:
        """Fetch all agents."""
        ...

    async def of_agent(self, agent_id: str) -> tuple[PhoneNumber, ...]:
        """Fetch the numbers of one agent."""
        ...


class HasRecordFields(Protocol):
    """A number that fills in record fields beyond those that all vendors share.

    Optional. Of a number without this method, attributes with the names of the fields are used.
    """

    def record_fields(self) -> Mapping[str, Any]:
        """Return values by field of `NumberRecord`, such as `is_routed`, `vendor_status` or `pool`."""
        ...


class HasRecordColumns(HasRecordFields, Protocol):
    """A number whose class makes the records of a whole page at once.

    Optional, and worth writing only where pages are large: a thousand numbers take a third of the time.
    """

    @classmethod
    def record_columns(cls, numbers: Sequence[Self], /) -> dict[str, Sequence[Any]]:
        """Return columns by field of `NumberRecord`, a value per number in each.

        All fields but `backend` and `account`; those that no number fills in may be missing.
        """
        ...


@runtime_checkable
class RunsOnSandbox(Protocol):
    """A backend whose vendor the sandbox imitates."""

    @classmethod
    def from_sandbox(cls, sandbox: Sandbox, /, **options: Any) -> NumberProvider:
        """Make a backend that talks to the sandbox and lists the accounts that it holds.

        `options` are keywords that the backend's `info` describes.
        """
        ...


_VERBS: dict[type, str] = {
    AccountsWithNames: "name its accounts",
    SearchesNumbers: "search for a number",
    OverlapsPages: "list pages that overlap",
    VerifiesRows: "check the row at an offset",
    GetsNumbers: "get a number",
    CreatesNumbers: "create numbers",
    AssignsNumbers: "assign numbers to agents",
    UpdatesNumbers: "update numbers",
    DeletesNumbers: "delete numbers",
    ReconcilesWrites: "look up lost writes",
    ChangesNumbers: "carry out plans",
    ChecksFields: "check the fields of a plan",
    OffersNumbers: "look up numbers for sale",
    ListsNumbersForSale: "list numbers for sale",
    HasPools: "list number pools",
    ListsAgents: "list agents",
}
_METHODS = {
    "accounts_with_names": AccountsWithNames,
    "search": SearchesNumbers,
    "overlapping_page": OverlapsPages,
    "has_row_at": VerifiesRows,
    "get": GetsNumbers,
    "create": CreatesNumbers,
    "assign": AssignsNumbers,
    "update": UpdatesNumbers,
    "delete": DeletesNumbers,
    "reconcile": ReconcilesWrites,
    "carry_out": ChangesNumbers,
    "check_field": ChecksFields,
    "offer": OffersNumbers,
    "for_sale": ListsNumbersForSale,
    "pools": HasPools,
    "agents": ListsAgents,
    "of_agent": ListsAgents,
}

A = TypeVar("A")


def abilities(provider: object) -> tuple[str, ...]:
    """Describe in words the abilities of a backend besides listing its numbers."""
    # Asks the class: a missing attribute of the instance would call this function again.
    able = {ability for method, ability in _METHODS.items() if hasattr(type(provider), method)}
    return tuple(verb for ability, verb in _VERBS.items() if ability in able)


# Not `type[A]`: type checkers refuse protocols there.
def require(provider: NumberProvider, ability: Callable[..., A]) -> A:
    """Return the backend typed with an ability: `require(backend, CreatesNumbers)`.

    Raise Unsupported, which names the abilities it does have, before any request.
    """
    protocol = cast("type[A]", ability)
    if isinstance(provider, protocol):
        return provider
    raise _unsupported(provider, _VERBS.get(protocol, protocol.__name__))


def _unsupported(provider: Any, verb: str) -> Unsupported:
    can = ", ".join(("list numbers", *abilities(provider)))
    return Unsupported(f"backend {provider.name!r} cannot {verb}; it can {can}")


class ClearlyUnsupported:
    """Makes a missing ability a clear error instead of a bare AttributeError.

    `hasattr` still returns False, since Unsupported is an AttributeError.
    """

    name: str

    def __getattr__(self, attribute: str) -> Any:
        if attribute in _METHODS:
            raise _unsupported(self, _VERBS[_METHODS[attribute]])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")


def installed() -> dict[str, EntryPoint]:
    """Return the entry points of all installed backends by name, without importing the backends."""
    return {entry.name: entry for entry in entry_points(ENTRY_POINTS)}


def load(name: str) -> Callable[..., NumberProvider]:
    """Import the factory of the backend that is installed under this name.

    Raise UnknownProvider, which lists the installed names.
    """
    found = installed()
    if name not in found:
        names = ", ".join(sorted(found)) or "none"
        raise UnknownProvider(f"no backend named {name!r} is installed; there are: {names}")
    factory: Callable[..., NumberProvider] = found[name].load()
    return factory
