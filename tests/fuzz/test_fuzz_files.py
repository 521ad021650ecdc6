"""Damaged or hostile files raise an error of ours that names the file, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given

from phonesys import ConfigError, InvalidArgument, UsageError
from phonesys.config import load_backends
from phonesys.config.accounts import AccountFile
from phonesys.oauth import FileTokenStore, Token
from phonesys.secret import Secret
from tests.fuzz import targets
from tests.fuzz.drawn import always_the_same, changed, damaged
from tests.fuzz.seeds import CONFIGS, PLANS, TOKEN_FILES

LEADPING = '[leadping]\napi_key = "sk_1"\n'
LEADCONNECTOR = '[leadconnector]\ntoken = "pit-1"\n'
OAUTH = '[leadconnector.oauth]\nclient_id = "c"\nclient_secret = "s"\ncompany_id = "co"\n'
HEX = "0x" + "f" * 5000


@always_the_same
@given(damaged(CONFIGS))
def test_configurations(raw: bytes) -> None:
    """Damaged anywhere, a configuration makes backends or a UsageError."""
    targets.config(raw)


@always_the_same
@given(changed(PLANS))
def test_fault_plans(raw: bytes) -> None:
    """As JSON, a plan or a UsageError."""
    targets.plan(raw)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = " + "[" * 2000 + "]" * 2000, "expected at most 32 nested tables and lists"),
        ("[leadping]\n" + ".".join("a" * 3000) + " = 1", "expected at most 32 nested tables"),
        ("[leadping." + ".".join("a" * 3000) + "]\nx = 1", "expected at most 32 nested tables"),
        ("[leadping]\nx = " + "{a=" * 40 + "1" + "}" * 40, "expected at most 32 nested tables"),
        (f"{LEADPING}page_size = {'9' * 5000}", "expected TOML: Exceeds the limit"),
        (
            f"{LEADPING}page_size = {HEX}",
            "leadping.page_size: expected a whole number, got a number that is too long",
        ),
        (
            f"{LEADPING}page_size = {2**63}",
            "leadping.page_size: expected a whole number, got 9223372036854775808",
        ),
        (
            f"{LEADPING}account = {HEX}",
            "leadping.account: expected a string, got a number that is too long to show",
        ),
        (
            f"{LEADPING}account = [{HEX}]",
            "leadping.account: expected a string, got a number that is too long to show",
        ),
        (
            f"{LEADPING}http = {{ timeout = {'9' * 400} }}",
            "leadping.http.timeout: expected a number, got 9999",
        ),
        (
            f"{LEADPING}limit = {{ requests = 1, per = {'9' * 400} }}",
            "leadping.limit.per: expected a number, got 9999",
        ),
        (
            f"{LEADPING}limit = {{ requests = {HEX}, per = 1 }}",
            "leadping.limit.requests: expected a whole number",
        ),
        (
            f"{LEADPING}limit = {{ requests = 1, per = nan }}",
            "at least 1 request per a positive number of seconds",
        ),
        (f"{LEADPING}http = {{ deadline = inf }}", "leadping.http.deadline: expected a positive number"),
        (f'{LEADPING}account = "a\\u0000b"', "leadping.account: expected a string without null characters"),
        (f'{LEADPING}base_url = "https://a\\u0000b/"', "leadping.base_url: expected a string"),
        (f'{LEADCONNECTOR}accounts_file = "a\\u0000b"', "leadconnector.accounts_file: expected a string"),
        (f'{OAUTH}store = "a\\u0000b"', "leadconnector.oauth.store: expected a string"),
        ('["a\\u001b[2J"]\nprovider = "leadping"\napi_key = "x"', "expected a word for the backend"),
        (f'{LEADPING}api_key_env = "A\\nB"', "expected this or"),
        ('[leadping]\napi_key = "a\\nb"', "expected printable ASCII"),
        ('[leadping]\napi_key_env = "A\\u0000"', "leadping.api_key_env: expected a string without"),
        ("\ufeff\ufeff[leadping]", "expected TOML"),
    ],
)
def test_hostile_configurations_are_told_what_is_wrong(text: str, says: str, tmp_path: Path) -> None:
    """Nesting, numbers and characters that Python's own parts give up at, by the key that they are at."""
    path = tmp_path / "phonesys.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(UsageError) as caught:
        load_backends(path)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert caught.value.__cause__ is None


