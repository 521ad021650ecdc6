"""A certificate of our own for loopback, made for one run."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make(folder: Path) -> Path | None:
    """Write a PEM file with a key and a self-signed certificate; None where no `openssl` can."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    key, certificate, both = (folder / name for name in ("key.pem", "certificate.pem", "server.pem"))
    made = subprocess.run(  # noqa: S603 -- a fixed command
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=False,
        capture_output=True,
    )  # fmt: skip
    if made.returncode:
        return None
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return both
