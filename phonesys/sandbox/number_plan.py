"""Where numbers and identifiers come from: a seed and an index, and nothing that has to be remembered."""

from __future__ import annotations

import random
import string
from math import gcd
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_MASK = (1 << 64) - 1


def _areas(text: str) -> list[str]:
    return text.split()


_US_AREAS = _areas(
    """
    201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234 239 240
    248 251 252 253 254 256 260 262 267 269 270 276 281 301 302 303 304 305 307 308 309 310 312 313 314
    315 316 317 318 319 320 321 323 325 330 334 336 337 347 352 360 386 401 402 404 405 406 407 408 409
    410 412 413 414 415 417 419 423 425 432 434 435 440 443 469 478 479 480 484 501 502 503 504 505 507
    508 509 510 512 513 515 516 517 518 520 530 540 541 559 561 562 563 570 571 573 574 580 585 586 601
    602 603 605 606 607 608 609 610 612 614 615 616 617 618 619 620 623 626 630 631 636 641 646 650 651
    660 661 662 678 701 702 703 704 706 707 708 712 713 714 715 716 717 718 719 720 724 727 731 732 734
    740 754 757 760 763 765 770 772 773 775 781 785 786 801 802 803 804 805 806 808 810 812 813 814 815
    816 817 818 828 830 831 832 843 845 847 850 856 858 859 860 863 864 865 870 901 903 904 906 907 908
    909 910 912 913 914 915 916 917 918 919 920 925 928 931 936 937 940 941 949 951 952 954 956 970 972
    973 978 979 980 985 989
    """
)
_CA_AREAS = _areas(
    """
    204 226 250 289 306 403 416 418 450 506 514 519 604 613 647 705 709 778 780 807 819 902 905
    """
)
_TOLL_FREE = _areas("800 833 844 855 866 877 888")
_GB_MOBILE = [f"7{digit}" for digit in "12345789"]
_GB_NATIONAL = _areas("330 333 343 345 370")
_IN_MOBILE = _areas("93 94 95 96 97 98 99")
_MX_AREAS = [area + digit for area in ("55", "33", "81") for digit in "2345678"]

# An exchange may neither begin with 0 or 1 nor be a service code (N11); 555 is kept for fiction.
_EXCHANGES = tuple(n for n in range(200, 1000) if n % 100 != 11 and n != 555)  # noqa: PLR2004


