"""nginx as the service that is called: a small answer at /api/small, and a large file at /api/large."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

SMALL: Final = (
    b'{"results":[' + b",".join(b'{"id":"%d","name":"Ada Lovelace"}' % number for number in range(25)) + b"]}"
)

_CONFIGURATION: Final = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 10000000;
    default_type application/json;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {folder}/root; }}
}}
"""


@contextmanager
def running_nginx(folder: Path, port: int, large_bytes: int = 0) -> Iterator[str]:
    """Serve for as long as the block lasts; its address."""
    files = folder / "root" / "api"
    files.mkdir(parents=True)
    (files / "small").write_bytes(SMALL)
    with (files / "large").open("wb") as large:
        # Lines that look like an export, not zeros: the proxy has to look through them.
        line = b'{"id":"0123456789","email":"ada@example.com","url":"https://example.com/?a=b%20c&d=e"}\n'
        block = line * (1_000_000 // len(line))
        for _ in range(large_bytes // len(block)):
            large.write(block)
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port))
    process = subprocess.Popen(["/usr/sbin/nginx", "-c", str(configuration)], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                httpx.get(f"{url}/api/small", trust_env=False).raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)
