"""Reads and checks the call descriptions in protocol/spec/*.toml.

Every error names file and line. See protocol/README.md for the format.
"""

import re
import tomllib
from dataclasses import dataclass, field

SCALARS = {
    "u8": ("uint8_t", 1), "u16": ("uint16_t", 2), "u32": ("uint32_t", 4), "u64": ("uint64_t", 8),
    "i32": ("int32_t", 4), "i64": ("int64_t", 8), "f32": ("float", 4), "f64": ("double", 8),
    "devptr": ("uint64_t", 8),
}
MODES = ("async", "sync", "local", "refused")
SIDES = ("generated", "hand")
CALL_KEYS = {
    "id", "since", "mode", "client", "server", "context", "kind", "symbol", "ret", "params", "cuda",
    "base", "twin", "reason", "doc", "args", "reply",
}
ARG_KEYS = {"name", "type", "max", "size", "nullable", "param"}


class SpecError(Exception):
    def __init__(self, path, line, text):
        super().__init__(f"{path}:{line}: {text}")


@dataclass
class Arg:
    name: str
    type: str
    max: int = 0
    size: int = 0
    nullable: bool = False
    param: str = ""
    line: int = 0

    @property
    def base(self):
        """scalar, array3 (fixed), handle, new, pod, bytes, string or list"""
        if self.type in SCALARS:
            return "scalar"
        if re.fullmatch(r"(u8|u16|u32|u64|i32|i64|f32|f64)\[\d+\]", self.type):
            return "fixed"
        if self.type in ("bytes", "string"):
            return self.type
        for prefix, name in (("handle:", "handle"), ("new:", "new"), ("pod:", "pod"), ("list:", "list")):
            if self.type.startswith(prefix):
                return name
        return ""

    @property
    def variable(self):
        return self.base in ("bytes", "string", "list")

    @property
    def detail(self):
        return self.type.split(":", 1)[1] if ":" in self.type else ""


@dataclass
class Param:
    ctype: str
    name: str
    suffix: str = ""

    def declare(self):
        space = "" if self.ctype.endswith("*") else " "
        return f"{self.ctype}{space}{self.name}{self.suffix}"


@dataclass
class Call:
    name: str
    area: str
    path: str
    line: int
    id: int = 0
    since: str = ""
    mode: str = "refused"
    client: str = "hand"
    server: str = "hand"
    context: bool = True
    kind: str = "call"
    symbol: str = ""
    ret: str = "CUresult"
    params: list = field(default_factory=list)
    cuda: int = 0
    base: str = ""
    twin: str = ""
    reason: str = ""
    doc: str = ""
    args: list = field(default_factory=list)
    reply: list = field(default_factory=list)

    @property
    def on_wire(self):
        return self.mode in ("async", "sync")

    @property
    def exported(self):
        return self.kind in ("call", "data")

    @property
    def twin_name(self):
        return self.name + self.twin

    def prototype(self, name=None):
        inner = ", ".join(p.declare() for p in self.params) or "void"
        return f"{self.ret} {name or self.name}({inner})"

    def arguments(self):
        return ", ".join(p.name for p in self.params)


def parse_params(text):
    """"size_t bytesize, CUdeviceptr *dptr" -> list of Param; function pointers are typedef'd."""
    params = []
    if not text.strip():
        return params
    for part in text.split(","):
        part = part.strip()
        match = re.fullmatch(r"(.*?[\s*])(\w+)(\[\d*\])?", part)
        if not match:
            raise ValueError(f"cannot read parameter '{part}'")
        params.append(Param(match.group(1).strip(), match.group(2), match.group(3) or ""))
    return params


def line_of(text, name):
    match = re.search(rf"^\[{re.escape(name)}\]", text, re.M)
    return text.count("\n", 0, match.start()) + 1 if match else 1


def line_of_arg(text, start_line, name):
    lines = text.split("\n")
    for number in range(start_line, len(lines)):
        if re.match(r"^\[", lines[number]):
            break
        if re.search(rf'name\s*=\s*"{re.escape(name)}"', lines[number]):
            return number + 1
    return start_line


