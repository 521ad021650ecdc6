# ruff: noqa: E501 -- a case and what is said about it are best read on one line
"""Configuration: the backends that it makes, and one clear line for every mistake."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import AgentNumbers, LeadConnector, Leadping, RateLimit, provider
from phonesys.config import load_backend, load_backends, read_settings
from phonesys.config.accounts import AccountFile
from phonesys.errors import ConfigError, UsageError
from phonesys.sandbox import Sandbox, status
from tests.cli.vendors import call, serving, toml, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from phonesys.model import Page, PhoneNumber

PLANTED = "pit-5ec3e7-0f-no-use"
APP = f'client_id = "a-b", client_secret = "{PLANTED}", company_id = "c"'


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, without variables of ours."""
    monkeypatch.chdir(tmp_path)
    for kind in ("LEADCONNECTOR_TOKEN", "LEADPING_API_KEY", "AGENTS_API_KEY", "CONFIG", "LEADPING_BASE_URL"):
        monkeypatch.delenv(f"PHONESYS_{kind}", raising=False)


def wrote(text: str) -> None:
    write(Path("phonesys.toml"), text)


# Backends


def test_every_key_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value reaches its backend."""
    monkeypatch.setenv("LC", PLANTED)
    wrote("""
        [lc-eu]
        provider = "leadconnector"
        token_env = "LC"
        accounts = ["loc_1", "loc_2", "loc_1"]
        base_url = "https://eu.example.com/lc"
        page_size = 500
        with_pools = true
        company_id = "co"
        version = "v3"
        speculate = 2
        limit = { requests = 50, per = 5 }
        http = { timeout = 30, deadline = false, retries = 1 }
        [leadping]
        api_keys = { org_1 = "sk_1", org_2 = "sk_2" }
        limit = false
        http = { proxy = "http://p:1", ca_file = "~/ca.pem", trust_env = false, user_agent = "acme/1" }
        [agents]
        api_key = "ak"
        account = "omnia"
        status = "ACTIVE"
    """)
    lc, leadping, agents = load_backends(Path("phonesys.toml"))
    assert isinstance(lc.provider, LeadConnector)
    assert (lc.name, lc.accounts) == ("lc-eu", ("loc_1", "loc_2"))
    assert (lc.provider.page_size, lc.provider.with_pools, lc.provider.speculate) == (500, True, 2)
    assert lc.provider.http._limit == RateLimit(50, per=5)
    options = lc.provider.http.options
    assert (options.timeout, options.deadline, options.retries) == (30.0, None, 1)
    assert isinstance(leadping.provider, Leadping)
    options = leadping.provider.http.options
    assert (options.proxy, options.ca_file) == ("http://p:1", "~/ca.pem")
    assert (options.trust_env, options.user_agent) == (False, "acme/1")
    assert (leadping.accounts, leadping.single_account) == (("org_1", "org_2"), False)
    assert isinstance(agents.provider, AgentNumbers)
    assert (agents.accounts, agents.single_account, agents.provider.status) == (("omnia",), True, "ACTIVE")


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file, a backend is configured if its variable is set."""
    monkeypatch.setenv("PHONESYS_LEADPING_API_KEY", PLANTED)
    monkeypatch.setenv("PHONESYS_LEADPING_BASE_URL", "http://127.0.0.1:1/x")
    (backend,) = load_backends(None)
    assert backend.name == "leadping"
    assert backend.account_count == 1


def test_variables_fill_what_the_file_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable is named after the section."""
    monkeypatch.setenv("PHONESYS_MY_PING_API_KEY", PLANTED)
    wrote('[my-ping]\nprovider = "leadping"\n')
    assert load_backend(None, "my-ping").name == "my-ping"


def test_the_file_is_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config wins over PHONESYS_CONFIG, which wins over phonesys.toml in this folder."""
    for name in ("phonesys", "variable", "option"):
        write(tmp_path / f"{name}.toml", f'[{name}]\nprovider = "agents"\napi_key = "x"\n')
    assert list(read_settings(None).sections) == ["phonesys"]
    monkeypatch.setenv("PHONESYS_CONFIG", str(tmp_path / "variable.toml"))
    assert list(read_settings(None).sections) == ["variable"]
    assert list(read_settings(tmp_path / "option.toml").sections) == ["option"]


