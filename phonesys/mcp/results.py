"""Arguments and results of the tools, whose schemas assistants read."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from phonesys.inventory.audit import Severity
from phonesys.inventory.diff import ChangeKind
from phonesys.mcp.text import NOTICE
from phonesys.model import NumberStatus
from phonesys.record import NumberRecord

# Arguments

Limit: TypeAlias = Annotated[int, Meta(ge=1, le=200, description="The most rows to return.")]
Cursor: TypeAlias = Annotated[
    str | None, Meta(description="`next_cursor` of the result before, with otherwise the same arguments.")
]
Backend: TypeAlias = Annotated[str | None, Meta(description="Only this backend, by its configured name.")]
Account: TypeAlias = Annotated[str | None, Meta(description="Only this account, by its id.")]
SnapshotId: TypeAlias = Annotated[
    int | None, Meta(description="Id of a stored snapshot. The newest by default.")
]
Live: TypeAlias = Annotated[
    bool,
    Meta(description="Ask the vendors now, within their rate limits, instead of the store. Slower."),
]
Number: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1, max_length=64, description="A phone number in any spelling, a short code, or a sender."
    ),
]
Fields: TypeAlias = Annotated[
    list[str] | None, Meta(description="Fields of each number to return. A few important ones by default.")
]


class Arguments(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of all arguments."""


class FindNumber(Arguments):
    """Arguments of `find_number`."""

    number: Number
    live: Live = False
    fields: Fields = None


class ListNumbers(Arguments):
    """Arguments of `list_numbers`."""

    backend: Backend = None
    account: Account = None
    status: Annotated[list[NumberStatus] | None, Meta(description="Only these statuses.")] = None
    country: Annotated[list[str] | None, Meta(description="Only these countries, as ISO 3166-1 alpha-2.")] = (
        None
    )
    routed: Annotated[bool | None, Meta(description="Only numbers with (or without) a route for calls.")] = (
        None
    )
    text: Annotated[
        str | None, Meta(description="Only numbers with this text in their digits, label or account name.")
    ] = None
    fields: Fields = None
    live: Annotated[bool, Meta(description="Ask the vendor now. Needs `backend` and `account`.")] = False
    snapshot: SnapshotId = None
    limit: Limit = 50
    cursor: Cursor = None


class CountNumbers(Arguments):
    """Arguments of `count_numbers`."""

    by: Annotated[
        Literal["status", "country", "kind", "backend", "provider", "account"],
        Meta(description="The field to count by."),
    ]
    backend: Backend = None
    account: Account = None
    snapshot: SnapshotId = None


class GetRoute(Arguments):
    """Arguments of `get_route`."""

    number: Number
    live: Live = False


class ListAccounts(Arguments):
    """Arguments of `list_accounts`."""

    backend: Backend = None
    unread_only: Annotated[bool, Meta(description="Only accounts that were not read completely.")] = False
    text: Annotated[str | None, Meta(description="Only accounts with this text in their id or name.")] = None
    snapshot: SnapshotId = None
    limit: Limit = 50
    cursor: Cursor = None


class ListFindings(Arguments):
    """Arguments of `list_findings`."""

    severity: Annotated[Severity | None, Meta(description="Only findings of this severity or worse.")] = None
    code: Annotated[str | None, Meta(description="Only findings of this rule.")] = None
    backend: Backend = None
    account: Account = None
    snapshot: SnapshotId = None
    limit: Limit = 50
    cursor: Cursor = None


class ListChanges(Arguments):
    """Arguments of `list_changes`."""

    older: Annotated[
        int | None, Meta(description="Id of the older snapshot. The one before `newer` by default.")
    ] = None
    newer: SnapshotId = None
    kind: Annotated[list[ChangeKind] | None, Meta(description="Only these kinds of change.")] = None
    backend: Backend = None
    account: Account = None
    limit: Limit = 50
    cursor: Cursor = None


class ListSnapshots(Arguments):
    """Arguments of `list_snapshots`."""

    limit: Limit = 50
    cursor: Cursor = None