def test_a_configuration_of_any_length_is_not_read_whole(tmp_path: Path) -> None:
    """An endless file is none, nor is one that is nearly so."""
    path = tmp_path / "phonesys.toml"
    with path.open("wb") as file:
        file.truncate(2**26)  # it has no blocks
    with pytest.raises(ConfigError, match="expected a configuration, got more than 16,777,216 bytes"):
        load_backends(path)


def test_paths_that_cannot_be_are_named(tmp_path: Path) -> None:
    """A null character ends a path for the operating system, and is refused by Python in words of its own."""
    with pytest.raises(ConfigError, match="null byte"):
        load_backends(Path("a\0b"))
    with pytest.raises(InvalidArgument, match="a path cannot hold a null character"):
        FileTokenStore("a\0b")
    with pytest.raises(UsageError, match="cannot be read"):
        AccountFile("a\0b")


HOSTILE_FILES = (
    b"", b"\0" * 100, b"\xff" * 100, b"null\n", b"[]\n", b"[" * 5000, b'{"format":', TOKEN_FILES[0][:100],
    TOKEN_FILES[0].replace(b"1.5", b"9" * 400), TOKEN_FILES[0].replace(b"1.5", b"1e999"),
    TOKEN_FILES[0].replace(b"at_1", b"at\\n1"), TOKEN_FILES[0].replace(b"at_1", b"\\ud800"),
    TOKEN_FILES[0].replace(b'"version":1', b'"version":' + b"9" * 4000),
    TOKEN_FILES[2], TOKEN_FILES[2].replace(b"gAAAAABm", b"\xc3\xa9" * 100),
)  # fmt: skip


@pytest.mark.parametrize("raw", HOSTILE_FILES, ids=[repr(raw[:24]) for raw in HOSTILE_FILES])
@pytest.mark.parametrize("key", [None, "0" * 43 + "="], ids=["plain", "encrypted"])
async def test_a_token_store_refuses_what_it_did_not_write(
    key: str | None, raw: bytes, tmp_path: Path
) -> None:
    """Reading, refreshing and saving fail alike, without a word of what is in the file, which stays."""
    path = tmp_path / "tokens.json"
    path.write_bytes(raw + b"\n")
    store = FileTokenStore(tmp_path / "tokens.json", key=key)
    with pytest.raises(ConfigError, match=r"cannot be used: .* it was not changed") as caught:
        await store.load("key")
    assert len(str(caught.value)) < 500
    assert "at_1" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be used"):
        await store.save("key", Token(access=Secret("at_2"), obtained_at=1.0))
    with pytest.raises(ConfigError, match="cannot be used"):
        async with store.lock("key"):
            raise AssertionError("it was entered")
    assert path.read_bytes() == raw + b"\n"


@pytest.mark.parametrize("raw", HOSTILE_FILES, ids=[repr(raw[:24]) for raw in HOSTILE_FILES])
@pytest.mark.parametrize("key", [None, "0" * 43 + "="], ids=["plain", "encrypted"])
async def test_a_token_cache_forgets_what_it_cannot_read(key: str | None, raw: bytes, tmp_path: Path) -> None:
    """Loading finds nothing, and a flush replaces the file by one that holds the new token."""
    path = tmp_path / "tokens.json.d" / "cache"
    path.parent.mkdir()
    path.write_bytes(raw + b"\n")
    store, token = (
        FileTokenStore(tmp_path / "tokens.json", key=key),
        Token(access=Secret("at_2"), obtained_at=1.0),
    )
    assert await store.load("key") is None
    store.cache("key", token)
    await store.flush()
    assert await FileTokenStore(tmp_path / "tokens.json", key=key).load("key") == token


def test_a_file_of_accounts_is_read_no_further_than_its_first_endless_line(tmp_path: Path) -> None:
    """Megabytes without a line end are not an id."""
    path = tmp_path / "accounts"
    with path.open("wb") as file:
        file.write(b"loc_1\n")
        file.truncate(2**26)

    async def read() -> list[str]:
        return [account async for account in AccountFile(str(path))]

    with pytest.raises(UsageError, match="line 2: expected an account id"):
        asyncio.run(read())
