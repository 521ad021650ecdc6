"""Data of the control page, as plain values."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from phonesys.sandbox.faults import KINDS
from phonesys.sandbox.state import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phonesys.sandbox.faults import Faults, FaultSwitch, Rule
    from phonesys.sandbox.limits import SlidingWindows
    from phonesys.sandbox.log import Created, RequestLog
    from phonesys.sandbox.state import VendorState

_SHOWN_WINDOWS = 30
_LOOKED_AT = 500
_MOST_ACCOUNTS = 200


class Sandbox(Protocol):
    """The parts of a sandbox that its control page shows."""

    state: VendorState
    log: RequestLog
    faults: Faults
    limits: dict[str, SlidingWindows]
    leadconnector_token: str
    leadping_key: str
    agents_key: str

    @property
    def leadconnector_url(self) -> str:
        """Base URL of LeadConnector."""
        ...

    @property
    def leadping_url(self) -> str:
        """Base URL of Leadping."""
        ...

    @property
    def agents_url(self) -> str:
        """Base URL of the agent numbers."""
        ...

    @property
    def location_ids(self) -> tuple[str, ...]:
        """Ids of all locations, in order."""
        ...

    @property
    def created(self) -> list[Created]:
        """Create requests that were carried out, in order."""
        ...

    def routes(self) -> tuple[str, ...]:
        """Return the names of all operations."""
        ...


def about(sandbox: Sandbox) -> dict[str, Any]:
    """Return what does not change: addresses, and the kinds of faults."""
    return {
        "seed": sandbox.state.seed,
        "locations": sandbox.state.locations,
        "vendors": [
            {
                "name": "LeadConnector",
                "url": sandbox.leadconnector_url,
                "header": f"Authorization: Bearer {sandbox.leadconnector_token}",
            },
            {
                "name": "Leadping",
                "url": sandbox.leadping_url,
                "header": f"Authorization: Bearer {sandbox.leadping_key}",
            },
            {
                "name": "Agent numbers",
                "url": sandbox.agents_url,
                "header": f"X-API-Key: {sandbox.agents_key}",
            },
        ],
        "routes": sandbox.routes(),
        "kinds": [_kind(name, kind) for name, kind in KINDS.items()],
    }


def _kind(name: str, kind: type[Rule]) -> dict[str, Any]:
    return {"kind": name, "group": kind.group, "text": (kind.__doc__ or "").partition("\n")[0]}


def state(sandbox: Sandbox, after: int) -> dict[str, Any]:
    """Return what changes, with the logged requests that ended after the `after`th."""
    log = sandbox.log
    missed = min(max(log.total - after, 0), len(log.requests))
    return {
        "total": log.total,
        "in_flight": log.in_flight,
        "peak": log.peak,
        "failed": sum(n for (_, status), n in log.served.items() if status is None or status >= 400),  # noqa: PLR2004
        "created": len(sandbox.created),
        "faults": [fault(switch) for switch in sandbox.faults],
        "limits": list(islice(_windows(sandbox), _SHOWN_WINDOWS)),
        "enforced": all(windows.enforced for windows in sandbox.limits.values()),
        "log": [asdict(log.requests[i]) for i in range(len(log.requests) - missed, len(log.requests))],
    }


def fault(switch: FaultSwitch) -> dict[str, Any]:
    """Describe one fault that can be switched, by what is not as usual."""
    usual: dict[str, Any] = msgspec.to_builtins(type(switch.rule)())
    whole: dict[str, Any] = msgspec.to_builtins(switch.rule)
    rule = {name: value for name, value in whole.items() if name == "kind" or value != usual[name]}
    return {"id": switch.id, "on": switch.on and not switch.spent, "met": switch.met, "rule": rule}


def _windows(sandbox: Sandbox) -> Iterator[dict[str, Any]]:
    """Return the rate windows of the accounts of recent requests, the latest first."""
    lately = islice(reversed(sandbox.log.requests), _LOOKED_AT)
    for backend, account in dict.fromkeys((served.backend, served.account) for served in lately):
        windows = sandbox.limits.get(backend)
        if windows is None:
            continue
        for used, (most, seconds) in zip(windows.used(account), windows.limits, strict=True):
            if used:
                yield {"backend": backend, "account": account, "used": used, "most": most, "seconds": seconds}


def accounts(sandbox: Sandbox, search: str, skip: int) -> dict[str, Any]:
    """List accounts whose ids contain some text, and how many there are."""
    found = [id_ for id_ in sandbox.location_ids if search in id_]
    shown = found[skip : skip + _MOST_ACCOUNTS]
    rows = [_location(sandbox, id_) for id_ in shown]
    if not skip and not search:
        vendors = sandbox.state
        rows = [
            {
                "backend": "leadping",
                "account": DEFAULT,
                "numbers": len(vendors.leadping),
                "state": "connected",
            },
            {
                "backend": "agents",
                "account": DEFAULT,
                "numbers": len(vendors.assignments),
                "state": "connected",
            },
            *rows,
        ]
    return {"accounts": rows, "locations": len(found), "next": skip + len(shown)}


def _location(sandbox: Sandbox, location_id: str) -> dict[str, Any]:
    location = sandbox.state.location(location_id)
    return {
        "backend": "leadconnector",
        "account": location_id,
        "numbers": len(location.numbers) if location is not None else 0,
        "state": "connected" if location is not None and location.connected else "not connected",
    }
