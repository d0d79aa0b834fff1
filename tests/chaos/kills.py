#!/usr/bin/env python3
"""kill -9 of a client, of a worker, of the supervisor at random moments of a running program.

kills.py BUILD SOURCE [TIMES] [SEED] [SCHEME]

A bystander works all the time: it must go on through deaths of others' clients and workers.
The victim's calls must return an error within seconds; nothing may hang; the server is left
with the processes and descriptors it had.
"""

import os
import random
import signal
import subprocess
import sys
import time

from pool import Pool, eventually, finish, wait_dots

WARM = 2  # processes that a server keeps ready
HANG_SECONDS = 20  # generous: a machine under load; a hang is without end


def kill_client(pool, victim, _worker):
    victim.kill()
    finish(victim, HANG_SECONDS)
    return None


def kill_worker(pool, victim, worker):
    os.kill(worker, signal.SIGKILL)
    status, err = finish(victim, HANG_SECONDS)
    if status != 2 or "CUDA_ERROR" not in err:
        return f"victim ended with {status}: {err.strip()}"
    return None


def has_lane(pid):
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
            return "memfd:gpupool-lane" in file.read()
    except OSError:
        return False


def session_workers(pool):
    """Children with an established connection, by inode of the sockets in /proc/net/tcp; or a lane in memory."""
    if pool.scheme in ("shm", "gpupool"):
        return {pid for pid in pool.workers() if has_lane(pid)}
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    inodes = {row[9] for row in rows if row[3] == "01"}
    found = set()
    for pid in pool.workers():
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                link = os.readlink(f"/proc/{pid}/fd/{fd}")
                if link.startswith("socket:[") and link[8:-1] in inodes:
                    found.add(pid)
        except OSError:
            continue
    return found


def one_kill(pool, bystander, chance, kind):
    before = session_workers(pool)
    victim = pool.client("0")
    try:
        if not wait_dots(victim, 1):
            return f"victim did not start: {finish(victim, HANG_SECONDS)}"
        mine = session_workers(pool) - before
        if len(mine) != 1:
            return f"expected one new session worker, found {sorted(mine)}"
        wait_dots(victim, chance.randrange(1, 12))
        time.sleep(chance.uniform(0, 0.03))  # any moment within a round
        fault = kind(pool, victim, mine.pop())
        if fault is None and not wait_dots(bystander, 2):
            fault = f"bystander ended: {finish(bystander, HANG_SECONDS)}"
        return fault
    except (subprocess.TimeoutExpired, TimeoutError) as error:
        return f"hang: {error}"
    finally:
        if victim.poll() is None:
            victim.kill()
            victim.communicate()


def kill_sessions(build, source, scheme, times, chance):
    pool = Pool(build, source, scheme, options=("--grace=500ms",)).start()
    try:
        bystander = pool.client("0")
        if not wait_dots(bystander, 2):
            return [f"bystander did not start: {finish(bystander, HANG_SECONDS)}"]
        # The next worker is made ready a moment after a session began.
        if not eventually(lambda: len(pool.workers()) == len(session_workers(pool)) + WARM):
            return [f"{len(pool.workers())} workers for one session"]
        sessions, descriptors = len(session_workers(pool)), pool.descriptors()
        faults = []
        for number in range(times):
            kind = chance.choice([kill_client, kill_worker])
            fault = one_kill(pool, bystander, chance, kind)
            if fault:
                faults.append(f"kill {number} ({kind.__name__}): {fault}")
        if not eventually(lambda: len(session_workers(pool)) == sessions):
            faults.append(f"{len(session_workers(pool))} sessions left, {sessions} before")
        if not eventually(lambda: pool.descriptors() <= descriptors):
            faults.append(f"{pool.descriptors()} descriptors left, {descriptors} before")
        bystander.stdin.close()
        bystander.stdin = None
        status, err = finish(bystander, HANG_SECONDS)
        if status != 0:
            faults.append(f"bystander ended with {status}: {err.strip()}")
        if pool.stop() != 0:
            faults.append("the server did not end in order:\n" + pool.log())
        return faults
    finally:
        pool.close()


def kill_supervisor(build, source, scheme, chance):
    pool = Pool(build, source, scheme, options=("--grace=500ms",)).start()
    victim = None
    try:
        victim = pool.client("0")
        if not wait_dots(victim, chance.randrange(1, 8)):
            return f"victim did not start: {finish(victim, HANG_SECONDS)}"
        children = pool.workers()
        pool.server.kill()
        status, err = finish(victim, HANG_SECONDS)
        if status != 2 or "CUDA_ERROR" not in err:
            return f"victim ended with {status}: {err.strip()}"
        if not eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children)):
            return "workers outlived their supervisor"
        return None
    except (subprocess.TimeoutExpired, TimeoutError) as error:
        return f"hang: {error}"
    finally:
        if victim is not None and victim.poll() is None:
            victim.kill()
            victim.communicate()
        pool.close()


def main(argv):
    times = int(argv[3]) if len(argv) > 3 else 100
    seed = int(argv[4]) if len(argv) > 4 else random.randrange(1 << 32)
    scheme = argv[5] if len(argv) > 5 else "tls"
    chance = random.Random(seed)
    supervisors = max(1, times // 10)
    faults = kill_sessions(argv[1], argv[2], scheme, times - supervisors, chance)
    for number in range(supervisors):
        fault = kill_supervisor(argv[1], argv[2], scheme, chance)
        if fault:
            faults.append(f"supervisor {number}: {fault}")
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{times} kills over {scheme}, {supervisors} of them of the supervisor, seed {seed}: {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
