"""ids.lock: one line a wire call, "0xID name since hash"; ids are never reused and the
arguments of a released call never change."""

import hashlib


def shape(call):
    """What the peer sees of a call; any change of it is a change of the protocol."""
    parts = [call.name, call.mode, call.kind]
    for title, fields in (("args", call.args), ("reply", call.reply)):
        parts.append(title)
        parts += [f"{a.name}:{a.type}:{a.max}:{a.size}" for a in fields]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def render(spec):
    head = "# wire ids that were ever given out: id, name, since, hash of the shape\n"
    return head + "".join(f"{c.id:#06x} {c.name} {c.since} {shape(c)}\n" for c in spec.wire_calls())


def read(path):
    entries = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                number, name, since, digest = line.split()
                entries[int(number, 0)] = (name, since, digest)
    return entries


def twice(path):
    seen = set()
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.startswith("0x"):
                continue
            number = line.split(maxsplit=1)[0]
            if number in seen:
                yield f"{path}: id {number} stands there twice"
            seen.add(number)


def check(spec, path):
    """Yields one text per violation."""
    locked = read(path)
    yield from twice(path)
    now = {c.id: c for c in spec.wire_calls()}
    for number, (name, since, digest) in sorted(locked.items()):
        call = now.get(number)
        if call is None:
            if name in spec.calls and spec.calls[name].on_wire:
                yield f"{path}: {name} had id {number:#06x}, now {spec.calls[name].id:#06x}"
            continue
        if call.name != name:
            yield f"{path}: id {number:#06x} belonged to {name}, reused by {call.name}"
        elif shape(call) != digest:
            yield (f"{path}: {name} ({number:#06x}) changed its arguments since {since}; "
                   f"add a new call instead (or re-lock before the first release)")
    for number, call in sorted(now.items()):
        if number not in locked:
            yield f"{path}: {call.name} ({number:#06x}) is not locked; run gen.py --lock"
