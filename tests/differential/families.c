/* tests/differential/families.c -- arguments of families of calls: nodes of any kind, values that
 * streams write, batches, shared handles */
#include "arguments_priv.h"

#include <string.h>

/* Memory that is certainly there, in words of eight bytes; NULL if there is none. */
static struct object *
pick_words(uint64_t bytes)
{
    struct object *o = object_pick(KIND_ADDRESS);

    return o != NULL && o->usable && o->bytes >= bytes ? o : NULL;
}

/* --- values that are written and waited for -------------------------------------------------- */

/* Only what was written just before is waited for: it comes. */
static unsigned
mem_ops(struct made *m, CUstreamBatchMemOpParams *ops, unsigned room)
{
    const struct object *o = pick_words(64);
    unsigned n = 0, want = 1 + (unsigned)random_below(3);
    uint64_t base = o != NULL ? o->value : random_percent(50) ? 0 : 0x7000;

    say(m, "%s%u", o != NULL ? "mem" : "none", o != NULL ? o->number : 0);
    while (want-- > 0 && n + 2 <= room) {
        bool wide = random_percent(40);
        uint64_t value = ONE_OF(0, 1, 0x5a, 0xffffffff, 0x123456789abcdefull),
                 address = base + 8 * random_below(8) + (random_percent(3) && !m->careful);

        ops[n].writeValue.operation =
            wide ? CU_STREAM_MEM_OP_WRITE_VALUE_64 : CU_STREAM_MEM_OP_WRITE_VALUE_32;
        ops[n].writeValue.address = address;
        ops[n].writeValue.value64 = value;
        ops[n].writeValue.flags = (unsigned)ONE_OF(0, 0, 1, random_percent(10) ? 8 : 0);
        say(m, " %s%llx=%llx/%u", wide ? "w" : "", (unsigned long long)(address - base),
            (unsigned long long)value, ops[n].writeValue.flags);
        n++;
        if (!random_percent(50))
            continue;
        ops[n].waitValue.operation =
            wide ? CU_STREAM_MEM_OP_WAIT_VALUE_64 : CU_STREAM_MEM_OP_WAIT_VALUE_32;
        ops[n].waitValue.address = address;
        ops[n].waitValue.value64 = value;
        ops[n].waitValue.flags = (unsigned)ONE_OF(CU_STREAM_WAIT_VALUE_EQ, CU_STREAM_WAIT_VALUE_GEQ,
                                                  random_percent(10) ? 17 : 1);
        say(m, " wait %u", ops[n].waitValue.flags);
        n++;
    }
    if (n < room && random_percent(10)) {
        ops[n].memoryBarrier.operation = CU_STREAM_MEM_OP_BARRIER;
        ops[n++].memoryBarrier.flags = (unsigned)ONE_OF(0, 1, 5);
        say(m, " barrier");
    }
    if (random_percent(3)) {
        say(m, " strange");
        ops[0].operation = (CUstreamBatchMemOpType)77;
    }
    return n;
}

/* The list behind its length. */
static uint64_t
op_list(struct made *m, int at)
{
    m->value[at - 1] = mem_ops(m, (void *)m->room[at].bytes, 8);
    return (uintptr_t)m->room[at].bytes;
}

static void
fill_mem_ops(struct made *m, int at, CUDA_BATCH_MEM_OP_NODE_PARAMS *p)
{
    p->ctx = (CUcontext)(uintptr_t)pick_object(m, at, KIND_CTX);
    m->object[at] = NULL;
    p->paramArray = (void *)(m->room[at].bytes + 2048);
    p->count = mem_ops(m, p->paramArray, 8);
    p->flags = random_percent(3);
}

/* --- nodes of any kind ------------------------------------------------------------------------ */

static void
node_alloc(struct made *m, CUgraphNodeParams *p)
{
    p->alloc.poolProps.allocType = (CUmemAllocationType)ONE_OF(1, 1, 1, 1, 0);
    p->alloc.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    p->alloc.poolProps.location.id = (int)ONE_OF(0, 0, 0, 1, 7);
    p->alloc.bytesize = (size_t)ONE_OF(64, 4096, 65536, 1 << 20, random_percent(20) ? 0 : 512);
    say(m, "alloc %zu device %d", p->alloc.bytesize, p->alloc.poolProps.location.id);
}

