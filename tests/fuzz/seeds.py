"""Where a search begins: for each target, input that it likes."""

from __future__ import annotations

from tests.fuzz.answers import LOCATIONS, TOKENS, errors, listings

HEADS = (
    b"429\nRetry-After: 17\nX-Request-Id: req_1",
    b"503\nretry-after-ms: 250\nCF-Ray: 8f\xff\x1b[2J",
    b"429\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT",
    b"404\nRetry-After: Mon, 31 Dec 9999 23:59:59 -9999\nRequest-Id: " + b"r" * 4000,
    b"429\nRetry-After: " + b"9" * 4000,
)
TOKEN_FILES = (
    (
        b'{"format":"phonesys-tokens","version":1,"tokens":{"leadconnector/c/company/co_1":{"access":"at_1",'
        b'"refresh":"rt_1","obtained_at":1.5,"expires_at":9e9,"subject":"company/co_1","scope":"a"},"k":null}}'
    ),
    b'{"format":"phonesys-tokens","version":2}',
    b'{"format":"phonesys-tokens","version":1,"sealed":"gAAAAABm"}',
)
CONFIGS = (
    (
        b'[leadconnector]\ntoken = "pit-1"\naccounts = ["loc_1", "loc_2"]\npage_size = 500\nversion = "v3"\n'
        b"with_pools = true\nlimit = { requests = 90, per = 10 }\nhttp = { timeout = 5.5, retries = 1 }\n"
    ),
    (
        b'[agency]\nbackend = "leadconnector"\n[agency.oauth]\nclient_id = "c"\nclient_secret = "s"\n'
        b'company_id = "co_1"\nstore = "tokens.json"\n'
    ),
    b'[leadping]\napi_keys = { org_1 = "sk_1", org_2 = "sk_2" }\nbase_url = "https://api.leadping.ai"\n',
    b'[agents]\napi_key_env = "HOME"\nstatus = "active"\nlimit = false\naccount = "mine"\n',
)
PLANS = (
    b'{"seed":3,"fault":[{"kind":"status","code":503,"rate":0.5,"route":"leadconnector.*"},{"kind":"reset"}]}',
)

SEEDS: dict[str, tuple[bytes, ...]] = {
    "listing": listings(),
    "errors": (*(head + b"\n\n" + body for head in HEADS for body in errors()), *errors()),
    "oauth": (*TOKENS, *LOCATIONS, *TOKEN_FILES),
    "config": CONFIGS,
    "plan": PLANS,
}
"""By the names of the targets' groups."""
