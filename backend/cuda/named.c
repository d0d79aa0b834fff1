/* backend/cuda/named.c */
#include "backend/cuda/named.h"

#include "protocol/base/util.h"
#include "protocol/wire/codec.h"
#include "wire_calls.h"

bool
be_names(uint16_t call)
{
    static const uint16_t calls[] = {
        WIRE_CALL_cuMemcpyHtoDAsync_v2, WIRE_CALL_gpCopyKept,
        WIRE_CALL_gpCopyKnown,          WIRE_CALL_gpCopyPacked,
        WIRE_CALL_cuMemcpyDtoDAsync_v2, WIRE_CALL_cuMemcpyDtoHAsync_v2,
        WIRE_CALL_cuMemcpyDtoH_v2,      WIRE_CALL_cuMemsetD8Async,
        WIRE_CALL_cuMemsetD16Async,     WIRE_CALL_cuMemsetD32Async,
    };

    for (size_t i = 0; i < GP_ARRAY_LEN(calls); i++)
        if (calls[i] == call)
            return true;
    return false;
}

union args {
    struct wire_cuMemcpyHtoDAsync_v2_args htod;
    struct wire_gpCopyKept_args kept;
    struct wire_gpCopyPacked_args packed;
    struct wire_gpCopyKnown_args known;
    struct wire_cuMemcpyDtoDAsync_v2_args dtod;
    struct wire_cuMemcpyDtoHAsync_v2_args dtoh;
    struct wire_cuMemcpyDtoH_v2_args sync;
    struct wire_cuMemsetD8Async_args d8;
    struct wire_cuMemsetD16Async_args d16;
    struct wire_cuMemsetD32Async_args d32;
};

static bool
add(struct be_swap_named *named, bool good, uint64_t address, uint64_t bytes, bool written)
{
    if (good)
        named->ranges[named->count++] =
            (struct be_swap_range){.address = address, .bytes = bytes, .written = written};
    return good;
}

static bool
to(struct be_swap_named *named, bool good, uint64_t address, uint64_t bytes)
{
    return add(named, good, address, bytes, true);
}

static bool
from(struct be_swap_named *named, bool good, uint64_t address, uint64_t bytes)
{
    return add(named, good, address, bytes, false);
}

/* A count of elements; too many for an address range is as wrong as any. */
static bool
fill(struct be_swap_named *named, bool good, uint64_t address, uint64_t count, unsigned size)
{
    return to(named, good && count <= UINT64_MAX / size, address, count * size);
}

bool
be_named(uint16_t call, const uint8_t *body, size_t len, struct be_swap_named *named_p)
{
    struct be_swap_named *n = named_p;
    union args a;
    bool good;

    n->count = 0;
    switch (call) {
    case WIRE_CALL_cuMemcpyHtoDAsync_v2:
        good = len >= WIRE_HEAD_cuMemcpyHtoDAsync_v2_args &&
               wire_unhead_cuMemcpyHtoDAsync_v2_args(body, &a.htod);
        return to(n, good, a.htod.dst, a.htod.data_len);
    case WIRE_CALL_gpCopyKept:
        good = wire_get_gpCopyKept_args(body, len, &a.kept);
        return to(n, good, a.kept.dst, a.kept.data_len);
    case WIRE_CALL_gpCopyKnown:
        good = wire_get_gpCopyKnown_args(body, len, &a.known);
        return to(n, good, a.known.dst, a.known.bytes);
    case WIRE_CALL_gpCopyPacked:
        good = wire_get_gpCopyPacked_args(body, len, &a.packed);
        return to(n, good, a.packed.dst, a.packed.bytes);
    case WIRE_CALL_cuMemcpyDtoDAsync_v2:
        good = wire_get_cuMemcpyDtoDAsync_v2_args(body, len, &a.dtod);
        return to(n, good, a.dtod.dst, a.dtod.bytes) && from(n, good, a.dtod.src, a.dtod.bytes);
    case WIRE_CALL_cuMemcpyDtoHAsync_v2:
        good = wire_get_cuMemcpyDtoHAsync_v2_args(body, len, &a.dtoh);
        return from(n, good, a.dtoh.src, a.dtoh.bytes);
    case WIRE_CALL_cuMemcpyDtoH_v2:
        good = wire_get_cuMemcpyDtoH_v2_args(body, len, &a.sync);
        return from(n, good, a.sync.src, a.sync.bytes);
    case WIRE_CALL_cuMemsetD8Async:
        good = wire_get_cuMemsetD8Async_args(body, len, &a.d8);
        return fill(n, good, a.d8.dst, a.d8.count, 1);
    case WIRE_CALL_cuMemsetD16Async:
        good = wire_get_cuMemsetD16Async_args(body, len, &a.d16);
        return fill(n, good, a.d16.dst, a.d16.count, 2);
    case WIRE_CALL_cuMemsetD32Async:
        good = wire_get_cuMemsetD32Async_args(body, len, &a.d32);
        return fill(n, good, a.d32.dst, a.d32.count, 4);
    default:
        return false;
    }
}
