"""Connections to a chosen worker of a server."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from socket import MSG_DONTWAIT, MSG_PEEK, create_connection, socket

from tests.chaos.environment import serving
from tests.chaos.scenarios import workers
from tests.robot_socket import RobotSocket, robot_socket
from tests.services import Redis, Server, wait_until
from tests.watch_connection import Watcher, watching


def holder(server: Server, local: socket) -> int | None:
    """Return the pid of the worker that has the other end."""
    port = local.getsockname()[1]
    for worker in workers(server):
        if any(end.raddr and end.raddr.port == port for end in worker.net_connections("tcp")):
            return worker.pid
    return None


def holders(server: Server, connections: int = 20) -> Counter[int]:
    """Count how many of the new connections each worker has; the kernel distributes them by their ports."""
    with ExitStack() as stack:
        ends = [stack.enter_context(create_connection(("127.0.0.1", server.port))) for _ in range(connections)]
        return Counter(wait_until(lambda end=end: holder(server, end), what="accepted") for end in ends)


@contextmanager
def serving_two_workers(server: Server, channels: Redis, how: str) -> Iterator[Server]:
    """Serve the database of `server` with two workers; `how` names an alteration in tests/patched_server.py."""
    with serving(server.settings["DATABASE_URL"], "--workers", "2", redis_url=channels.url, how=how) as other:
        wait_until(lambda: len(holders(other)) == 2, what="both workers take connections")
        yield other


@contextmanager
def connected_to(server: Server, pid: int) -> Iterator[socket]:
    """Yield a connection that this worker has accepted."""
    with ExitStack() as stack:
        while True:
            end = stack.enter_context(create_connection(("127.0.0.1", server.port)))
            if wait_until(lambda end=end: holder(server, end) or is_reset(end), what="accepted") == pid:
                break
        yield end


def is_reset(end: socket) -> bool:
    """Check whether the connection was in the queue of a worker that was just killed."""
    try:
        return end.recv(1, MSG_PEEK | MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@contextmanager
def wire_at(server: Server, pid: int, path: str, key: str | None = None) -> Iterator[RobotSocket]:
    """Connect a robot to this worker."""
    with connected_to(server, pid) as end, robot_socket(server, path, key, sock=end) as robot:
        yield robot


@contextmanager
def watching_at(server: Server, pid: int, path: str, headers: dict[str, str]) -> Iterator[Watcher]:
    """Connect a page to this worker."""
    with connected_to(server, pid) as end, watching(server, path, headers, sock=end) as page:
        yield page


def rss(server: Server) -> int:
    return sum(worker.memory_info().rss for worker in workers(server))
