/* tests/differential/arguments.c */
#include "arguments.h"

#include "arguments_priv.h"

#include <stdarg.h>
#include <string.h>

unsigned char host_buffer[HOST_BYTES] __attribute__((aligned(4096)));
_Atomic unsigned host_calls;

const char *const kernel_image =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .global .align 4 .u32 counter = 7;\n"
    ".visible .global .align 4 .b8 table[256];\n"
    ".visible .entry fill(.param .u64 p, .param .u32 n, .param .u32 v)\n"
    "{\n .reg .pred %q; .reg .b32 %r<8>; .reg .b64 %d<4>;\n"
    " ld.param.u64 %d1, [p]; ld.param.u32 %r1, [n]; ld.param.u32 %r2, [v];\n"
    " mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n"
    " mad.lo.s32 %r6, %r3, %r4, %r5; setp.ge.u32 %q, %r6, %r1; @%q bra END;\n"
    " mul.wide.u32 %d2, %r6, 4; add.s64 %d3, %d1, %d2; add.u32 %r7, %r2, %r6;\n"
    " st.global.u32 [%d3], %r7;\nEND: ret;\n}\n"
    ".visible .entry count(.param .u64 p, .param .u32 n, .param .u32 v)\n"
    "{\n .reg .pred %q; .reg .b32 %r<2>; .reg .b64 %d<2>;\n ld.param.u64 %d1, [p];\n"
    " setp.eq.u64 %q, %d1, 0; @%q bra END;\n"
    " atom.global.add.u32 %r1, [%d1], 1;\nEND: ret;\n}\n";

void
say(struct made *m, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(m->text + m->text_len, sizeof(m->text) - m->text_len, fmt, args);
    va_end(args);
    if (n > 0)
        m->text_len += (size_t)n < sizeof(m->text) - m->text_len ? (size_t)n : 0;
}

void
host_function(void *data)
{
    (void)data;
    host_calls++;
}

static void
end_of_object(void *data)
{
    (void)data;
}

static void
stream_function(CUstream stream, CUresult status, void *data)
{
    (void)stream;
    (void)status;
    (void)data;
    host_calls++;
}

uint64_t
one_of(const uint64_t *values, size_t count)
{
    return values[random_below(count)];
}

/* --- objects ------------------------------------------------------------------------------- */

static uint64_t
stream_value(struct made *m)
{
    uint64_t fixed = ONE_OF(0, 0, 0, 1, 2);

    say(m, "stream#%u", (unsigned)fixed);
    return fixed;
}

uint64_t
pick_object(struct made *m, int at, enum object_kind kind)
{
    struct object *o;

    if (kind == KIND_STREAM && random_percent(35))
        return stream_value(m);
    if (kind != KIND_STREAM && random_percent(4) &&
        !m->careful) { /* a device makes streams of its own */
        o = object_pick_dead(kind);
        if (o != NULL) {
            say(m, "dead-%s%u", object_kind_name(kind), o->number);
            return o->value;
        }
    }
    o = random_percent(3) && !m->careful ? NULL : object_pick(kind);
    if (o == NULL) {
        say(m, "NULL");
        return 0;
    }
    say(m, "%s%u", object_kind_name(kind), o->number);
    m->object[at] = o;
    return o->value;
}

/* A kernel may stand where a function is launched or asked about; whether what is set for it holds
 * in other contexts too is left open. */
static uint64_t
pick_function(struct made *m, const struct call *call, int at)
{
    return pick_object(m, at,
                       random_percent(20) && strncmp(call->name, "cuFuncSet", 9) != 0 &&
                               object_pick(KIND_KERNEL) != NULL
                           ? KIND_KERNEL
                           : KIND_FUNCTION);
}

/* Mostly one that is of several devices where that is asked for, and one that is not elsewhere. */
static uint64_t
pick_physical(struct made *m, const struct call *call, int at)
{
    bool team = at == 0 && strstr(call->name, "Multicast") != NULL;
    struct object *o = random_percent(80) || m->careful ? object_pick_team(team) : NULL;

    if (o == NULL)
        return pick_object(m, at, KIND_PHYS);
    say(m, "phys%u", o->number);
    m->object[at] = o;
    return o->value;
}

/* Copies that take addresses of either side would read a wild one. */
static bool
is_unified(const char *name)
{
    return strncmp(name, "cuMemcpy", 8) == 0 &&
           (name[8] == '\0' || name[8] == '_' || name[8] == 'A') &&
           strncmp(name, "cuMemcpyAto", 11) != 0;
}

