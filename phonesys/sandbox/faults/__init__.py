"""Faults on demand: scripted one by one, or drawn by a plan from a seed."""

from __future__ import annotations

from phonesys.sandbox.faults.answers import (
    Charset,
    ContentType,
    EmptyObject,
    GzipBomb,
    Html,
    HugeHeaders,
    InvalidJson,
    Null,
    Redirect,
    Status,
)
from phonesys.sandbox.faults.connection import LostAnswer, Refused, Reset, ResetBody, Truncated
from phonesys.sandbox.faults.engine import Faults, FaultSwitch
from phonesys.sandbox.faults.exchange import Exchange, Fault
from phonesys.sandbox.faults.helpers import body, delay, drop, drop_after, stall, status, truncate
from phonesys.sandbox.faults.live import BrokenText, LiveSpelling, NoNumber, OddTypes
from phonesys.sandbox.faults.plan import KINDS, AnyRule, FaultPlan, parse_rule
from phonesys.sandbox.faults.rows import (
    BadRow,
    DuplicateRows,
    MissingFields,
    MovingRows,
    RepeatedToken,
    UnknownEnum,
    UnknownFields,
    WrongShape,
)
from phonesys.sandbox.faults.rule import Rule, kind_of
from phonesys.sandbox.faults.script import Script
from phonesys.sandbox.faults.slow import Drip, Latency, StalledBody, StalledHeaders

__all__ = [
    "KINDS",
    "AnyRule",
    "BadRow",
    "BrokenText",
    "Charset",
    "ContentType",
    "Drip",
    "DuplicateRows",
    "EmptyObject",
    "Exchange",
    "Fault",
    "FaultPlan",
    "FaultSwitch",
    "Faults",
    "GzipBomb",
    "Html",
    "HugeHeaders",
    "InvalidJson",
    "Latency",
    "LiveSpelling",
    "LostAnswer",
    "MissingFields",
    "MovingRows",
    "NoNumber",
    "Null",
    "OddTypes",
    "Redirect",
    "Refused",
    "RepeatedToken",
    "Reset",
    "ResetBody",
    "Rule",
    "Script",
    "StalledBody",
    "StalledHeaders",
    "Status",
    "Truncated",
    "UnknownEnum",
    "UnknownFields",
    "WrongShape",
    "body",
    "delay",
    "drop",
    "drop_after",
    "kind_of",
    "parse_rule",
    "stall",
    "status",
    "truncate",
]
