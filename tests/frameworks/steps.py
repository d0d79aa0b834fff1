"""What the programs of this folder share: named steps with results.

A step's result is printed on standard output and must be the same on any device; what it took goes
to standard error.  A failure is a result too: "FAILED ...", or "only machine code" where the framework
has no code that a device without machine code can run, which is no failure of ours.
"""
import sys
import time

NO_CODE = ("no kernel image", "NO_BINARY_FOR_GPU", "no binary for gpu")


def step(name):
    """Runs the function below at once."""
    def run(fn):
        start = time.monotonic()
        try:
            result = fn()
        except Exception as e:  # whatever a framework throws
            text = " ".join(str(e).split())
            result = "only machine code" if any(w.lower() in text.lower() for w in NO_CODE) else \
                "FAILED %s: %s" % (type(e).__name__, text[:120])
        print("step\t%s\t%s" % (name, result), flush=True)
        print("seconds\t%s\t%.3f" % (name, time.monotonic() - start), file=sys.stderr, flush=True)
        return fn
    return run