class ChangeRequest(Arguments):
    """A desired state of one number. `number` or `id` says which one."""

    action: Annotated[
        Literal["update", "delete", "create", "buy"], Meta(description="`buy` costs money.")
    ] = "update"
    number: Annotated[str | None, Meta(description="The number, in any spelling.")] = None
    id: Annotated[str | None, Meta(description="The vendor's id of the number.")] = None
    backend: Annotated[str | None, Meta(description="Needed if several backends hold the number.")] = None
    account: Annotated[str | None, Meta(description="Needed if several accounts hold the number.")] = None
    fields: Annotated[
        dict[str, str | bool | None],
        Meta(description="Fields to set, such as `label`, `assignee` or `status`. Null clears a field."),
    ] = {}


class PlanChanges(Arguments):
    """Arguments of `plan_changes`."""

    changes: Annotated[list[ChangeRequest], Meta(min_length=1, max_length=50)]


PlanId: TypeAlias = Annotated[str, Meta(description="`plan_id` of a plan that this server has made.")]


class ApplyPlan(Arguments):
    """Arguments of `apply_plan`."""

    plan_id: PlanId
    allow: Annotated[
        list[Literal["share", "unroute"]],
        Meta(description="The risks among the plan's `concerns` that the person has agreed to."),
    ] = []


class PlanUndo(Arguments):
    """Arguments of `plan_undo`."""

    plan_id: PlanId


# Results


class Source(msgspec.Struct, kw_only=True):
    """Origin of a result, its age, and its completeness."""

    kind: Literal["snapshot", "live"]
    snapshot: int | None
    taken_at: datetime
    age_seconds: int
    complete: bool
    """False if accounts or rows could not be read: what is not listed may exist."""
    unread_accounts: int
    note: str | None = None


class Result(msgspec.Struct, kw_only=True):
    """Base of all results."""

    source: Source
    notice: str = NOTICE


class PagedResult(Result, kw_only=True):
    """A result that may have more rows."""

    next_cursor: str | None = None
    """Pass it as `cursor` to get more rows; null if there are none."""


FIELDS = NumberRecord.__struct_fields__
DEFAULT_FIELDS = (
    "number", "backend", "account", "account_name", "label", "country", "status", "is_routed", "inbound",
)  # fmt: skip


def _optional(name: str) -> tuple[str, Any, Any]:
    return name, _TYPES[name] | UnsetType, UNSET


_TYPES: dict[str, Any] = {one.name: one.type for one in msgspec.structs.fields(NumberRecord)}
if TYPE_CHECKING:

    class NumberRow(msgspec.Struct):
        """One number."""

        def __init__(self, **fields: Any) -> None: ...

else:
    NumberRow = msgspec.defstruct(
        "NumberRow",
        [_optional(name) for name in FIELDS],
        kw_only=True,
        namespace={"__doc__": "One number. Null stands for facts that the vendor does not give."},
    )


class Numbers(PagedResult, kw_only=True):
    """Numbers."""

    numbers: list[NumberRow]


class Group(msgspec.Struct):
    """Numbers with a common value."""

    value: str | None
    numbers: int


class Counts(Result, kw_only=True):
    """Counts of numbers, the largest group first."""

    total: int
    groups: list[Group]
    other_groups: int
    """The number of groups that are left out."""


class Holder(msgspec.Struct):
    """An account that holds a number."""

    number: str
    backend: str
    account: str


class Route(msgspec.Struct, kw_only=True):
    """The route of calls to one number in one account."""

    number: str
    backend: str
    account: str
    account_name: str | None
    status: NumberStatus
    is_routed: bool | None
    """True if a route answers calls, false only if the vendor says that none does."""
    inbound: str | None
    """The route as `kind:target`."""
    summary: str | None
    """The vendor's description."""
    forwarding_number: str | None
    forwarding_number_held_by: list[Holder]
    ring_users: list[str]
    assignee: str | None
    pool: str | None
    pool_name: str | None
    pool_route: str | None