uint64_t
pick_address(struct made *m, const struct call *call, int at)
{
    struct object *o = random_percent(4) ? NULL : object_pick(KIND_ADDRESS);
    bool mapping = strstr(call->name, "MemMap") != NULL || strstr(call->name, "Unmap") != NULL ||
                   strstr(call->name, "MemSetAccess") != NULL ||
                   strstr(call->name, "MulticastBindAddr") != NULL;
    uint64_t offset;

    if (mapping && (m->careful || random_percent(60)))
        o = object_pick_reserved();

    if (o != NULL && strstr(call->name, "Value") != NULL && o->bytes < 8)
        o = NULL; /* what follows a small block is undefined */
    if (o == NULL) {
        uint64_t wild = is_unified(call->name) ? 0 : ONE_OF(0, 0x10, 0x7000);

        say(m, "%#llx", (unsigned long long)wild);
        m->left = 0;
        return wild;
    }
    offset = o->bytes == 0 || m->careful || random_percent(60) ? 0 : random_below(o->bytes);
    if (strstr(call->name, "Value") != NULL)
        offset &= ~(uint64_t)7;
    if (!random_percent(10))
        offset &= ~(uint64_t)15;
    /* Whether it is aligned is left open, and so which mistake counts. */
    if (mapping && !o->reserved)
        offset = 1;
    if (m->left > o->bytes - offset)
        m->left = o->bytes - offset;
    if (m->memory == NULL)
        m->memory = o;
    m->object[at] = offset == 0 ? o : NULL;
    say(m, "mem%u+%llu", o->number, (unsigned long long)offset);
    return o->value + offset;
}

static uint64_t
pick_host(struct made *m, int at)
{
    struct object *o = random_percent(30) ? object_pick(KIND_HOST) : NULL;
    uint64_t offset = random_below(8) * 4096;

    m->host_used = true;
    if (random_percent(2)) {
        say(m, "NULL");
        return 0;
    }
    if (o != NULL) {
        say(m, "host%u", o->number);
        m->object[at] = o;
        if (o->bytes < m->left)
            m->left = o->bytes;
        return o->value;
    }
    say(m, "buffer+%llu", (unsigned long long)offset);
    return (uintptr_t)host_buffer + offset;
}

static uint64_t
pick_image(struct made *m)
{
    bool good = !random_percent(10);

    say(m, good ? "image" : "no image");
    return (uintptr_t)(good ? kernel_image : "this is no image");
}

/* --- numbers ------------------------------------------------------------------------------- */

/* Bytes of an element of what is filled. */
static uint64_t
element_bytes(const char *name)
{
    return strstr(name, "D32") != NULL ? 4 : strstr(name, "D16") != NULL ? 2 : 1;
}

/* Of the only size, or of one among several. */
static uint64_t
some_bytes(const struct made *m, const struct call *call, int at)
{
    if (strstr(call->name, "AddressReserve") || strstr(call->name, "cuMemCreate") ||
        strstr(call->name, "cuMemMap"))
        return m->careful ? (at == 2 && strstr(call->name, "cuMemMap") != NULL ? 0 : 2 << 20)
                          : ONE_OF(0, 2 << 20, 2 << 20, 4 << 20, 4096, 1);
    if (m->left == UINT64_MAX)
        return ONE_OF(0, 1, 4, 16, 64, 256, 512, 1000, 4096, 65536, 1 << 20, 3 << 20,
                      random_percent(10) ? TOO_MANY : 8);
    if (random_percent(m->host_used ? 0 : 4))
        return TOO_MANY;
    if (m->left == 0)
        return random_below(2); /* it may be that small */
    return random_percent(30) ? m->left : random_below(m->left + 1);
}

