"""The protocol: tools with schemas, and calls whose results are cleaned data."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import msgspec

from phonesys import __version__
from phonesys._extras import require_extra
from phonesys.errors import PhonesysError
from phonesys.mcp import results
from phonesys.mcp.text import NOTICE, as_data, clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from phonesys.mcp.toolbox import Toolbox
    from phonesys.mcp.writing import Writer

_CHUNK = 2**16

log = logging.getLogger("phonesys")

INSTRUCTIONS = f"""\
Phone numbers that a company holds at several vendors: backends hold accounts, and accounts hold numbers.
Tools answer from the newest stored snapshot. `source` says how old a result is, and whether it is complete. \
If `complete` is false, what is not listed may exist, so do not conclude that a number is not held. Some \
tools take `live` to ask the vendors now. Lists come in pages: pass `next_cursor` as `cursor` for more.
{NOTICE}"""
WRITING = """
Changes take two calls. plan_changes changes nothing: show its plan, notes and concerns to the person, and \
call apply_plan only after they have agreed. A concern needs its own permission, by name in `allow`."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool."""

    name: str
    title: str
    description: str
    arguments: type[results.Arguments]
    result: type[msgspec.Struct]
    run: Callable[[Any], Awaitable[Any]]
    asks_vendors: bool = False
    writes: bool = False


def read_tools(toolbox: Toolbox) -> tuple[Tool, ...]:
    """Return the tools that change nothing."""
    return (
        Tool(
            name="find_number",
            title="Find a number",
            description="Find every backend and account that holds a phone number, in any spelling.",
            arguments=results.FindNumber,
            result=results.Numbers,
            run=toolbox.find_number,
            asks_vendors=True,
        ),
        Tool(
            name="list_numbers",
            title="List numbers",
            description="List phone numbers, filtered by backend, account, status, country, route or text.",
            arguments=results.ListNumbers,
            result=results.Numbers,
            run=toolbox.list_numbers,
            asks_vendors=True,
        ),
        Tool(
            name="count_numbers",
            title="Count numbers",
            description="Count phone numbers by status, country, kind, backend, vendor or account.",
            arguments=results.CountNumbers,
            result=results.Counts,
            run=toolbox.count_numbers,
        ),
        Tool(
            name="get_route",
            title="Show the route of a number",
            description="Show where calls to a number go: user, agent, forwarding, pool, or nowhere.",
            arguments=results.GetRoute,
            result=results.Routes,
            run=toolbox.get_route,
            asks_vendors=True,
        ),
        Tool(
            name="list_accounts",
            title="List accounts",
            description="List accounts, with their names, and whether each was read completely.",
            arguments=results.ListAccounts,
            result=results.Accounts,
            run=toolbox.list_accounts,
        ),
        Tool(
            name="list_findings",
            title="List findings",
            description="Audit the numbers: unrouted, blocked, held twice, paid for and unused, and others.",
            arguments=results.ListFindings,
            result=results.Findings,
            run=toolbox.list_findings,
        ),
        Tool(
            name="list_changes",
            title="List changes",
            description="List numbers that were added, removed, moved or changed between two snapshots.",
            arguments=results.ListChanges,
            result=results.Changes,
            run=toolbox.list_changes,
        ),
        Tool(
            name="list_snapshots",
            title="List snapshots",
            description="List stored snapshots, the newest first, with their age and completeness.",
            arguments=results.ListSnapshots,
            result=results.Snapshots,
            run=toolbox.list_snapshots,
        ),
    )


