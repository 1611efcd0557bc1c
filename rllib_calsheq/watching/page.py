"""The report of runs that go on, renewed and served to a browser of this machine.

Only the loopback address answers, and only to requests that name it: a page from elsewhere cannot
read it. The page asks for nothing; a header tells the browser to load it again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rllib_calsheq.watching.following import RunNow

LOOPBACK = "127.0.0.1"
#: Hosts by which a browser may call this one.
OWN_NAMES = (LOOPBACK, "localhost")
#: Seconds between two looks whether runs have ended; after a run's end, what a browser has to come
#: back beyond the time that it was told; from a page without a report to the next.
LOOK_EVERY_S, COMES_BACK_S, SOON_S = 1.0, 5.0, 5.0
NOT_YET = (
    "<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>No stage yet</title>"
    "<p>Waiting for the end of the first stage.</p></html>"
)


class ReportServer(ThreadingHTTPServer):
    """Serves one page.

    Args:
        port: The port; 0 for any that is free.
        every_s: Seconds after which a browser loads the page again.

    Attributes:
        page: The page; None as long as there is none.
        is_final: Whether it is the last one, which is not loaded again.
        was_asked: Whether a browser has ever asked for it.
        final_was_sent: Whether one has got the last.

    Raises:
        ValueError: If the port is taken.
    """

    daemon_threads = True

    def __init__(self, port: int, every_s: float) -> None:
        self.every_s = every_s
        self.page: bytes | None = None
        self.is_final = self.was_asked = False
        self.final_was_sent = threading.Event()
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            raise ValueError(
                f"--port {port} cannot be had ({error}): give another one, or leave it out"
            ) from None

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{LOOPBACK}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer

    def do_GET(self) -> None:
        """Sends the page."""
        server = self.server
        if self.headers.get("Host") not in [f"{name}:{server.server_port}" for name in OWN_NAMES]:
            self.send_error(403)
            return
        if self.path != "/":
            self.send_error(404)
            return
        page, is_final = server.page, server.is_final
        content = NOT_YET.encode() if page is None else page
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        if not is_final:
            again = SOON_S if page is None else server.every_s
            self.send_header("Refresh", f"{max(1.0, again):.0f}")
        self.end_headers()
        self.wfile.write(content)
        server.was_asked = True
        if is_final:
            server.final_was_sent.set()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not spoken of."""


@contextmanager
def serving(port: int, every_s: float) -> Iterator[ReportServer]:
    """A block in which the page is served."""
    with ReportServer(port, every_s) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def watch_report(
    runs: Sequence[str | Path],
    write: Callable[[], Path],
    *,
    every_s: float,
    port: int = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Writes the report of some runs anew, and serves it, until all of them have ended.

    Args:
        runs: Folders of runs or of trials.
        write: Writes the report and returns the HTML file; a `ValueError` of its says why there is
            none yet.
        every_s: Seconds between two reports.
        port: Where to serve it; 0 for any port that is free.
        say: Called with each line.

    Raises:
        ValueError: If a folder is no run, the port is taken, or there is no report at the end.
    """
    watched = [RunNow(run) for run in runs]
    with serving(port, every_s) as server:
        say(f"the report is at {server.address}, renewed every {every_s:g} s until the end")
        said = ""
        while True:
            for run in watched:
                run.look()
            ended = all(run.end is not None for run in watched)
            try:
                page = write().read_bytes()
                # In this order: whoever sees the second has the last page.
                server.page, server.is_final = page, ended
            except (ValueError, OSError) as error:
                # A checkpoint may go while it is read.
                if ended:
                    raise
                if any(trial.rows for run in watched for trial in run.trials) and said != str(
                    error
                ):
                    said = str(error)
                    say(f"no new report: {error}")
            if ended:
                break
            _wait(watched, every_s)
        if server.was_asked:
            server.final_was_sent.wait(every_s + COMES_BACK_S)


def _wait(watched: Sequence[RunNow], every_s: float) -> None:
    """Waits for the time of the next report, or for the end of all runs."""
    until = time.monotonic() + every_s
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(LOOK_EVERY_S, left))
        for run in watched:
            run.look()
        if all(run.end is not None for run in watched):
            return
