/* tests/differential/random_program.c -- a random program over the CUDA driver API
 *
 * usage: random_program FIRST-SEED LAST-SEED CALLS
 *
 * For each seed a process of its own makes CALLS calls, drawn from the descriptions, by three
 * threads in turn, and prints each with its result and outputs. All that is printed follows from
 * the seed and from what CUDA promises: the same seed prints the same on any device. After each
 * call the context is synchronised, and the first failure of the two is the call's: a remote device
 * may tell of an asynchronous call's failure then.
 */
#include "random_program.h"

#include "arguments.h"
#include "stand_ins.h"

#include "cuda_api.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 3
#define POOLED  (-1) /* parent of memory that was allocated in stream order */

static const struct call calls[] = {
#include "random_calls.inc.h"
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

typedef uint64_t word;
/* Whole words in registers and on the stack: right for every argument that the table has. */
typedef CUresult (*any_call)(word, word, word, word, word, word, word, word, word, word, word,
                             word);

static any_call functions[CALLS];
static CUresult (*init)(unsigned);
static CUresult (*ctx_synchronize)(void);
static CUresult (*ctx_synchronize_v2)(CUcontext);
static CUresult (*stream_is_capturing)(CUstream, CUstreamCaptureStatus *);
static CUresult (*primary_state)(CUdevice, unsigned *, int *);
static CUresult (*stream_destroy)(CUstream);
static CUresult (*stream_synchronize)(CUstream);
static CUresult (*array_descriptor)(CUDA_ARRAY3D_DESCRIPTOR *, CUarray);
static CUresult (*memcpy_3d)(const CUDA_MEMCPY3D *);
static CUresult (*stream_get_flags)(CUstream, unsigned *);
static CUresult (*memset_d8)(CUdeviceptr, unsigned char, size_t);
static CUresult (*memcpy_dtoh)(void *, CUdeviceptr, size_t);
static CUresult (*ctx_get_current)(CUcontext *);
static CUresult (*stream_end_capture)(CUstream, CUgraph *);
static CUresult (*multicast_add)(CUmemGenericAllocationHandle, CUdevice);
static CUresult (*ctx_set_current)(CUcontext);

/* Guarded by the baton: one thread runs at a time. */
static struct made made;
static unsigned long call_number;
static int current_context[THREADS]; /* number of it */
static bool capturing;               /* some stream: nothing may wait */
static bool with_graphs;             /* this program */
static unsigned special;             /* it begins with a green context (1), mapped memory (2) */
static bool legacy_breaks;        /* a capture: its context's legacy stream is not to be touched */
static bool settled;              /* what was queued is done: the host's memory may be looked at */
static struct object *primary[8]; /* of each device */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int turn; /* -1: end */
    bool done;
} baton = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, -2, false};

static void
load(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW);

    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    for (size_t i = 0; i < CALLS; i++)
        *(void **)&functions[i] = stand_in(calls[i].name, dlsym(library, calls[i].name));
    *(void **)&ctx_synchronize = dlsym(library, "cuCtxSynchronize");
    *(void **)&ctx_synchronize_v2 = dlsym(library, "cuCtxSynchronize_v2");
    *(void **)&stream_is_capturing = dlsym(library, "cuStreamIsCapturing");
    *(void **)&primary_state = dlsym(library, "cuDevicePrimaryCtxGetState");
    *(void **)&array_descriptor = dlsym(library, "cuArray3DGetDescriptor_v2");
    *(void **)&memcpy_3d = dlsym(library, "cuMemcpy3D_v2");
    *(void **)&stream_synchronize = dlsym(library, "cuStreamSynchronize");
    *(void **)&stream_get_flags = dlsym(library, "cuStreamGetFlags");
    *(void **)&stream_destroy = dlsym(library, "cuStreamDestroy_v2");
    *(void **)&memset_d8 = dlsym(library, "cuMemsetD8_v2");
    *(void **)&memcpy_dtoh = dlsym(library, "cuMemcpyDtoH_v2");
    *(void **)&stream_end_capture = dlsym(library, "cuStreamEndCapture");
    *(void **)&multicast_add = dlsym(library, "cuMulticastAddDevice");
    *(void **)&ctx_get_current = dlsym(library, "cuCtxGetCurrent");
    *(void **)&ctx_set_current = dlsym(library, "cuCtxSetCurrent");
    *(void **)&init = dlsym(library, "cuInit");
}

/* --- outputs --------------------------------------------------------------------------------- */

