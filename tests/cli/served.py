"""A WSGI application as a server of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def served(application: Callable[..., Any]) -> Iterator[str]:
    """Give the address of a server of ``application``, which runs until the block ends."""
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415  # of the extra dev

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_: object) -> None: ...

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
