/* frontend/cuda/ipc.c -- memory and events that programs of one tenant on one server share
 *
 * The server gives a token for what is shared; whoever holds it may ask for the same. An exported
 * object's descriptor is one end of a pair of sockets with the token waiting in it: it may be
 * passed on, duplicated and read (with MSG_PEEK) by anyone, and when its last copy is closed, the
 * other end, which is kept here, says so: until then the object lives, as CUDA has it.
 */
#include "frontend/cuda/ipc.h"

#include "cuda_api.h"
#include "frontend/cuda/graph.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/managed.h"
#include "frontend/cuda/memory.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/vmm.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOKEN_BYTES  32u
#define OBJECT_MAGIC 0x6f6a6270u
#define MEMORY_MAGIC 0x6d656d70u
#define POOL_MAGIC   0x6d706c70u
#define EVENT_MAGIC  0x65767470u

/* What waits in an exported descriptor. */
struct object_ticket {
    uint32_t magic, zero;
    uint8_t token[TOKEN_BYTES];
};

/* What a CUipcMemHandle and a CUmemPoolPtrExportData hold. */
struct memory_ticket {
    uint32_t magic;
    int32_t device; /* of the server */
    uint8_t token[TOKEN_BYTES];
    uint64_t bytes;
    uint32_t offset;   /* in the first granule */
    uint32_t granules; /* of it all */
    uint64_t granule;  /* POOL: the pool's number instead */
};

/* What a CUipcEventHandle holds. */
struct event_ticket {
    uint32_t magic;
    uint32_t zero[7];
    uint8_t token[TOKEN_BYTES];
};

_Static_assert(sizeof(struct memory_ticket) == sizeof(CUipcMemHandle), "64 bytes");
_Static_assert(sizeof(struct memory_ticket) == sizeof(CUmemPoolPtrExportData), "64 bytes");
_Static_assert(sizeof(struct event_ticket) == sizeof(CUipcEventHandle), "64 bytes");

/* -- objects ---------------------------------------------------------------------------- */

/* Our ends of the descriptors that were exported. */
struct export
{
    struct fe_phys *phys;
    int fd;
    struct export *next;
};

/* An allocation of another program, opened here. */
struct opened {
    struct memory_ticket ticket;
    uint64_t base;
    unsigned refs;
    struct opened *next;
};

static struct {
    struct export *exports; /* guarded by vmm's lock */
    _Atomic unsigned export_count;

    pthread_mutex_t lock; /* held while the server is asked; before fe_alloc's */
    /* Guarded by lock. */
    struct opened *opened;
} ipc = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* vmm's lock is held. Objects whose descriptors are all closed. */
static CUresult
settle_locked(struct fe_call *call)
{
    struct export **at = &ipc.exports;
    CUresult cr = CUDA_SUCCESS;

    while (*at != NULL && cr == CUDA_SUCCESS) {
        struct export *e = *at;
        struct pollfd p = {.fd = e->fd};

        if (poll(&p, 1, 0) != 1 || (p.revents & POLLHUP) == 0) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        atomic_fetch_sub(&ipc.export_count, 1);
        close(e->fd);
        e->phys->exports--;
        cr = fe_phys_end_if_gone(call, e->phys);
        free(e);
    }
    return cr;
}

CUresult
fe_exports_settle(struct fe_call *call)
{
    CUresult cr;

    if (GP_LIKELY(atomic_load_explicit(&ipc.export_count, memory_order_relaxed) == 0))
        return CUDA_SUCCESS;
    fe_vmm_lock();
    cr = settle_locked(call);
    fe_vmm_unlock();
    return cr;
}

/* The token of an object, asked for once. */
static CUresult
object_token(struct fe_call *call, struct fe_phys *phys, uint8_t token[TOKEN_BYTES])
{
    struct wire_cuMemExportToShareableHandle_args args = {.handle = phys->object.wire};
    struct wire_cuMemExportToShareableHandle_reply reply;
    CUresult cr;

    FE_ASK(cr, call, cuMemExportToShareableHandle, &args, &reply);
    if (cr == CUDA_SUCCESS && reply.token_len != TOKEN_BYTES)
        cr = fe_malformed(call);
    if (cr == CUDA_SUCCESS)
        memcpy(token, reply.token, TOKEN_BYTES);
    return cr;
}

