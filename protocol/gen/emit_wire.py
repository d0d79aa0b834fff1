"""Emits the wire structs and codecs: wire_calls.h and wire_calls.c.

Layout of a call's arguments (and of a reply's): the fixed part, fields by falling
alignment, padded to 8; then each variable field, padded to 8. All little endian."""

from emit_api import BANNER
from spec import SCALARS


def align8(n):
    return (n + 7) & ~7


def field_layout(fields):
    """(ctype, name, suffix, bytes) of the fixed part, by falling alignment."""
    rows = []
    for f in fields:
        if f.base == "scalar":
            ctype, size = SCALARS[f.type]
            rows.append((size, ctype, f.name, "", size))
        elif f.base == "fixed":
            scalar, count = f.type[:-1].split("[")
            ctype, size = SCALARS[scalar]
            rows.append((size, ctype, f.name, f"[{count}]", size * int(count)))
        elif f.base in ("handle", "new"):
            rows.append((8, "uint64_t", f.name, "", 8))
        elif f.base == "pod":
            rows.append((8, "uint8_t", f.name, f"[{align8(f.size)}]", align8(f.size)))
        else:
            rows.append((4, "uint32_t", f.name + "_len", "", 4))
    rows.sort(key=lambda r: -r[0])
    total = align8(sum(r[4] for r in rows))
    pad = total - sum(r[4] for r in rows)
    if pad:
        rows.append((1, "uint8_t", "pad", f"[{pad}]", pad))
    return rows, total


def memory_field(f):
    if f.base == "scalar":
        return f"    {SCALARS[f.type][0]} {f.name};\n"
    if f.base == "fixed":
        scalar, count = f.type[:-1].split("[")
        return f"    {SCALARS[scalar][0]} {f.name}[{count}];\n"
    if f.base in ("handle", "new"):
        return f"    uint64_t {f.name}; /* {f.detail} id */\n"
    if f.base == "pod":
        return f"    {f.detail} {f.name};\n"
    if f.base == "string":
        return f"    const char *{f.name}; /* NUL-terminated */\n    uint32_t {f.name}_len; /* without NUL, < {f.max} */\n"
    if f.base == "bytes":
        return f"    const uint8_t *{f.name};\n    uint32_t {f.name}_len; /* bytes, <= {f.max} */\n"
    return (f"    const {list_type(f)} *{f.name};\n    uint32_t {f.name}_len; /* elements, <= {f.max} */\n")


def list_type(f):
    return SCALARS[f.detail][0] if f.detail in SCALARS else f.detail


def list_size(f):
    return SCALARS[f.detail][1] if f.detail in SCALARS else f.size


def bytes_of(f, prefix="a->"):
    if f.base == "string":
        return f"((size_t){prefix}{f.name}_len + 1)"
    if f.base == "bytes":
        return f"((size_t){prefix}{f.name}_len)"
    return f"((size_t){prefix}{f.name}_len * {list_size(f)})"


def structs(call, part):
    fields = getattr(call, part)
    tag = "args" if part == "args" else "reply"
    out = [f"struct wire_{call.name}_{tag} {{\n"]
    out += [memory_field(f) for f in fields] or ["    uint8_t nothing;\n"]
    out.append("};\n\n")
    return "".join(out)


def tail_field(call, part):
    """The bytes that end a row of arguments, if they are its only variable field."""
    variable = [f for f in getattr(call, part) if f.variable]
    return variable[0] if part == "args" and len(variable) == 1 and variable[0].base == "bytes" else None


def prototypes(call, tag):
    name = f"wire_{call.name}_{tag}"
    head = ("/* Only what stands before the bytes at the end. */\n"
            f"#define WIRE_HEAD_{call.name}_{tag} {field_layout(call.args)[1]}u\n"
            f"void wire_head_{call.name}_{tag}(uint8_t *to, const struct {name} *a);\n"
            "/* The other way, and no bytes; false: more of them than there may be. */\n"
            f"bool wire_unhead_{call.name}_{tag}(const uint8_t *from, struct {name} *a);\n"
            ) if tail_field(call, tag) else ""
    return (head +f"size_t wire_size_{call.name}_{tag}(const struct {name} *a);\n"
            f"void wire_put_{call.name}_{tag}(uint8_t *to, const struct {name} *a);\n"
            f"bool wire_get_{call.name}_{tag}(const uint8_t *from, size_t len, struct {name} *a);\n\n")