static void
node_conditional(struct made *m, int at, CUgraphNodeParams *p)
{
    say(m, "conditional ");
    p->conditional.handle = pick_object(m, at, KIND_COND);
    p->conditional.type = (CUgraphConditionalNodeType)ONE_OF(0, 0, 2, random_percent(20) ? 9 : 0);
    /* A loop's condition is not changed by anything here: it would not end. */
    if (p->conditional.type == CU_GRAPH_COND_TYPE_WHILE)
        p->conditional.type = CU_GRAPH_COND_TYPE_IF;
    p->conditional.size = (unsigned)ONE_OF(1, 1, 2, 3, 0);
    say(m, " type %d size %u ", (int)p->conditional.type, p->conditional.size);
    p->conditional.ctx = (CUcontext)(uintptr_t)pick_object(m, at, KIND_CTX);
}

static void
node_child(struct made *m, int at, CUgraphNodeParams *p)
{
    say(m, "child ");
    p->graph.graph = (CUgraph)(uintptr_t)pick_object(m, at, KIND_GRAPH);
    p->graph.ownership = (CUgraphChildGraphNodeOwnership)ONE_OF(0, 0, 1, random_percent(5) ? 7 : 0);
    say(m, " ownership %d", (int)p->graph.ownership);
}

static void
node_fill(struct made *m, int at, CUgraphNodeParams *p)
{
    const struct object *o = pick_words(64);

    p->memset.dst = o != NULL ? o->value : 0;
    p->memset.value = (unsigned)random_below(256);
    p->memset.elementSize = (unsigned)ONE_OF(1, 2, 4, 4, 3);
    p->memset.width = (size_t)random_below(16);
    p->memset.height = (size_t)ONE_OF(1, 1, 1, 0);
    say(m, "fill mem%u width %zu size %u ", o != NULL ? o->number : 0, p->memset.width,
        p->memset.elementSize);
    p->memset.ctx = (CUcontext)(uintptr_t)pick_object(m, at, KIND_CTX);
}

static void
node_kernel(struct made *m, int at, CUgraphNodeParams *p)
{
    say(m, "kernel ");
    p->kernel.func = (CUfunction)(uintptr_t)pick_object(m, at, KIND_FUNCTION);
    p->kernel.gridDimX = p->kernel.gridDimY = p->kernel.gridDimZ = 1;
    p->kernel.blockDimX = (unsigned)ONE_OF(1, 32, 64, 0);
    p->kernel.blockDimY = p->kernel.blockDimZ = 1;
    p->kernel.sharedMemBytes = (unsigned)ONE_OF(0, 0, 256, 1 << 20);
    say(m, " %u %u ", p->kernel.blockDimX, p->kernel.sharedMemBytes);
    p->kernel.kernelParams = kernel_params(m, at);
}

static uint64_t
any_node(struct made *m, const struct call *call, int at)
{
    /* Values of a kernel lie at the begin of the room. */
    CUgraphNodeParams *p = (void *)(m->room[at].bytes + 1024);
    CUDA_MEMCPY3D *copy;

    p->type = (CUgraphNodeType)random_below(14);
    say(m, "{%d ", (int)p->type);
    switch (p->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        node_kernel(m, at, p);
        break;
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        copy = (void *)(uintptr_t)copy_3d(m, call, at);
        p->memcpy.copyParams = *copy;
        p->memcpy.copyCtx = (CUcontext)(uintptr_t)pick_object(m, at, KIND_CTX);
        p->memcpy.flags = random_percent(3);
        break;
    case CU_GRAPH_NODE_TYPE_MEMSET:
        node_fill(m, at, p);
        break;
    case CU_GRAPH_NODE_TYPE_HOST:
        p->host.fn = random_percent(5) ? NULL : host_function;
        break;
    case CU_GRAPH_NODE_TYPE_GRAPH:
        node_child(m, at, p);
        break;
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        p->eventWait.event = (CUevent)(uintptr_t)pick_object(m, at, KIND_EVENT);
        break;
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        p->eventRecord.event = (CUevent)(uintptr_t)pick_object(m, at, KIND_EVENT);
        break;
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
        node_alloc(m, p);
        break;
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
        p->free.dptr = pick_object(m, at, KIND_GRAPH_MEMORY);
        break;
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        fill_mem_ops(m, at, (void *)&p->memOp);
        break;
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        node_conditional(m, at, p);
        break;
    case CU_GRAPH_NODE_TYPE_EXT_SEMAS_SIGNAL:
    case CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT:
        p->type = CU_GRAPH_NODE_TYPE_EMPTY; /* refused through a pool */
        break;
    default:
        break;
    }
    m->object[at] = NULL;
    say(m, "}");
    return (uintptr_t)p;
}

