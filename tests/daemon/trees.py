"""Commands whose processes are hard to get rid of. Each writes pids to files in `base`, when they are ready."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
_TELL = "open({path!r} + '.new', 'w').write(f'{{os.getpid()}}\\n'); os.rename({path!r} + '.new', {path!r})"


def _python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", f"import os, signal, time\n{code}"]


def _tell(base: Path, name: str) -> str:
    return _TELL.format(path=str(base / name))


def plain(base: Path) -> list[str]:
    return _python(f"{_tell(base, 'ready')}\ntime.sleep(600)")


def deaf(base: Path) -> list[str]:
    """Ignores SIGTERM."""
    return _python(f"{DEAF}\n{_tell(base, 'ready')}\ntime.sleep(600)")


def wrapped(base: Path) -> list[str]:
    """A shell that dies of SIGTERM, and its child, which does not."""
    (base / "child.py").write_text(f"import os, time\n{DEAF}\n{_tell(base, 'ready')}\ntime.sleep(600)")
    return ["bash", "-c", f"'{sys.executable}' -S '{base}/child.py' & wait"]


def daemonised(base: Path, environment: str = "os.environ") -> list[str]:
    """A grandchild in a session of its own whose parent is gone, like `aria2c --daemon`."""
    (base / "helper.py").write_text(f"import os, time\n{DEAF}\n{_tell(base, 'ready')}\ntime.sleep(600)")
    return _python(
        f"""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve({sys.executable!r}, ['helper', '-S', {str(base / "helper.py")!r}], {environment})
    os._exit(0)
os.wait()
time.sleep(600)"""
    )


def unmarked(base: Path) -> list[str]:
    """The same, with an empty environment."""
    return daemonised(base, "{}")


def forking(base: Path) -> list[str]:
    """20 processes that keep replacing themselves by children, each in a session of its own."""
    return _python(
        f"""
def life(end):
    os.setsid()
    while time.monotonic() < end:
        time.sleep(0.05)
        if os.fork():
            os._exit(0)
        os.setsid()
    os._exit(0)
for n in range(20):
    if os.fork() == 0:
        life(time.monotonic() + 60)
{_tell(base, "ready")}
while True:
    time.sleep(1)"""
    )


def headless(base: Path) -> list[str]:
    """Its first thread has ended, so the kernel shows a zombie; another works on. Ignores SIGTERM."""
    (base / "headless.py").write_text(
        f"import ctypes, os, threading, time\n{DEAF}\nthreading.Thread(target=time.sleep, args=(600,)).start()\n"
        f"{_tell(base, 'ready')}\nctypes.CDLL(None).pthread_exit(None)"
    )
    return [sys.executable, "-S", str(base / "headless.py")]


def headless_child(base: Path) -> list[str]:
    """The child of a shell that dies of SIGTERM."""
    return ["bash", "-c", f"{shlex.join(headless(base))} & wait"]


def stopped(base: Path) -> list[str]:
    return _python(f"{_tell(base, 'ready')}\nos.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(600)")


def beating(base: Path) -> list[str]:
    """Ignores SIGTERM and writes the boot time, every few milliseconds."""
    return _python(
        f"""
{DEAF}
out = os.open({str(base / "beats")!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
{_tell(base, "ready")}
while True:
    os.write(out, f'{{time.clock_gettime(time.CLOCK_BOOTTIME)}}\\n'.encode())
    time.sleep(0.003)"""
    )


def last_beat(base: Path) -> float:
    return float((base / "beats").read_text().split()[-1])


STUBBORN = {
    "plain": plain,
    "wrapped": wrapped,
    "daemonised": daemonised,
    "unmarked": unmarked,
    "forking": forking,
    "headless": headless_child,
    "stopped": stopped,
}
