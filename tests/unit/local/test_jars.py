import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.local import jars

CONTENT = b"a jar"
JAR = jars.Jar("org.example", "tide", "1.0", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


Serve = Callable[[Path], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves folders over HTTP, as a mirror of the Maven repository does."""
    servers: list[ThreadingHTTPServer] = []

    def start(folder: Path) -> str:
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder))))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def place(repository: Path, content: bytes) -> Path:
    path = repository / JAR.path
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_a_jar_lies_where_maven_looks_for_it() -> None:
    assert JAR.path == Path("org/example/tide/1.0/tide-1.0.jar")


def test_only_the_locked_content_is_whole(tmp_path: Path) -> None:
    assert jars.damaged([JAR], tmp_path) == [JAR]
    path = place(tmp_path, CONTENT)
    assert jars.damaged([JAR], tmp_path) == []
    path.write_bytes(CONTENT[:-1])
    assert jars.damaged([JAR], tmp_path) == [JAR]


def test_a_tampered_mirror_is_refused_and_nothing_of_it_stays(tmp_path: Path, serve: Serve) -> None:
    place(tmp_path / "mirror", b"another jar")
    with pytest.raises(jars.DamagedJarError, match="tide-1.0.jar does not match"):
        list(jars.fetch([JAR], tmp_path / "local", serve(tmp_path / "mirror")))
    assert not (tmp_path / "local" / JAR.path).exists()


def test_a_truncated_jar_is_fetched_anew(tmp_path: Path, serve: Serve) -> None:
    place(tmp_path / "mirror", CONTENT)
    place(tmp_path / "local", CONTENT[:2])
    assert list(jars.fetch([JAR], tmp_path / "local", serve(tmp_path / "mirror"))) == [JAR]
    assert jars.damaged([JAR], tmp_path / "local") == []


def test_the_committed_lock_names_the_broker_once_per_jar() -> None:
    lock = jars.read_lock()
    assert len({(jar.group, jar.artifact) for jar in lock}) == len(lock)
    assert any(jar.artifact == "kafka_2.13" for jar in lock)
    assert all(len(jar.sha256) == 64 for jar in lock)
