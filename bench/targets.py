"""What the project promises about speed, and whether a run of bench/run.py holds it.

Ratios are taken within one run, so that a slow or busy machine moves both sides, and of each side's
best round: what else runs on the machine only ever takes time away. A target whose figures were not
measured is reported as such, never as held.
"""


class Figures:
    """Looks up what a run measured; None where it did not."""

    def __init__(self, result):
        self.rows = {(r["side"], r["rtt"], r["workload"]): r for r in result["rows"]}
        self.trips = result["round_trips"]
        self.idle = result["idle_worker_mib"]
        self.sides = [s for s in ("tcp", "tls", "shm") if any(k[0] == s for k in self.rows)]
        self.far = sorted({k[1] for k in self.rows if k[1] != "0"})

    def get(self, side, workload, rtt="0"):
        """The best round's median."""
        row = self.rows.get((side, rtt, workload), {})
        return row.get("high" if "/" in row.get("unit", "") else "low")

    def p99(self, side, workload):
        """The best round's bad end; of times."""
        return self.rows.get((side, "0", workload), {}).get("p99", {}).get("low")

    def ratio(self, a, b):
        return None if a is None or not b else a / b


def target(what, bound, value, unit="", more_is_better=False):
    """One line of the verdict; bound and value in the same unit."""
    holds = None if value is None else (value >= bound if more_is_better else value <= bound)
    sign = "at least" if more_is_better else "at most"
    return {"what": what, "bound": "%s %g%s" % (sign, bound, unit), "value": value, "unit": unit,
            "holds": holds}


def latency(f):
    for side in f.sides:
        floor = "floor " + side
        for name, words in (("sync_launch", "launch and synchronise"), ("dtoh_8", "8 bytes D2H")):
            yield target("%s over its floor, %s" % (words, side), 1.3,
                         f.ratio(f.get(side, name), f.get(floor, "pingpong")), "x")
        yield target("launch and synchronise over its floor, p99, %s" % side, 2.0,
                     f.ratio(f.p99(side, "sync_launch"), f.p99(floor, "pingpong")), "x")


def submission(f):
    for side in f.sides:
        yield target("cuLaunchKernel of 4 parameters in a burst, %s" % side, 0.25,
                     f.get(side, "launch_burst"), " us")
        yield target("cuMemcpyHtoD of 8 bytes, %s" % side, 0.5, f.get(side, "htod_8"), " us")
        yield target("cuMemAlloc and cuMemFree, %s" % side, 1.0, f.get(side, "alloc_free"), " us")
        trips = f.trips.get(side, {}).get("alloc_free")
        # A burst of 1,000 pairs ends with one synchronisation, which may wait.
        yield target("round trips of 1,000 cuMemAlloc and cuMemFree, %s" % side, 1, trips)
    yield target("sustained launches of one thread, tls", 1.5, f.get("tls", "launch_1"), " M/s",
                 True)


def bandwidth(f):
    for side, least in (("tcp", 0.9), ("tls", 0.85)):
        if side not in f.sides:
            continue
        for name, way in (("htod_256m", "stream_out"), ("dtoh_256m", "stream_in")):
            yield target("%s over the raw stream, %s" % (name, side), least,
                         f.ratio(f.get(side, name), f.get("floor " + side, way)), "x", True)


def shared_memory(f):
    """What a machine of one's own costs; the device's copy is a memcpy."""
    if "shm" not in f.sides:
        return
    yield target("a call that waits (8 bytes D2H), shm", 3, f.get("shm", "dtoh_8"), " us")
    yield target("launch and synchronise, shm", 3, f.get("shm", "sync_launch"), " us")
    for name in ("htod_256m", "dtoh_256m"):
        yield target("%s over memcpy, shm" % name, 0.8, f.ratio(f.get("shm", name), f.get("direct", name)),
                     "x", True)


def steps(f):
    for side in f.sides:
        trips = f.trips.get(side, {})
        yield target("round trips of a training-like step, %s" % side, 1, trips.get("training"))
        yield target("round trips of a decode-like step, %s" % side, 2, trips.get("decode"))
        yield target("round trips of nvcc's vectorAdd, start to exit, %s" % side, 4,
                     trips.get("cu_vector_add"))
        yield target("round trips of a program with cuBLAS and cuSOLVER to its first result, 30 ms, "
                     "%s" % side, 12, trips.get("cu_lib_blas_solver"))
        if "1ms" in f.far:
            # The line's own round trip, as its floor measures it, is what "1 ms" came to here.
            line = f.get("floor " + side, "pingpong", "1ms")
            for name, words in (("training", "training-like step at 1 ms"),
                                ("training_5us", "training-like step of launches of 5 us, at 1 ms,")):
                there, step = f.get("direct", name), f.get(side, name, "1ms")
                total = None if there is None or line is None else there + line
                if step is not None:
                    yield target("%s over direct and one round trip, %s" % (words, side), 1.05,
                                 f.ratio(step, total), "x")


def footprint(f):
    for side in f.sides:
        here, direct = f.get(side, "startup"), f.get("direct", "startup")
        more = None if here is None or direct is None else here - direct
        yield target("warm start to first kernel, more than direct, %s" % side, 20, more, " ms")
        yield target("client library's memory, %s" % side, 24, f.get(side, "memory"), " MiB")
        yield target("idle worker's memory, %s" % side, 16, f.idle.get(side), " MiB")


def judge(result):
    """All targets with bound, value and whether it holds (None: not measured)."""
    f = Figures(result)
    return [t for part in (latency, submission, bandwidth, shared_memory, steps, footprint) for t in part(f)]
