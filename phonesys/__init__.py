"""An asyncio SDK that finds which phone numbers are held, where, and in what state."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from phonesys._version import __version__ as __version__

if TYPE_CHECKING:
    from phonesys.backends.agents import Agent, AgentNumber, AgentNumbers
    from phonesys.backends.info import BackendInfo, BackendOption, OAuthInfo
    from phonesys.backends.leadconnector import LeadConnector, LeadConnectorNumber, LeadConnectorPage
    from phonesys.backends.leadconnector.oauth import (
        AgencyTokens,
        OAuthToken,
        authorization_url,
        exchange_code,
    )
    from phonesys.backends.leadping import Leadping, LeadpingNumber, LeadpingRow, ListOptions
    from phonesys.changes import ChangeOutcome, ChangeRequest, ChangeResult, Plan, PlannedChange, Risk
    from phonesys.errors import (
        AttemptTimeout,
        BackendFault,
        BadRequest,
        CallError,
        ConfigError,
        Conflict,
        ConnectError,
        DeadlineExceeded,
        DecodeError,
        Forbidden,
        InconsistentListing,
        InvalidArgument,
        NotFound,
        NotJson,
        NotOpen,
        NotPermitted,
        OutcomeUnknown,
        PermanentServerError,
        PhonesysError,
        PhoneSystemMissing,
        PlanError,
        QuotaExhausted,
        RateLimited,
        RepeatedPage,
        RequestTimeout,
        ResponseTooLarge,
        RunSuperseded,
        ServerError,
        StatusError,
        SweepIncomplete,
        TransportError,
        Unauthorized,
        UnexpectedRedirect,
        UnknownProvider,
        Unsupported,
        UsageError,
    )
    from phonesys.http.auth import ApiKey, Auth, Bearer, PerAccount
    from phonesys.http.options import HttpOptions
    from phonesys.http.ratelimit.window import RateLimit
    from phonesys.model import (
        Capabilities,
        Cursor,
        NumberKind,
        NumberPool,
        NumberStatus,
        Page,
        PhoneNumber,
    )
    from phonesys.oauth import FileTokenStore, MemoryTokenStore, TokenStore
    from phonesys.provider import NumberProvider
    from phonesys.record import NumberBase, NumberRecord
    from phonesys.secret import Secret
    from phonesys.sweep import AccountReport, Failure, Outcome, Sweep, SweepReport
    from phonesys.system import PhoneSystem
    from phonesys.telemetry import LoggingObserver, Observer
    from phonesys.writes import Action, Reconciled, Write, WriteOutcome

__all__ = [
    "AccountReport",
    "Action",
    "AgencyTokens",
    "Agent",
    "AgentNumber",
    "AgentNumbers",
    "ApiKey",
    "AttemptTimeout",
    "Auth",
    "BackendFault",
    "BackendInfo",
    "BackendOption",
    "BadRequest",
    "Bearer",
    "CallError",
    "Capabilities",
    "ChangeOutcome",
    "ChangeRequest",
    "ChangeResult",
    "ConfigError",
    "Conflict",
    "ConnectError",
    "Cursor",
    "DeadlineExceeded",
    "DecodeError",
    "Failure",
    "FileTokenStore",
    "Forbidden",
    "HttpOptions",
    "InconsistentListing",
    "InvalidArgument",
    "LeadConnector",
    "LeadConnectorNumber",
    "LeadConnectorPage",
    "Leadping",
    "LeadpingNumber",
    "LeadpingRow",
    "ListOptions",
    "LoggingObserver",
    "MemoryTokenStore",
    "NotFound",
    "NotJson",
    "NotOpen",
    "NotPermitted",
    "NumberBase",
    "NumberKind",
    "NumberPool",
    "NumberProvider",
    "NumberRecord",
    "NumberStatus",
    "OAuthInfo",
    "OAuthToken",
    "Observer",
    "Outcome",
    "OutcomeUnknown",
    "Page",
    "PerAccount",
    "PermanentServerError",
    "PhoneNumber",
    "PhoneSystem",
    "PhoneSystemMissing",
    "PhonesysError",
    "Plan",
    "PlanError",
    "PlannedChange",
    "QuotaExhausted",
    "RateLimit",
    "RateLimited",
    "Reconciled",
    "RepeatedPage",
    "RequestTimeout",
    "ResponseTooLarge",
    "Risk",
    "RunSuperseded",
    "Secret",
    "ServerError",
    "StatusError",
    "Sweep",
    "SweepIncomplete",
    "SweepReport",
    "TokenStore",
    "TransportError",
    "Unauthorized",
    "UnexpectedRedirect",
    "UnknownProvider",
    "Unsupported",
    "UsageError",
    "Write",
    "WriteOutcome",
    "authorization_url",
    "exchange_code",
]

# Searched in this order for a public name, the cheap ones first.
_HOMES = (
    "errors",
    "model",
    "secret",
    "writes",
    "provider",
    "record",
    "backends.info",
    "http.options",
    "http.ratelimit.window",
    "http.auth",
    "telemetry",
    "sweep",
    "system",
    "oauth",
    "backends.agents",
    "backends.leadping",
    "backends.leadconnector",
    "backends.leadconnector.oauth",
    "changes",
)

if not TYPE_CHECKING:  # a type checker reports unknown names, which this would hide

    def __getattr__(name: str) -> object:
        """Load a public name on first use: `phonesys --version` needs no HTTP library."""
        if name in __all__:
            for home in _HOMES:
                found = vars(_import_module(f"phonesys.{home}")).get(name)
                if found is not None:
                    globals()[name] = found
                    return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
