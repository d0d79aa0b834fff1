"""Emits the two ends of a call: the client's exported stubs and the server's dispatch."""

from emit_api import BANNER, data_symbol, refused, split_prototype, twin
from spec import SpecError


def pointed(ctype):
    """"CUstream *" -> "CUstream", "const char *" -> "const char" """
    return ctype[:-1].strip()


def find_field(call, param):
    for part in ("args", "reply"):
        for f in getattr(call, part):
            if (f.param or f.name) == param.name:
                return part, f
    raise SpecError(call.path, call.line, f"{call.name}: parameter '{param.name}' has no argument "
                    "and no reply field; write the side by hand or describe it")


# --- client -----------------------------------------------------------------


def client_exports(spec):
    out = [BANNER, '#include "cuda_api.h"\n#include "frontend/core/call.h"\n'
           '#include "protocol/base/util.h"\n#include "wire_calls.h"\n\n']
    for call in spec.exported():
        if call.kind == "data":
            out.append(data_symbol(call))
            continue
        if call.mode == "refused":
            out.append(refused(call, "fe", False))
        elif call.on_wire and call.client == "generated":
            out.append(client_stub(call))
        if call.twin:
            out.append(twin(call, "fe"))
    return "".join(out)


def client_in(call, param, f):
    """Statements that fill one argument from one parameter."""
    name = param.name
    if f.base == "handle":
        nullable = "true" if f.nullable else "false"
        return (f"    if (gp_cr == CUDA_SUCCESS)\n        gp_cr = fe_handle_wire(&gp_call, WIRE_HANDLE_{f.detail.upper()}, "
                f"{name}, {nullable}, &gp_args.{f.name});\n")
    if f.base == "new":
        return (f"    if (gp_cr == CUDA_SUCCESS && {name} == NULL)\n        gp_cr = CUDA_ERROR_INVALID_VALUE;\n"
                f"    if (gp_cr == CUDA_SUCCESS)\n        gp_cr = fe_handle_new(&gp_call, WIRE_HANDLE_{f.detail.upper()}, "
                f"&fresh_{f.name}, &gp_args.{f.name});\n")
    if f.base == "pod":
        return (f"    if (gp_cr == CUDA_SUCCESS && {name} == NULL)\n        gp_cr = CUDA_ERROR_INVALID_VALUE;\n"
                f"    if (gp_cr == CUDA_SUCCESS)\n        gp_args.{f.name} = *{name};\n")
    if f.base == "string":
        return (f"    if (gp_cr == CUDA_SUCCESS && ({name} == NULL || strlen({name}) >= {f.max}))\n"
                f"        gp_cr = CUDA_ERROR_INVALID_VALUE;\n"
                f"    if (gp_cr == CUDA_SUCCESS) {{\n        gp_args.{f.name} = {name};\n"
                f"        gp_args.{f.name}_len = (uint32_t)strlen({name});\n    }}\n")
    if f.base == "scalar":
        cast = "(uint64_t)" if f.type in ("u64", "devptr") else ""
        return f"    gp_args.{f.name} = {cast}{name};\n"
    raise SpecError(call.path, f.line, f"{call.name}.{f.name}: {f.type} needs client = \"hand\"")


def client_out(call, param, f):
    if f.base not in ("scalar", "pod"):
        raise SpecError(call.path, f.line, f"{call.name}.{f.name}: {f.type} needs client = \"hand\"")
    return f"        *{param.name} = ({pointed(param.ctype)})gp_reply.{f.name};\n" if f.base == "scalar" else \
        f"        *{param.name} = gp_reply.{f.name};\n"