class Loader:
    def __init__(self):
        self.calls = {}
        self.handles = {}
        self.pods = {}

    def load(self, paths):
        for path in sorted(paths):
            self.load_file(path)
        self.check_all()
        return self

    def load_file(self, path):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            match = re.search(r"at line (\d+)", str(error))
            raise SpecError(path, match.group(1) if match else 1, str(error)) from None
        area = re.sub(r".*/|\.toml$", "", path)
        for name, table in data.items():
            line = line_of(text, name)
            if name == "handles":
                self.handles.update(table)
            else:
                self.load_call(path, text, area, name, table, line)

    def load_call(self, path, text, area, name, table, line):
        if name in self.calls:
            raise SpecError(path, line, f"{name}: described twice")
        unknown = set(table) - CALL_KEYS
        if unknown:
            raise SpecError(path, line, f"{name}: unknown key '{sorted(unknown)[0]}'")
        call = Call(name, area, path, line)
        for key, value in table.items():
            if key not in ("args", "reply", "params"):
                setattr(call, key, value)
        try:
            call.params = parse_params(table.get("params", ""))
        except ValueError as error:
            raise SpecError(path, line, f"{name}: {error}") from None
        for key in ("args", "reply"):
            for raw in table.get(key, []):
                getattr(call, key).append(self.load_arg(path, text, line, name, raw))
        self.check_call(call)
        self.calls[name] = call

    def load_arg(self, path, text, line, name, raw):
        at = line_of_arg(text, line, raw.get("name", ""))
        unknown = set(raw) - ARG_KEYS
        if unknown:
            raise SpecError(path, at, f"{name}: unknown argument key '{sorted(unknown)[0]}'")
        if "name" not in raw or "type" not in raw:
            raise SpecError(path, at, f"{name}: an argument needs name and type")
        arg = Arg(**raw, line=at)
        if not arg.base:
            raise SpecError(path, at, f"{name}.{arg.name}: unknown type '{arg.type}'")
        if arg.variable and arg.max <= 0:
            raise SpecError(path, at, f"{name}.{arg.name}: {arg.type} without max")
        if arg.base == "pod" and arg.size <= 0:
            raise SpecError(path, at, f"{name}.{arg.name}: {arg.type} without size")
        if arg.base == "list" and arg.detail not in SCALARS and arg.size <= 0:
            raise SpecError(path, at, f"{name}.{arg.name}: {arg.type} without size")
        return arg

    def check_call(self, call):
        def bad(text):
            raise SpecError(call.path, call.line, f"{call.name}: {text}")

        if call.mode not in MODES:
            bad(f"mode '{call.mode}' is none of {', '.join(MODES)}")
        if call.client not in SIDES or call.server not in SIDES:
            bad("client and server are 'generated' or 'hand'")
        if call.kind not in ("call", "data", "internal", "notice"):
            bad(f"unknown kind '{call.kind}'")
        if call.mode == "refused" and not call.reason:
            bad("refused without reason")
        if call.on_wire and not call.id:
            bad(f"{call.mode} without id")
        if not call.on_wire and call.id:
            bad(f"{call.mode} with an id")
        if call.on_wire and not call.since:
            bad("no since")
        if call.mode == "async" and call.reply:
            bad("async with a reply")
        if call.twin not in ("", "_ptsz", "_ptds"):
            bad(f"unknown twin '{call.twin}'")
        names = [a.name for a in call.args]
        if len(set(names)) != len(names):
            bad("two arguments of one name")

    def check_all(self):
        by_id = {}
        for call in self.calls.values():
            for arg in call.args + call.reply:
                if arg.base in ("handle", "new") and arg.detail not in self.handles:
                    raise SpecError(call.path, arg.line,
                                    f"{call.name}.{arg.name}: unknown handle kind '{arg.detail}'")
            if call.id:
                if call.id in by_id:
                    raise SpecError(call.path, call.line,
                                    f"{call.name}: id {call.id:#06x} is taken by {by_id[call.id]}")
                if not 0 < call.id < 0x1000:
                    raise SpecError(call.path, call.line, f"{call.name}: id out of 1 .. 0xfff")
                by_id[call.id] = call.name

    def wire_calls(self):
        return sorted((c for c in self.calls.values() if c.on_wire), key=lambda c: c.id)

    def exported(self):
        return sorted((c for c in self.calls.values() if c.exported), key=lambda c: c.name)