static uint64_t
memory_bytes(const struct call *call)
{
    for (int i = 0; i < call->count; i++)
        if (call->args[i] == ARG_OUT_64 && strstr(call->name, "Pitch") == NULL)
            return made.room[i].u64[0];
    if (strstr(call->name, "Pitch") != NULL)
        return made.value[2] * (made.value[3] > 0 ? made.value[3] : 1);
    for (int i = 0; i < call->count; i++)
        if (call->args[i] == ARG_BYTES)
            return made.value[i];
    return 0;
}

static int
parent_of(const struct call *call)
{
    for (int i = 0; i < call->count; i++) {
        if (made.object[i] == NULL)
            continue;
        if (call->args[i] == ARG_IN_MODULE || call->args[i] == ARG_IN_LIBRARY ||
            call->args[i] == ARG_IN_GRAPH || call->args[i] == ARG_IN_MIPMAP ||
            call->args[i] == ARG_IN_GREEN)
            return (int)made.object[i]->number;
        if (call->args[i] == ARG_IN_NODE) /* a graph inside: it goes with the node's */
            return made.object[i]->parent;
    }
    return 0;
}

/* The shape of a copy of all of it, if that is no more than so many bytes. */
static bool
whole_array(CUarray array, CUDA_MEMCPY3D *copy, size_t most)
{
    CUDA_ARRAY3D_DESCRIPTOR d;
    size_t bytes;

    memset(copy, 0, sizeof(*copy));
    if (array_descriptor(&d, array) != CUDA_SUCCESS)
        return false;
    bytes = d.Format == CU_AD_FORMAT_UNSIGNED_INT8 ? 1 : d.Format == CU_AD_FORMAT_HALF ? 2 : 4;
    copy->WidthInBytes = d.Width * d.NumChannels * bytes;
    copy->Height = d.Height > 0 ? d.Height : 1;
    copy->Depth = d.Depth > 0 ? d.Depth : 1;
    return copy->WidthInBytes * copy->Height * copy->Depth <= most;
}

/* The same for arrays. */
static void
fill_array(CUarray array)
{
    static unsigned char zeros[1u << 20];
    CUDA_MEMCPY3D copy;

    if (capturing || !whole_array(array, &copy, sizeof(zeros)))
        return;
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = zeros;
    copy.srcPitch = copy.WidthInBytes;
    copy.srcHeight = copy.Height;
    copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.dstArray = array;
    (void)memcpy_3d(&copy);
}

/* What is in new memory is undefined: make it the same everywhere. */
static void
fill(struct object *o)
{
    CUresult cr = CUDA_SUCCESS;

    if (!capturing && o->bytes != 0 && o->bytes <= 8u << 20) {
        cr = memset_d8(o->value, (unsigned char)(o->number * 37), o->bytes);
        if (cr == CUDA_SUCCESS)
            cr = ctx_synchronize();
        if (cr == CUDA_SUCCESS)
            return;
        printf(" filled %d", (int)cr);
    }
    o->bytes = 0;
}

static void
output_object(const struct call *call, int thread, int at, enum object_kind kind)
{
    uint64_t value = made.room[at].u64[0];
    /* Whether a descriptor that was made before comes again is left open. */
    struct object *o = kind != KIND_DESC ? object_find(kind, value) : NULL;

    if (value == 0) {
        printf(" none");
        return;
    }
    if (capturing && kind == KIND_ADDRESS && strstr(call->name, "Async") != NULL) {
        printf(" of the graph"); /* what is in it before a launch is undefined */
        return;
    }
    if (o == NULL && kind == KIND_ADDRESS && strstr(call->name, "AddressRange") != NULL) {
        printf(" base"); /* of something that has another name */
        return;
    }
    if (o == NULL) {
        o = object_add(kind, value);
        if (o == NULL)
            return;
        o->owner = current_context[thread];
        o->parent =
            kind == KIND_ADDRESS && strstr(call->name, "Async") != NULL ? POOLED : parent_of(call);
        if (kind == KIND_ADDRESS || kind == KIND_HOST)
            o->bytes = memory_bytes(call);
        o->usable = strstr(call->name, "Alloc") != NULL || strstr(call->name, "Global") != NULL;
        if (kind == KIND_ADDRESS && strstr(call->name, "Alloc") != NULL)
            fill(o);
        o->reserved = strcmp(call->name, "cuMemAddressReserve") == 0;
        o->team = strcmp(call->name, "cuMulticastCreate") == 0;
        if (kind == KIND_ARRAY)
            fill_array((CUarray)(uintptr_t)value);
        if (kind == KIND_GRAPH && call->args[0] == ARG_IN_NODE && made.object[0] != NULL)
            o->node = (int)made.object[0]->number;
        if (strstr(call->name, "Managed") != NULL && made.value[2] == CU_MEM_ATTACH_HOST)
            o->usable = false; /* not to kernels */
    }
    printf(" %s%u", object_kind_name(kind), o->number);
}