class Routes(Result, kw_only=True):
    """The routes of a number, one for every account that holds it."""

    routes: list[Route]


class AccountRow(msgspec.Struct, kw_only=True):
    """One account."""

    backend: str
    account: str
    """Empty for the backend's list of accounts, if that could not be read."""
    name: str | None
    outcome: str
    problem: str | None
    """The reason why numbers are missing; null for a complete account."""


class Accounts(PagedResult, kw_only=True):
    """Accounts, with the outcome of reading them."""

    accounts: list[AccountRow]


class FindingRow(msgspec.Struct, kw_only=True):
    """One problem."""

    severity: Severity
    code: str
    number: str | None
    accounts: list[str]
    """The first accounts concerned, as `backend:account`."""
    account_count: int
    evidence: str
    advice: str


class Findings(PagedResult, kw_only=True):
    """Findings of an audit, the worst first."""

    total: int
    """All findings that match."""
    by_severity: dict[str, int]
    findings: list[FindingRow]


class FieldRow(msgspec.Struct):
    """One changed field."""

    field: str
    old: Any
    new: Any


class ChangeRow(msgspec.Struct, kw_only=True):
    """One change."""

    kind: ChangeKind
    number: str | None
    backend: str
    account: str
    from_backend: str | None
    from_account: str | None
    fields: list[FieldRow]
    reason: str | None
    """The reason why an account could not be compared."""


class Changes(PagedResult, kw_only=True):
    """Changes between two snapshots."""

    older_snapshot: int
    older_taken_at: datetime
    changes: list[ChangeRow]


class SnapshotRow(msgspec.Struct, kw_only=True):
    """One stored sweep."""

    id: int
    started_at: datetime
    finished_at: datetime | None
    numbers: int
    complete: bool
    unread_accounts: int
    backends: list[str]


class Snapshots(msgspec.Struct, kw_only=True):
    """Snapshots, the newest first."""

    snapshots: list[SnapshotRow]
    next_cursor: str | None = None
    notice: str = NOTICE


class PlannedRow(msgspec.Struct, kw_only=True):
    """One change, as it would be carried out."""

    position: int
    action: str
    number: str | None
    id: str | None
    label: str | None
    backend: str
    account: str
    account_name: str | None
    fields: list[FieldRow]
    names: dict[str, str]
    """Names of the agents among the values of `fields`, by id."""
    notes: list[str]
    """Sentences about parts that are final, cost money, or move live calls."""


class ConcernRow(msgspec.Struct):
    """A risk that needs an explicit permission."""

    risk: str
    text: str


class PlanResult(msgspec.Struct, kw_only=True):
    """A plan. Nothing was changed: `apply_plan` carries it out."""

    plan_id: str
    complete: bool
    """False if accounts or rows could not be read, so that other numbers may be concerned."""
    missing: list[str]
    unchanged: int
    """The number of numbers that are already as they should be."""
    changes: list[PlannedRow]
    concerns: list[ConcernRow]
    left_out: list[str]
    """Changes that cannot be made, and why."""
    notice: str = NOTICE


class OutcomeRow(msgspec.Struct, kw_only=True):
    """The outcome of one change."""

    position: int
    outcome: str
    """`done`, `conflict`, `rejected`, `unclear` or `not_reached`."""
    reason: str
    number: str | None
    id: str | None
    changed: bool
    """True if this run changed the number itself."""


class ApplyResult(msgspec.Struct, kw_only=True):
    """The outcomes of a plan."""

    plan_id: str
    finished: bool
    """False if changes were not reached or are unclear: applying the plan again goes on."""
    outcomes: dict[str, int]
    results: list[OutcomeRow]
    notice: str = NOTICE


def schema_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a struct, with an object at its root as the protocol requires."""
    (root,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    name = root["$ref"].rpartition("/")[2]
    schema = dict(definitions.pop(name))
    return {**schema, "$defs": definitions} if definitions else schema
