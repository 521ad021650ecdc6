"""Watching: changes as they are found, nothing that is unknown, and a clean end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from phonesys import Forbidden, InvalidArgument, NotOpen, PhoneSystem, UnknownProvider, UsageError
from phonesys.inventory import Change, ChangeKind, Inventory, Watch
from tests.sweep.memory import Memory, number

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[[Any], Any]

ADDED, REMOVED, MOVED, CHANGED, UNKNOWN = ChangeKind


def short(change: Change) -> tuple[str, ...]:
    return (change.kind.value, change.account, change.number or "")


def watched(jumping: Run, rounds: list[dict[str, Any]], **options: Any) -> list[tuple[str, ...]]:
    """Return the changes while a backend holds each of these states for an hour."""

    async def main() -> list[tuple[str, ...]]:
        backend = Memory(rounds[0])
        seen: list[tuple[str, ...]] = []

        async def live() -> None:
            for pages in rounds[1:]:
                await asyncio.sleep(3600)
                backend.pages = pages
            await asyncio.sleep(3600)

        async with PhoneSystem(backend) as phones, Watch(phones, interval=3500, **options) as changes:

            async def look() -> None:
                async for change in changes:
                    seen.append(short(change))  # noqa: PERF401 -- it never ends

            looking = asyncio.create_task(look())
            await live()
            looking.cancel()
            await asyncio.wait([looking])
            assert changes.rounds >= len(rounds)
        assert len(asyncio.all_tasks()) == 1
        return seen

    result: list[tuple[str, ...]] = jumping(main())
    return result


def test_the_first_sweep_is_the_baseline(jumping: Run) -> None:
    """Numbers of the first sweep were not added."""
    assert watched(jumping, [{"a": [[number(1)]]}]) == []


def test_changes_are_yielded_once(jumping: Run) -> None:
    """Added, removed and moved numbers are yielded in the round that finds them."""
    assert watched(
        jumping,
        [
            {"a": [[number(1), number(2)]], "b": [[]]},
            {"a": [[number(1), number(2)], [number(3)]], "b": [[]]},
            {"a": [[number(1)]], "b": [[number(2, "b")]]},
        ],
    ) == [("added", "a", "+14155550003"), ("moved", "b", "+14155550002"), ("removed", "a", "+14155550003")]


def test_an_account_that_fails_is_unknown_once(jumping: Run) -> None:
    """Its numbers are not removed. Later it is compared with its last complete state."""
    broken = {"a": [[number(1)], Forbidden("no", status=403)]}
    assert watched(
        jumping,
        [{"a": [[number(1), number(2)]]}, broken, broken, {"a": [[number(1), number(3)]]}],
    ) == [("unknown", "a", ""), ("added", "a", "+14155550003"), ("removed", "a", "+14155550002")]


def test_an_account_that_failed_at_first_adds_nothing(jumping: Run) -> None:
    """The first complete state of an account is its baseline."""
    assert watched(
        jumping, [{"a": [Forbidden("no", status=403)], "b": [[]]}, {"a": [[number(1)]], "b": [[]]}]
    ) == [("unknown", "a", "")]


def test_listed_accounts_add_and_remove_their_numbers(jumping: Run) -> None:
    """A new account on the list adds its numbers, and a missing one removes them."""
    two = {"a": [[number(1)]], "b": [[number(2, "b")]]}
    assert watched(jumping, [{"a": [[number(1)]]}, two, {"a": [[number(1)]]}]) == [
        ("added", "b", "+14155550002"),
        ("removed", "b", "+14155550002"),
    ]


def test_a_change_is_yielded_before_the_sweep_ends(jumping: Run) -> None:
    """A changed field is yielded without waiting for other accounts."""

    async def main() -> None:
        pages = {f"a{i}": [[number(i, f"a{i}")]] for i in range(100)}
        backend = Memory(pages, delay=1.0)
        async with (
            PhoneSystem(backend) as phones,
            Watch(phones, interval=1000, concurrency=1) as changes,
        ):
            await asyncio.sleep(500)
            assert changes.rounds == 1
            renamed = number(3, "a3")
            renamed.label = "new"
            backend.pages = {**pages, "a3": [[renamed]]}
            change = await anext(changes)
            assert (change.kind, change.account, changes.rounds) == (CHANGED, "a3", 1)

    jumping(main())


@pytest.mark.parametrize("named", [True, False])
def test_a_watch_starts_from_its_store(tmp_path: Path, jumping: Run, named: bool) -> None:
    """Changes since the last stored sweep are yielded, and the sweeps of the watch are stored."""

    async def main() -> None:
        backend = Memory({"a": [[number(1)]], "b": [[number(2, "b")]]})
        options: dict[str, Any] = {"memory": ["a", "b"]} if named else {}
        async with PhoneSystem(backend) as phones, Inventory(tmp_path / "i.db") as inventory:
            await inventory.collect(phones, **options)
            backend.pages = {**backend.pages, "b": [Forbidden("no", status=403)]}
            await inventory.collect(phones, **options)
            backend.pages = {"a": [[number(1), number(5)]], "b": [[number(3, "b")]]}
            async with Watch(phones, interval=60, store=inventory, **options) as changes:
                seen = [short(await anext(changes)) for _ in range(3)]
            assert sorted(seen) == [
                ("added", "a", "+14155550005"),
                ("added", "b", "+14155550003"),
                ("removed", "b", "+14155550002"),
            ]
            assert (await inventory.snapshot()).numbers == 3

    asyncio.run(main())


def test_it_sweeps_at_its_interval(jumping: Run) -> None:
    """The interval is from start to start. After a longer sweep the next one starts immediately."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for delay, starts in ((4.0, [0, 10, 20]), (25.0, [0, 25, 50])):
            backend = Memory({"a": [[number(1)]]}, delay=delay)
            async with PhoneSystem(backend) as phones, Watch(phones, interval=10) as changes:
                begun = loop.time()
                await asyncio.sleep(starts[-1] - 1)
                assert sum(backend.asked.values()) == 2
                await asyncio.sleep(2)
                assert sum(backend.asked.values()) == 3
                assert loop.time() - begun == starts[-1] + 1
                assert changes.rounds == 2

    jumping(main())