/* Copies of them are kept, by name. */
static void
output_resource(const CUdevResource *resource)
{
    static CUdevResource kept[256];
    static unsigned count;
    struct object *o;

    if (resource->type != CU_DEV_RESOURCE_TYPE_SM || count == sizeof(kept) / sizeof(kept[0])) {
        printf(" type %d", (int)resource->type);
        return;
    }
    kept[count] = *resource;
    o = object_add(KIND_RESOURCE, (uintptr_t)&kept[count++]);
    if (o != NULL)
        printf(" res%u of %u", o->number, resource->sm.smCount);
}

/* Handles are kept as bytes. */
static void
output_bytes(int at, enum object_kind kind)
{
    static unsigned char kept[256][64];
    static unsigned count;
    struct object *o;

    if (count == sizeof(kept) / sizeof(kept[0]))
        return;
    memcpy(kept[count], made.room[at].bytes, sizeof(kept[count]));
    o = object_add(kind, (uintptr_t)kept[count++]);
    if (o != NULL)
        printf(" %s%u", object_kind_name(kind), o->number);
}

/* What a new node brought along, and what it took. */
static void
output_node(const struct call *call, int at)
{
    const CUgraphNodeParams *p = (const void *)(uintptr_t)made.value[at];
    const struct object *graph = made.object[1],
                        *node = object_find(KIND_NODE, made.room[0].u64[0]);
    struct object *o = NULL;

    if (strstr(call->name, "AddNode") == NULL || graph == NULL || node == NULL)
        return;
    if (p->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC) {
        o = object_add(KIND_GRAPH_MEMORY, p->alloc.dptr);
        if (o != NULL)
            o->parent = (int)graph->number;
    } else if (p->type == CU_GRAPH_NODE_TYPE_GRAPH &&
               p->graph.ownership == CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE) {
        o = object_find(KIND_GRAPH, (uintptr_t)p->graph.graph);
        if (o != NULL) {
            o->parent = (int)graph->number;
            o->node = (int)node->number;
        }
    }
    for (unsigned i = 0; p->type == CU_GRAPH_NODE_TYPE_CONDITIONAL && i < p->conditional.size;
         i++) {
        o = object_add(KIND_GRAPH, (uintptr_t)p->conditional.phGraph_out[i]);
        if (o == NULL)
            return;
        o->parent = (int)graph->number;
        o->node = (int)node->number;
        printf(" body graph%u", o->number);
    }
}

static void
output_answers(int at)
{
    const unsigned *asked = made.room[at - 1].u32;
    const uint64_t *to = made.room[at].u64;

    for (unsigned i = 0; i < made.value[at - 2]; i++) {
        if (asked[i] == CU_POINTER_ATTRIBUTE_CONTEXT) {
            const struct object *o = object_find(KIND_CTX, to[i]);

            printf(" ctx%u", o != NULL ? o->number : 0);
        } else if (asked[i] == CU_POINTER_ATTRIBUTE_RANGE_SIZE) {
            printf(" %llu", (unsigned long long)to[i]);
        } else {
            printf(" %d", (int)(uint32_t)to[i]);
        }
    }
}

static unsigned
groups_of(const struct call *call)
{
    for (int i = 0; i < call->count; i++)
        if (call->args[i] == ARG_GROUPS)
            return made.room[i].u32[0] < GROUPS_MAX ? made.room[i].u32[0] : GROUPS_MAX;
    return 0;
}

/* Binding and mapping wait until all of its devices are there. */
static void
complete_team(const struct call *call)
{
    const CUmulticastObjectProp *prop = (const void *)made.room[1].bytes;

    for (unsigned i = 0; strcmp(call->name, "cuMulticastCreate") == 0 && i < prop->numDevices; i++)
        printf(" device %d", (int)multicast_add(made.room[0].u64[0], (CUdevice)i));
}

