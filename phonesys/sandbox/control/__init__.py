"""The page at `/` of a sandbox that is served, and the endpoints behind it."""

from __future__ import annotations

from phonesys.sandbox.control.routes import Control

__all__ = ["Control"]
