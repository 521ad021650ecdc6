"""When the last requests of very many accounts were answered, in a dozen bytes for each request."""

from __future__ import annotations

from math import inf
from struct import Struct

_RECORD = Struct("<Id")
"""A part of the account's hash, and the time."""
_SIZE = _RECORD.size
_MARK = Struct("<I")
_TIME = Struct("<d")
_BUCKETS = 2048
_BITS = 11


class CompletionHistory:
    """The answers of the last `per` seconds, by account; what is taken out is there no longer.

    Neither keys nor objects are kept, only 43 bits of each key's hash. Two accounts whose bits are the same
    share their traces: one of them may then wait for a slot that it need not wait for, and none sends more.
    """

    __slots__ = ("_buckets", "_newest", "_per")

    def __init__(self, per: float) -> None:
        self._per = per
        self._buckets: dict[int, bytearray] = {}
        self._newest = -inf

    def add(self, key: str, times: list[float], now: float) -> None:
        """Keep when answers came to this account."""
        self._newest = now
        hashed = hash(key)
        bucket = self._buckets.get(hashed % _BUCKETS)
        if bucket is None:
            bucket = self._buckets[hashed % _BUCKETS] = bytearray()
        elif bucket and _RECORD.unpack_from(bucket)[1] + self._per <= now:
            self._expire(bucket, now)
        mark = hashed >> _BITS & 0xFFFFFFFF
        for time in times:
            bucket += _RECORD.pack(mark, time)

    def expire(self, now: float) -> None:
        """Drop everything at once where nothing of it counts any more."""
        if self._buckets and now >= self._newest + self._per:
            self._buckets.clear()

    def pop(self, key: str, now: float) -> list[float]:
        """Return when answers came to this account, in their order, and forget it here."""
        hashed = hash(key)
        bucket = self._buckets.get(hashed % _BUCKETS)
        if bucket is None:
            return []
        mark = _MARK.pack(hashed >> _BITS & 0xFFFFFFFF)
        at = bucket.find(mark)
        return [] if at < 0 else self._remove(bucket, mark, at, now)

    def _remove(self, bucket: bytearray, mark: bytes, at: int, now: float) -> list[float]:
        times: list[float] = []
        while at >= 0:
            if at % _SIZE:  # bytes of another record, or of two
                at = bucket.find(mark, at + 1)
                continue
            (time,) = _TIME.unpack_from(bucket, at + _MARK.size)
            if time + self._per > now:
                times.append(time)
            del bucket[at : at + _SIZE]
            at = bucket.find(mark, at)
        return times

    def _expire(self, bucket: bytearray, now: float) -> None:
        """Drop the oldest records that no longer count; records are about in the order of their times."""
        end = 0
        while end < len(bucket) and _TIME.unpack_from(bucket, end + _MARK.size)[0] + self._per <= now:
            end += _SIZE
        if end:
            del bucket[:end]