static void
outputs(const struct call *call, int thread)
{
    complete_team(call);
    for (int i = 0; i < call->count; i++) {
        int arg = call->args[i];

        if (made.value[i] == 0)
            continue;
        if (arg == ARG_OUT_RESOURCE)
            output_resource((const void *)made.room[i].bytes);
        else if (arg == ARG_OUT_RESOURCES)
            for (unsigned n = 0; n < groups_of(call); n++)
                output_resource((const CUdevResource *)(const void *)made.room[i].bytes + n);
        else if (arg == ARG_OUT_IPC_MEMORY || arg == ARG_OUT_IPC_EVENT || arg == ARG_OUT_EXPORT)
            output_bytes(i, (enum object_kind)(arg - ARG_OUT(0)));
        else if (arg == ARG_ANY_NODE)
            output_node(call, i);
        else if (arg == ARG_ANSWERS)
            output_answers(i);
        else if (arg > ARG_OUT(0) && arg < ARG_OUT_END)
            output_object(call, thread, i, (enum object_kind)(arg - ARG_OUT(0)));
        else if (call->flags & CALL_RESULT_ONLY)
            continue;
        else if (arg == ARG_OUT_32 || arg == ARG_GROUPS)
            printf(" %d", (int)made.room[i].u32[0]);
        else if (arg == ARG_OUT_64)
            printf(" %llu", (unsigned long long)made.room[i].u64[0]);
    }
}

/* A released primary context ends with its last reference. */
static void
released(unsigned device)
{
    unsigned flags;
    int active = 1;

    if (device < sizeof(primary) / sizeof(primary[0]) && primary[device] != NULL &&
        primary_state((CUdevice)device, &flags, &active) == CUDA_SUCCESS && !active) {
        objects_die_with_context((int)primary[device]->number);
        objects_die_with_parent(KIND_ADDRESS, POOLED);
        object_die(primary[device]);
        primary[device] = NULL;
    }
}

static void
destroyed(struct object *o)
{
    if (o == NULL || !o->alive)
        return;
    object_die(o);
    if (o->kind == KIND_HOST && object_find(KIND_ADDRESS, o->value) != NULL)
        object_die(object_find(KIND_ADDRESS, o->value)); /* as the device sees it */
    if (o->kind == KIND_CTX) {
        objects_die_with_context((int)o->number);
        objects_die_with_parent(KIND_ADDRESS, POOLED); /* it may have been of its streams */
    }
    if (o->kind == KIND_MODULE) {
        objects_die_with_parent(KIND_FUNCTION, (int)o->number);
        objects_die_with_parent(KIND_ADDRESS, (int)o->number);
    }
    if (o->kind == KIND_GRAPH)
        objects_die_with_graph((int)o->number);
    if (o->kind == KIND_NODE)
        objects_die_with_node((int)o->number);
    if (o->kind == KIND_GREEN) {
        struct object *ctx = object_find(KIND_CTX, o->value);

        if (ctx != NULL) { /* the same, as a context */
            object_die(ctx);
            objects_die_with_context((int)ctx->number);
        }
        objects_die_with_parent(KIND_STREAM, (int)o->number);
        objects_die_with_parent(KIND_CTX, (int)o->number);
        for (unsigned device = 0; device < sizeof(primary) / sizeof(primary[0]); device++)
            released(device); /* it held the primary one */
    }
    if (o->kind == KIND_MIPMAP)
        objects_die_with_parent(KIND_ARRAY, (int)o->number);
    if (o->kind == KIND_LIBRARY) {
        objects_die_with_parent(KIND_KERNEL, (int)o->number);
        objects_die_with_parent(KIND_FUNCTION, (int)o->number);
        objects_die_with_parent(KIND_MODULE, (int)o->number);
        objects_die_with_parent(KIND_ADDRESS, (int)o->number);
    }
}

/* --- a call --------------------------------------------------------------------------------- */

static unsigned
sum_of(const unsigned char *bytes, size_t count)
{
    unsigned sum = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < count; i++)
        sum = (sum ^ bytes[i]) * 16777619u;
    return sum;
}

static bool
has_arg(const struct call *call, int arg)
{
    for (int i = 0; i < call->count; i++)
        if (call->args[i] == arg)
            return true;
    return false;
}

