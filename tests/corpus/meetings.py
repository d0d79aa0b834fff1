#!/usr/bin/env python3
"""Random programs in which the lanes of a warp meet, against a reference that runs lane by lane.

usage: meetings.py LIBCUDA [FIRST COUNT] [--dump FOLDER]

A program is some rounds of *.sync instructions, each with members (the warp, halves, odd lanes ...).
Between and around them the lanes part: branches, loops, calls of a recursive function, exits. A
round's instruction stands in many places, and each lane passes one of them. Runs on any
libcuda.so.1; exit status 0: all agree.
"""
import ctypes
import os
import random
import sys

LANES = 32
ALL = 0xffffffff
# How lanes are put together: members of a lane, its row in PTX, width of a shuffle (0: none).
SETS = [
    (lambda lane: ALL, "mov.u32 %m, -1;", 32),
    (lambda lane: 0xffff << (lane & 16), "and.b32 %t, %lane, 16; shl.b32 %m, 0xffff, %t;", 16),
    (lambda lane: 0xff << (lane & 24), "and.b32 %t, %lane, 24; shl.b32 %m, 0xff, %t;", 8),
    (lambda lane: 0xf << (lane & 28), "and.b32 %t, %lane, 28; shl.b32 %m, 0xf, %t;", 4),
    (lambda lane: 0x55555555 << (lane & 1), "and.b32 %t, %lane, 1; shl.b32 %m, 0x55555555, %t;", 0),
]
SHUFFLES = ("idx", "up", "down", "bfly")
VOTES = ("any", "all", "uni", "ballot")
OTHERS = ("match", "match_all", "add", "min", "xor", "elect", "warp")


# ---- programs: lists of tuples


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.exits = seed % 3 == 0
        self.rounds = [self.round() for _ in range(self.random.randint(2, 9))]

    def round(self):
        members = self.random.choice([0, 0, 0, 1, 2, 3, 4])
        # What a shuffle takes from a lane that has gone is not defined.
        shuffles = () if self.exits or SETS[members][2] == 0 else SHUFFLES
        return self.random.choice(shuffles + VOTES + OTHERS), members, self.random.randrange(32)

    def condition(self):
        kind = self.random.choice(["lane", "lane", "below", "value", "value", "multiple"])
        number = {"lane": 1 << self.random.randrange(5), "below": self.random.randint(1, 31),
                  "value": 1 << self.random.randrange(20),
                  "multiple": self.random.choice([3, 5, 7])}[kind]
        return kind, number

    def arithmetic(self):
        return "arithmetic", self.random.choice([1, 3, 5, 7, 9]), self.random.randint(0, ALL)

    def chance(self, of):
        return self.random.random() < of

    def steps(self, first, last, depth):
        """Rounds first to last (exclusive), by one way or by two."""
        steps = [self.arithmetic()] if self.chance(0.5) else []
        if self.chance(0.3):
            steps.append(("loop", self.condition(), self.random.randint(1, 6), self.arithmetic()))
        if self.exits and self.chance(0.12):
            steps.append(("exit", self.condition()))
        if depth < 4 and self.chance(0.6):
            steps.append(("if", self.condition(), self.steps(first, last, depth + 1),
                          self.steps(first, last, depth + 1)))
        elif last - first > 1:
            middle = self.random.randint(first + 1, last - 1)
            steps += self.steps(first, middle, depth + 1) + self.steps(middle, last, depth + 1)
        else:
            calls = self.random.randint(1, 4) if self.chance(0.3) else 0
            steps.append(("meet", self.rounds[first], calls))
        return steps + ([self.arithmetic()] if self.chance(0.5) else [])

    def program(self):
        steps = self.steps(0, len(self.rounds), 0)
        return [("again", self.random.randint(2, 4), steps)] if self.chance(0.4) else steps


# ---- the reference


class Gone(Exception):
    """The lane has exited."""


