"""`phonesys doctor`: check everything that a sweep needs."""

from __future__ import annotations

from contextlib import aclosing

from phonesys.cli.checks import CheckRow, all_checks
from phonesys.cli.columns import ColumnTable
from phonesys.cli.groups import ConfigOptions, LogOptions, RowOptions  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.options import BackendsOption  # noqa: TC001 -- as above
from phonesys.cli.running import DONE, FAILED


def doctor(
    *,
    origin: ConfigOptions,
    backend: BackendsOption = None,
    rows: RowOptions,
    log: LogOptions,
) -> None:
    """Check everything that a sweep needs, and advise what to type.

    That is the installation, configuration, proxy, connection, credentials, scopes, clock and store. Reads
    one page of one account of each backend, and its pools and agents. Nothing is changed. The status is 1 if
    something is wrong.
    """

    async def main() -> int:
        rows.check(CheckRow)
        settings = origin.read()
        names = backend or list(settings.sections)
        for name in names:
            settings.section(name)
        async with aclosing(all_checks(settings, names, origin.config)) as checks:
            found = [check async for check in checks]
        await rows.write(CheckRow, found, table=_table)
        return DONE if all(check.ok for check in found) else FAILED

    log.run(main)


def _table(checks: list[CheckRow]) -> ColumnTable:
    return ColumnTable(
        {
            "check": [check.check for check in checks],
            "ok": ["yes" if check.ok else "NO" for check in checks],
            "state": [check.state for check in checks],
            "advice": [check.advice or "" for check in checks],
        }
    )