def client_stub(call):
    ret, rest = split_prototype(call)
    ins, outs, checks, fresh = [], [], [], []
    for param in call.params:
        part, f = find_field(call, param)
        if part == "args":
            ins.append(client_in(call, param, f))
            if f.base == "new":
                fresh.append((param, f))
        else:
            checks.append(f"    if (gp_cr == CUDA_SUCCESS && {param.name} == NULL)\n"
                          "        gp_cr = CUDA_ERROR_INVALID_VALUE;\n")
            outs.append(client_out(call, param, f))
    sync = call.mode == "sync"
    out = [f"GP_EXPORT {ret}\n{rest}\n{{\n    struct wire_{call.name}_args gp_args = {{0}};\n"]
    if sync:
        out.append(f"    struct wire_{call.name}_reply gp_reply;\n    const uint8_t *gp_bytes;\n    size_t gp_len;\n")
    out += [f"    void *fresh_{f.name} = NULL;\n" for _, f in fresh]
    out.append("    struct fe_call gp_call;\n    CUresult gp_cr;\n    void *gp_to;\n\n"
               f"    gp_cr = fe_enter(&gp_call, WIRE_CALL_{call.name});\n    if (GP_UNLIKELY(gp_cr != CUDA_SUCCESS))\n"
               "        return gp_cr;\n\n")
    out += ins + checks  # handles before outputs, as the hand-written calls do
    out.append("    if (gp_cr == CUDA_SUCCESS) {\n"
               f"        gp_to = fe_post(&gp_call, wire_size_{call.name}_args(&gp_args));\n"
               "        if (gp_to == NULL) {\n            gp_cr = fe_lost(&gp_call);\n        } else {\n"
               f"            wire_put_{call.name}_args(gp_to, &gp_args);\n            fe_post_done(&gp_call);\n"
               "        }\n    }\n")
    if sync:
        out.append("    if (gp_cr == CUDA_SUCCESS)\n        gp_cr = fe_wait(&gp_call, &gp_bytes, &gp_len);\n"
                   f"    if (gp_cr == CUDA_SUCCESS && !wire_get_{call.name}_reply(gp_bytes, gp_len, &gp_reply))\n"
                   "        gp_cr = fe_malformed(&gp_call);\n")
        if outs:
            out.append("    if (gp_cr == CUDA_SUCCESS) {\n" + "".join(outs) + "    }\n")
    for param, f in fresh:
        out.append(f"    if (gp_cr == CUDA_SUCCESS)\n        *{param.name} = fresh_{f.name};\n"
                   f"    else if (fresh_{f.name} != NULL)\n        fe_handle_drop(&gp_call, fresh_{f.name});\n")
    out.append("    return fe_leave(&gp_call, gp_cr);\n}\n\n")
    return "".join(out)


# --- server -----------------------------------------------------------------


def server_calls(spec):
    return [c for c in spec.wire_calls() if c.kind != "notice"]


def hooks_header(spec):
    out = [BANNER, "#ifndef BE_HOOKS_H\n#define BE_HOOKS_H\n\n"
           '#include "backend/cuda/call.h"\n#include "wire_calls.h"\n\n'
           "/* Written by hand in backend/cuda, one for each call whose server side is by hand. */\n"]
    for call in server_calls(spec):
        if call.server == "hand":
            out.append(hook_prototype(call) + ";\n")
    out.append("\ntypedef void (*be_dispatch_fn)(struct be_call *call, const uint8_t *from, size_t len);\n"
               "extern const be_dispatch_fn be_dispatch[WIRE_CALL_COUNT];\n\n#endif\n")
    return "".join(out)


def hook_prototype(call):
    reply = f", struct wire_{call.name}_reply *reply" if call.mode == "sync" else ""
    return f"CUresult be_hook_{call.name}(struct be_call *call, const struct wire_{call.name}_args *args{reply})"