/* The ends of contexts under objects in use, and what needs weeding out for the state it leaves. */
static bool
too_seldom(const struct call *call)
{
    /* What a graph names must outlive it: what happens otherwise is undefined. So half of the
     * programs have no graphs, and the other half does not free once it has one. */
    if (!with_graphs && (strstr(call->name, "Graph") || strstr(call->name, "BeginCapture")))
        return true;
    if ((capturing || object_next(KIND_GRAPH, NULL) != NULL ||
         object_next(KIND_EXEC, NULL) != NULL) &&
        (strstr(call->name, "MemFree") || strstr(call->name, "EventDestroy") ||
         strstr(call->name, "Unload") || strstr(call->name, "PoolDestroy") ||
         strstr(call->name, "ArrayDestroy") || strstr(call->name, "Unregister") ||
         strstr(call->name, "MemUnmap") || strstr(call->name, "CtxDestroy") ||
         strstr(call->name, "CtxRelease") || strstr(call->name, "GreenCtxDestroy")))
        return true;
    if (strstr(call->name, "cuCtxDestroy") || strstr(call->name, "PrimaryCtxRelease") ||
        strstr(call->name, "cuGreenCtxDestroy"))
        return !random_percent(3);
    if (strstr(call->name, "cuDevicePrimaryCtxSetFlags") || strstr(call->name, "cuCtxCreate"))
        return !random_percent(20);
    if (strstr(call->name, "Unload"))
        return !random_percent(15);
    if (call->flags & CALL_DESTROYS)
        return !random_percent(50);
    /* A new array could not be filled, and what is in it is undefined. */
    if (capturing && strstr(call->name, "Array") != NULL &&
        (strstr(call->name, "Create") != NULL || strstr(call->name, "GetLevel") != NULL))
        return true;
    /* Refused through a pool, where the stream captures. */
    if (capturing && strstr(call->name, "cuGraphLaunch"))
        return true;
    /* Nothing waits for the work then. */
    return capturing && (strstr(call->name, "StreamQuery") || strstr(call->name, "EventQuery"));
}

static const struct call *
named(const char *name)
{
    for (size_t i = 0; i < CALLS; i++)
        if (strcmp(calls[i].name, name) == 0)
            return &calls[i];
    return NULL;
}

/* Areas are as likely as each other, however many calls they have. */
static const struct call *
of_some_area(void)
{
    const char *area = calls[0].area;
    size_t starts = 0, seen = 0, want;

    for (size_t i = 0; i < CALLS; i++)
        starts += i == 0 || strcmp(calls[i].area, calls[i - 1].area) != 0;
    want = random_below(starts);
    for (size_t i = 0; i < CALLS; i++) {
        if (i > 0 && strcmp(calls[i].area, calls[i - 1].area) == 0)
            continue;
        if (seen++ == want)
            area = calls[i].area;
    }
    want = 0;
    for (size_t i = 0; i < CALLS; i++)
        want += strcmp(calls[i].area, area) == 0;
    want = random_below(want);
    for (size_t i = 0;; i++)
        if (strcmp(calls[i].area, area) == 0 && want-- == 0)
            return &calls[i];
}

static const struct call *
draw(unsigned long number, int thread, bool *careful_p)
{
    const char *first = first_name(number, special);
    const struct call *call = first != NULL ? named(first) : NULL;

    *careful_p = number >= FIRST_CALLS && call != NULL;

    /* A thread mostly has a context: without one there is little to see. */
    if (call == NULL && current_context[thread] == 0 && !random_percent(10))
        call = named(random_percent(70) ? "cuCtxSetCurrent" : "cuCtxPushCurrent_v2");

    while (call == NULL) {
        *careful_p = false;
        if (capturing && random_percent(6))
            call = named("cuStreamEndCapture");
        else if (random_percent(20)) {
            call = named(maker_name());
            *careful_p = random_percent(50);
        } else
            call = random_percent(50) ? &calls[random_below(CALLS)] : of_some_area();
        if (functions[call - calls] == NULL || too_seldom(call) ||
            (capturing && legacy_breaks &&
             strcmp(call->area, "launch") == 0)) /* a fault shows late */
            call = NULL;
    }
    return call;
}

/* NULL without a current context. */
static struct object *
context_here(void)
{
    CUcontext context = NULL;

    (void)ctx_get_current(&context);
    return context != NULL ? object_find(KIND_CTX, (uintptr_t)context) : NULL;
}

static void
note_current(int thread)
{
    const struct object *o = context_here();

    current_context[thread] = o != NULL ? (int)o->number : 0;
}

/* The stream of a call that names one first. */
static CUstream
stream_of(const struct call *call)
{
    if (made.value[0] == 0 && strstr(call->name, "_ptsz") != NULL)
        return CU_STREAM_PER_THREAD;
    return (CUstream)(uintptr_t)made.value[0];
}

