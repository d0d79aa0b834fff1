"""A limit for the memory of this process and all that it starts, by a control group of its own."""
import atexit
import os

V1, V2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"


class NoLimit(Exception):
    """None can be set; why."""


def write(*path_and_text):
    *path, text = path_and_text
    with open(os.path.join(*path), "w", encoding="ascii") as file:
        file.write(str(text))


class Group:
    """This process is in it until leave(), or its end."""

    def __init__(self, most_bytes):
        self.root, limit, self.peak = (V1, "memory.limit_in_bytes", "memory.max_usage_in_bytes") \
            if os.path.isdir(V1) else (V2, "memory.max", "memory.peak")
        self.path = os.path.join(self.root, "gpupool-tests-%d" % os.getpid())
        try:
            os.mkdir(self.path)
            atexit.register(self.leave)
            write(self.path, limit, most_bytes)
            write(self.path, "cgroup.procs", os.getpid())
        except OSError as problem:
            raise NoLimit("no limit of memory can be set here: %s" % problem) from problem

    def most_used(self):
        """In bytes, caches of files included; None where the kernel does not tell."""
        try:
            with open(os.path.join(self.path, self.peak), encoding="ascii") as file:
                return int(file.read())
        except OSError:
            return None

    def leave(self):
        """Processes that it started and that are still there stay in it."""
        atexit.unregister(self.leave)
        try:
            write(self.root, "cgroup.procs", os.getpid())
            os.rmdir(self.path)
        except OSError:
            pass