static uint64_t
pick_bytes(struct made *m, const struct call *call, int at)
{
    bool last = at == call->count - 2; /* flags or nothing behind it */

    if (call->count > 0 && call->args[call->count - 1] == ARG_BYTES)
        last = at == call->count - 1;

    uint64_t bytes, most = m->host_used ? HOST_BYTES - 32768 : UINT64_MAX;

    if (strstr(call->name, "HostRegister") != NULL)
        return HOST_BYTES;
    if (strstr(call->name, "SetAddress2D") != NULL) /* 64 rows of 1,600 bytes at most */
        return m->left != UINT64_MAX && m->left > 4096 ? (m->left - 1600) / 64 : TOO_MANY;
    for (int i = 0; i < call->count; i++) {
        if (call->args[i] == ARG_NODES)
            return random_below(4);
        if (call->args[i] == ARG_ACCESS_DESC && m->value[i] != 0 && i < at)
            return random_percent(5) && !m->careful ? 0 : 1;
    }
    if (strstr(call->name, "Multicast") != NULL) /* offsets, and what is bound behind them */
        return m->careful ? (last ? 2 << 20 : 0)
               : last     ? ONE_OF(2 << 20, 2 << 20, 2 << 20, 4 << 20, 4096, 0)
                          : ONE_OF(0, 0, 0, 0, 2 << 20, 4096);
    bytes = some_bytes(m, call, at) / element_bytes(call->name);
    return bytes < most ? bytes : most;
}

/* Pitch, width and height of a fill. */
static void
pick_rectangle(struct made *m, const struct call *call)
{
    uint64_t element = element_bytes(call->name), pitch, width, height, rows = 0;
    uint64_t sizes[3];
    int n = 0;

    pitch = (1 + random_below(64)) * (random_percent(90) ? element : 1);
    width = random_percent(5) ? pitch : random_below(pitch / element + 1);
    if (m->left != UINT64_MAX && pitch >= width * element)
        rows = m->left / pitch;
    height = random_percent(4) ? TOO_MANY / pitch : random_below(rows < 64 ? rows + 1 : 64);
    if (height == 1)
        height = 0;
    sizes[0] = pitch;
    sizes[1] = width;
    sizes[2] = height;
    for (int i = 0; i < call->count; i++)
        if (call->args[i] == ARG_BYTES && n < 3)
            m->value[i] = sizes[n++];
    say(m, " %llux%llu/%llu", (unsigned long long)width, (unsigned long long)height,
        (unsigned long long)pitch);
}

/* What is right for sure, instead of v. */
static uint64_t
careful_number(const struct call *call, int at, uint64_t v)
{
    switch (call->args[at]) {
    case ARG_DEVICE:
        return 0;
    case ARG_FLAGS:
        return strstr(call->name, "Green") != NULL;
    case ARG_SMALL:
    case ARG_RESOURCE_TYPE:
        return 1;
    default:
        return v;
    }
}

static uint64_t
pick_number(struct made *m, const struct call *call, int at)
{
    uint64_t v = 0;

    switch (call->args[at]) {
    case ARG_DEVICE:
        v = ONE_OF(0, 0, 0, 0, 0, 1, 1, 2, (uint32_t)-1);
        break;
    case ARG_FLAGS: /* green contexts and their streams want 1, objects of several devices none */
        if (strstr(call->name, "Green") != NULL || strstr(call->name, "Multicast") != NULL)
            v = ONE_OF(strstr(call->name, "Green") != NULL, strstr(call->name, "Green") != NULL,
                       strstr(call->name, "Green") != NULL, 0, 2);
        else
            v = ONE_OF(0, 0, 0, 0, 0, 1, 1, 2, 4, 6, 8, 0x80, 0x80000000);
        break;
    case ARG_SMALL:
        if (strstr(call->name, "cuDev") != NULL && strstr(call->name, "Resource") != NULL)
            v = ONE_OF(0, 1, 1, 1, 2, 100);
        else
            v = ONE_OF(0, 0, 1, 1, 2, 4, 16, 32, 64, 256, (uint32_t)-1);
        for (int i = 0; i < call->count; i++)
            if ((call->args[i] == ARG_NODES && v > 3) || (call->args[i] == ARG_RESOURCES && v > 2))
                v = 1;
        break;
    case ARG_ENUM:
        v = random_percent(5) ? (uint32_t)-1 : random_below(random_percent(60) ? 4 : 40);
        break;
    case ARG_RESOURCE_TYPE:
        v = ONE_OF(CU_DEV_RESOURCE_TYPE_SM, CU_DEV_RESOURCE_TYPE_SM, CU_DEV_RESOURCE_TYPE_SM,
                   CU_DEV_RESOURCE_TYPE_INVALID, 7);
        break;
    case ARG_DIM:
        v = ONE_OF(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 8, 32, random_percent(5) ? 0 : 1,
                   random_percent(5) ? 100000 : 1);
        break;
    case ARG_SHARED:
        v = ONE_OF(0, 0, 0, 0, 0, 64, 49152, 49153, 1 << 20);
        break;
    default:
        v = ONE_OF(0, 1, 0x5a, 0xff, 0x1234, 0xdeadbeef);
    }
    if (m->careful)
        v = careful_number(call, at, v);
    say(m, "%lld", (long long)(int32_t)v);
    return v;
}