def codec(call, part):
    fields = getattr(call, part)
    tag = "args" if part == "args" else "reply"
    name = f"wire_{call.name}_{tag}"
    rows, total = field_layout(fields)
    variable = [f for f in fields if f.variable]
    out = []
    if rows:
        out.append(f"struct {name}_fixed {{\n")
        out += [f"    {ctype} {field}{suffix};\n" for _, ctype, field, suffix, _ in rows]
        out.append(f"}};\n_Static_assert(sizeof(struct {name}_fixed) == {total}, \"{name}\");\n")
        out += [f'_Static_assert(sizeof({f.detail}) == {f.size}, "{f.detail}");\n'
                for f in fields if f.base == "pod" or (f.base == "list" and f.size)]
    out.append("\n" + size_function(call, tag, name, total, variable))
    out.append(put_function(call, tag, name, rows, total, fields, variable))
    out.append(get_function(call, tag, name, rows, total, fields, variable))
    return "".join(out)


def size_function(call, tag, name, total, variable):
    terms = "".join(f" + WIRE_PAD({bytes_of(f)})" for f in variable)
    unused = "" if variable else "    (void)a;\n"
    return (f"size_t\nwire_size_{call.name}_{tag}(const struct {name} *a)\n{{\n{unused}"
            f"    return {total}{terms};\n}}\n\n")


def put_function(call, tag, name, rows, total, fields, variable):
    whole = put_variant("put", call, tag, name, rows, total, fields, variable)
    if tail_field(call, tag):
        whole += put_variant("head", call, tag, name, rows, total, fields, variable)
    return whole


def put_variant(verb, call, tag, name, rows, total, fields, variable):
    out = [f"void\nwire_{verb}_{call.name}_{tag}(uint8_t *to, const struct {name} *a)\n{{\n"]
    if not rows:
        out.append("    (void)to;\n    (void)a;\n}\n\n")
        return "".join(out)
    out.append(f"    struct {name}_fixed fixed;\n\n    memset(&fixed, 0, sizeof(fixed));\n")
    for f in fields:
        if f.base in ("fixed", "pod"):
            out.append(f"    memcpy(fixed.{f.name}, &a->{f.name}, sizeof(a->{f.name}));\n")
        elif f.variable:
            out.append(f"    fixed.{f.name}_len = a->{f.name}_len;\n")
        else:
            out.append(f"    fixed.{f.name} = a->{f.name};\n")
    out.append(f"    memcpy(to, &fixed, {total});\n")
    variable = variable if verb == "put" else []
    if variable:
        out.append(f"    to += {total};\n")
    for f in variable:
        terminator = 1 if f.base == "string" else 0
        out.append(f"    to = wire_put_bytes(to, a->{f.name}, {bytes_of(f)}, {terminator});\n")
    if variable:
        out.append("    (void)to;\n")
    out.append("}\n\n")
    return "".join(out)


def get_function(call, tag, name, rows, total, fields, variable):
    whole = get_variant(call, tag, name, rows, total, fields, variable)
    if tail_field(call, tag):
        whole += unhead_function(call, tag, name, total, fields)
    return whole


def take_fields(fields):
    out = []
    for f in fields:
        if f.base in ("fixed", "pod"):
            out.append(f"    memcpy(&a->{f.name}, fixed.{f.name}, sizeof(a->{f.name}));\n")
        elif f.variable:
            limit = f"fixed.{f.name}_len >= {f.max}u" if f.base == "string" else f"fixed.{f.name}_len > {f.max}u"
            out.append(f"    if ({limit})\n        return false;\n    a->{f.name}_len = fixed.{f.name}_len;\n")
        else:
            out.append(f"    a->{f.name} = fixed.{f.name};\n")
    return out


def unhead_function(call, tag, name, total, fields):
    return "".join(
        [f"bool\nwire_unhead_{call.name}_{tag}(const uint8_t *from, struct {name} *a)\n{{\n"
         f"    struct {name}_fixed fixed;\n\n    memcpy(&fixed, from, {total});\n"]
        + take_fields(fields)
        + [f"    a->{tail_field(call, tag).name} = NULL;\n    return true;\n}}\n\n"])


