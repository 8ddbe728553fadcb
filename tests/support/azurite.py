"""Azurite: Microsoft's own server that stands in for Azure's blobs."""

import base64
import hmac
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""Everybody's: documented, and the same wherever Azurite runs."""
CONTAINER = "box"
VERSION = "2021-12-02"
PACKAGE = Path(__file__).parent.parent / "objectstore" / "azurite"
INSTALL_TIMEOUT_S = 600


@contextmanager
def running_azurite() -> Iterator[str]:
    """The endpoint of a server that keeps what it is given in memory, with one container."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js (node and npm) is not installed")
    if not (PACKAGE / "node_modules").exists():
        subprocess.run(
            ["npm", "ci"], cwd=PACKAGE, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S
        )
    main = PACKAGE / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    place = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"]
    server = subprocess.Popen(
        ["node", str(main), *place, "--skipApiVersionCheck", "--silent"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert server.stdout is not None
        listening = (line for line in server.stdout if "successfully listens on" in line)
        line = next(listening, None)
        assert line is not None, "Azurite ended"
        endpoint = line.split()[-1]
        make_container(endpoint)
        yield endpoint
    finally:
        # Asked to end it would wait for connections that clients keep open.
        server.kill()
        server.communicate(timeout=20)


def make_container(endpoint: str) -> None:
    stamp = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    to_sign = (
        "PUT" + "\n" * 12 + f"x-ms-date:{stamp}\nx-ms-version:{VERSION}\n"
        f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    )
    digest = hmac.digest(base64.b64decode(ACCOUNT_KEY), to_sign.encode(), "sha256")
    headers = {
        "x-ms-date": stamp,
        "x-ms-version": VERSION,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
        "Content-Type": "",
    }
    url = f"{endpoint}/{ACCOUNT}/{CONTAINER}?restype=container"
    request = urllib.request.Request(url, data=b"", headers=headers, method="PUT")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 201