class Lane:
    def __init__(self, number, program):
        self.number = number
        self.value = (number * 2654435761 + 12345) & ALL
        self.waits = None  # round and members
        self.steps = self.run(program)
        self.alive = True
        self.go_on(None)

    def go_on(self, result):
        try:
            self.waits = self.steps.send(result)
        except (StopIteration, Gone):
            self.alive = False

    def holds(self, condition):
        kind, number = condition
        return {"lane": self.number & number != 0, "below": self.number < number,
                "value": self.value & number != 0, "multiple": self.number % number == 0}[kind]

    def calculate(self, step):
        self.value = (self.value * step[1] + step[2] + self.number) & ALL

    def run(self, steps):
        for step in steps:
            if step[0] == "arithmetic":
                self.calculate(step)
            elif step[0] == "loop":
                for _ in range(step[2]):
                    if not self.holds(step[1]):
                        break
                    self.calculate(step[3])
            elif step[0] == "exit":
                if self.holds(step[1]):
                    raise Gone
            elif step[0] == "if":
                yield from self.run(step[2 if self.holds(step[1]) else 3])
            elif step[0] == "again":
                for _ in range(step[1]):
                    yield from self.run(step[2])
            else:
                yield from self.meet(step[1], max(step[2] - 1, 0))

    def meet(self, this_round, depth):
        for n in range(depth, 0, -1):
            self.value = (self.value + 100 * n) & ALL
        result = yield this_round, SETS[this_round[1]][0](self.number)
        self.value = (self.value * 3 + result) & ALL
        for n in range(1, depth + 1):
            self.value = (self.value * 7 + n) & ALL


def shuffle(kind, width, by, lane, values):
    first = lane - lane % width
    to = {"idx": first + by % width, "up": lane - by % width, "down": lane + by % width,
          "bfly": lane ^ by % width}[kind]
    inside = first <= to < first + width
    return (values[to if inside else lane] * 2 + inside) & ALL


def bits(lanes):
    return sum(1 << lane for lane in lanes)


def result_of(this_round, lane, values):
    """What a lane gets; values: those of the lanes that meet."""
    kind, members, number = this_round
    said = [lane for lane, value in values.items() if value >> number % 8 & 1]
    if kind in SHUFFLES:
        return shuffle(kind, SETS[members][2], number, lane, values)
    if kind == "match":
        return bits(i for i, value in values.items() if value & 3 == values[lane] & 3)
    if kind == "match_all":
        same = len({value & 1 for value in values.values()}) == 1
        return (bits(values) + 1) & ALL if same else 0
    if kind == "xor":
        result = 0
        for value in values.values():
            result ^= value
        return result
    return {"any": len(said) > 0, "all": len(said) == len(values),
            "uni": len(said) in (0, len(values)), "ballot": bits(said),
            "add": sum(values.values()) & ALL, "min": min(values.values()), "elect": 1,
            "warp": 0}[kind]


def reference(program):
    lanes = [Lane(number, program) for number in range(LANES)]
    while True:
        alive = [lane for lane in lanes if lane.alive]
        if not alive:
            return [lane.value for lane in lanes]
        for lane in alive:
            met = [other for other in alive if lane.waits[1] >> other.number & 1]
            if all(other.waits == lane.waits for other in met):
                break
        else:
            raise AssertionError("a program whose lanes wait for ever")
        values = {other.number: other.value for other in met}
        this_round = lane.waits[0]
        for other in met:
            other.go_on(int(result_of(this_round, other.number, values)))


# ---- PTX

REGISTERS = (".reg .pred %p, %q; .reg .b32 %v, %lane, %t, %m, %d, %i, %j, %n, %z; "
             ".reg .b64 %l, %out, %a;")
SAID = "shr.u32 %t, %v, {0}; and.b32 %t, %t, 1; setp.eq.u32 %q, %t, 1; "
NUMBER_OF_Q = " selp.u32 %t, 1, 0, %q; "