static void
note_mode(const struct call *call, int thread)
{
    const struct object *stream = object_find(KIND_STREAM, made.value[0]);
    struct object *ctx;
    unsigned flags = 0;
    int mode = call->args[1] == ARG_ENUM   ? (int)made.value[1]
               : call->args[5] == ARG_ENUM ? (int)made.value[5]
                                           : CU_STREAM_CAPTURE_MODE_GLOBAL;

    (void)stream_get_flags(stream_of(call), &flags);
    if (mode == CU_STREAM_CAPTURE_MODE_RELAXED || (flags & CU_STREAM_NON_BLOCKING))
        return;
    legacy_breaks = true;
    for (ctx = NULL; (ctx = object_next(KIND_CTX, ctx)) != NULL;)
        if ((int)ctx->number == (stream != NULL ? stream->owner : current_context[thread]))
            ctx->legacy_breaks = true;
}

/* What does not capture may wait; its failures are those of before. Where the legacy stream must
 * not be touched for a capture's sake, no call has got work into it. */
static void
wait_beside_captures(int thread)
{
    const struct object *ctx = context_here();
    CUstreamCaptureStatus status;

    if (ctx == NULL || !ctx->legacy_breaks)
        (void)stream_synchronize(CU_STREAM_LEGACY);
    if (ctx == NULL || (ctx->captures & 1u << thread) == 0)
        (void)stream_synchronize(CU_STREAM_PER_THREAD);
    for (struct object *o = NULL; (o = object_next(KIND_STREAM, o)) != NULL;) {
        status = CU_STREAM_CAPTURE_STATUS_NONE;
        if (stream_is_capturing((CUstream)(uintptr_t)o->value, &status) == CUDA_SUCCESS &&
            status == CU_STREAM_CAPTURE_STATUS_NONE)
            (void)stream_synchronize((CUstream)(uintptr_t)o->value);
    }
}

/* In a context that had a fault nothing can be asked either: it is as it was. */
static bool
look_at_stream(struct object *stream)
{
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    CUresult cr = stream_is_capturing((CUstream)(uintptr_t)stream->value, &status);

    if (cr == CUDA_SUCCESS || cr == CUDA_ERROR_INVALID_HANDLE ||
        cr == CUDA_ERROR_CONTEXT_IS_DESTROYED)
        stream->captures = status != CU_STREAM_CAPTURE_STATUS_NONE;
    return stream->captures != 0;
}

static bool
captures_in(const struct object *ctx)
{
    for (struct object *o = NULL; (o = object_next(KIND_STREAM, o)) != NULL;)
        if (o->owner == (int)ctx->number && o->captures != 0)
            return true;
    return ctx->captures != 0;
}

/* Whether some stream captures. A thread's own one, of which it has one in each context, can be
 * asked for by the thread only, while the context is current. */
static void
look_at_captures(const struct call *call, CUresult cr, int thread)
{
    CUstreamCaptureStatus status;
    struct object *current;

    if (strstr(call->name, "BeginCapture") != NULL && cr == CUDA_SUCCESS &&
        (uintptr_t)stream_of(call) < 2) {
        CUgraph graph;

        /* A green context's default stream, which can be asked while that is current only. */
        printf(" ended %d", (int)stream_end_capture(stream_of(call), &graph));
    } else if (strstr(call->name, "BeginCapture") != NULL && cr == CUDA_SUCCESS) {
        capturing = true;
        note_mode(call, thread);
    }
    if (!capturing) {
        legacy_breaks = false;
        for (struct object *ctx = NULL; (ctx = object_next(KIND_CTX, ctx)) != NULL;)
            ctx->legacy_breaks = false;
        return;
    }
    /* Without a context nothing can be asked: it is as it was. */
    current = context_here();
    if (current == NULL)
        return;
    status = CU_STREAM_CAPTURE_STATUS_NONE;
    if (stream_is_capturing(CU_STREAM_PER_THREAD, &status) == CUDA_SUCCESS) {
        current->captures &= ~(1u << thread);
        current->captures |= (unsigned)(status != CU_STREAM_CAPTURE_STATUS_NONE) << thread;
    }
    capturing = false;
    for (struct object *o = NULL; (o = object_next(KIND_STREAM, o)) != NULL;)
        capturing = look_at_stream(o) || capturing;
    for (struct object *ctx = NULL; (ctx = object_next(KIND_CTX, ctx)) != NULL;) {
        capturing = capturing || ctx->captures != 0;
        ctx->legacy_breaks = ctx->legacy_breaks && captures_in(ctx);
    }
}

static void
context_ended(struct object *ctx)
{
    for (unsigned i = 0; i < sizeof(primary) / sizeof(primary[0]); i++)
        if (primary[i] == ctx)
            primary[i] = NULL;
    objects_die_with_context((int)ctx->number);
    objects_die_with_parent(KIND_ADDRESS, POOLED); /* it may have been of its streams */
    object_die(ctx);
}