CUresult
fe_ticket_put(const void *ticket, size_t bytes, int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
        return CUDA_ERROR_OPERATING_SYSTEM;
    if (send(fds[0], ticket, bytes, MSG_NOSIGNAL) == (ssize_t)bytes)
        return CUDA_SUCCESS;
    close(fds[0]);
    close(fds[1]);
    return CUDA_ERROR_OPERATING_SYSTEM;
}

/* vmm's lock is held, and phys with it. */
static CUresult
export_keep(struct fe_phys *phys, int fd)
{
    struct export *e = malloc(sizeof(*e));

    if (e == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *e = (struct export){phys, fd, ipc.exports};
    ipc.exports = e;
    atomic_fetch_add(&ipc.export_count, 1);
    return CUDA_SUCCESS;
}

/* What the current context copied before is there when the other program looks. */
static CUresult
order_current(void)
{
    struct fe_context *ctx = fe_context_current();
    struct fe_call call;
    CUresult cr;

    if (ctx == NULL || fe_object_state(ctx) != FE_OBJECT_LIVE ||
        atomic_load(&ctx->head.sticky) != CUDA_SUCCESS) /* nothing is done there any more */
        return CUDA_SUCCESS;
    cr = fe_enter_in(&call, WIRE_CALL_gpBarrier, ctx);
    return cr == CUDA_SUCCESS ? fe_leave(&call, fe_order_share(&call)) : cr;
}

static CUresult
export_object(struct fe_call *call, CUmemGenericAllocationHandle handle, int *fd_p)
{
    struct object_ticket ticket = {.magic = OBJECT_MAGIC};
    struct fe_phys *phys;
    CUresult cr = CUDA_SUCCESS;
    int fds[2];

    fe_vmm_lock();
    phys = fe_phys_of(handle);
    if (phys != NULL &&
        (phys->prop.requestedHandleTypes & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) != 0)
        phys->exports++; /* it stays while the server is asked */
    else
        cr = CUDA_ERROR_INVALID_VALUE;
    fe_vmm_unlock();
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = object_token(call, phys, ticket.token);
    if (cr == CUDA_SUCCESS)
        cr = fe_ticket_put(&ticket, sizeof(ticket), fds);
    fe_vmm_lock();
    if (cr == CUDA_SUCCESS) {
        cr = export_keep(phys, fds[0]);
        if (cr != CUDA_SUCCESS) {
            close(fds[0]);
            close(fds[1]);
        }
    }
    if (cr == CUDA_SUCCESS) {
        *fd_p = fds[1];
    } else {
        phys->exports--;
        (void)fe_phys_end_if_gone(call, phys);
    }
    fe_vmm_unlock();
    return cr;
}

GP_EXPORT CUresult
cuMemExportToShareableHandle(void *shareable, CUmemGenericAllocationHandle handle,
                             CUmemAllocationHandleType type, unsigned long long flags)
{
    struct fe_call call;
    int fd = -1;
    CUresult cr = order_current();

    if (cr == CUDA_SUCCESS)
        cr = fe_enter_on(&call, WIRE_CALL_cuMemExportToShareableHandle, fe_phys_session(handle));
    if (cr != CUDA_SUCCESS)
        return cr;
    if (shareable == NULL || flags != 0 || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = export_object(&call, handle, &fd);
    if (cr == CUDA_SUCCESS)
        memcpy(shareable, &fd, sizeof(fd));
    return fe_leave(&call, cr);
}

bool
fe_ticket_peek(int fd, void *ticket, size_t bytes)
{
    ssize_t n;

    do
        n = recv(fd, ticket, bytes, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)bytes;
}

static CUresult
import_object(struct fe_call *call, const struct object_ticket *ticket, struct fe_phys **phys_p)
{
    struct wire_cuMemImportFromShareableHandle_args args = {.token = ticket->token,
                                                            .token_len = TOKEN_BYTES};
    struct wire_cuMemImportFromShareableHandle_reply reply = {0};
    struct fe_phys *phys = fe_object_create(WIRE_HANDLE_ALLOCATION, NULL);
    uint64_t granule = fe_alloc_granule(fe_alloc_of(call));
    CUresult cr;

    if (phys == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    args.handle = phys->object.wire;
    FE_ASK(cr, call, cuMemImportFromShareableHandle, &args, &reply);
    if (cr != CUDA_SUCCESS) {
        fe_object_destroy(phys);
        return cr;
    }
    phys->bytes = reply.bytes;
    phys->imported = true;
    phys->handles = 1;
    phys->device = fe_device_of_server(call->session, reply.device);
    phys->prop = (CUmemAllocationProp){
        .type = CU_MEM_ALLOCATION_TYPE_PINNED,
        .requestedHandleTypes = (CUmemAllocationHandleType)reply.handle_types,
        .location = {CU_MEM_LOCATION_TYPE_DEVICE, phys->device},
    };
    *phys_p = phys;
    /* A server that makes no sense, or a device that this program does not see. */
    if (phys->device >= 0 && reply.bytes != 0 && reply.bytes % granule == 0)
        return CUDA_SUCCESS;
    fe_vmm_lock();
    phys->handles = 0;
    cr = fe_phys_end_if_gone(call, phys);
    fe_vmm_unlock();
    return cr == CUDA_SUCCESS ? CUDA_ERROR_INVALID_DEVICE : cr;
}

GP_EXPORT CUresult
cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *os_handle,
                               CUmemAllocationHandleType type)
{
    struct object_ticket ticket;
    struct fe_phys *phys = NULL;
    struct fe_call call;
    CUresult cr = order_current();

    if (cr == CUDA_SUCCESS)
        cr = fe_enter_on(&call, WIRE_CALL_cuMemImportFromShareableHandle, NULL);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ||
        !fe_ticket_peek((int)(intptr_t)os_handle, &ticket, sizeof(ticket)) ||
        ticket.magic != OBJECT_MAGIC)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = import_object(&call, &ticket, &phys);
    if (cr == CUDA_SUCCESS)
        *handle = (uintptr_t)phys;
    return fe_leave(&call, cr);
}

/* -- allocations ------------------------------------------------------------------------ */

static CUresult
memory_ticket(struct fe_call *call, const struct fe_block *b, struct memory_ticket *ticket)
{
    struct wire_cuIpcGetMemHandle_args args = {.address = b->base};
    struct wire_cuIpcGetMemHandle_reply reply;
    struct fe_state *state = fe_state_of(call);
    uint64_t granule = fe_alloc_granule(fe_alloc_of(call));
    CUresult cr;

    FE_ASK(cr, call, cuIpcGetMemHandle, &args, &reply);
    if (cr == CUDA_SUCCESS && reply.token_len != TOKEN_BYTES)
        cr = fe_malformed(call);
    if (cr != CUDA_SUCCESS)
        return cr;
    *ticket = (struct memory_ticket){
        .magic = MEMORY_MAGIC,
        .device = state->devices[b->device].server_ordinal,
        .bytes = b->bytes,
        .offset = (uint32_t)(b->base % granule),
        .granule = granule,
    };
    ticket->granules = (uint32_t)(gp_align_up_u64(ticket->offset + b->bytes, granule) / granule);
    memcpy(ticket->token, reply.token, TOKEN_BYTES);
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr address)
{
    struct memory_ticket ticket;
    struct fe_block b;
    struct fe_call call;
    /* It needs a context, as this does. */
    CUresult cr = fe_enter(&call, WIRE_CALL_cuIpcOpenMemHandle_v2);

    if (cr == CUDA_SUCCESS && (cr = fe_call_home(&call, address)) != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (handle == NULL || !fe_alloc_find(fe_alloc_of(&call), address, &b) ||
        b.kind != FE_BLOCK_PLAIN || !fe_alloc_in_range(fe_alloc_of(&call), b.base) ||
        fe_managed_find(address, NULL) || fe_managed_block(address) || fe_graph_mem_is(b.base))
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = fe_order_share(&call);
    if (cr == CUDA_SUCCESS)
        cr = fe_call_next(&call, WIRE_CALL_cuIpcGetMemHandle);
    if (cr == CUDA_SUCCESS)
        cr = memory_ticket(&call, &b, &ticket);
    if (cr == CUDA_SUCCESS)
        memcpy(handle, &ticket, sizeof(ticket));
    return fe_leave(&call, cr);
}

/* The lock is held. What went with its context is forgotten. */
static struct opened **
find_opened(const struct memory_ticket *ticket, uint64_t base)
{
    struct opened **at = &ipc.opened;

    while (*at != NULL) {
        struct opened *o = *at;
        struct fe_block b;

        if (!fe_alloc_find(fe_alloc_around(NULL, o->base), o->base, &b) || b.object != o) {
            *at = o->next;
            free(o);
            continue;
        }
        if (ticket != NULL ? memcmp(&o->ticket, ticket, sizeof(*ticket)) == 0 : o->base == base)
            break;
        at = &o->next;
    }
    return at;
}

static bool
ticket_check(const struct fe_call *call, const struct memory_ticket *t, int *device_p)
{
    uint64_t granule = fe_alloc_granule(fe_alloc_of(call));

    *device_p = fe_device_of_server(call->session, t->device);
    return (t->magic == POOL_MAGIC || (t->magic == MEMORY_MAGIC && t->granule == granule)) &&
           t->bytes != 0 && t->bytes <= UINT64_MAX / 4 && t->offset < granule && *device_p >= 0 &&
           t->granules == gp_align_up_u64(t->offset + t->bytes, granule) / granule;
}

/* The lock is held. */
static CUresult
open_memory(struct fe_call *call, const struct memory_ticket *ticket, int device, struct opened *o)
{
    struct wire_cuIpcOpenMemHandle_v2_args args = {.token = ticket->token,
                                                   .token_len = TOKEN_BYTES};
    struct wire_cuIpcOpenMemHandle_v2_reply reply;
    struct fe_alloc *alloc = fe_alloc_of(call);
    struct fe_block b = {
        .kind = FE_BLOCK_IPC,
        .bytes = ticket->bytes,
        .device = device,
        .owner = call->context,
        .object = o,
    };
    CUresult cr;

    if (fe_alloc_take_run(alloc, &b, ticket->granules, ticket->offset) != FE_ALLOC_OK)
        return CUDA_ERROR_OUT_OF_MEMORY;
    args.address = b.base;
    FE_ASK(cr, call, cuIpcOpenMemHandle_v2, &args, &reply);
    if (cr != CUDA_SUCCESS) {
        fe_alloc_untake(alloc, b.base);
        return cr;
    }
    o->ticket = *ticket;
    o->base = b.base;
    o->refs = 1;
    return CUDA_SUCCESS;
}

/* The lock is held. */
static CUresult
open_or_count(struct fe_call *call, const struct memory_ticket *ticket, uint64_t *base_p)
{
    struct opened *o = *find_opened(ticket, 0);
    CUresult cr;
    int device;

    if (!ticket_check(call, ticket, &device))
        return CUDA_ERROR_INVALID_VALUE;
    if (o != NULL) {
        o->refs++;
        *base_p = o->base;
        return CUDA_SUCCESS;
    }
    o = calloc(1, sizeof(*o));
    if (o == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = open_memory(call, ticket, device, o);
    if (cr != CUDA_SUCCESS) {
        free(o);
        return cr;
    }
    o->next = ipc.opened;
    ipc.opened = o;
    *base_p = o->base;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuIpcOpenMemHandle_v2(CUdeviceptr *address, CUipcMemHandle handle, unsigned int flags)
{
    struct memory_ticket ticket;
    struct fe_call call;
    uint64_t base;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuIpcOpenMemHandle_v2);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (address == NULL || (flags & ~(unsigned)CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) != 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    memcpy(&ticket, &handle, sizeof(ticket));
    if (ticket.magic != MEMORY_MAGIC)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = fe_order_share(&call);
    if (cr == CUDA_SUCCESS)
        cr = fe_call_next(&call, WIRE_CALL_cuIpcOpenMemHandle_v2);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    pthread_mutex_lock(&ipc.lock);
    cr = open_or_count(&call, &ticket, &base);
    pthread_mutex_unlock(&ipc.lock);
    if (cr == CUDA_SUCCESS)
        *address = base;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuIpcOpenMemHandle(CUdeviceptr *address, CUipcMemHandle handle, unsigned int flags)
{
    return cuIpcOpenMemHandle_v2(address, handle, flags);
}

/* What was opened as this at address is closed once. */
static CUresult
close_memory(struct fe_call *call, uint64_t address, uint32_t magic)
{
    CUresult cr = CUDA_SUCCESS;
    struct opened **at, *o;

    pthread_mutex_lock(&ipc.lock);
    at = find_opened(NULL, address);
    o = *at;
    if (o == NULL || o->ticket.magic != magic) {
        cr = CUDA_ERROR_INVALID_VALUE;
    } else if (--o->refs == 0) {
        cr = fe_memory_free(call, o->base);
        *at = o->next;
        free(o);
    }
    pthread_mutex_unlock(&ipc.lock);
    return cr;
}

GP_EXPORT CUresult
cuIpcCloseMemHandle(CUdeviceptr address)
{
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuMemFree_v2);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_call_home(&call, address);
    if (cr == CUDA_SUCCESS)
        cr = close_memory(&call, address, MEMORY_MAGIC);
    return fe_leave(&call, cr);
}

/* -- allocations of pools --------------------------------------------------------------- */

CUresult
fe_ipc_offer(struct fe_call *call, const struct fe_block *b, uint64_t number, void *data)
{
    struct memory_ticket ticket;
    CUresult cr = memory_ticket(call, b, &ticket);

    if (cr != CUDA_SUCCESS)
        return cr;
    ticket.magic = POOL_MAGIC;
    ticket.granule = number;
    memcpy(data, &ticket, sizeof(ticket));
    return CUDA_SUCCESS;
}

CUresult
fe_ipc_open(struct fe_call *call, const void *data, uint64_t number, uint64_t *base_p)
{
    struct memory_ticket ticket;
    CUresult cr;

    memcpy(&ticket, data, sizeof(ticket));
    if (ticket.magic != POOL_MAGIC || ticket.granule != number)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&ipc.lock);
    cr = open_or_count(call, &ticket, base_p);
    pthread_mutex_unlock(&ipc.lock);
    return cr;
}

CUresult
fe_ipc_free(struct fe_call *call, uint64_t address)
{
    return close_memory(call, address, POOL_MAGIC);
}

/* -- events ----------------------------------------------------------------------------- */

GP_EXPORT CUresult
cuIpcGetEventHandle(CUipcEventHandle *handle, CUevent event_handle)
{
    struct event_ticket ticket = {.magic = EVENT_MAGIC};
    struct wire_cuIpcGetEventHandle_reply reply;
    struct wire_cuIpcGetEventHandle_args args;
    struct fe_event *event;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuIpcGetEventHandle);

    if (cr != CUDA_SUCCESS)
        return cr;
    event = fe_object_get(WIRE_HANDLE_EVENT, event_handle);
    if (event == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_HANDLE);
    if (handle == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    if ((event->flags & CU_EVENT_INTERPROCESS) == 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_HANDLE);
    args.event = event->object.wire;
    FE_ASK(cr, &call, cuIpcGetEventHandle, &args, &reply);
    if (cr == CUDA_SUCCESS && reply.token_len != TOKEN_BYTES)
        cr = fe_malformed(&call);
    if (cr == CUDA_SUCCESS) {
        memcpy(ticket.token, reply.token, TOKEN_BYTES);
        memcpy(handle, &ticket, sizeof(ticket));
    }
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuIpcOpenEventHandle(CUevent *event_handle, CUipcEventHandle handle)
{
    struct wire_cuIpcOpenEventHandle_args args = {.token_len = TOKEN_BYTES};
    struct wire_cuIpcOpenEventHandle_reply reply;
    struct event_ticket ticket;
    struct fe_event *event;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuIpcOpenEventHandle);

    if (cr != CUDA_SUCCESS)
        return cr;
    memcpy(&ticket, &handle, sizeof(ticket));
    if (event_handle == NULL || ticket.magic != EVENT_MAGIC)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    event = fe_object_create(WIRE_HANDLE_EVENT, call.context);
    if (event == NULL)
        return fe_leave(&call, CUDA_ERROR_OUT_OF_MEMORY);
    event->flags = CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
    args.event = event->object.wire;
    args.token = ticket.token;
    FE_ASK(cr, &call, cuIpcOpenEventHandle, &args, &reply);
    if (cr == CUDA_SUCCESS)
        *event_handle = (CUevent)event;
    else
        fe_object_destroy(event);
    return fe_leave(&call, cr);
}