def write_tools(writer: Writer) -> tuple[Tool, ...]:
    """Return the tools that plan changes, and the one that carries a plan out."""
    return (
        Tool(
            name="plan_changes",
            title="Plan changes",
            description="Show what changes of numbers would do, and keep them as a plan. Changes nothing.",
            arguments=results.PlanChanges,
            result=results.PlanResult,
            run=writer.plan_changes,
            asks_vendors=True,
        ),
        Tool(
            name="apply_plan",
            title="Apply a plan",
            description="Carry out a plan of plan_changes or plan_undo by its id, after a person has agreed.",
            arguments=results.ApplyPlan,
            result=results.ApplyResult,
            run=writer.apply_plan,
            asks_vendors=True,
            writes=True,
        ),
        Tool(
            name="plan_undo",
            title="Plan to take changes back",
            description="Show the plan that takes back what an applied plan has changed. Changes nothing.",
            arguments=results.PlanUndo,
            result=results.PlanResult,
            run=writer.plan_undo,
        ),
    )


class _Calls:
    """Answers the two requests about tools."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._types: Any = require_extra("mcp", "mcp.types")
        self._tools = {tool.name: tool for tool in tools}

    async def list_tools(self, _context: Any, _params: Any) -> Any:
        """Return all tools, with the schemas of their arguments and results."""
        return self._types.ListToolsResult(tools=[self._describe(tool) for tool in self._tools.values()])

    def _describe(self, tool: Tool) -> Any:
        return self._types.Tool(
            name=tool.name,
            title=tool.title,
            description=tool.description,
            input_schema=results.schema_of(tool.arguments),
            output_schema=results.schema_of(tool.result),
            annotations=self._types.ToolAnnotations(
                title=tool.title,
                read_only_hint=not tool.writes,
                destructive_hint=tool.writes,
                # A plan is carried out once, so that applying it again repeats nothing.
                idempotent_hint=True,
                open_world_hint=tool.asks_vendors,
            ),
        )

    async def call_tool(self, _context: Any, params: Any) -> Any:
        """Run a tool. An expected error is a result that says so."""
        try:
            data = await self._run(params.name, params.arguments or {})
        except (PhonesysError, OSError) as failure:
            return self._result({"error": clean(str(failure))}, is_error=True)
        except Exception as fault:
            # Its text may hold anything, so that only its kind is told.
            log.exception("tool %s failed", params.name)
            return self._result({"error": f"internal error: {type(fault).__name__}"}, is_error=True)
        return self._result(data, is_error=False)

    async def _run(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        tool = self._tools.get(name)
        if tool is None:
            raise PhonesysError(f"no tool {name!r:.60}; there are: {', '.join(self._tools)}")
        try:
            parsed = msgspec.convert(arguments, tool.arguments)
        except msgspec.ValidationError as error:
            raise PhonesysError(f"{name}: {error}") from None
        plain: dict[str, Any] = clean(msgspec.to_builtins(await tool.run(parsed)))
        return plain

    def _result(self, data: dict[str, Any], *, is_error: bool) -> Any:
        text = self._types.TextContent(type="text", text=as_data(data))
        structured = None if is_error else data
        return self._types.CallToolResult(content=[text], structured_content=structured, is_error=is_error)


class _StdinLines:
    """Lines of stdin. The SDK's own thread that reads them could not be cancelled, as SIGTERM does."""

    async def __aiter__(self) -> AsyncIterator[str]:
        rest = b""
        while chunk := await _read_stdin():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")


async def _read_stdin() -> bytes:
    try:
        await anyio.wait_readable(0)
    except OSError:  # a file, which is always ready
        await anyio.lowlevel.checkpoint()
    return os.read(0, _CHUNK)


async def serve_stdio(tools: Sequence[Tool]) -> None:
    """Serve tools on stdin and stdout until stdin ends. Needs the extra `mcp`."""
    lowlevel = require_extra("mcp", "mcp.server.lowlevel")
    stdio = require_extra("mcp", "mcp.server.stdio")
    calls = _Calls(tools)
    server: Any = lowlevel.Server(
        "phonesys",
        title="phonesys",
        version=__version__,
        instructions=INSTRUCTIONS + (WRITING if any(tool.writes for tool in tools) else ""),
        on_list_tools=calls.list_tools,
        on_call_tool=calls.call_tool,
    )
    stdin: Any = _StdinLines() if os.name == "posix" else None
    async with stdio.stdio_server(stdin) as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())