async def test_accounts_file_is_read_from_beside_the_configuration(tmp_path: Path) -> None:
    """Comments and blank lines are skipped, and the file can be read again."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "ids.txt").write_bytes(b"\xef\xbb\xbfloc_1\r\n# no\n\n  loc_2  \nloc_3")
    file = write(tmp_path / "conf" / "p.toml", '[leadconnector]\ntoken = "x"\naccounts_file = "ids.txt"\n')
    accounts = load_backend(file, "leadconnector").accounts
    assert isinstance(accounts, AccountFile)
    for _ in range(2):
        assert [account async for account in accounts] == ["loc_1", "loc_2", "loc_3"]
    assert accounts.exhausted


@pytest.mark.parametrize(
    ("content", "expected"), [(b"ok\n\xff\xfe\n", "line 2: expected UTF-8"), (b"x" * 5000, "line 1")]
)
async def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    """The error names the line."""
    (tmp_path / "ids").write_bytes(content)
    with pytest.raises(UsageError, match=expected):
        assert [account async for account in AccountFile(str(tmp_path / "ids"))]


# Backends of other packages


class Foreign:
    def __init__(self, url: str, secret: str = "", *, name: str = "foreign") -> None:
        if url == "bad":
            raise ValueError(f"cannot log in with {secret}")
        self.name, self.url, self.key = name, url, secret

    async def accounts(self) -> AsyncIterator[str]:
        yield "one"

    async def page(self, account: str, cursor: Any = None) -> Page[PhoneNumber]:
        raise NotImplementedError


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("third_party")
    module.__dict__["Foreign"] = Foreign
    monkeypatch.setitem(sys.modules, "third_party", module)
    entry = EntryPoint("foreign", "third_party:Foreign", "phonesys.providers")
    monkeypatch.setattr(provider, "entry_points", lambda group: (entry,))


@pytest.mark.usefixtures("foreign")
def test_a_foreign_backend_gets_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are keyword arguments, and `secret_env` reads `secret` from a variable."""
    monkeypatch.setenv("THEIRS", PLANTED)
    wrote('[mine]\nprovider = "foreign"\nurl = "u"\nsecret_env = "THEIRS"\naccounts = ["a"]\n')
    made = load_backend(None, "mine")
    assert isinstance(made.provider, Foreign)
    assert (made.provider.url, made.provider.key, made.provider.name) == ("u", PLANTED, "mine")
    assert made.accounts == ("a",)


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ('url = "u"\nsecrt = "x"', "foreign.secrt: no such key; did you mean 'secret'?"),
        ("", "foreign: Foreign.__init__() missing 1 required positional argument: 'url'"),
        (f'url = "bad"\nsecret = "{PLANTED}"', r"foreign: cannot log in with \*\*\*"),
    ],
)
def test_a_foreign_backend_that_refuses_is_one_line(section: str, expected: str) -> None:
    """The line has its own words, without the secrets it was called with."""
    wrote(f"[foreign]\n{section}\n")
    with pytest.raises(ConfigError) as caught:
        load_backend(None, "foreign")
    assert str(caught.value) == f"phonesys.toml: {expected}".replace("\\", "")


# Trust


