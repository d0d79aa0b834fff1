"""A run of bench/run.py as text and as plots, and two runs side by side."""

import os

import svg

PLOTTED = ["sync_launch", "dtoh_8", "htod_8", "launch_burst", "alloc_free", "event_query",
           "module_warm", "decode", "training"]
BULK = ["htod_256m", "dtoh_256m", "htod_256m_pinned", "dtoh_256m_pinned"]


def seconds_of(text):
    for unit, factor in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if text.endswith(unit):
            return float(text[:-len(unit)]) * factor
    return float(text)


def number(value):
    if value is None:
        return "-"
    return "%.0f" % value if value >= 1000 else "%.3g" % value


def columns(rows):
    """Rows of text, padded; the first column to the left."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
                     for row in rows)


def unique(items):
    return list(dict.fromkeys(items))


def cell(row):
    if row is None:
        return "-"
    if "why_not" in row:
        return "no"
    return "%s (%s-%s)" % (number(row["median"]), number(row["low"]), number(row["high"]))


def head(result):
    m = result["machine"]
    words = ["%s, %d cores, Linux %s, TCP %s, load %.1f at the start"
             % (m["cpu"], m["cores"], m["kernel"], m["congestion"], m["load"]),
             "commit %s%s, %s build, %s; driver %s%s"
             % (result["commit"], " with changes" if result["changed"] else "",
                result["buildtype"] or "unknown", result["date"], result["driver"],
                ", kernels not executed" if result["instant"] else "")]
    if result["gbit"]:
        words.append("lines of %g Gbit/s" % result["gbit"])
    return "\n".join(words)


def near_and_far(result):
    rows = {(r["side"], r["rtt"], r["workload"]): r for r in result["rows"]}
    parts = []
    for rtt in sorted({k[1] for k in rows}, key=seconds_of):
        sides = [s for s in ("direct", "floor tcp", "tcp", "floor tls", "tls", "floor shm", "shm")
                 if any(k[0] == s and k[1] == rtt for k in rows)]
        names = unique(k[2] for k in rows if k[1] == rtt)
        lines = [["median (low-high of rounds)", "unit", *sides]]
        for name in names:
            found = [rows.get((s, rtt, name)) for s in sides]
            unit = next((r["unit"] for r in found if r and "unit" in r), "")
            lines.append([name, unit, *[cell(r) for r in found]])
        title = "\nno delay added" if rtt == "0" else "\na round trip of %s added" % rtt
        parts.append(title + "\n" + columns(lines))
    for (side, rtt, name), row in rows.items():
        if "why_not" in row:
            parts.append("no %s on %s at %s: %s" % (name, side, rtt, row["why_not"]))
    return "\n".join(parts)


def trips(result):
    names = unique(n for found in result["round_trips"].values() for n in found)
    lines = [["exposed round trips", *result["round_trips"]]]
    lines += [[n, *[number(found.get(n)) for found in result["round_trips"].values()]]
              for n in names]
    return "\n" + columns(lines)


def switches(result):
    found = result.get("switches")
    if not found:
        return ""
    names = list(found[""])
    lines = [["switched off", *names]]
    for wish, figures in found.items():
        lines.append([wish or "nothing", *[number(figures.get(n)) for n in names]])
    return "\n" + columns(lines)


def verdict(result):
    words = {True: "holds", False: "MISSED", None: "not measured"}
    lines = [["target", "bound", "here", ""]]
    for t in result["targets"]:
        here = "-" if t["value"] is None else number(t["value"]) + t["unit"]
        lines.append([t["what"], t["bound"], here, words[t["holds"]]])
    return "\n" + columns(lines)


def table(result):
    parts = [head(result), near_and_far(result), trips(result), switches(result), verdict(result)]
    return "\n".join(p for p in parts if p)


def draw(result, folder):
    """Writes calls.svg, bandwidth.svg and one step-NAME.svg where distances were measured."""
    rows = {(r["side"], r["rtt"], r["workload"]): r.get("median") for r in result["rows"]}
    sides = [s for s in ("direct", "tcp", "tls", "shm") if any(k[0] == s for k in rows)]
    here = {s: {n: rows.get((s, "0", n)) for n in PLOTTED + BULK} for s in sides}
    far = sorted({k[1] for k in rows}, key=seconds_of)
    plots = {"calls": svg.bars("What a call or a step takes", "us", PLOTTED, sides, here),
             "bandwidth": svg.bars("Copies of 256 MiB", "GB/s", BULK, sides, here)}
    for step in ("decode", "training"):
        values = {s: {r: rows.get((s, r, step)) for r in far} for s in sides if s != "direct"}
        least = rows.get(("direct", "0", step))
        if least is not None:
            values["direct + 1 round trip"] = {r: least + seconds_of(r) * 1e6 for r in far}
        plots["step-" + step] = svg.lines("A %s-like step by added round trip" % step, "us", far,
                                          list(values), values)
    os.makedirs(folder, exist_ok=True)
    for name, text in plots.items():
        if text:
            with open(os.path.join(folder, name + ".svg"), "w", encoding="utf-8") as file:
                file.write(text)


def comparison(a, b):
    """Each figure of two runs, b over a; a star where their rounds do not even overlap."""
    old = {(r["side"], r["rtt"], r["workload"]): r for r in a["rows"]}
    lines = [["side, round trip, workload", "unit", "before", "after", "ratio", ""]]
    for row in b["rows"]:
        key = (row["side"], row["rtt"], row["workload"])
        before = old.get(key)
        if before is None or "median" not in before or "median" not in row:
            continue
        apart = row["low"] > before["high"] or row["high"] < before["low"]
        ratio = row["median"] / before["median"] if before["median"] else float("nan")
        lines.append(["%s, %s, %s" % key, row["unit"], number(before["median"]),
                      number(row["median"]), "%.2f" % ratio, "*" if apart else ""])
    return "\n".join(["before: " + head(a), "after: " + head(b), columns(lines)])