def meeting(this_round, constant):
    """One place of a round; constant: the members of a whole warp are no register."""
    kind, members, number = this_round
    m = "-1" if members == 0 and constant else "%m"
    if kind in SHUFFLES:
        width = SETS[members][2]
        control = (32 - width) << 8 | (0 if kind == "up" else 31)
        text = (f"shfl.sync.{kind}.b32 %d|%q, %v, {number % width}, {control}, {m};" + NUMBER_OF_Q +
                "mad.lo.u32 %d, %d, 2, %t;")
    elif kind == "ballot":
        text = SAID.format(number % 8) + f"vote.sync.ballot.b32 %d, %q, {m};"
    elif kind in VOTES:
        text = (SAID.format(number % 8) + f"vote.sync.{kind}.pred %q, %q, {m}; " +
                "selp.u32 %d, 1, 0, %q;")
    else:
        text = {
            "match": f"and.b32 %t, %v, 3; match.any.sync.b32 %d, %t, {m};",
            "match_all": "and.b32 %t, %v, 1; cvt.u64.u32 %l, %t; " +
                         f"match.all.sync.b64 %d|%q, %l, {m};" + NUMBER_OF_Q +
                         "add.u32 %d, %d, %t;",
            "add": f"redux.sync.add.u32 %d, %v, {m};",
            "min": f"redux.sync.min.u32 %d, %v, {m};",
            "xor": f"redux.sync.xor.b32 %d, %v, {m};",
            # Which lane it is the device chooses; one it is.
            "elect": f"elect.sync %d|%q, {m}; vote.sync.ballot.b32 %d, %q, {m}; popc.b32 %d, %d;",
            "warp": f"bar.warp.sync {m}; mov.u32 %d, 0;"}[kind]
    return SETS[members][1] + " " + text + " mad.lo.u32 %v, %v, 3, %d;"


class Text:
    def __init__(self, program):
        self.lines = []
        self.labels = 0
        self.functions = {}
        self.write(program)

    def label(self):
        self.labels += 1
        return f"L{self.labels}"

    def condition(self, condition):
        kind, number = condition
        self.lines.append({
            "lane": f"and.b32 %t, %lane, {number}; setp.ne.u32 %p, %t, 0;",
            "below": f"setp.lt.u32 %p, %lane, {number};",
            "value": f"and.b32 %t, %v, {number}; setp.ne.u32 %p, %t, 0;",
            "multiple": f"rem.u32 %t, %lane, {number}; setp.eq.u32 %p, %t, 0;"}[kind])

    def arithmetic(self, step):
        self.lines.append(f"mad.lo.u32 %v, %v, {step[1]}, {step[2]}; add.u32 %v, %v, %lane;")

    def loop(self, step):
        begin, end = self.label(), self.label()
        self.lines.append(f"mov.u32 %i, 0;\n{begin}:")
        self.condition(step[1])
        self.lines.append(f"@!%p bra {end};")
        self.arithmetic(step[3])
        self.lines.append(f"add.u32 %i, %i, 1; setp.lt.u32 %p, %i, {step[2]}; @%p bra {begin};\n{end}:")

    def branch(self, step):
        other, end = self.label(), self.label()
        swap = self.labels % 4 == 0
        self.condition(step[1])
        self.lines.append(f"@{'!' if swap else ''}%p bra {other};")
        self.write(step[2 if swap else 3])
        self.lines.append(f"bra {end};\n{other}:")
        self.write(step[3 if swap else 2])
        self.lines.append(f"{end}:")

    def again(self, step):
        begin = self.label()
        self.lines.append(f"mov.u32 %j, 0;\n{begin}:")
        self.write(step[2])
        self.lines.append(f"add.u32 %j, %j, 1; setp.lt.u32 %p, %j, {step[1]}; @%p bra {begin};")

    def exit(self, step):
        end = self.label()
        self.condition(step[1])
        self.lines.append(f"@!%p bra {end}; st.global.u32 [%out], %v; exit;\n{end}:")

    def meet(self, step):
        this_round, calls = step[1:]
        if calls == 0:
            self.lines.append(meeting(this_round, len(self.lines) % 2 == 0))
            return
        number = self.functions.setdefault(this_round, len(self.functions))
        if calls % 2 == 0:
            self.lines.append(f"call (%v), f{number}, (%v, %lane, {calls - 1});")
            return
        # Odd and even lanes call another function each, by its address.
        self.lines.append(f"and.b32 %t, %lane, 1; mad.lo.u32 %t, {number}, 2, %t; mov.u64 %a, table;\n"
                          "mul.wide.u32 %l, %t, 8; add.u64 %a, %a, %l; ld.global.u64 %a, [%a];\n"
                          f"call (%v), %a, (%v, %lane, {calls - 1}), like_f;")

    def write(self, steps):
        for step in steps:
            {"arithmetic": self.arithmetic, "loop": self.loop, "exit": self.exit, "if": self.branch,
             "again": self.again, "meet": self.meet}[step[0]](step)

    def function(self, this_round, number, name):
        return (f".func (.reg .b32 %ret) {name}"
                "(.reg .b32 %v0, .reg .b32 %lane0, .reg .b32 %n0)\n{ " + REGISTERS +
                " mov.u32 %v, %v0; mov.u32 %lane, %lane0; mov.u32 %n, %n0;\n"
                "setp.eq.u32 %p, %n, 0; @%p bra MEET; mad.lo.u32 %v, %n, 100, %v;\n"
                f"sub.u32 %z, %n, 1; call (%v), {name}, (%v, %lane, %z);\n"
                "mad.lo.u32 %ret, %v, 7, %n; ret;\nMEET: " + meeting(this_round, number % 2 == 0) +
                " mov.u32 %ret, %v; ret; }")

    def module(self):
        head = [".version 8.6\n.target sm_90\n.address_size 64"]
        names = []
        for this_round, number in self.functions.items():
            for name in (f"f{number}", f"g{number}"):
                head.append(self.function(this_round, number, name))
                names.append(name)
        if names:
            head.append(f".global .u64 table[{len(names)}] = {{{', '.join(names)}}};")
        head.append(".visible .entry meetings(.param .u64 out)\n{ " + REGISTERS +
                    "\nlike_f: .callprototype (.reg .b32 _) _ (.reg .b32 _, .reg .b32 _, .reg .b32 _);\n" +
                    " ld.param.u64 %out, [out]; mov.u32 %lane, %tid.x;\n"
                    "mul.wide.u32 %a, %lane, 4; add.u64 %out, %out, %a;\n"
                    "mad.lo.u32 %v, %lane, 2654435761, 12345;")
        return "\n".join(head + self.lines + ["st.global.u32 [%out], %v; ret; }\n"])