/* Streams of green contexts, whose own contexts the program may not know. */
static CUresult
synchronize_green(void)
{
    CUresult later = CUDA_SUCCESS;

    for (struct object *o = NULL; (o = object_next(KIND_STREAM, o)) != NULL;) {
        CUresult other =
            o->parent != 0 ? stream_synchronize((CUstream)(uintptr_t)o->value) : CUDA_SUCCESS;

        if (other == CUDA_ERROR_INVALID_CONTEXT || other == CUDA_ERROR_CONTEXT_IS_DESTROYED)
            continue;
        if (!o->broken && later == CUDA_SUCCESS)
            later = other;
        o->broken = other != CUDA_SUCCESS;
    }
    return later;
}

/* All contexts, for work goes to the stream's, not the current one. */
static CUresult
synchronize(CUresult cr, int thread)
{
    CUresult later;

    settled = !legacy_breaks;
    if (capturing) {
        wait_beside_captures(thread);
        return cr;
    }
    later = ctx_synchronize();
    if (later == CUDA_ERROR_INVALID_CONTEXT || later == CUDA_ERROR_CONTEXT_IS_DESTROYED)
        later = CUDA_SUCCESS;
    for (struct object *o = NULL; (o = object_next(KIND_CTX, o)) != NULL;) {
        CUresult other = ctx_synchronize_v2((CUcontext)(uintptr_t)o->value);

        if (other == CUDA_ERROR_INVALID_CONTEXT || other == CUDA_ERROR_CONTEXT_IS_DESTROYED) {
            context_ended(o); /* by this very call */
            continue;
        }

        if (other == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) {
            printf(" captures unseen\n"); /* a mistake here: nothing waits for its work */
            fflush(stdout);
            _exit(3);
        }
        if (!o->broken && later == CUDA_SUCCESS)
            later = other;
        o->broken = other != CUDA_SUCCESS;
    }
    if (later == CUDA_SUCCESS)
        later = synchronize_green();
    settled = later == CUDA_SUCCESS;
    return cr == CUDA_SUCCESS ? later : cr;
}

static void
one_call(int thread)
{
    bool careful = false;
    const struct call *call = draw(call_number, thread, &careful);
    word v[ARGS_MAX];
    CUresult cr, own;

    make_arguments(call, &made, careful);
    memcpy(v, made.value, sizeof(v));
    printf("%lu t%d %s(%s) ->", call_number, thread, call->name, made.text);
    fflush(stdout); /* so that a crash shows where */
    cr = functions[call - calls](v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10],
                                 v[11]);
    own = cr;
    look_at_captures(call, own, thread);
    cr = synchronize(own, thread);
    printf(" %d", (int)cr);
    if (own == CUDA_SUCCESS) {
        note_current(thread);
        outputs(call, thread);
        if (strstr(call->name, "PrimaryCtxRetain") != NULL && v[1] < 8)
            primary[v[1]] = object_find(KIND_CTX, made.room[0].u64[0]);
        if (strstr(call->name, "PrimaryCtxRelease") != NULL)
            released((unsigned)v[0]);
        else if (call->flags & CALL_DESTROYS)
            destroyed(made.object[0]);
    }
    if (settled &&
        (has_arg(call, ARG_HOST) || has_arg(call, ARG_COPY2D) || has_arg(call, ARG_COPY3D) ||
         has_arg(call, ARG_COPY_PEER) || has_arg(call, ARG_BATCH)))
        printf(" buffer %08x", sum_of(host_buffer, HOST_BYTES));
    printf(capturing ? " capturing\n" : "\n");
    note_current(thread);
    call_number++;
}

/* --- threads in turn -------------------------------------------------------------------------- */

static void *
thread_main(void *arg)
{
    int me = (int)(intptr_t)arg;

    pthread_mutex_lock(&baton.lock);
    for (;;) {
        while (baton.turn != me && baton.turn != -1)
            pthread_cond_wait(&baton.moved, &baton.lock);
        if (baton.turn == -1)
            break;
        one_call(me);
        baton.turn = -2;
        baton.done = true;
        pthread_cond_broadcast(&baton.moved);
    }
    pthread_mutex_unlock(&baton.lock);
    return NULL;
}

static void
hand_over(int turn)
{
    baton.turn = turn;
    baton.done = false;
    pthread_cond_broadcast(&baton.moved);
    while (turn >= 0 && !baton.done)
        pthread_cond_wait(&baton.moved, &baton.lock);
}