def get_variant(call, tag, name, rows, total, fields, variable):
    out = [f"bool\nwire_get_{call.name}_{tag}(const uint8_t *from, size_t len, struct {name} *a)\n{{\n"]
    if not rows:
        out.append("    (void)from;\n    a->nothing = 0;\n    return len == 0;\n}\n\n")
        return "".join(out)
    out.append(f"    struct {name}_fixed fixed;\n\n    if (len < {total})\n        return false;\n"
               f"    memcpy(&fixed, from, {total});\n    from += {total};\n    len -= {total};\n")
    out += take_fields(fields)
    for f in variable:
        terminator = 1 if f.base == "string" else 0
        out.append(f"    a->{f.name} = wire_get_bytes(&from, &len, {bytes_of(f)}, {terminator});\n"
                   f"    if (a->{f.name} == NULL)\n        return false;\n")
    out.append("    (void)from;\n    return len == 0;\n}\n\n")
    return "".join(out)


def stream_at(call):
    """Offset of the first handle of a stream in the fixed part."""
    streams = [f.name for f in call.args if f.base == "handle" and f.detail == "stream"]
    at = 0
    for _, _, name, _, size in field_layout(call.args)[0]:
        if streams and name == streams[0]:
            return at
        at += size
    return "0xffff"


def header(spec):
    calls = spec.wire_calls()
    out = [BANNER, "#ifndef GP_WIRE_CALLS_H\n#define GP_WIRE_CALLS_H\n\n"
           '#include "protocol/abi/cuda_types.h"\n\n#include <stdbool.h>\n#include <stddef.h>\n'
           "#include <stdint.h>\n\n"]
    out.append("enum wire_handle {\n    WIRE_HANDLE_NONE,\n")
    out += [f"    WIRE_HANDLE_{kind.upper()},\n" for kind in spec.handles]
    out.append("    WIRE_HANDLE_COUNT,\n};\n\n")
    out.append("enum wire_call {\n")
    out += [f"    WIRE_CALL_{c.name} = {c.id:#06x},\n" for c in calls]
    out.append(f"    WIRE_CALL_COUNT = {max((c.id for c in calls), default=0) + 1:#06x},\n}};\n\n")
    out.append("""/* What is known of a wire id; name is NULL for an id that nobody has. */
struct wire_call_info {
    const char *name;
    uint16_t since; /* protocol minor version that introduced it */
    bool sync;      /* a reply is owed */
    bool notice;    /* server to client */
    bool context;   /* runs in the record's context */
    /* Whether the bytes are well-formed arguments of this call; nothing is kept. */
    bool (*check)(const uint8_t *args, size_t len);
    uint16_t fixed_bytes; /* of the arguments, before what varies in length */
    uint16_t stream_at;   /* where in them the first stream's id lies; 0xffff: none does */
};

extern const struct wire_call_info wire_calls[WIRE_CALL_COUNT];

""")
    for call in calls:
        out.append(f"/* {call.path.split('/')[-1]}: {call.name}, {call.id:#06x}, since {call.since}, {call.mode} */\n")
        out.append(structs(call, "args") + prototypes(call, "args"))
        if call.mode == "sync":
            out.append(structs(call, "reply") + prototypes(call, "reply"))
    out.append("#endif\n")
    return "".join(out)


def source(spec):
    calls = spec.wire_calls()
    out = [BANNER, '#include "wire_calls.h"\n\n#include "protocol/wire/codec.h"\n\n#include <string.h>\n\n']
    for call in calls:
        out.append(codec(call, "args"))
        out.append(f"static bool\ncheck_{call.name}(const uint8_t *from, size_t len)\n{{\n"
                   f"    struct wire_{call.name}_args a;\n\n"
                   f"    return wire_get_{call.name}_args(from, len, &a);\n}}\n\n")
        if call.mode == "sync":
            out.append(codec(call, "reply"))
    out.append("const struct wire_call_info wire_calls[WIRE_CALL_COUNT] = {\n")
    for c in calls:
        minor = int(c.since.split(".")[1])
        out.append(f'    [{c.id:#06x}] = {{"{c.name}", {minor}, {str(c.mode == "sync").lower()}, '
                   f"{str(c.kind == 'notice').lower()}, {str(c.context).lower()}, check_{c.name}, "
                   f"{field_layout(c.args)[1]}, {stream_at(c)}}},\n")
    out.append("};\n")
    return "".join(out)