# ---- running


class Device:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        self.memory = ctypes.c_uint64()
        context, device = ctypes.c_void_p(), ctypes.c_int()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self.call("cuMemAlloc_v2", ctypes.byref(self.memory), ctypes.c_size_t(4 * LANES))

    def call(self, name, *args):
        result = getattr(self.lib, name)(*args)
        if result != 0:
            raise OSError(f"{name} gave {result}")

    def run(self, text):
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        out = (ctypes.c_uint32 * LANES)()
        params = (ctypes.c_void_p * 1)(ctypes.addressof(self.memory))
        self.call("cuModuleLoadData", ctypes.byref(module), text.encode())
        self.call("cuModuleGetFunction", ctypes.byref(function), module, b"meetings")
        self.call("cuLaunchKernel", function, 1, 1, 1, LANES, 1, 1, 0, None, params, None)
        self.call("cuMemcpyDtoH_v2", out, self.memory, ctypes.c_size_t(4 * LANES))
        self.call("cuModuleUnload", module)
        return list(out)


def main(args):
    folder = None
    if "--dump" in args:
        at = args.index("--dump")
        folder = args[at + 1]
        del args[at:at + 2]
    if len(args) not in (1, 3):
        sys.exit(__doc__.split("\n\n")[1])
    first, count = (int(args[1]), int(args[2])) if len(args) == 3 else (0, 100)
    device = Device(args[0])
    wrong = 0
    for seed in range(first, first + count):
        program = Maker(seed).program()
        text, want = Text(program).module(), reference(program)
        if folder is not None:
            with open(os.path.join(folder, f"{seed}.ptx"), "w", encoding="ascii") as f:
                f.write(text)
        got = device.run(text)
        if got != want:
            wrong += 1
            lane = next(i for i in range(LANES) if got[i] != want[i])
            print(f"seed {seed} lane {lane}: {got[lane]:08x}, not {want[lane]:08x}")
    print(f"{count - wrong} of {count} programs agree")
    return 0 if wrong == 0 and count > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