/* What all memory holds in the end, as the context sees it that it was made in. */
static void
read_back(void)
{
    static unsigned char bytes[1u << 16];

    for (struct object *o = NULL; (o = object_next(KIND_ADDRESS, o)) != NULL;) {
        size_t n = o->bytes < sizeof(bytes) ? o->bytes : sizeof(bytes);
        struct object *ctx = NULL;
        CUresult cr;

        while ((ctx = object_next(KIND_CTX, ctx)) != NULL && (int)ctx->number != o->owner)
            ;
        if (n == 0 || !o->usable || ctx == NULL || ctx->broken ||
            ctx_set_current((CUcontext)(uintptr_t)ctx->value) != CUDA_SUCCESS)
            continue;
        memset(bytes, 0, sizeof(bytes));
        cr = memcpy_dtoh(bytes, o->value, n);
        printf("mem%u %d %08x\n", o->number, (int)cr, sum_of(bytes, n));
    }
}

/* The same of arrays. */
static void
read_arrays(void)
{
    static unsigned char bytes[1u << 20];

    for (struct object *o = NULL; (o = object_next(KIND_ARRAY, o)) != NULL;) {
        struct object *ctx = NULL;
        CUDA_MEMCPY3D copy;
        CUresult cr;

        while ((ctx = object_next(KIND_CTX, ctx)) != NULL && (int)ctx->number != o->owner)
            ;
        if (ctx == NULL || ctx->broken ||
            ctx_set_current((CUcontext)(uintptr_t)ctx->value) != CUDA_SUCCESS ||
            !whole_array((CUarray)(uintptr_t)o->value, &copy, sizeof(bytes)))
            continue;
        copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
        copy.srcArray = (CUarray)(uintptr_t)o->value;
        copy.dstMemoryType = CU_MEMORYTYPE_HOST;
        copy.dstHost = bytes;
        copy.dstPitch = copy.WidthInBytes;
        copy.dstHeight = copy.Height;
        memset(bytes, 0, sizeof(bytes));
        cr = memcpy_3d(&copy);
        printf("array%u %d %08x\n", o->number, (int)cr,
               sum_of(bytes, copy.WidthInBytes * copy.Height * copy.Depth));
    }
}

/* Everything that was queued is done, in whatever context. */
static void
finish(void)
{
    struct object *o;

    for (o = NULL; (o = object_next(KIND_STREAM, o)) != NULL;)
        (void)stream_destroy((CUstream)(uintptr_t)o->value); /* and with it what it captures */
    for (o = NULL; (o = object_next(KIND_CTX, o)) != NULL;)
        if (ctx_set_current((CUcontext)(uintptr_t)o->value) == CUDA_SUCCESS)
            o->broken = ctx_synchronize() != CUDA_SUCCESS;
    read_back();
    read_arrays();
    printf("host functions %u\n", host_calls);
}

static void
program(uint64_t seed, unsigned long count)
{
    pthread_t threads[THREADS];
    int who = 0;

    load();
    random_seed(seed);
    with_graphs = seed % 2 == 0;
    special = seed / 2 % 4;
    for (size_t i = 0; i < HOST_BYTES; i++)
        host_buffer[i] = (unsigned char)(i * 7 + i / 251);
    printf("init %d\n", (int)init(0));
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, thread_main, (void *)i);
    pthread_mutex_lock(&baton.lock);
    while (call_number < count) {
        if (call_number > FIRST_CALLS + 6 && random_percent(15))
            who = (int)random_below(THREADS);
        hand_over(who);
    }
    hand_over(-1);
    pthread_mutex_unlock(&baton.lock);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    finish();
}

int
main(int argc, char **argv)
{
    uint64_t first, last;

    if (argc != 4) {
        fprintf(stderr, "usage: random_program FIRST-SEED LAST-SEED CALLS\n");
        return 2;
    }
    first = strtoull(argv[1], NULL, 10);
    last = strtoull(argv[2], NULL, 10);
    for (uint64_t seed = first; seed <= last; seed++) {
        pid_t pid;
        int status;

        printf("seed %llu\n", (unsigned long long)seed);
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            alarm(60);
            program(seed, strtoul(argv[3], NULL, 10));
            fflush(stdout);
            exit(0);
        }
        waitpid(pid, &status, 0);
        if (WIFSIGNALED(status))
            printf("\nsignal %d\n", WTERMSIG(status));
        else if (WEXITSTATUS(status) != 0)
            printf("\nexit %d\n", WEXITSTATUS(status));
    }
    return 0;
}
