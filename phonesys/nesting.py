"""How deep plain data is nested: what is nested too deep exhausts the stack of whoever looks at it later."""

from __future__ import annotations

from typing import Any, TypeGuard

DEEPEST = 32
"""Deeper than anything that anybody writes by hand or a vendor documents."""


def is_deep(value: Any, most: int = DEEPEST) -> bool:
    """Say whether lists and objects lie in one another more than `most` deep."""
    level = [value]
    for _ in range(most):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    """Return the containers that this one holds."""
    if _is_object(value):
        return [inner for inner in value.values() if isinstance(inner, dict | list)]
    return [inner for inner in value if isinstance(inner, dict | list)] if _is_list(value) else []


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