/* --- copies between contexts ------------------------------------------------------------------ */

/* A copy_3d with contexts. */
static uint64_t
copy_peer(struct made *m, const struct call *call, int at)
{
    const CUDA_MEMCPY3D c = *(const CUDA_MEMCPY3D *)(uintptr_t)copy_3d(m, call, at);
    CUDA_MEMCPY3D_PEER *p = (void *)(m->room[at].bytes + 1024);

    p->srcMemoryType = c.srcMemoryType;
    p->srcHost = c.srcHost;
    p->srcDevice = c.srcDevice;
    p->srcArray = c.srcArray;
    p->srcPitch = c.srcPitch;
    p->srcHeight = c.srcHeight;
    p->dstMemoryType = c.dstMemoryType;
    p->dstHost = c.dstHost;
    p->dstDevice = c.dstDevice;
    p->dstArray = c.dstArray;
    p->dstPitch = c.dstPitch;
    p->dstHeight = c.dstHeight;
    p->WidthInBytes = c.WidthInBytes;
    p->Height = c.Height;
    p->Depth = c.Depth;
    p->srcContext = (CUcontext)(uintptr_t)pick_object(m, at, KIND_CTX);
    p->dstContext = (CUcontext)(uintptr_t)pick_object(m, at, KIND_CTX);
    m->object[at] = NULL;
    return (uintptr_t)p;
}

/* --- batches ------------------------------------------------------------------------------------
 */

#define BATCH_MAX 4u

/* One end of an entry: device memory that no entry has yet, or a piece of the buffer. */
static uint64_t
batch_end(struct made *m, uint64_t *used, unsigned *count, uint64_t *bytes, unsigned piece)
{
    const struct object *o = random_percent(65) ? pick_words(64) : NULL;

    for (unsigned i = 0; o != NULL && i < *count; i++)
        if (used[i] == o->number)
            o = NULL;
    if (o == NULL) {
        say(m, "buffer+%u", piece * 8192);
        return (uintptr_t)host_buffer + (uint64_t)piece * 8192;
    }
    used[(*count)++] = o->number;
    if (*bytes > o->bytes)
        *bytes = o->bytes;
    say(m, "mem%u", o->number);
    return o->value;
}

static void
batch_copy(const struct call *call, struct made *m)
{
    CUmemcpyAttributes *attributes = (void *)m->room[4].bytes;
    uint64_t used[2 * BATCH_MAX];
    unsigned n = (unsigned)random_below(BATCH_MAX + 1), count = 0;

    if (m->careful && n == 0)
        n = 1;
    for (unsigned i = 0; i < n; i++) {
        uint64_t bytes = ONE_OF(1, 16, 64, 1000, 4096, random_percent(10) ? 0 : 8);

        m->room[0].u64[i] = batch_end(m, used, &count, &bytes, i);
        say(m, "=");
        m->room[1].u64[i] = batch_end(m, used, &count, &bytes, BATCH_MAX + i);
        m->room[2].u64[i] = bytes;
        say(m, "/%llu ", (unsigned long long)bytes);
    }
    attributes[0].srcAccessOrder =
        (CUmemcpySrcAccessOrder)ONE_OF(1, 1, 2, 3, random_percent(20) ? 0 : 1);
    m->value[0] = (uintptr_t)m->room[0].bytes;
    m->value[1] = (uintptr_t)m->room[1].bytes;
    m->value[2] = (uintptr_t)m->room[2].bytes;
    m->value[3] = n;
    m->value[4] = (uintptr_t)attributes;
    m->value[5] = (uintptr_t)m->room[5].bytes; /* the first for all */
    m->value[6] = ONE_OF(1, 1, 1, random_percent(20) ? 0 : 1);
    if (strstr(call->name, "_v2") == NULL)
        m->value[7] = random_percent(90) ? (uintptr_t)m->room[7].bytes : 0;
    say(m, "%u order %d attributes %u ", n, (int)attributes[0].srcAccessOrder,
        (unsigned)m->value[6]);
}