EVIL = 'base_url = "https://example.com/collect"'
VENDOR = 'base_url = "https://api.leadping.ai/v2"'
UNTRUSTED = [
    f'[leadping]\n{EVIL}\napi_key_env = "SECRET"',
    f"[leadping]\n{EVIL}",
    f'[leadping]\n{EVIL}\napi_keys_env = {{ a = "SECRET" }}',
    f'[mine]\nprovider = "agents"\n{EVIL}\napi_key_env = "SECRET"',
    '[leadping]\nbase_url = "http://127.0.0.1:1"\napi_key_env = "SECRET"',
    '[leadping]\nbase_url = "https://api.leadping.ai.example.com"\napi_key_env = "SECRET"',
    '[leadping]\nbase_url = "https://api.leadping.ai:8443"\napi_key_env = "SECRET"',
    f'[leadconnector]\n{EVIL}\n[leadconnector.oauth]\nclient_id = "a-b"\nclient_secret = "x"\ncompany_id = "c"',
]


@pytest.mark.parametrize("text", UNTRUSTED)
def test_a_file_that_was_found_sends_no_credential_to_a_host_of_its_own(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent: the error is one line, with status 2. A file that the user names may do it."""
    monkeypatch.setenv("SECRET", PLANTED)
    monkeypatch.setenv("PHONESYS_LEADPING_API_KEY", PLANTED)
    wrote(text)
    done = call("sweep")
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert ".base_url: credentials from elsewhere are not sent to a host that this file chooses" in done.err
    assert "--config phonesys.toml" in done.err
    assert load_backends(Path("phonesys.toml"))
    monkeypatch.setenv("PHONESYS_CONFIG", "phonesys.toml")
    assert load_backends(None)


@pytest.mark.parametrize("key", ["proxy", "ca_file"])
@pytest.mark.parametrize("credential", ["", 'api_key_env = "SECRET"\n'])
def test_a_file_that_was_found_cannot_listen_to_credentials(
    key: str, credential: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy and an authority of its choice would read what is sent to the vendor's host."""
    monkeypatch.setenv("SECRET", PLANTED)
    if not credential:
        monkeypatch.setenv("PHONESYS_LEADPING_API_KEY", PLANTED)
    wrote(f'[leadping]\n{credential}http = {{ {key} = "http://p:1" }}')
    with pytest.raises(ConfigError, match=rf"leadping\.http\.{key}: credentials from elsewhere"):
        load_backends(None)
    assert load_backends(Path("phonesys.toml"))


@pytest.mark.parametrize(
    "text",
    [
        f'[leadping]\n{EVIL}\napi_key = "its own"',
        '[leadping]\nbase_url = "http://127.0.0.1:1/leadping"\napi_key = "its own"',
        f'[leadping]\n{VENDOR}\napi_key_env = "SECRET"',
        '[leadping]\napi_key_env = "SECRET"',
    ],
)
def test_a_file_that_was_found_may_use_its_own_credentials_or_the_vendors_host(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that the sandbox writes works as it is."""
    monkeypatch.setenv("SECRET", PLANTED)
    wrote(text)
    assert load_backends(None)[0].name == "leadping"


@pytest.mark.usefixtures("foreign")
def test_an_undescribed_backend_gets_no_credential_beside_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its vendor's host is not known, so that a file that was found may not choose one."""
    monkeypatch.setenv("THEIRS", PLANTED)
    wrote('[foreign]\nurl = "https://example.com"\nsecret_env = "THEIRS"\n')
    with pytest.raises(ConfigError, match=r"foreign\.url: credentials from elsewhere"):
        load_backend(None, "foreign")
    assert load_backend(Path("phonesys.toml"), "foreign").name == "foreign"


# Mistakes


WRONG = [
    ('[leadping]\napi_key = "x"\npage_size = "many"', 'leadping.page_size: expected a whole number, got "many"'),
    ('[leadping]\napi_key = "x"\npage_size = 101', "leadping.page_size: expected a whole number from 1 to 100, got 101"),
    ('[leadping]\napi_key = "x"\npage_size = true', "leadping.page_size: expected a whole number, got true"),
    ('[leadping]\napi_key = "x"\npage_sise = 10', "leadping.page_sise: no such key; did you mean 'page_size'?"),
    (f'[leadping]\napi_kee = "{PLANTED}"', "leadping.api_kee: no such key; did you mean 'api_key'?"),
    (f'[leadping]\napi_key = ["{PLANTED}"]', "leadping.api_key: expected a string, got list"),
    ('[leadping]\napi_key = " x"', "leadping.api_key: expected a string that is not empty nor padded with spaces"),
    (f'[leadping]\napi_key_env = "{PLANTED}"', "leadping.api_key_env: expected the name of an environment variable that is set"),
    ('[leadping]\napi_key_env = "LP_KEY"', "leadping.api_key_env: the environment variable LP_KEY is not set"),
    (f'[leadping]\napi_key = "{PLANTED}"\napi_key_env = "A"', "leadping.api_key: expected this or api_key_env, and not both"),
    (f'[leadping]\napi_keys = "{PLANTED}"', 'leadping.api_keys: expected a table of one for each account, as in { loc_1 = "…" }'),
    ("[leadping]", "leadping: expected a credential: api_key_env"),
    (f'[leadping]\napi_key = "x"\nbase_url = "https://u:{PLANTED}@h"', "leadping.base_url: expected https://host/path"),
    ('[leadping]\napi_key = "x"\nbase_url = "http://h"', "leadping.base_url: expected https://host/path"),
    ('[leadping]\napi_key = "x"\naccounts = ["a"]', "leadping.accounts: no such key; did you mean 'account'?"),
    ('[leadping]\napi_key = "x"\nlimit = 5', "leadping.limit: expected { requests = 100, per = 10 }, or false for none, got 5"),
    ('[leadping]\napi_key = "x"\nlimit = { requests = 0, per = 1 }', "leadping.limit: expected at least 1 request"),
    ('[leadping]\napi_key = "x"\n[leadping.http]\ntimeout = 0', "leadping.http.timeout: expected a positive number"),
    ('[leadping]\napi_key = "x"\n[leadping.http]\ntimeut = 1', "leadping.http.timeut: no such key; did you mean 'timeout'?"),
    ('[leadconnector]\ntoken = "x"\nversion = "v2"', "leadconnector.version: expected one of 2021-07-28, v3, got 'v2'"),
    ('[leadconnector]\ntoken = "x"\naccounts = "loc"', 'leadconnector.accounts: expected a list of strings, got "loc"'),
    ('[leadconnector]\ntoken = "x"\naccounts = [""]', "leadconnector.accounts: expected a list of strings that are not empty"),
    ('[leadconnector]\ntoken = "x"\naccounts_file = "no"', "leadconnector.accounts_file: no: cannot be read"),
    ('[leadconnector]\ntoken = "x"', "leadconnector.accounts: a token does not say which accounts it opens"),
    ('[leadconector]\ntoken = "x"', "leadconector: no backend named 'leadconector' is installed; did you mean 'leadconnector'?"),
    ('[leadconnector]\ntokens = { l = "x" }\ncompany_id = "c"', "leadconnector.company_id: expected only beside token or token_env"),
    (f'[leadconnector]\noauth = "{PLANTED}"', "leadconnector.oauth: expected a table, as in [leadconnector.oauth]"),
    (f'[[leadconnector.oauth]]\nclient_secret = "{PLANTED}"', "leadconnector.oauth: expected a table, as in [leadconnector.oauth]"),
    (f'[leadconnector]\ntoken = "x"\noauth = {{ client_secret = "{PLANTED}" }}', "leadconnector.token: expected this or oauth, and not both"),
    (f'[leadconnector]\ntokens_env = {{ l = "X" }}\noauth = {{ client_secret = "{PLANTED}" }}', "leadconnector.tokens_env: expected this or oauth, and not both"),
    (f'[leadconnector]\ncompany_id = "c"\noauth = {{ {APP} }}', "leadconnector.company_id: expected only beside token or token_env"),
    (f"[leadping]\noauth = {{ {APP} }}", "leadping.oauth: no such key"),
    (f"[leadconnector]\noath = {{ {APP} }}", "leadconnector.oath: no such key; did you mean 'oauth'?"),
    (f'[leadconnector.oauth]\nclient_secrt = "{PLANTED}"', "leadconnector.oauth.client_secrt: no such key; did you mean 'client_secret'?"),
    (f'[leadconnector]\noauth = {{ {APP}, store_key = "{PLANTED}" }}', "leadconnector.oauth.store_key: no such key; did you mean 'store_key_env'?"),
    (f'[leadconnector.oauth]\nclient_secret = "{PLANTED}"\ncompany_id = "c"', "leadconnector.oauth.client_id: expected the app's client id"),
    ('[leadconnector.oauth]\nclient_id = "a-b"\ncompany_id = "c"', 'leadconnector.oauth: expected client_secret_env = "NAME"'),
    (f'[leadconnector.oauth]\nclient_id = "a-b"\nclient_secret = "{PLANTED}"', 'leadconnector.oauth: expected company_id = "…"'),
    (f'[leadconnector]\noauth = {{ {APP}, client_secret_env = "X" }}', "leadconnector.oauth.client_secret: expected this or client_secret_env, and not both"),
    (f'[leadconnector]\noauth = {{ {APP}, location_ids = ["l"] }}', "leadconnector.oauth.company_id: expected this or location_ids, and not both"),
    (f'[leadconnector.oauth]\nclient_id = "a-b"\nclient_secret = "{PLANTED}"\nlocation_ids = []', "leadconnector.oauth: expected company_id = "),
    (f'[leadconnector.oauth]\nclient_id = "a-b"\nclient_secret_env = "{PLANTED}"\ncompany_id = "c"', "leadconnector.oauth.client_secret_env: expected the name of an environment variable that is set"),
    (f'[leadconnector.oauth]\nclient_id = "a-b"\nclient_secret = ["{PLANTED}"]\ncompany_id = "c"', "leadconnector.oauth.client_secret: expected a string, got list"),
    (f'[leadconnector.oauth]\nclient_id = ["{PLANTED}"]\nclient_secret = "x"\ncompany_id = "c"', "leadconnector.oauth.client_id: expected a string\n"),
    ('[leadconnector.oauth]\nclient_id = "a\\u0007"\nclient_secret = "x"\ncompany_id = "c"', "leadconnector.oauth.client_id: expected an id as the vendor gives it"),
    (f'[leadconnector]\noauth = {{ {APP}, store_key_env = "LC_KEY" }}', "leadconnector.oauth.store_key_env: the environment variable LC_KEY is not set"),
    (f'[leadconnector]\noauth = {{ {APP}, store = "~no-such-user/x" }}', "leadconnector.oauth.store: Could not determine home directory"),
    ("[x]\nprovider = 5", "x.provider: expected a string, got 5"),
    (f'token = "{PLANTED}"', "token: expected a section named for a backend, as in [leadconnector]"),
    (f'[leadping]\napi_key = "{PLANTED}\n', "expected TOML: "),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRONG, ids=[expected[:40] for _, expected in WRONG])
def test_a_wrong_configuration_is_one_clear_line(text: str, expected: str) -> None:
    """The line has file, key and expectation, never the secret; the status is 2."""
    wrote(text)
    done = call("sweep")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"phonesys: phonesys.toml: {expected}"), done.err
    assert done.err.count("\n") == 1
    assert PLANTED not in done.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("sweep", "--config", "no.toml"), "no.toml: No such file or directory"),
        (("sweep",), "environment: nothing is configured; write a phonesys.toml or set PHONESYS_"),
        (("numbers", "leadping"), "environment: no backend is named 'leadping'; there are: none"),
        (("sweep", "--sandbox", "--accounts", "-"), "--accounts: cannot be combined with --sandbox, which has its own"),
        (("sweep", "--seed", "4"), "--seed: only with --sandbox"),
        (("sweep", "--sandbox", "--backend", "x"), "the sandbox has no backend 'x'"),
        (("sweep", "--accounts", "x", "--backend", "a", "--backend", "b"), "--accounts lists the accounts of one"),
        (("sweep", "--sandbox", "-o", "no/where.csv"), "--output no/where.csv: No such file or directory"),
        (("sweep", "--sandbox", "--deadline", "-1"), "deadline: expected a positive number of seconds, got -1.0"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_clear_line(arguments: tuple[str, ...], expected: str) -> None:
    """The line has the expectation, and the status is 2."""
    done = call(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"phonesys: {expected}"), done.err
    assert done.err.count("\n") == 1


def test_one_key_takes_no_list_of_accounts(tmp_path: Path) -> None:
    """The same numbers would be listed once for each line."""
    wrote('[leadping]\napi_key = "x"\n')
    (tmp_path / "ids").write_text("a\nb\n")
    done = call("sweep", "--accounts", "ids", "--backend", "leadping")
    assert done.status == 2
    assert "reads one account, its own" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_file_of_secrets_that_others_can_read_is_warned_of() -> None:
    """The file is used nevertheless. A file that only names variables is not worth a warning."""
    wrote(f'[agents]\napi_key = "{PLANTED}"\n')
    Path("phonesys.toml").chmod(0o644)
    done = call("providers")
    assert done.status == 0
    assert "phonesys.toml holds credentials and others can read it" in done.err
    wrote(f"[leadconnector]\noauth = {{ {APP} }}\n")
    Path("phonesys.toml").chmod(0o644)
    assert "others can read it" in call("providers").err
    wrote('[agents]\napi_key_env = "NAME"\n[leadconnector.oauth]\nclient_secret_env = "NAME"\n')
    Path("phonesys.toml").chmod(0o644)
    assert "others can read it" not in call("providers").err


def test_providers_shows_what_is_wrong_and_goes_on() -> None:
    """Each section is checked by itself, and the status is 2."""
    wrote('[agents]\napi_key_env = "NAME"\n[leadping]\napi_key = "x"\n')
    done = call("providers", "-f", "csv")
    assert done.status == 2
    assert "the environment variable NAME is not set" in done.out
    assert "ready: 1 account" in done.out


def test_no_output_holds_a_credential(tmp_path: Path) -> None:
    """No command, successful or not, prints one to stdout, stderr or the log."""
    with serving(locations=2, leadping=3, agents=3, enforce_limits=False) as sandbox:
        text = toml(sandbox) + "[agents.http]\nbackoff = 0\n[leadping.http]\nbackoff = 0\n"
        wrote(text)
        said = _everything(sandbox)
        wrote(text.replace("/leadping", "/agents").replace("pit-", "pit-wrong-"))
        said += _everything(sandbox)
    for secret in (sandbox.leadconnector_token, sandbox.leadping_key, sandbox.agents_key, "pit-wrong-"):
        assert secret.partition("-" if secret.startswith("pit") else "_")[2] not in said
    assert len(said) > 5000


def _everything(sandbox: Sandbox) -> str:
    sandbox.script("leadping.list", status(500), repeat=True)
    commands = [
        ("sweep", "-v"),
        ("sweep", "-f", "jsonl", "-v"),
        ("providers",),
        ("find", "+14155552671", "-v"),
        ("numbers", "agents", "-v"),
        ("pools", "leadconnector", sandbox.location_ids[0]),
        ("get", "leadping", "nope", "-v"),
        ("create", "leadping", "--name", "x", "-v"),
    ]
    done = [call(*command) for command in commands]
    sandbox.clear_script()
    return "".join(one.out + one.err for one in done)
