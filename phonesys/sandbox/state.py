"""The data behind the three APIs: generated from a seed when asked for, remembered only once changed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import TypeAlias, TypeVar

from phonesys.sandbox.log import Created, Moved
from phonesys.sandbox.number_plan import CAPACITY, Identifiers, NumberPlan, Shuffle, mix, uuid_like

Count: TypeAlias = int | tuple[int, int]
"""A number of things, or the inclusive range from which the seed draws it."""
Account: TypeAlias = tuple[str, str]
"""A backend's name and one of its accounts."""

DEFAULT = "default"
"""The only account of the two backends whose key decides whom it is about."""
ORGANIZATION = ("org_7f3a9c51d2e84b06", "Sandbox Organization")
_Numbered = TypeVar("_Numbered", "LeadpingNumber", "Assignment")
_FOR_SALE = 1_000_000
_IN_STOCK = 2000


@dataclass(frozen=True, slots=True)
class Location:
    """One LeadConnector location: its numbers, and the pool that each of them sits in (-1 for none)."""

    id: str
    connected: bool
    pools: int
    numbers: tuple[str, ...]
    pool_of: tuple[int, ...]


@dataclass(slots=True)
class LeadpingNumber:
    """One number of the Leadping organization; what is not here is derived from its `id`."""

    serial: int
    """Its place in the order of creation, never used twice."""
    id: str
    name: str
    number: str
    organization_id: str
    enabled: bool
    created_at: str
    modified_at: str | None = None
    bits: int = field(default=0, kw_only=True)
    """The randomness that the derived fields are taken from."""


@dataclass(slots=True)
class Assignment:
    """One phone number assigned to an agent."""

    id: str
    number: str
    agent_id: str | None
    friendly_name: str | None
    status: str
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent that answers calls."""

    id: str
    name: str
    status: str
    created_at: str


def now() -> str:
    """Return the current time as the vendors write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def random_time(bits: int) -> str:
    """Pick a second of the years 2021 to 2024."""
    return (
        f"{2021 + bits % 4}-{1 + (bits >> 3) % 12:02}-{1 + (bits >> 7) % 28:02}"
        f"T{(bits >> 12) % 24:02}:{(bits >> 17) % 60:02}:{(bits >> 23) % 60:02}Z"
    )