static void
operand(struct made *m, CUmemcpy3DOperand *p, uint64_t *used, unsigned *count, unsigned piece)
{
    struct object *o = random_percent(30) ? object_pick(KIND_ARRAY) : NULL;
    uint64_t bytes = UINT64_MAX;

    for (unsigned i = 0; o != NULL && i < *count; i++)
        if (used[i] == (o->number | 1u << 31))
            o = NULL;
    if (o != NULL) {
        used[(*count)++] = o->number | 1u << 31;
        p->type = CU_MEMCPY_OPERAND_TYPE_ARRAY;
        p->op.array.array = (CUarray)(uintptr_t)o->value;
        p->op.array.offset.x = (size_t)ONE_OF(0, 0, 1);
        say(m, "array%u", o->number);
        return;
    }
    p->type = (CUmemcpy3DOperandType)(random_percent(3) ? 9 : CU_MEMCPY_OPERAND_TYPE_POINTER);
    p->op.ptr.ptr = batch_end(m, used, count, &bytes, piece);
    p->op.ptr.rowLength = (size_t)ONE_OF(0, 0, 16);
    p->op.ptr.layerHeight = (size_t)ONE_OF(0, 0, 4);
    if (bytes < 256) { /* one row fits, and no more */
        p->op.ptr.rowLength = 0;
        p->op.ptr.layerHeight = 0;
    }
}

static void
batch_boxes(struct made *m)
{
    CUDA_MEMCPY3D_BATCH_OP *ops = (void *)m->room[1].bytes;
    uint64_t used[2 * BATCH_MAX];
    unsigned n = 1 + (unsigned)random_below(3), count = 0;

    for (unsigned i = 0; i < n; i++) {
        operand(m, &ops[i].src, used, &count, i);
        say(m, ">");
        operand(m, &ops[i].dst, used, &count, BATCH_MAX + i);
        ops[i].extent.width = (size_t)ONE_OF(1, 4, 8, 0);
        ops[i].extent.height = (size_t)ONE_OF(1, 1, 1, 0);
        ops[i].extent.depth = 1;
        ops[i].srcAccessOrder =
            (CUmemcpySrcAccessOrder)ONE_OF(1, 1, 2, 3, random_percent(10) ? 0 : 1);
        say(m, " %zux%zu order %d ", ops[i].extent.width, ops[i].extent.height,
            (int)ops[i].srcAccessOrder);
    }
    m->value[0] = n;
    m->value[1] = (uintptr_t)ops;
}

/* Managed memory and other, by lists of addresses and sizes. */
static void
batch_ranges(const struct call *call, struct made *m)
{
    CUmemLocation *where = (void *)m->room[3].bytes;
    unsigned n = (unsigned)random_below(4);

    for (unsigned i = 0; i < n; i++) {
        const struct object *o = object_pick(KIND_ADDRESS);

        m->room[0].u64[i] = o != NULL && o->usable ? o->value : 0x7000;
        m->room[1].u64[i] = o != NULL && o->usable ? o->bytes : 64;
        say(m, "mem%u ", o != NULL && o->usable ? o->number : 0);
    }
    m->value[0] = (uintptr_t)m->room[0].bytes;
    m->value[1] = (uintptr_t)m->room[1].bytes;
    m->value[2] = n;
    if (strstr(call->name, "Prefetch") == NULL)
        return;
    where[0].type = CU_MEM_LOCATION_TYPE_DEVICE;
    where[0].id = (int)ONE_OF(0, 0, 1, 6);
    m->value[3] = (uintptr_t)where;
    m->value[4] = (uintptr_t)m->room[4].bytes;
    m->value[5] = ONE_OF(1, 1, 1, 0);
    say(m, "to device %d of %u ", where[0].id, (unsigned)m->value[5]);
}