def mix(value: int, /) -> int:
    """Turn an integer into 64 evenly scattered bits (splitmix64): the same ones in every process."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def mix128(value: int, /) -> int:
    """Turn an integer into 128 scattered bits, enough for a sid or a UUID."""
    first = mix(value)
    return first << 64 | mix(first)


def uuid_like(value: int, /) -> str:
    """Write 128 scattered bits the way a UUID is written."""
    text = f"{mix128(value):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


class Shuffle:
    """A seeded one-to-one mapping of `range(size)` onto itself, with its inverse, in constant memory."""

    def __init__(self, size: int, rng: random.Random) -> None:
        self.size = size
        self._factor = next(
            n for n in iter(lambda: rng.randrange(1, max(size, 2)), None) if gcd(n, size) == 1
        )
        self._shift = rng.randrange(max(size, 1))
        self._back = pow(self._factor, -1, size) if size > 1 else 0

    def forward(self, index: int) -> int:
        """Return the value of this index."""
        return (index * self._factor + self._shift) % self.size

    def backward(self, value: int) -> int:
        """Return the index of this value."""
        return (value - self._shift) * self._back % self.size


class Plan(NamedTuple):
    """One kind of number: how many of them there are, and how the nth one is written."""

    weight: int
    capacity: int
    write: Callable[[int], str]


def _nanp(areas: list[str]) -> Callable[[int], str]:
    def write(index: int) -> str:
        rest, line = divmod(index, 10_000)
        area, exchange = divmod(rest, len(_EXCHANGES))
        return f"+1{areas[area]}{_EXCHANGES[exchange]}{line:04}"

    return write


def _plain(country: str, areas: list[str], digits: int) -> Callable[[int], str]:
    def write(index: int) -> str:
        area, rest = divmod(index, 10**digits)
        return f"+{country}{areas[area]}{rest:0{digits}}"

    return write


def _nanp_plan(weight: int, areas: list[str]) -> Plan:
    return Plan(weight, len(areas) * len(_EXCHANGES) * 10_000, _nanp(areas))


def _plain_plan(weight: int, country: str, areas: list[str], digits: int) -> Plan:
    return Plan(weight, len(areas) * 10**digits, _plain(country, areas, digits))


# Weights are in 64ths. The first plan is by far the largest, and takes what does not fit into the others.
PLANS = (
    _nanp_plan(40, _US_AREAS),
    _nanp_plan(5, _CA_AREAS),
    _nanp_plan(5, _TOLL_FREE),
    _plain_plan(5, "44", _GB_MOBILE, 8),
    _plain_plan(2, "44", _GB_NATIONAL, 7),
    _plain_plan(4, "91", _IN_MOBILE, 8),
    _plain_plan(3, "52", _MX_AREAS, 7),
)
CAPACITY = PLANS[0].capacity
_BY_DRAW = tuple(position for position, plan in enumerate(PLANS) for _ in range(plan.weight))


class NumberPlan:
    """Gives every slot a different E.164 number, the same one for the same seed."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 -- reproducible on purpose
        self._salt = rng.getrandbits(64)
        self._shuffles = tuple(Shuffle(plan.capacity, rng) for plan in PLANS)

    def number(self, slot: int) -> str:
        """Write the number in this slot, of which there are `CAPACITY`."""
        position = _BY_DRAW[mix(slot ^ self._salt) & 63]
        if slot >= PLANS[position].capacity:
            position = 0
        return PLANS[position].write(self._shuffles[position].forward(slot))


_CA, _FREE = frozenset(_CA_AREAS), frozenset(_TOLL_FREE)
_ABROAD = {"447": ("GB", "mobile"), "443": ("GB", "national"), "91": ("IN", "mobile"), "52": ("MX", "local")}


def describe(number: str) -> tuple[str, str]:
    """Return country (ISO 3166-1 alpha-2) and type of an E.164 number; unknown ones are US and local."""
    if number.startswith("+1"):
        area = number[2:5]
        return "CA" if area in _CA else "US", "toll-free" if area in _FREE else "local"
    for prefix, described in _ABROAD.items():
        if number.startswith(prefix, 1):
            return described
    return "US", "local"


_ALPHABET = string.ascii_letters + string.digits
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_VALUES = {pair: value for value, pair in enumerate(_PAIRS)}


class Identifiers:
    """Ids of 20 letters and digits that hold their own index, so that no table of them is needed."""

    LENGTH = 20

    def __init__(self, seed: int, count: int) -> None:
        self._count = count
        self._shuffle = Shuffle(len(_ALPHABET) ** self.LENGTH, random.Random(seed))  # noqa: S311 -- as above

    def write(self, index: int) -> str:
        """Write the id of this index."""
        value, pairs = self._shuffle.forward(index), [""] * (self.LENGTH // 2)
        for place in range(len(pairs)):
            value, pair = divmod(value, len(_PAIRS))
            pairs[place] = _PAIRS[pair]
        return "".join(pairs)

    def read(self, text: str) -> int | None:
        """Read the index behind an id, or None if it was not written here."""
        if len(text) != self.LENGTH:
            return None
        value = 0
        for start in range(self.LENGTH - 2, -1, -2):
            pair = _VALUES.get(text[start : start + 2])
            if pair is None:
                return None
            value = value * len(_PAIRS) + pair
        index = self._shuffle.backward(value)
        return index if index < self._count else None