class VendorState:
    """Everything that the vendors know, and the record of what was created.

    Numbers sit in slots, all of them different: first the ones of Leadping, then those of the agents,
    then those for sale, then the locations', each with room for as many as a location may have.
    """

    def __init__(
        self,
        *,
        locations: int,
        numbers: Count,
        pools: Count,
        not_connected: int,
        leadping: int,
        agents: int,
        agent_count: int,
        seed: int,
    ) -> None:
        self.seed, self.locations = seed, locations
        self._numbers, self._pools = _bounds(numbers), _bounds(pools)
        self._leadping, self._agents, self._agent_count = leadping, agents, agent_count
        self._first_for_sale = leadping + agents
        self._first_location = self._first_for_sale + _FOR_SALE
        if self._first_location + locations * self._numbers[1] > CAPACITY:
            raise ValueError(f"there are only {CAPACITY} different numbers")
        if not_connected > locations:
            raise ValueError(f"{not_connected} of {locations} locations cannot be without a phone system")
        self._numbering, self._ids = NumberPlan(seed), Identifiers(seed, locations)
        self._not_connected = not_connected
        self._lottery = Shuffle(max(locations, 1), random.Random(seed + 1))  # noqa: S311 -- reproducible
        self._changed: dict[int, Location] = {}
        self._generated = lru_cache(maxsize=512)(self._generate)
        self._allocated = 0
        self._sold_numbers: set[str] = set()
        self._serial = leadping
        self.created: list[Created] = []
        self.moved: list[Moved] = []

    # --- LeadConnector ---------------------------------------------------------------------------------

    @cached_property
    def location_ids(self) -> tuple[str, ...]:
        """The ids of all locations, in order."""
        return tuple(map(self._ids.write, range(self.locations)))

    @cached_property
    def not_connected(self) -> frozenset[str]:
        """The ids of the locations without a phone system."""
        return frozenset(self._ids.write(self._lottery.backward(n)) for n in range(self._not_connected))

    def location(self, location_id: str) -> Location | None:
        """Find what is at a location, or None if there is no such location."""
        index = self._ids.read(location_id)
        if index is None:
            return None
        return self._changed.get(index) or self._generated(index)

    def add(self, location_id: str, number: str | None = None, *, pool: int = -1) -> str:
        """Give a location one more number, a new one unless told which."""
        index, location = self._require_location(location_id)
        number = number or self.allocate_number()
        self._changed[index] = replace(
            location, numbers=(*location.numbers, number), pool_of=(*location.pool_of, pool)
        )
        return number

    def remove(self, location_id: str, number: str) -> None:
        """Remove a number from a location that holds it."""
        index, location = self._require_location(location_id)
        at = location.numbers.index(number)
        self._changed[index] = replace(
            location,
            numbers=location.numbers[:at] + location.numbers[at + 1 :],
            pool_of=location.pool_of[:at] + location.pool_of[at + 1 :],
        )

    # --- Lists that change while they are read ---------------------------------------------------------

    def insert_at(self, backend: str, account: str, at: float) -> None:
        """Insert a new number into an account's list, at this fraction of its length.

        Leadping's list is in the order of creation, so that there it comes last.
        """
        if not self._has_list(backend, account):
            return
        number = self.allocate_number()
        if backend == "leadping":
            self._add_leadping(name="Moved in", number=number)
        elif backend == "agents":
            self._put_assignment(number, at)
        else:
            index, location = self._require_location(account)
            place = round(at * len(location.numbers))
            self._changed[index] = replace(
                location,
                numbers=(*location.numbers[:place], number, *location.numbers[place:]),
                pool_of=(*location.pool_of[:place], -1, *location.pool_of[place:]),
            )
        self.moved.append(Moved(backend, account, number, added=True))

    def remove_at(self, backend: str, account: str, at: float) -> None:
        """Remove the number at this fraction of an account's list, if there is one."""
        if not self._has_list(backend, account):
            return
        if backend == "leadping":
            number = _removed(self.leadping, at)
        elif backend == "agents":
            number = _removed(self.assignments, at)
        else:
            _, location = self._require_location(account)
            number = location.numbers[_place(at, len(location.numbers))] if location.numbers else None
            if number is not None:
                self.remove(account, number)
        if number is not None:
            self.moved.append(Moved(backend, account, number, added=False))

    def _has_list(self, backend: str, account: str) -> bool:
        if backend == "agents":
            return bool(self.agents)
        location = None if backend == "leadping" else self.location(account)
        return backend == "leadping" or (location is not None and location.connected)

    def _put_assignment(self, number: str, at: float) -> None:
        rows, created = list(self.assignments.items()), now()
        id_ = f"num_{mix(int(number[1:])):016x}"
        made = Assignment(id_, number, next(iter(self.agents)), None, "ACTIVE", created, created)
        rows.insert(round(at * len(rows)), (id_, made))
        self.assignments.clear()
        self.assignments |= rows

    def _require_location(self, location_id: str) -> tuple[int, Location]:
        index, location = self._ids.read(location_id), self.location(location_id)
        if index is None or location is None:
            raise KeyError(location_id)
        return index, location

    def _generate(self, index: int) -> Location:
        bits = mix(self.seed ^ mix(index))
        connected = self._lottery.forward(index) >= self._not_connected
        count = _draw(self._numbers, bits & 0xFFFFFF) if connected else 0
        pools = _draw(self._pools, bits >> 24 & 0xFFFFFF) if connected else 0
        first = self._first_location + index * self._numbers[1]
        numbers = tuple(map(self._numbering.number, range(first, first + count)))
        return Location(
            id=self._ids.write(index),
            connected=connected,
            pools=pools,
            numbers=numbers,
            pool_of=tuple(_pool(mix(bits ^ place), pools) for place in range(count)),
        )

    # --- Leadping --------------------------------------------------------------------------------------

    @cached_property
    def leadping(self) -> dict[str, LeadpingNumber]:
        """The numbers of the organization by id, oldest first."""
        return {record.id: record for record in map(self._leadping_number, range(self._leadping))}

    def create_leadping(
        self, *, name: str, number: str, organization_id: str | None, enabled: bool, id_: str | None
    ) -> LeadpingNumber:
        """Add a number to the organization."""
        record = self._add_leadping(
            name=name, number=number, organization_id=organization_id, enabled=enabled, id_=id_
        )
        self.created.append(Created("leadping", DEFAULT, record.id, number))
        return record

    def _add_leadping(
        self,
        *,
        name: str,
        number: str,
        organization_id: str | None = None,
        enabled: bool = True,
        id_: str | None = None,
    ) -> LeadpingNumber:
        bits = mix(self.seed ^ mix(self._serial << 8 | 1))
        record = LeadpingNumber(
            serial=self._serial,
            id=id_ or uuid_like(bits),
            name=name,
            number=number,
            organization_id=organization_id or ORGANIZATION[0],
            enabled=enabled,
            created_at=now(),
            bits=bits,
        )
        self.leadping[record.id] = record
        self._serial += 1
        return record

    def leadping_holder(self, number: str) -> LeadpingNumber | None:
        """Find the organization's record of a number, if it holds it."""
        return next((record for record in self.leadping.values() if record.number == number), None)

    def for_sale(self, count: int) -> list[str]:
        """List numbers that could be bought next."""
        first = self._first_for_sale + self._allocated
        offered = (self._numbering.number(slot) for slot in range(first, first + count))
        return [number for number in offered if number not in self._sold_numbers]

    def allocate_number(self) -> str:
        """Return a number that was never used before."""
        number = ""
        while not number or number in self._sold_numbers:
            number = self._numbering.number(self._first_for_sale + self._allocated)
            self._allocated += 1
        return number

    def purchase(self, location_id: str, number: str) -> bool:
        """Sell one of the numbers for sale to an existing location; False if it is not for sale."""
        if number not in self.for_sale(_IN_STOCK):
            return False
        self._sold_numbers.add(number)
        self.add(location_id, number)
        self.created.append(Created("leadconnector", location_id, number, number))
        return True

    def _leadping_number(self, serial: int) -> LeadpingNumber:
        bits = mix(self.seed ^ mix(serial << 8 | 1))
        return LeadpingNumber(
            serial=serial,
            id=uuid_like(bits),
            name=f"Line {serial + 1}",
            number=self._numbering.number(serial),
            organization_id=ORGANIZATION[0],
            enabled=bits % 10 != 0,
            created_at=random_time(bits >> 8),
            bits=bits,
        )

    # --- Agent numbers ---------------------------------------------------------------------------------

    @cached_property
    def agents(self) -> dict[str, Agent]:
        """The agents by id; a seventh of them are not active."""
        return {agent.id: agent for agent in map(self._agent, range(self._agent_count))}

    @cached_property
    def assignments(self) -> dict[str, Assignment]:
        """The assigned numbers by id, oldest first; none if there are no agents."""
        count = self._agents if self._agent_count else 0
        return {record.id: record for record in map(self._assignment, range(count))}

    def assign(self, *, number: str, agent_id: str, friendly_name: str | None) -> Assignment:
        """Assign a number, whether or not it already is: this vendor keeps no promise about that."""
        created = now()
        record = Assignment(
            id=f"num_{mix(self.seed ^ mix(len(self.created) << 8 | 4)):016x}",
            number=number,
            agent_id=agent_id,
            friendly_name=friendly_name,
            status="ACTIVE",
            created_at=created,
            updated_at=created,
        )
        self.assignments[record.id] = record
        self.created.append(Created("agents", DEFAULT, record.id, number))
        return record

    def _agent(self, index: int) -> Agent:
        bits = mix(self.seed ^ mix(index << 8 | 2))
        status = "INACTIVE" if index % 7 == 6 else "ACTIVE"  # noqa: PLR2004
        return Agent(f"agent_{bits:016x}", f"Agent {index + 1}", status, random_time(bits >> 8))

    def _assignment(self, index: int) -> Assignment:
        bits = mix(self.seed ^ mix(index << 8 | 3))
        agents = list(self.agents)
        return Assignment(
            id=f"num_{bits:016x}",
            number=self._numbering.number(self._leadping + index),
            agent_id=agents[bits % len(agents)],
            friendly_name=f"Agent line {index + 1}" if bits % 5 else None,
            status="ACTIVE" if bits >> 8 & 7 else "INACTIVE",
            created_at=random_time(bits >> 8),
            updated_at=random_time(bits >> 8),
        )


