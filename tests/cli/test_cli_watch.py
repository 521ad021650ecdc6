"""`phonesys watch`: its lines, its end, and what outlives a kill."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from phonesys.config.durations import parse_duration
from phonesys.errors import InvalidArgument
from tests.cli.vendors import call, end, serving, start, toml, write
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from phonesys.sandbox import Sandbox

SECRET = "s3cr3t-p4th-of-a-hook"
EVENTS = ("watch", "--interval", "1s", "--store", "i.db", "-f", "jsonl", "--config", "c.toml")


@pytest.fixture(scope="module")
def vendors() -> Iterator[Sandbox]:
    with serving(locations=3, not_connected=0, leadping=12, agents=6, enforce_limits=False) as sandbox:
        yield sandbox


@pytest.fixture
def home(tmp_path: Path, vendors: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PHONESYS_CONFIG", "PHONESYS_STORE", "PHONESYS_ALERTS_URLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "c.toml", toml(vendors))
    return tmp_path


class Hook:
    """Receives alerts in a thread. Holds its responses back while `open` is not set."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.arrived = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()
        self.url = ""


@contextmanager
def serve_hook() -> Generator[Hook]:
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.requests.append(json.loads(body))
            hook.arrived.release()
            hook.open.wait()
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the name of the base class
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        hook.url = f"json://user:{SECRET}@127.0.0.1:{server.server_port}/{SECRET}"
        try:
            yield hook
        finally:
            hook.open.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    with serve_hook() as running:
        yield running


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_events_as_json_lines(home: Path) -> None:
    """A sweep's line comes after its findings, and says whether it was complete."""
    done = call(*EVENTS, "--sweeps", "1")
    assert done.status == 0, done
    *found, sweep = lines(done.out)
    assert {line["event"] for line in found} == {"finding"}
    assert {line["state"] for line in found} == {"new"}
    assert (sweep["event"], sweep["complete"], sweep["open_findings"]) == ("sweep", True, len(found))
    chosen = call(*EVENTS, "--sweeps", "1", "--select", found[0]["code"], "--store", "j.db")
    assert {line.get("code") for line in lines(chosen.out)[:-1]} == {found[0]["code"]}
    again = call(*EVENTS, "--sweeps", "1", "--keep", "1")
    (sweep,) = lines(again.out)
    assert (sweep["sweep"], sweep["pruned"], sweep["open_findings"]) == (2, 1, len(found))


def test_events_as_text(home: Path, vendors: Sandbox) -> None:
    """Each is a line with its time."""
    done = call("watch", "--interval", "1s", "--store", "i.db", "--sweeps", "1", "--config", "c.toml")
    assert done.status == 0, done
    *found, sweep = done.out.splitlines()
    assert all(line[20:].startswith("Z finding: ") or " finding: " in line for line in found)
    assert "sweep 1: " in sweep
    assert "watching leadconnector, leadping, agents, every 0:00:01" in done.err


def test_an_incomplete_sweep_is_said(home: Path, vendors: Sandbox) -> None:
    """Its numbers are not removed, its line gives reasons, and the status of a limited watch is 1."""
    assert call(*EVENTS, "--sweeps", "1", "--no-audit").status == 0
    broken = toml(vendors).replace(vendors.leadping_key, "wrong")
    write(home / "c.toml", broken)
    done = call(*EVENTS, "--sweeps", "1", "--no-audit")
    assert done.status == 1, done
    *changes, sweep = lines(done.out)
    assert [(line["kind"], line["backend"]) for line in changes] == [("unknown", "leadping")]
    assert (sweep["complete"], sweep["unread_accounts"]) == (False, 1)
    assert sweep["unread"][0]["backend"] == "leadping"
    text = call("watch", "--interval", "1s", "--store", "i.db", "--sweeps", "1", "--config", "c.toml")
    assert " incomplete: 1 account not read: leadping" in text.out


def test_a_hangup_ends_it_like_any_command(home: Path) -> None:
    """What was found is in the store."""
    process = start(*EVENTS, cwd=home)
    assert process.stdout is not None
    while b'"sweep"' not in process.stdout.readline()[:20]:
        pass
    process.send_signal(signal.SIGHUP)
    done = end(process)
    assert (done.status, "Traceback" in done.err) == (129, False), done
    assert call("snapshots", "--store", "i.db").status == 0


def test_no_alert_is_sent_twice_after_a_kill(home: Path, hook: Hook) -> None:
    """Not even one that was being sent, which may have arrived."""
    variables = {"PHONESYS_ALERTS_URLS": hook.url}
    hook.open.clear()
    process = start(*EVENTS, cwd=home, variables=variables)
    assert hook.arrived.acquire(timeout=PATIENCE)
    process.kill()
    end(process)
    hook.open.set()
    done = end(start(*EVENTS, "--sweeps", "1", cwd=home, variables=variables))
    assert [line["event"] for line in lines(done.out)] == ["sweep"]
    assert len(hook.requests) == 1
    assert SECRET not in done.out + done.err


def test_a_term_waits_for_a_message(home: Path, hook: Hook) -> None:
    """The outcome of a message that is being sent is known before the program ends."""
    hook.open.clear()
    variables = {"PHONESYS_ALERTS_URLS": hook.url}
    process = start(*EVENTS, cwd=home, variables=variables)
    assert hook.arrived.acquire(timeout=PATIENCE)
    process.send_signal(signal.SIGTERM)
    hook.open.set()
    assert end(process).status == 0
    done = end(start(*EVENTS, "--sweeps", "1", cwd=home, variables=variables))
    assert [line["event"] for line in lines(done.out)] == ["sweep"]
    assert len(hook.requests) == 1


