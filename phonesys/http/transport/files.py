"""Limits of open files: each connection is one, and a container may allow as few as 64."""

from __future__ import annotations

import errno
import os
from math import inf

_RESERVED = 24
"""Files that are left to the rest of the program: name resolution, a database, a token store, a report."""
_SHARES = 3
"""Shares of the other files. A client takes one; other backends and servers of the process take others."""
_OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})


def available_files() -> float:
    """Return how many more connections a client may open."""
    try:
        import resource
    except ImportError:  # on Windows, which has no such limit
        return inf
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return inf
    return max(1, (limit - _count_open() - _RESERVED) // _SHARES)


def is_out_of_files(failure: BaseException) -> bool:
    """Return True if a connection could not be made because too many files are open."""
    cause = getattr(failure, "os_error", failure)  # of an aiohttp.ClientConnectorError
    return isinstance(cause, OSError) and cause.errno in _OUT_OF_FILES


def _count_open() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))  # noqa: PTH208 -- names only, without an object for each
        except OSError:
            continue
    return 0