class Truth(Mapping[Account, frozenset[str]]):
    """Numbers of every account at this moment, pooled ones included, computed on demand."""

    def __init__(self, state: VendorState) -> None:
        self._state = state

    def __getitem__(self, key: Account) -> frozenset[str]:
        """Collect the numbers of one account; raises KeyError for one that is not there."""
        backend, account = key
        if key == ("leadping", DEFAULT):
            return frozenset(record.number for record in self._state.leadping.values())
        if key == ("agents", DEFAULT):
            return frozenset(record.number for record in self._state.assignments.values())
        location = self._state.location(account) if backend == "leadconnector" else None
        if location is None:
            raise KeyError(key)
        return frozenset(location.numbers)

    def __iter__(self) -> Iterator[Account]:
        """Go through all accounts, those without numbers too."""
        for location_id in self._state.location_ids:
            yield "leadconnector", location_id
        yield "leadping", DEFAULT
        yield "agents", DEFAULT

    def __len__(self) -> int:
        """Count the accounts."""
        return self._state.locations + 2


def _bounds(count: Count) -> tuple[int, int]:
    low, high = (count, count) if isinstance(count, int) else count
    if not 0 <= low <= high:
        raise ValueError(f"not a range of counts: {count}")
    return low, high


def _place(at: float, count: int) -> int:
    """Return the place in a list of so many, at least one, that is at this share of its length."""
    return min(int(at * count), count - 1)


def _removed(rows: dict[str, _Numbered], at: float) -> str | None:
    """Remove a record, and return its number."""
    ids = list(rows)
    return rows.pop(ids[_place(at, len(ids))]).number if ids else None


def _draw(bounds: tuple[int, int], bits: int) -> int:
    low, high = bounds
    return low + bits % (high - low + 1)


def _pool(bits: int, pools: int) -> int:
    """Two of five numbers sit in a pool, where there is one."""
    return bits // 5 % pools if pools and bits % 5 < 2 else -1  # noqa: PLR2004
