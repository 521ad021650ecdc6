"""Agent numbers: phone numbers assigned to agents, behind an `X-API-Key`."""

from phonesys.backends.agents.provider import AgentNumbers
from phonesys.backends.agents.wire import Agent, AgentNumber

__all__ = ["Agent", "AgentNumber", "AgentNumbers"]