void
make_batch(const struct call *call, struct made *m)
{
    say(m, "{");
    if (strstr(call->name, "cuMemcpyBatch") != NULL)
        batch_copy(call, m);
    else if (strstr(call->name, "cuMemcpy3DBatch") != NULL)
        batch_boxes(m);
    else
        batch_ranges(call, m);
    say(m, "}");
}

/* --- smaller ones ------------------------------------------------------------------------------
 */

/* What a stream or a node is told, mostly in the first word. */
static uint64_t
attribute(struct made *m, int at)
{
    m->room[at].u32[0] = (unsigned)ONE_OF(0, 1, 1, 2, 3, (uint32_t)-1);
    m->room[at].u32[1] = (unsigned)ONE_OF(0, 1, 1);
    m->room[at].u32[2] = (unsigned)ONE_OF(0, 1, 1);
    say(m, "{%u %u %u}", m->room[at].u32[0], m->room[at].u32[1], m->room[at].u32[2]);
    return (uintptr_t)m->room[at].bytes;
}

static const int pointer_attributes[] = {
    CU_POINTER_ATTRIBUTE_MEMORY_TYPE,    CU_POINTER_ATTRIBUTE_IS_MANAGED,
    CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, CU_POINTER_ATTRIBUTE_MAPPED,
    CU_POINTER_ATTRIBUTE_CONTEXT,        CU_POINTER_ATTRIBUTE_RANGE_SIZE,
};
#define POINTER_ATTRIBUTES (sizeof(pointer_attributes) / sizeof(pointer_attributes[0]))

/* A list of what is asked, where the answers go behind it; its length before it. */
static uint64_t
asked(struct made *m, int at)
{
    unsigned n = (unsigned)random_below(POINTER_ATTRIBUTES + 1);
    void **to = (void **)(m->room[at + 1].u64 + 64);

    for (unsigned i = 0; i < n; i++) {
        m->room[at].u32[i] = (unsigned)pointer_attributes[i];
        to[i] = &m->room[at + 1].u64[i];
    }
    if (random_percent(5))
        m->room[at].u32[0] = 99;
    say(m, "%u attributes", n);
    m->value[at - 1] = n;
    return (uintptr_t)m->room[at].bytes;
}

static uint64_t
pool_value(struct made *m, int at)
{
    m->room[at].u64[0] = ONE_OF(0, 0, 1, 1 << 20, UINT64_MAX);
    say(m, "%lld", (long long)m->room[at].u64[0]);
    return (uintptr_t)m->room[at].bytes;
}

uint64_t
make_family(const struct call *call, struct made *m, int at)
{
    switch (call->args[at]) {
    case ARG_ANY_NODE:
        return any_node(m, call, at);
    case ARG_MEM_OPS:
        fill_mem_ops(m, at, (void *)m->room[at].bytes);
        return (uintptr_t)m->room[at].bytes;
    case ARG_OPS:
        return op_list(m, at);
    case ARG_COPY_PEER:
        return copy_peer(m, call, at);
    case ARG_ATTRIBUTE:
        return attribute(m, at);
    case ARG_ASKED:
        return asked(m, at);
    case ARG_ANSWERS:
        return (uintptr_t)(m->room[at].u64 + 64);
    case ARG_POOL_VALUE:
        return pool_value(m, at);
    case ARG_FLOAT:
        m->room[at].u32[0] = (unsigned)random_below(4);
        say(m, "%u.0", m->room[at].u32[0]);
        return m->room[at].u32[0];
    default:
        return 0;
    }
}