def test_a_change_can_be_awaited_under_any_time_out(jumping: Run) -> None:
    """A time-out of anyio or asyncio does not end the watch."""

    async def main() -> None:
        backend = Memory({"a": [[number(1)]]}, delay=1.0)
        async with PhoneSystem(backend) as phones, Watch(phones, interval=10) as changes:
            for time_out in (anyio.fail_after, asyncio.timeout):
                with pytest.raises(TimeoutError):
                    async with _as_async(time_out(25.5)):
                        await anext(changes)
            backend.pages = {"a": [[]]}
            assert (await anext(changes)).kind is REMOVED

    jumping(main())


class _as_async:  # noqa: N801 -- reads as a function
    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __aenter__(self) -> None:
        enter = getattr(self.scope, "__aenter__", None)
        _ = await enter() if enter else self.scope.__enter__()

    async def __aexit__(self, *error: object) -> Any:
        leave = getattr(self.scope, "__aexit__", None)
        return await leave(*error) if leave else self.scope.__exit__(*error)


def test_the_block_ends_its_sweep(jumping: Run) -> None:
    """An exception or cancellation ends the watch during a sweep and between two."""

    async def main() -> None:
        for wait in (0.0, 0.5, 5.0, 15.0):
            backend = Memory({"a": [[number(1)]]}, delay=3.0)
            async with PhoneSystem(backend) as phones:
                changes = Watch(phones, interval=10)
                with pytest.raises(ZeroDivisionError):
                    await _fails_after(wait, changes)
                assert backend.under_way == 0
                task = asyncio.create_task(_forever(phones))
                await asyncio.sleep(wait)
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
                assert backend.under_way == 0
                with pytest.raises(StopAsyncIteration):
                    await anext(changes)
            assert len(asyncio.all_tasks()) == 1

    jumping(main())


async def _fails_after(wait: float, watch: Watch) -> None:
    async with watch:
        await asyncio.sleep(wait)
        raise ZeroDivisionError


async def _forever(phones: PhoneSystem) -> None:
    async with Watch(phones, interval=10) as changes:
        async for _ in changes:
            pass


async def test_misuse_is_an_error() -> None:
    """Wrong arguments raise when the block is entered at the latest."""

    async def endless() -> Any:
        yield "a"

    backend = Memory({"a": [[number(1)]]})
    async with PhoneSystem(backend) as phones:
        with pytest.raises(InvalidArgument, match="interval"):
            Watch(phones, interval=0)
        with pytest.raises(InvalidArgument, match="again and again"):
            Watch(phones, interval=1, memory=endless())
        with pytest.raises(InvalidArgument, match="expected account ids"):
            async with Watch(phones, interval=1, memory="a"):
                pass
        with pytest.raises(UnknownProvider):
            async with Watch(phones, interval=1, only="other"):
                pass
        watch = Watch(phones, interval=1)
        with pytest.raises(NotOpen):
            await anext(watch)
        async with watch:
            with pytest.raises(UsageError, match="once"):
                await watch.__aenter__()


async def test_a_mistake_in_a_round_ends_the_watch() -> None:
    """A backend that cannot list accounts raises its UsageError to the reader."""

    class Mute(Memory):
        def accounts(self) -> Any:
            raise UsageError("name the accounts")

    async with PhoneSystem(Mute({"a": []})) as phones, Watch(phones, interval=1) as changes:
        with pytest.raises(UsageError, match="name the accounts"):
            await anext(changes)
        with pytest.raises(UsageError, match="name the accounts"):
            await anext(changes)
