"""A small program with the manners, good and bad, that a supervised process may have."""

import argparse
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def note(diary: Path, text: str) -> None:
    with diary.open("a") as stream:
        stream.write(f"{text}\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--diary", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--parent", action="store_true")
    arguments = parser.parse_args()
    note(arguments.diary, f"{arguments.name} started")
    if arguments.fail:
        sys.exit("this program always fails")
    if arguments.parent:
        # In a session of its own: neither a signal to the group nor the parent's end reaches it.
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    if arguments.port is None:
        return
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if arguments.stubborn else lambda *_: stopping.set())
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stopping.wait()
    note(arguments.diary, f"{arguments.name} stopped")
    os._exit(0)


if __name__ == "__main__":
    main()