def server_argument(call, param, before, after, local):
    part, f = find_field(call, param)
    if part == "args" and f.base == "handle":
        local.append(f"    void *{f.name} = NULL;\n")
        nullable = "true" if f.nullable else "false"
        before.append(f"    if (cr == CUDA_SUCCESS)\n        cr = be_handle_get(call->session, "
                      f"WIRE_HANDLE_{f.detail.upper()}, args->{f.name}, {nullable}, &{f.name});\n")
        return f.name
    if part == "args" and f.base == "new":
        local.append(f"    {pointed(param.ctype)} {f.name} = NULL;\n")
        after.append(f"    if (cr == CUDA_SUCCESS)\n        cr = be_handle_bind(call->session, "
                     f"WIRE_HANDLE_{f.detail.upper()}, args->{f.name}, {f.name});\n")
        return f"&{f.name}"
    if part == "args" and f.base == "pod":
        local.append(f"    {f.detail} {f.name} = args->{f.name};\n")
        return f"&{f.name}"
    if part == "args" and f.base in ("scalar", "string", "bytes"):
        return f"({param.ctype})args->{f.name}"
    if part == "reply" and f.base == "scalar":
        local.append(f"    {pointed(param.ctype)} {f.name} = 0;\n")
        after.append(f"    reply->{f.name} = {f.name};\n")
        return f"&{f.name}"
    if part == "reply" and f.base == "pod":
        return f"&reply->{f.name}"
    raise SpecError(call.path, f.line, f"{call.name}.{f.name}: {f.type} needs server = \"hand\"")


def server_body(call):
    before, after, local = [], [], []
    arguments = [server_argument(call, p, before, after, local) for p in call.params]
    table = "call->driver"
    unused = "    (void)args;\n" if not call.args else ""
    unused += "    (void)reply;\n" if call.mode == "sync" and not call.reply else ""
    return (f"static {hook_prototype(call)}\n{{\n" + "".join(local) + "    CUresult cr = CUDA_SUCCESS;\n\n" + unused +
            f"    if ({table}->{call.name} == NULL)\n        return CUDA_ERROR_NOT_SUPPORTED;\n" + "".join(before) +
            f"    if (cr == CUDA_SUCCESS)\n        cr = {table}->{call.name}({', '.join(arguments)});\n" +
            "".join(after) + "    return cr;\n}\n\n")


def server_dispatch(call):
    sync = call.mode == "sync"
    name = call.name
    out = [f"static void\ndispatch_{name}(struct be_call *call, const uint8_t *from, size_t len)\n{{\n"
           f"    struct wire_{name}_args args;\n"]
    if sync:
        out.append(f"    struct wire_{name}_reply reply;\n    uint8_t *to;\n")
    out.append("    CUresult cr;\n\n"
               f"    if (!wire_get_{name}_args(from, len, &args)) {{\n        be_malformed(call);\n        return;\n    }}\n")
    if sync:
        out.append("    memset(&reply, 0, sizeof(reply));\n")
    out.append(f"    cr = be_hook_{name}(call, &args{', &reply' if sync else ''});\n")
    if sync:
        out.append("    if (cr == BE_PARKED)\n        return;\n"
                   f"    to = be_reply_begin(call, cr, wire_size_{name}_reply(&reply));\n"
                   f"    if (to != NULL) {{\n        wire_put_{name}_reply(to, &reply);\n        be_reply_end(call);\n    }}\n}}\n\n")
    else:
        out.append("    if (GP_UNLIKELY(cr != CUDA_SUCCESS) && cr != BE_PARKED)\n        be_defer(call, cr);\n}\n\n")
    return "".join(out)


def dispatch_source(spec):
    out = [BANNER, '#include "be_hooks.h"\n\n#include "be_driver_table.h"\n#include "protocol/base/util.h"\n\n'
           "#include <string.h>\n\n"]
    calls = server_calls(spec)
    for call in calls:
        if call.server == "generated":
            out.append(server_body(call))
        out.append(server_dispatch(call))
    out.append("const be_dispatch_fn be_dispatch[WIRE_CALL_COUNT] = {\n")
    out += [f"    [WIRE_CALL_{c.name}] = dispatch_{c.name},\n" for c in calls]
    out.append("};\n")
    return "".join(out)
