/* frontend/nvml/pool.c */
#include "frontend/nvml/pool.h"

#include "frontend/core/connect.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/codec.h"
#include "protocol/wire/frame.h"
#include "wire_calls.h"

#include <pthread.h>
#include <string.h>

#define OPEN_NS  (5 * GP_NS_PER_S)
#define ASK_NS   (5 * GP_NS_PER_S)
#define FRESH_NS (100 * GP_NS_PER_MS)
#define TAG      1u

static struct {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    unsigned users;
    bool open;   /* monitors are there */
    pid_t owner; /* of their lines */
    struct fe_monitor monitors[FE_SERVERS_MAX];
    unsigned servers;
    uint64_t next_seq[FE_SERVERS_MAX];
    /* By NVML's index. */
    uint64_t asked_ns[WIRE_DEVICES_MAX]; /* when values came; 0: never */
    uint64_t values[WIRE_DEVICES_MAX][WIRE_STATUS_COUNT];
    /* Written once, by the first open. */
    unsigned count;
    unsigned described;            /* by the servers, hidden ones too */
    struct nvmlDevice_st *devices; /* lives for ever */
    int cuda_version;
    bool software;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static nvmlReturn_t
result_of(CUresult cr)
{
    switch (cr) {
    case CUDA_SUCCESS:
        return NVML_SUCCESS;
    case CUDA_ERROR_NOT_PERMITTED:
        return NVML_ERROR_NO_PERMISSION;
    case CUDA_ERROR_OUT_OF_MEMORY:
        return NVML_ERROR_MEMORY;
    default:
        return NVML_ERROR_DRIVER_NOT_LOADED;
    }
}

/* lock held. */
static void
line_drop(void)
{
    if (!pool.open)
        return;
    for (unsigned i = 0; i < pool.servers; i++) {
        if (pool.owner == getpid()) {
            fe_monitor_close(&pool.monitors[i]);
            continue;
        }
        tp_abandon(pool.monitors[i].lane);
        wire_open_answer_fini(&pool.monitors[i].answer);
    }
    pool.open = false;
}

/* lock held. One after the other, those of each server. */
static void
devices_list(void)
{
    for (unsigned s = 0; s < pool.servers; s++) {
        const struct wire_open_answer *answer = &pool.monitors[s].answer;

        for (unsigned i = 0; i < answer->device_count && pool.count < WIRE_DEVICES_MAX; i++)
            if (!answer->devices[i].hidden) { /* not our tenant's */
                pool.devices[pool.count] =
                    (struct nvmlDevice_st){pool.count, s, i, answer->devices[i]};
                pool.count++;
            }
    }
}

/* lock held. The devices that handles point to are those of the first servers that answered. */
static nvmlReturn_t
devices_keep(void)
{
    unsigned described = 0;

    for (unsigned s = 0; s < pool.servers; s++)
        described += pool.monitors[s].answer.device_count;
    if (pool.devices != NULL)
        return described == pool.described ? NVML_SUCCESS : NVML_ERROR_GPU_IS_LOST;
    pool.devices = calloc(WIRE_DEVICES_MAX, sizeof(*pool.devices));
    if (pool.devices == NULL)
        return NVML_ERROR_MEMORY;
    devices_list();
    pool.described = described;
    pool.cuda_version = pool.monitors[0].answer.driver_version;
    pool.software = pool.monitors[0].answer.software;
    return NVML_SUCCESS;
}

/* lock held. */
static nvmlReturn_t
line_open(void)
{
    char why[FE_WHY_BYTES] = "";
    struct fe_config config;
    enum gp_status status = fe_config_load(&config);
    nvmlReturn_t nr = NVML_ERROR_DRIVER_NOT_LOADED;

    if (status == GP_ERR_NOT_FOUND) {
        log_error("nvml: no pool server is configured: set GPUPOOL_SERVER=tls://host:port or write "
                  "~/.config/gpupool/client.ini");
    } else if (status == GP_OK) {
        nr = result_of(
            fe_connect_monitors(&config, gp_now_ns() + OPEN_NS, pool.monitors, &pool.servers, why));
        if (nr != NVML_SUCCESS && why[0] != '\0')
            log_error("nvml: no pool: %s", why);
    }
    fe_config_fini(&config);
    if (nr != NVML_SUCCESS)
        return nr;
    pool.open = true;
    pool.owner = getpid();
    memset(pool.next_seq, 0, sizeof(pool.next_seq));
    memset(pool.asked_ns, 0, sizeof(pool.asked_ns));
    nr = devices_keep();
    if (nr != NVML_SUCCESS)
        line_drop();
    return nr;
}

/* lock held. A line of this process, if there is to be one at all. */
static nvmlReturn_t
line_need(void)
{
    if (pool.users == 0)
        return NVML_ERROR_UNINITIALIZED;
    if (pool.open && pool.owner == getpid())
        return NVML_SUCCESS;
    line_drop();
    return line_open();
}

nvmlReturn_t
nv_pool_open(void)
{
    nvmlReturn_t nr;

    pthread_mutex_lock(&pool.lock);
    pool.users++;
    nr = line_need();
    if (nr != NVML_SUCCESS)
        pool.users--;
    pthread_mutex_unlock(&pool.lock);
    return nr;
}

nvmlReturn_t
nv_pool_close(void)
{
    nvmlReturn_t nr = NVML_SUCCESS;

    pthread_mutex_lock(&pool.lock);
    if (pool.users == 0)
        nr = NVML_ERROR_UNINITIALIZED;
    else if (--pool.users == 0)
        line_drop();
    pthread_mutex_unlock(&pool.lock);
    return nr;
}

nvmlReturn_t
nv_pool_count(unsigned *count_p)
{
    nvmlReturn_t nr = NVML_SUCCESS;

    pthread_mutex_lock(&pool.lock);
    if (pool.users == 0)
        nr = NVML_ERROR_UNINITIALIZED;
    else
        *count_p = pool.count;
    pthread_mutex_unlock(&pool.lock);
    return nr;
}

nvmlReturn_t
nv_pool_device(unsigned index, struct nvmlDevice_st **device_p)
{
    unsigned count;
    nvmlReturn_t nr = nv_pool_count(&count);

    if (nr == NVML_SUCCESS && index >= count)
        nr = NVML_ERROR_INVALID_ARGUMENT;
    if (nr == NVML_SUCCESS)
        *device_p = &pool.devices[index];
    return nr;
}

nvmlReturn_t
nv_pool_check(nvmlDevice_t handle)
{
    unsigned count;
    nvmlReturn_t nr = nv_pool_count(&count);

    for (unsigned i = 0; nr == NVML_SUCCESS && i < count; i++)
        if (handle == &pool.devices[i])
            return NVML_SUCCESS;
    return nr == NVML_SUCCESS ? NVML_ERROR_INVALID_ARGUMENT : nr;
}

/* --- asking -------------------------------------------------------------------- */

/* lock held. */
static enum gp_status
ask_send(const struct nvmlDevice_st *device, uint64_t deadline_ns)
{
    struct wire_gpDeviceStatus_args args = {.device = (int32_t)device->ordinal};
    struct wire_record record = {
        .bytes = (uint32_t)(sizeof(record) + wire_size_gpDeviceStatus_args(&args)),
        .call = WIRE_CALL_gpDeviceStatus,
        .tag = TAG,
    };
    struct wire_frame_header header = {
        .payload_bytes = record.bytes,
        .kind = WIRE_FRAME_CALLS,
        .tag = 1,
        .seq = ++pool.next_seq[device->server],
    };
    uint8_t out[WIRE_FRAME_HEADER_BYTES], body[64];
    struct iovec iov[2] = {{out, sizeof(out)}, {body, record.bytes}};

    _Static_assert(sizeof(record) + 16 <= sizeof(body), "room for the only call");
    wire_frame_encode(&header, out);
    memcpy(body, &record, sizeof(record));
    wire_put_gpDeviceStatus_args(body + sizeof(record), &args);
    return tp_send_by(pool.monitors[device->server].lane, iov, 2, deadline_ns);
}

/* lock held. The values out of a REPLY frame. */
static enum gp_status
answer_take(const struct tp_frame *frame, const struct nvmlDevice_st *device)
{
    const uint8_t *row = frame->payload, *body;
    size_t len = frame->payload_bytes, body_len;
    struct wire_gpDeviceStatus_reply reply;
    struct wire_result result;
    struct wire_record record;
    bool bad = false;

    while (wire_next_record(&row, &len, &record, &body, &body_len, &bad)) {
        if (record.tag != TAG || body_len < sizeof(result))
            continue;
        memcpy(&result, body, sizeof(result));
        if (result.result != CUDA_SUCCESS)
            return GP_ERR_NOT_SUPPORTED;
        if (!wire_get_gpDeviceStatus_reply(body + sizeof(result), body_len - sizeof(result),
                                           &reply))
            return GP_ERR_PROTOCOL;
        for (uint32_t i = 0; i < WIRE_STATUS_COUNT; i++)
            pool.values[device->index][i] =
                i < reply.values_len ? reply.values[i] : WIRE_STATUS_UNKNOWN;
        pool.asked_ns[device->index] = gp_now_ns();
        return GP_OK;
    }
    return GP_ERR_PROTOCOL;
}

/* lock held. */
static enum gp_status
answer_wait(const struct nvmlDevice_st *device, uint64_t deadline_ns)
{
    for (;;) {
        struct wire_frame_header header;
        struct tp_frame frame;
        enum gp_status status =
            tp_recv_frame(pool.monitors[device->server].lane, &frame, deadline_ns);

        if (status == GP_ERR_AGAIN)
            continue;
        if (status == GP_OK)
            status = wire_frame_decode(frame.header, WIRE_FRAME_PAYLOAD_MAX, &header);
        if (status != GP_OK)
            return status;
        if (header.kind == WIRE_FRAME_REPLY)
            return answer_take(&frame, device);
        if (header.kind == WIRE_FRAME_BYE)
            return GP_ERR_CLOSED;
        /* Notices and pings of the time in between: what comes back answers them all. */
    }
}

/* lock held. */
static enum gp_status
ask(const struct nvmlDevice_st *device)
{
    uint64_t deadline_ns = gp_now_ns() + ASK_NS;
    enum gp_status status;

    if (!wire_call_set_has(&pool.monitors[device->server].calls, WIRE_CALL_gpDeviceStatus))
        return GP_ERR_NOT_SUPPORTED;
    status = ask_send(device, deadline_ns);
    if (status == GP_OK)
        status = answer_wait(device, deadline_ns);
    return status;
}

/* lock held. An old line may be dead without our knowing: the second try has a new one. */
static nvmlReturn_t
refresh(const struct nvmlDevice_st *device)
{
    for (int round = 0; round < 2; round++) {
        enum gp_status status;

        if (line_need() != NVML_SUCCESS)
            return NVML_ERROR_GPU_IS_LOST;
        if (pool.asked_ns[device->index] != 0 &&
            gp_now_ns() - pool.asked_ns[device->index] < FRESH_NS)
            return NVML_SUCCESS;
        status = ask(device);
        if (status == GP_OK)
            return NVML_SUCCESS;
        if (status == GP_ERR_NOT_SUPPORTED)
            return NVML_ERROR_NOT_SUPPORTED;
        line_drop();
    }
    return NVML_ERROR_GPU_IS_LOST;
}

nvmlReturn_t
nv_pool_status(nvmlDevice_t handle, uint64_t values[WIRE_STATUS_COUNT])
{
    nvmlReturn_t nr = nv_pool_check(handle);

    if (nr != NVML_SUCCESS)
        return nr;
    pthread_mutex_lock(&pool.lock);
    nr = refresh(handle);
    if (nr == NVML_SUCCESS)
        memcpy(values, pool.values[handle->index], sizeof(pool.values[0]));
    pthread_mutex_unlock(&pool.lock);
    return nr;
}

int
nv_pool_cuda_version(void)
{
    int version;

    pthread_mutex_lock(&pool.lock);
    version = pool.cuda_version;
    pthread_mutex_unlock(&pool.lock);
    return version;
}

bool
nv_pool_software(void)
{
    bool software;

    pthread_mutex_lock(&pool.lock);
    software = pool.software;
    pthread_mutex_unlock(&pool.lock);
    return software;
}
