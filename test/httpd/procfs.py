# SPDX-License-Identifier: Apache-2.0
"""What /proc says of a process: children, descriptors, memory, CPU time."""
import contextlib
import ctypes
import os

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """Fields of /proc/PID/stat from the state on; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()
    except OSError:
        return None


def alive(pid):
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def children(pid, with_dead=False):
    """Its children; with those that have ended and were not asked for yet."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = _stat(entry)
            if stat and int(stat[1]) == pid and (with_dead or stat[0] not in "ZX"):
                found.append(int(entry))
    return sorted(found)


def start_time(pid):
    """Clock ticks since boot; tells a process from a later one with its number."""
    stat = _stat(pid)
    return int(stat[19]) if stat else None


def cpu_seconds(pid):
    """Its own and that of its children that it has buried."""
    stat = _stat(pid)
    return sum(int(n) for n in stat[11:15]) / TICKS if stat else 0.0


def descriptors(pid):
    """{descriptor: what it is}, empty when it is gone."""
    found = {}
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
            except OSError:
                continue
    except OSError:
        return {}
    return found


def memory(pid):
    """Private and shared pages that it has touched, in bytes (PSS: shared ones counted in parts)."""
    wanted = {"Rss:": "rss", "Pss:": "pss", "Private_Dirty:": "dirty"}
    found = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        for line in f:
            words = line.split()
            if words[0] in wanted:
                found[wanted[words[0]]] = int(words[1]) * 1024
    return found


def threads(pid):
    """{thread id: its state letter}"""
    found = {}
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            stat = _stat(f"{pid}/task/{tid}")
            if stat:
                found[int(tid)] = stat[0]
    except OSError:
        pass
    return found


def _tcp():
    """(local port, remote port, state, bytes to send, bytes to read) of all TCP sockets of this machine."""
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(name, encoding="ascii") as f:
            for line in list(f)[1:]:
                fields = line.split()
                local, remote = (int(fields[n].rpartition(":")[2], 16) for n in (1, 2))
                sending, reading = (int(n, 16) for n in fields[4].split(":"))
                yield local, remote, fields[3], sending, reading


def queued(*ports):
    """Bytes that the kernel holds for connections from or to one of these ports."""
    return sum(sending + reading for local, remote, state, sending, reading in _tcp()
               if state != "0A" and {local, remote} & set(ports))


def connections_to(port):
    """How many TCP connections of this machine are established towards that port."""
    return sum(remote == port and state == "01" for _, remote, state, _, _ in _tcp())


def forget_peak(pid):
    """From here on resident_peak counts anew; what is resident now."""
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")
    return resident_peak(pid)


def resident_peak(pid):
    """The most memory that it has held at a time, mapped files counted, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def waits_for(pid, what):
    """The thread that waits in epoll for `what` among others, None while there is none."""
    fds = descriptors(pid)
    for thread in map(int, os.listdir(f"/proc/{pid}/task")):
        with open(f"/proc/{pid}/task/{thread}/syscall", encoding="ascii") as f:
            words = f.read().split()
        fd = int(words[1], 16) if len(words) > 1 else -1
        if "[eventpoll]" not in fds.get(fd, ""):
            continue
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as f:
            watched = [int(line.split()[1]) for line in f if line.startswith("tfd:")]
        if any(what in fds.get(n, "") for n in watched):
            return thread
    return None


@contextlib.contextmanager
def stopped(thread):
    """One thread of a process does not go on, the others do."""
    attach, detach = 16, 17
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(attach, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    try:
        os.waitpid(thread, 0x40000000)      # __WALL: it is nobody's child
        yield
    finally:
        libc.ptrace(detach, thread, None, None)
