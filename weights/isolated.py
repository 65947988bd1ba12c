"""Work on a hostile file in a process of its own: if that dies or hangs, only the file is refused.

A helper process (`python -m MODULE`) is started when it is first needed and waits for requests on its
standard input. For each it forks a child that does the work under a limit on memory and answers with records
on standard output: a line of JSON, then as many raw bytes as the line's "bytes" says. The child is gone
after one request, so nothing that a file did to it reaches the next one. Where the system cannot fork, the
helper itself does the work and ends, and the next request starts another.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import IO, Any

try:
    import resource
except ImportError:  # Windows has no limits of this kind
    resource = None  # type: ignore[assignment]

__all__ = ["Helper", "HelperFailed", "Record", "limit_memory", "no_more_files", "serve"]

_START_SECONDS = 120
_LONGEST_LINE = 1 << 20

Record = tuple[dict[str, Any], bytes]


class HelperFailed(Exception):
    """The process that did the work ended before its answer did. The text says how."""


def _search_path() -> str:
    """The places this process imports from, for one that starts in the same folder."""
    return os.pathsep.join(os.path.abspath(entry) for entry in sys.path)


class Helper:
    """The client's end of one helper process; requests of several threads wait for each other.

    Args:
        module: The module to run, which calls `serve`.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def _started(self) -> subprocess.Popen[bytes]:
        # After a fork of this process both would talk through one pipe: the new one starts its own helper.
        if self._process is not None and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        environment = {**os.environ, "PYTHONPATH": _search_path(), "OPENBLAS_NUM_THREADS": "1"}
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise HelperFailed(f"no process could be started: {error.strerror or error}") from error
        self._process, self._owner = process, os.getpid()
        atexit.register(_end, process, self._owner)
        with _Alarm(process, _START_SECONDS):
            line = _stdout(process).readline(64)
        if line != b"ready\n":
            self._drop()
            raise HelperFailed("the process that reads such files did not start")
        return process

    def _drop(self) -> None:
        if self._process is not None:
            _end(self._process, self._owner)
            self._process = None

    def ask(self, request: dict[str, Any], seconds: float) -> Generator[Record, None, None]:
        """The records that the helper answers a request with.

        Args:
            request: What `serve`'s function is called with, as JSON.
            seconds: How long the whole answer may take; then the process is killed.

        Yields:
            Each record, as it comes.

        Raises:
            HelperFailed: If the process dies, hangs or answers nonsense. The records before that were given.
        """
        with self._lock:
            process = self._started()
            whole = False
            alarm = _Alarm(process, seconds)
            try:
                with alarm:
                    _stdin(process).write(json.dumps(request).encode() + b"\n")
                    _stdin(process).flush()
                    record, content = _record(_stdout(process))
                    while "exit" not in record:
                        yield record, content
                        record, content = _record(_stdout(process))
                    whole = True
            except (OSError, ValueError, EOFError) as error:
                how = f"no end of it within {seconds:.0f} s" if alarm.rang else "its reader ended early"
                raise HelperFailed(how) from error
            finally:
                if not whole:
                    self._drop()
            if record["exit"]:
                raise HelperFailed(_how(record["exit"]))


class _Alarm:
    """Kills the process unless the block ends in time; `rang` says whether it did."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.rang = False
        self._process = process
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True

    def _ring(self) -> None:
        self.rang = True
        _kill(self._process)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


def _stdout(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def _record(stream: IO[bytes]) -> Record:
    line = stream.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise EOFError
    record = json.loads(line)
    size = record.get("bytes", 0)
    content = stream.read(size) if size else b""
    if len(content) != size:
        raise EOFError
    return record, content


def _how(status: int) -> str:
    if status < 0:
        return f"the process that reads it died of signal {-status}"
    return "the process that reads it ran out of memory or failed"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the helper and the child it waits for: both are in a process group of their own."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, 9)
        else:
            process.kill()


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if owner != os.getpid():
        return
    if process.poll() is None:
        _kill(process)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()


def limit_memory(more: int) -> None:
    """Let this process use `more` bytes of address space beyond what it has now, where the system can."""
    if resource is None or not os.path.exists("/proc/self/statm"):
        return
    with open("/proc/self/statm", "rb") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, used + more))


def no_more_files() -> None:
    """From now on this process can open nothing: the system has no number left for another open file."""
    if resource is None:
        return
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))


def _answer(work: Callable[[dict[str, Any], Callable[..., None]], None], request: dict[str, Any]) -> None:
    def send(record: dict[str, Any], content: bytes | memoryview = b"") -> None:
        head = {**record, "bytes": len(content)} if content else record
        for part in (json.dumps(head).encode() + b"\n", content):
            view = memoryview(part)
            while view:
                view = view[os.write(1, view) :]

    work(request, send)


def serve(work: Callable[[dict[str, Any], Callable[..., None]], None]) -> None:
    """The helper's end: answer requests until standard input ends.

    Args:
        work: Called with a request and a function `send(record, content=b"")`.
    """
    os.write(1, b"ready\n")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if not hasattr(os, "fork"):
            _answer(work, request)
            os.write(1, b'{"exit": 0}\n')
            return
        child = os.fork()
        if not child:
            status = 1
            try:
                _answer(work, request)
                status = 0
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(1, json.dumps({"exit": status}).encode() + b"\n")