static uint64_t
pick_name(struct made *m)
{
    static const char *const names[] = {"fill", "count", "fill", "counter", "table", "nobody", ""};
    const char *name = names[random_below(sizeof(names) / sizeof(names[0]))];

    say(m, "\"%s\"", name);
    return (uintptr_t)name;
}

/* --- structures ------------------------------------------------------------------------------ */

/* Parameters of `fill` and `count`: memory that is certainly there. */
void **
kernel_params(struct made *m, int at)
{
    struct object *o = object_pick(KIND_ADDRESS);
    uint64_t *room = m->room[at].u64;
    void **list = (void **)(room + 8);

    room[0] = o != NULL && o->usable && o->bytes >= 64 ? o->value : 0;
    ((uint32_t *)(room + 1))[0] =
        room[0] != 0 ? (uint32_t)(o->bytes / 4 < 512 ? o->bytes / 4 : 512) : 0;
    ((uint32_t *)(room + 2))[0] = (uint32_t)random_below(1000);
    list[0] = &room[0];
    list[1] = &room[1];
    list[2] = &room[2];
    say(m, "params(%s%u)", room[0] != 0 ? "mem" : "none", room[0] != 0 ? o->number : 0);
    return list;
}

static void
launch_attributes(struct made *m, int at, CUlaunchConfig *c)
{
    CUlaunchAttribute *list = (void *)(m->room[at].bytes + 1024);

    if (random_percent(60))
        return;
    c->attrs = list;
    c->numAttrs = (unsigned)random_below(3);
    for (unsigned i = 0; i < c->numAttrs; i++) {
        list[i].id = (CUlaunchAttributeID)ONE_OF(
            CU_LAUNCH_ATTRIBUTE_IGNORE, CU_LAUNCH_ATTRIBUTE_COOPERATIVE,
            CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
            CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, CU_LAUNCH_ATTRIBUTE_PRIORITY,
            CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN, random_percent(10) ? 55 : 0);
        if (list[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) {
            list[i].value.clusterDim.x = (unsigned)ONE_OF(1, 2, 4, 3, 0);
            list[i].value.clusterDim.y = list[i].value.clusterDim.z = 1;
        } else {
            list[i].value.cooperative = (int)random_below(2);
        }
        say(m, " %d=%d", (int)list[i].id, list[i].value.cooperative);
    }
}

static uint64_t
launch_config(struct made *m, int at)
{
    CUlaunchConfig *c = (void *)m->room[at].bytes;

    c->gridDimX = (unsigned)ONE_OF(1, 1, 2, 4, 0);
    c->gridDimY = c->gridDimZ = 1;
    c->blockDimX = (unsigned)ONE_OF(1, 32, 64, 128, 1025);
    c->blockDimY = c->blockDimZ = 1;
    c->sharedMemBytes = (unsigned)ONE_OF(0, 0, 0, 1024, 1 << 20);
    say(m, "{%u %u %u ", c->gridDimX, c->blockDimX, c->sharedMemBytes);
    c->hStream = (CUstream)(uintptr_t)pick_object(m, at, KIND_STREAM);
    m->object[at] = NULL;
    launch_attributes(m, at, c);
    say(m, "}");
    return (uintptr_t)c;
}

struct side {
    CUmemorytype type;
    CUdeviceptr device;
    const void *host;
    CUarray array;
    size_t pitch;
};

/* One end of a copy; what is behind its start limits the copy's shape. An array's shape is checked
 * by the call. */
static struct side
copy_side(struct made *m, const struct call *call, int at, uint64_t *left)
{
    struct side s = {.pitch = (size_t)ONE_OF(0, 64, 64, 100, 256, 256, 16)};
    uint64_t before = *left;

    m->left = UINT64_MAX;
    if (random_percent(25) && object_pick(KIND_ARRAY) != NULL) {
        s.type = CU_MEMORYTYPE_ARRAY;
        s.array = (CUarray)(uintptr_t)pick_object(m, at, KIND_ARRAY);
    } else if (random_percent(60)) {
        s.type = CU_MEMORYTYPE_DEVICE;
        s.device = pick_address(m, call, at);
        *left = m->left < before ? m->left : before;
    } else {
        s.type = random_percent(95) ? CU_MEMORYTYPE_HOST : (CUmemorytype)7;
        s.host = host_buffer + random_below(4) * 4096;
        say(m, "buffer");
    }
    m->object[at] = NULL;
    say(m, "/%zu ", s.pitch);
    return s;
}

/* Rows of a copy whose last one certainly ends inside: each takes at most 256 bytes. */
static size_t
some_rows(uint64_t left)
{
    return random_percent(3) ? (size_t)TOO_MANY
                             : (size_t)random_below(left / 256 > 8 ? 8 : left / 256 + 1);
}

/* Whether the sides of a copy may overlap; host memory is all one buffer here. */
static bool
one_memory(const struct side *src, const struct side *dst)
{
    return (src->host != NULL && dst->host != NULL) ||
           (src->device != 0 && src->device == dst->device) ||
           (src->array != NULL && src->array == dst->array);
}

static /* Of a copy in two or three dimensions, whose structures name their fields alike. */
#define SIDES_FILL(c, src, dst)                                                                    \
    do {                                                                                           \
        (c)->srcMemoryType = (src).type;                                                           \
        (c)->srcDevice = (src).device;                                                             \
        (c)->srcHost = (src).host;                                                                 \
        (c)->srcArray = (src).array;                                                               \
        (c)->srcPitch = (src).pitch;                                                               \
        (c)->dstMemoryType = (dst).type;                                                           \
        (c)->dstDevice = (dst).device;                                                             \
        (c)->dstHost = (void *)(uintptr_t)(dst).host;                                              \
        (c)->dstArray = (dst).array;                                                               \
        (c)->dstPitch = (dst).pitch;                                                               \
    } while (0)

    uint64_t
    copy_2d(struct made *m, const struct call *call, int at)
{
    CUDA_MEMCPY2D *c = (void *)m->room[at].bytes;
    struct side src, dst;
    uint64_t left = 65536;
    bool host;

    say(m, "{");
    src = copy_side(m, call, at, &left);
    dst = copy_side(m, call, at, &left);
    host = src.type == CU_MEMORYTYPE_HOST || dst.host != NULL;
    SIDES_FILL(c, src, dst);
    c->srcXInBytes = left >= 1024 ? (size_t)ONE_OF(0, 0, 0, 4, 16) : 0;
    c->dstY = left >= 1024 ? (size_t)ONE_OF(0, 0, 0, 1) : 0;
    c->WidthInBytes = (size_t)ONE_OF(16, 64, 48, 1, 0, 100);
    c->Height = some_rows(left >= 1024 ? left - 512 : left);
    if (host && c->Height > 64)
        c->Height = 0;
    /* Rows that overlap may be copied in any order. */
    if (c->Height > 1 && one_memory(&src, &dst))
        c->Height = left >= 1024;
    say(m, "%zux%zu}", c->WidthInBytes, c->Height);
    return (uintptr_t)c;
}

uint64_t
copy_3d(struct made *m, const struct call *call, int at)
{
    CUDA_MEMCPY3D *c = (void *)m->room[at].bytes;
    struct side src, dst;
    uint64_t left = 65536;
    bool host;

    say(m, "{");
    src = copy_side(m, call, at, &left);
    dst = copy_side(m, call, at, &left);
    host = src.type == CU_MEMORYTYPE_HOST || dst.host != NULL;
    SIDES_FILL(c, src, dst);
    c->WidthInBytes = (size_t)ONE_OF(16, 64, 48, 1, 0);
    c->Height = some_rows(left);
    c->Depth = left >= 16384 && c->Height <= 8 ? (size_t)ONE_OF(1, 1, 2, 0) : 1;
    c->srcHeight = (size_t)ONE_OF(0, 8, c->Height);
    c->dstHeight = (size_t)ONE_OF(0, 8, c->Height);
    if (host && c->Height > 64)
        c->Height = 0;
    if (one_memory(&src, &dst)) {
        c->Height = c->Height > 1 ? left >= 256 : c->Height;
        c->Depth = c->Depth > 1 ? 1 : c->Depth;
    }
    say(m, "%zux%zux%zu rows %zu %zu}", c->WidthInBytes, c->Height, c->Depth, c->srcHeight,
        c->dstHeight);
    return (uintptr_t)c;
}

static uint64_t
node_params(struct made *m, const struct call *call, int at, int what)
{
    void *room = m->room[at].bytes + 1024;

    if (what == ARG_NODE_MEMSET) {
        CUDA_MEMSET_NODE_PARAMS *p = room;

        p->dst = pick_address(m, call, at);
        m->object[at] = NULL;
        p->elementSize = (unsigned)ONE_OF(1, 2, 4, 4, 3);
        p->width = m->left != UINT64_MAX && m->left >= 8 ? (size_t)random_below(m->left / 4) : 1;
        if (m->left < 8)
            p->elementSize = 1;
        p->height = 1;
        p->value = (unsigned)random_below(256);
        say(m, " width %zu size %u", p->width, p->elementSize);
    } else if (what == ARG_NODE_HOST) {
        ((CUDA_HOST_NODE_PARAMS *)room)->fn = host_function;
        say(m, "host function");
    } else {
        CUDA_KERNEL_NODE_PARAMS *p = room;

        p->func = (CUfunction)(uintptr_t)pick_object(m, at, KIND_FUNCTION);
        m->object[at] = NULL;
        p->gridDimX = p->gridDimY = p->gridDimZ = p->blockDimY = p->blockDimZ = 1;
        p->blockDimX = (unsigned)ONE_OF(1, 32, 64, 0);
        p->kernelParams = kernel_params(m, at);
    }
    return (uintptr_t)room;
}

static uint64_t
nodes(struct made *m, int at)
{
    for (int i = 0; i < 4; i++) {
        struct object *o = object_pick(KIND_NODE);

        m->room[at].u64[i] = o != NULL ? o->value : 0;
        say(m, "%snode%u", i == 0 ? "[" : " ", o != NULL ? o->number : 0);
    }
    say(m, "]");
    return (uintptr_t)m->room[at].bytes;
}

static uint64_t
descriptor(struct made *m, const struct call *call, int at, int what)
{
    void *room = m->room[at].bytes;
    int device = m->careful ? 0 : (int)ONE_OF(0, 0, 0, 1, 5);

    if (what == ARG_ARRAY_DESC) {
        CUDA_ARRAY_DESCRIPTOR *d = room;

        d->Width = (size_t)ONE_OF(16, 64, 100, 0);
        d->Height = (size_t)ONE_OF(0, 16, 64);
        d->Format = (CUarray_format)ONE_OF(CU_AD_FORMAT_FLOAT, CU_AD_FORMAT_UNSIGNED_INT8,
                                           CU_AD_FORMAT_SIGNED_INT32, 77);
        d->NumChannels = (unsigned)ONE_OF(1, 2, 4, 3);
        say(m, "{%zux%zu format %d x %u}", d->Width, d->Height, (int)d->Format, d->NumChannels);
    } else if (what == ARG_ARRAY3D_DESC) {
        CUDA_ARRAY3D_DESCRIPTOR *d = room;

        d->Width = (size_t)ONE_OF(16, 64, 0);
        d->Height = (size_t)ONE_OF(0, 16, 64);
        d->Depth = (size_t)ONE_OF(0, 0, 4);
        d->Format = (CUarray_format)ONE_OF(CU_AD_FORMAT_FLOAT, CU_AD_FORMAT_HALF, 77);
        d->NumChannels = (unsigned)ONE_OF(1, 2, 4, 3);
        d->Flags = (unsigned)ONE_OF(0, 0, CUDA_ARRAY3D_LAYERED, CUDA_ARRAY3D_SURFACE_LDST);
        say(m, "{%zux%zux%zu %d x %u flags %u}", d->Width, d->Height, d->Depth, (int)d->Format,
            d->NumChannels, d->Flags);
    } else if (what == ARG_ALLOC_PROP) {
        CUmemAllocationProp *p = room;

        p->type = m->careful ? CU_MEM_ALLOCATION_TYPE_PINNED
                             : (CUmemAllocationType)ONE_OF(CU_MEM_ALLOCATION_TYPE_PINNED,
                                                           CU_MEM_ALLOCATION_TYPE_PINNED, 0, 9);
        p->location.type = CU_MEM_LOCATION_TYPE_DEVICE;
        p->location.id = device;
        p->requestedHandleTypes =
            (CUmemAllocationHandleType)ONE_OF(0, 0, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
        say(m, "{type %d device %d handles %d}", (int)p->type, device,
            (int)p->requestedHandleTypes);
    } else if (what == ARG_ACCESS_DESC) {
        CUmemAccessDesc *d = room;

        d->location.type = CU_MEM_LOCATION_TYPE_DEVICE;
        d->location.id = device;
        /* Whether a pool's own device may lose its writing is not documented. */
        d->flags = (CUmemAccess_flags)(strstr(call->name, "Pool") != NULL ? ONE_OF(3, 3, 0, 2)
                                                                          : ONE_OF(3, 3, 1, 0, 2));
        say(m, "{device %d flags %d}", device, (int)d->flags);
    } else {
        CUmemPoolProps *p = room;

        p->allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
        p->location.type = CU_MEM_LOCATION_TYPE_DEVICE;
        p->location.id = device;
        p->handleTypes =
            (CUmemAllocationHandleType)ONE_OF(0, 0, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
        say(m, "{pool on device %d handles %d}", device, (int)p->handleTypes);
    }
    return (uintptr_t)room;
}

/* Two of those that were given out, for calls that take one or more. */
static uint64_t
resources(struct made *m, int at)
{
    CUdevResource *list = (void *)m->room[at].bytes;

    for (int i = 0; i < 2; i++) {
        const struct object *o =
            random_percent(3) && !m->careful ? NULL : object_pick(KIND_RESOURCE);

        if (o != NULL)
            memcpy(&list[i], (const void *)(uintptr_t)o->value, sizeof(list[i]));
        say(m, "%sres%u", i == 0 ? "[" : " ", o != NULL ? o->number : 0);
    }
    say(m, "]");
    return (uintptr_t)list;
}

static uint64_t
multicast(struct made *m, int at)
{
    CUmulticastObjectProp *p = (void *)m->room[at].bytes;

    p->numDevices = m->careful ? 2 : (unsigned)ONE_OF(1, 2, 2, 0, 3);
    p->size = m->careful ? 2 << 20 : (size_t)ONE_OF(2 << 20, 2 << 20, 4 << 20, 4096, 0);
    p->flags = m->careful ? 0 : random_percent(3);
    say(m, "{%u devices %zu flags %llu}", p->numDevices, p->size, p->flags);
    return (uintptr_t)p;
}

static uint64_t
groups(struct made *m, int at)
{
    m->room[at].u32[0] = m->careful ? 2 : (unsigned)ONE_OF(0, 1, 2, 2, GROUPS_MAX);
    say(m, "%u groups", m->room[at].u32[0]);
    return (uintptr_t)m->room[at].bytes;
}

static uint64_t
location(struct made *m, int at, bool by_value)
{
    CUmemLocation here = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = (int)ONE_OF(0, 0, 1, 6)};
    uint64_t value = 0;

    memcpy(m->room[at].bytes, &here, sizeof(here));
    memcpy(&value, &here, sizeof(value));
    say(m, "device %d", here.id);
    return by_value ? value : (uintptr_t)m->room[at].bytes;
}

static uint64_t
resource(struct made *m, const struct call *call, int at)
{
    CUDA_RESOURCE_DESC *d = (void *)m->room[at].bytes;

    switch (random_below(4)) {
    case 0:
    case 1:
        d->resType = CU_RESOURCE_TYPE_ARRAY;
        d->res.array.hArray = (CUarray)(uintptr_t)pick_object(m, at, KIND_ARRAY);
        break;
    case 2:
        d->resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY;
        d->res.mipmap.hMipmappedArray =
            (CUmipmappedArray)(uintptr_t)pick_object(m, at, KIND_MIPMAP);
        break;
    default:
        d->resType = CU_RESOURCE_TYPE_LINEAR;
        d->res.linear.devPtr = pick_address(m, call, at);
        d->res.linear.format =
            (CUarray_format)ONE_OF(CU_AD_FORMAT_FLOAT, CU_AD_FORMAT_UNSIGNED_INT8);
        d->res.linear.numChannels = (unsigned)ONE_OF(1, 2, 4);
        d->res.linear.sizeInBytes = m->left != UINT64_MAX ? m->left : 0;
    }
    m->object[at] = NULL;
    return (uintptr_t)d;
}

static uint64_t
sampling(struct made *m, int at)
{
    CUDA_TEXTURE_DESC *d = (void *)m->room[at].bytes;

    for (int i = 0; i < 3; i++)
        d->addressMode[i] = (CUaddress_mode)random_below(4);
    d->filterMode = (CUfilter_mode)random_below(2);
    d->flags = (unsigned)ONE_OF(0, 0, CU_TRSF_READ_AS_INTEGER, CU_TRSF_NORMALIZED_COORDINATES);
    say(m, "{filter %d flags %u}", (int)d->filterMode, d->flags);
    return (uintptr_t)d;
}

/* --- all of them ------------------------------------------------------------------------------ */

static uint64_t
make_structure(const struct call *call, struct made *m, int at)
{
    switch (call->args[at]) {
    case ARG_KERNEL_PARAMS:
        return (uintptr_t)kernel_params(m, at);
    case ARG_LAUNCH_CONFIG:
        return launch_config(m, at);
    case ARG_COPY2D:
        return copy_2d(m, call, at);
    case ARG_COPY3D:
        return copy_3d(m, call, at);
    case ARG_NODE_MEMSET:
    case ARG_NODE_KERNEL:
    case ARG_NODE_HOST:
        return node_params(m, call, at, call->args[at]);
    case ARG_NODES:
        return nodes(m, at);
    case ARG_RESOURCE_DESC:
        return resource(m, call, at);
    case ARG_TEXTURE_DESC:
        return sampling(m, at);
    case ARG_LOCATION:
        return location(m, at, false);
    case ARG_LOCATION_VALUE:
        return location(m, at, true);
    case ARG_RESOURCES:
        return resources(m, at);
    case ARG_MULTICAST:
        return multicast(m, at);
    case ARG_GROUPS:
        return groups(m, at);
    default:
        return descriptor(m, call, at, call->args[at]);
    }
}

static uint64_t
make_argument(const struct call *call, struct made *m, int at)
{
    int arg = call->args[at];

    if (arg >= ARG_OUT(0) && arg < ARG_DEVICE) {
        bool null = random_percent(2) && !m->careful;

        say(m, null ? "NULL" : "&");
        return null ? 0 : (uintptr_t)m->room[at].bytes;
    }
    switch (arg) {
    case ARG_ADDRESS:
        return pick_address(m, call, at);
    case ARG_IN_FUNCTION:
        return pick_function(m, call, at);
    case ARG_IN_PHYS:
        return pick_physical(m, call, at);
    case ARG_HOST:
        if (strstr(call->name, "HostRegister") != NULL) { /* whole: parts are another matter */
            say(m, "all of buffer");
            return (uintptr_t)host_buffer;
        }
        return pick_host(m, at);
    case ARG_NAME:
        return pick_name(m);
    case ARG_IMAGE:
        return pick_image(m);
    case ARG_IMAGE_BYTES:
        return strlen((const char *)(uintptr_t)m->value[at - 1]) + 1;
    case ARG_ZERO:
        return 0;
    case ARG_FOUR:
        return 4;
    case ARG_ONE:
        return m->careful || !random_percent(5);
    case ARG_NULL:
    case ARG_USER_DATA:
        say(m, "-");
        return 0;
    case ARG_HOST_FN: /* when an object's end is told of is not defined: it is not counted */
        say(m, "fn");
        return (uintptr_t)(strstr(call->name, "UserObject") != NULL ? end_of_object
                                                                    : host_function);
    case ARG_STREAM_FN:
        say(m, "fn");
        return (uintptr_t)stream_function;
    case ARG_BYTES:
        return 0; /* when everything else is known */
    case ARG_DEVICE:
    case ARG_FLAGS:
    case ARG_SMALL:
    case ARG_ENUM:
    case ARG_RESOURCE_TYPE:
    case ARG_DIM:
    case ARG_SHARED:
    case ARG_VALUE:
        return pick_number(m, call, at);
    default:
        if (arg >= ARG_ANY_NODE)
            return make_family(call, m, at);
        return arg < ARG_OUT(0) ? pick_object(m, at, (enum object_kind)arg)
                                : make_structure(call, m, at);
    }
}

void
make_arguments(const struct call *call, struct made *m, bool careful)
{
    memset(m, 0, sizeof(*m));
    m->careful = careful;
    m->left = UINT64_MAX;
    for (int i = 0; i < call->count; i++) {
        if (i > 0)
            say(m, ", ");
        m->value[i] = make_argument(call, m, i);
    }
    if (strstr(call->name, "MemsetD2D") != NULL) {
        pick_rectangle(m, call);
        return;
    }
    if (call->count > 0 && call->args[0] == ARG_BATCH)
        make_batch(call, m);
    for (int i = 0; i < call->count; i++) {
        if (call->args[i] != ARG_BYTES)
            continue;
        m->value[i] = pick_bytes(m, call, i);
        say(m, " #%d=%lld", i, (long long)m->value[i]);
    }
}