def test_alerts_of_the_configuration(home: Path, hook: Hook, vendors: Sandbox, monkeypatch: Any) -> None:
    """Addresses come from variables, options from the section, and neither is printed."""
    monkeypatch.setenv("OPS_HOOK", hook.url)
    section = '[alerts]\nseverity = "notice"\nquiet_period = "1h"\nmax_items = 2\nchanges = false\n'
    write(home / "c.toml", f'{section}[alerts.urls_env]\nops = "OPS_HOOK"\n\n{toml(vendors)}')
    done = call(*EVENTS, "--sweeps", "1")
    assert done.status == 0, done
    assert "alerts go to ops" in done.err
    (message,) = hook.requests
    assert len(message["message"].splitlines()) == 3
    (sent,) = [line for line in lines(done.out) if line["event"] == "alert"]
    assert (sent["destination"], sent["sent"], sent["problem"]) == ("ops", True, None)
    assert SECRET not in done.out + done.err
    assert "to ops; " in call("doctor", "--config", "c.toml").out
    done = call("watch", "--test-alerts", "--config", "c.toml")
    assert (done.status, done.err) == (0, "ops: a test message was sent\n")
    assert call(*EVENTS, "--sweeps", "1", "--no-alerts").status == 0
    assert len(hook.requests) == 2


def test_alerts_go_with_backends_of_the_environment(home: Path, vendors: Sandbox, monkeypatch: Any) -> None:
    """A file that configures only alerts leaves the backends to their variables."""
    monkeypatch.setenv("PHONESYS_LEADPING_API_KEY", vendors.leadping_key)
    monkeypatch.setenv("PHONESYS_LEADPING_BASE_URL", vendors.leadping_url)
    write(home / "c.toml", '[alerts]\nseverity = "notice"\n')
    done = call(*EVENTS, "--sweeps", "1", "--no-audit")
    assert done.status == 0, done
    assert "watching leadping, every" in done.err


def test_a_message_that_is_not_sent_is_said(home: Path) -> None:
    """The line names the destination and the reason, and the status of a limited watch is 1."""
    variables = {"PHONESYS_ALERTS_URLS": f"json://127.0.0.1:1/{SECRET} jsons://127.0.0.1:1/{SECRET}"}
    command = ("watch", "--interval", "1s", "--store", "i.db", "--sweeps", "1", "--config", "c.toml")
    done = end(start(*command, cwd=home, variables=variables))
    assert done.status == 1, done
    assert " not sent to json: " in done.out
    assert "tried again after the next sweep" in done.out
    assert SECRET not in done.out + done.err


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ('[alerts]\nurls = "slack://SECRET"\n', "alerts.urls: expected a table"),
        (
            '[alerts.urls]\nops = "nonsense://SECRET"\n',
            "ops: apprise does not understand this address",
        ),
        ('[alerts.urls_env]\nops = "json://SECRET"\n', "expected the name of an environment variable"),
        ('[alerts]\nquiet_period = "soon"\n', "alerts.quiet_period: expected a duration"),
        ('[alerts]\nseverity = "bad"\n', "severity: expected critical, warning, notice"),
        ("[alerts]\nmax_items = true\n", "alerts.max_items: expected a whole number"),
        ("[alerts]\nquite_period = 1\n", "alerts.quite_period: no such key; did you mean 'quiet_period'?"),
    ],
)
def test_a_wrong_section_is_one_line(home: Path, vendors: Sandbox, section: str, why: str) -> None:
    """The line names the key, shows no address, and nothing is sent."""
    urls = "" if "urls" in section else '[alerts.urls]\nops = "json://127.0.0.1"\n'
    write(home / "c.toml", f"{section.replace('SECRET', SECRET)}{urls}\n{toml(vendors)}")
    done = call(*EVENTS)
    assert (done.status, len(done.err.splitlines())) == (2, 1), done
    assert why in done.err
    assert SECRET not in done.err


def test_a_found_file_sends_nothing_to_its_author(home: Path, vendors: Sandbox) -> None:
    """A configuration that happens to be in the directory may not name addresses of its own."""
    write(home / "phonesys.toml", f'[alerts.urls]\nops = "json://127.0.0.1"\n\n{toml(vendors)}')
    done = call("watch", "--store", "i.db")
    assert done.status == 2
    assert "alerts.urls: this file was found, not named" in done.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--config", "c.toml"), "--store: expected a file or URL"),
        ((*EVENTS[3:], "--interval", "x"), "--interval: expected a duration such as 90s, 15m or 1h30m"),
        ((*EVENTS[3:], "--interval", "0s"), "--interval: expected more than nothing"),
        ((*EVENTS[3:], "--quiet-period", "x"), "--quiet-period: expected a duration"),
        ((*EVENTS[3:], "--ignore", "nothing"), "unknown rule 'nothing'"),
        ((*EVENTS[3:], "--select", "nothing"), "--select: unknown rule 'nothing'"),
        ((*EVENTS[3:], "--sandbox"), "--config: cannot be combined with --sandbox"),
        ((*EVENTS[3:], "--test-alerts"), "no alerts are configured"),
    ],
)
def test_misuse_is_one_line(home: Path, arguments: tuple[str, ...], why: str) -> None:
    """The status is 2, before anything is sent."""
    done = call("watch", *arguments)
    assert (done.status, len(done.err.splitlines())) == (2, 1), done
    assert why in done.err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("1h30m", 5400), ("90", 90), ("1.5s", 1.5), (" 2D ", 172_800), ("0", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    """Units may be combined, and a plain number is seconds."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "m", "15 minutes", "1m1m", "-5m", "1e9", "999999d", "٣m", "nan"])
def test_other_durations_are_refused(text: str) -> None:
    """The error shows an example."""
    with pytest.raises(InvalidArgument, match="expected a duration"):
        parse_duration(text)
