"""Completion history: when recent requests of very many accounts were answered, in 12 bytes each.

Why it exists: a sweep asks each of a hundred thousand accounts once or twice, and each account has a rate
window. The window must still know of those requests when the account is asked again.

What it gains: 12 bytes per request of the last window, where a window object takes about 600 bytes. Memory
of a sweep then does not grow with the number of accounts. Measured by `python -m benchmarks --cases scale`
and by `tests/http/test_http_ratelimit_history.py`.

How it works: neither keys nor objects are kept, only 43 bits of each key's hash: 11 choose a bucket, 32 mark
the record. Two accounts with the same bits share their history. One of them may then wait for a slot without
need, and none sends too much.

To delete it: keep every `SlidingWindow` in `RateLimiter` until its last completion has expired.
"""

from __future__ import annotations

from math import inf
from struct import Struct

_RECORD = Struct("<Id")
"""The mark of an account, and a time."""
_RECORD_SIZE = _RECORD.size
_MARK = Struct("<I")
_TIME = Struct("<d")
_BUCKET_BITS = 11
_BUCKETS = 2**_BUCKET_BITS


class CompletionHistory:
    """Completion times of the last `per` seconds, by account. Reading them removes them."""

    __slots__ = ("_buckets", "_newest", "_per")

    def __init__(self, per: float) -> None:
        self._per = per
        self._buckets: dict[int, bytearray] = {}
        self._newest = -inf

    def add(self, key: str, times: list[float], now: float) -> None:
        """Store completion times of an account."""
        self._newest = now
        hashed = hash(key)
        bucket = self._buckets.get(hashed % _BUCKETS)
        if bucket is None:
            bucket = self._buckets[hashed % _BUCKETS] = bytearray()
        elif bucket and _RECORD.unpack_from(bucket)[1] + self._per <= now:
            self._drop_expired(bucket, now)
        mark = hashed >> _BUCKET_BITS & 0xFFFFFFFF
        bucket += b"".join([_RECORD.pack(mark, time) for time in times])

    def expire(self, now: float) -> None:
        """Drop everything at once if even the newest record has expired."""
        if self._buckets and now >= self._newest + self._per:
            self._buckets.clear()

    def is_empty(self, now: float) -> bool:
        """Return True if no record counts any more."""
        self.expire(now)
        return not self._buckets

    def pop(self, key: str, now: float) -> list[float]:
        """Remove and return the completion times of an account, oldest first."""
        hashed = hash(key)
        bucket = self._buckets.get(hashed % _BUCKETS)
        if bucket is None:
            return []
        mark = _MARK.pack(hashed >> _BUCKET_BITS & 0xFFFFFFFF)
        at = bucket.find(mark)
        return [] if at < 0 else self._remove(bucket, mark, at, now)

    def _remove(self, bucket: bytearray, mark: bytes, at: int, now: float) -> list[float]:
        times: list[float] = []
        while at >= 0:
            if at % _RECORD_SIZE:  # a match inside another record, or across two
                at = bucket.find(mark, at + 1)
                continue
            end = at + _RECORD_SIZE
            while bucket.startswith(mark, end):  # records that were added together are neighbours
                end += _RECORD_SIZE
            records = _RECORD.iter_unpack(bucket[at:end])
            del bucket[at:end]
            times += [time for _, time in records if time + self._per > now]
            at = bucket.find(mark, at)
        return times

    def _drop_expired(self, bucket: bytearray, now: float) -> None:
        """Drop expired records from the front; records are nearly in the order of their times."""
        end = 0
        while end < len(bucket) and _TIME.unpack_from(bucket, end + _MARK.size)[0] + self._per <= now:
            end += _RECORD_SIZE
        if end:
            del bucket[:end]
