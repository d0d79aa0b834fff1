/* tests/unit/frontend/fake.c */
#include "fake.h"

#include "protocol/wire/negotiate.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAYLOAD_MAX (16u << 20)

/* --- bytes ---------------------------------------------------------------------- */

static bool
read_all(int fd, void *to, size_t bytes)
{
    uint8_t *at = to;

    while (bytes > 0) {
        ssize_t n = recv(fd, at, bytes, 0);

        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

static bool
write_all(struct fake *f, const void *from, size_t bytes)
{
    const uint8_t *at = from;

    if (f->opts.cut && f->sent + bytes > f->opts.cut_after)
        bytes = (size_t)(f->opts.cut_after - f->sent);
    while (bytes > 0) {
        ssize_t n = send(f->fd, at, bytes, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
        f->sent += (uint64_t)n;
    }
    if (f->opts.cut && f->sent == f->opts.cut_after) {
        shutdown(f->fd, SHUT_RDWR);
        return false;
    }
    return true;
}

bool
fake_send(struct fake *f, enum wire_frame_kind kind, uint32_t tag, const void *payload,
          size_t bytes)
{
    struct wire_frame_header header = {
        .payload_bytes = (uint32_t)bytes,
        .kind = (uint8_t)kind,
        .tag = tag,
    };
    uint8_t *whole = malloc(WIRE_FRAME_HEADER_BYTES + bytes);
    bool ok;

    wire_frame_encode(&header, whole);
    if (bytes > 0)
        memcpy(whole + WIRE_FRAME_HEADER_BYTES, payload, bytes);
    ok = write_all(f, whole, WIRE_FRAME_HEADER_BYTES + bytes);
    free(whole);
    return ok;
}

bool
fake_reply(struct fake *f, const struct wire_record *record, int result, int deferred,
           const void *body, size_t bytes)
{
    struct wire_record r = {.call = record->call, .tag = record->tag};
    struct wire_result w = {.result = result,
                            .deferred = deferred,
                            .deferred_context = deferred != 0 ? f->deferred_context : 0};
    uint8_t *row = calloc(1, sizeof(r) + sizeof(w) + bytes);
    bool ok;

    r.bytes = (uint32_t)(sizeof(r) + sizeof(w) + bytes);
    memcpy(row, &r, sizeof(r));
    memcpy(row + sizeof(r), &w, sizeof(w));
    if (bytes > 0)
        memcpy(row + sizeof(r) + sizeof(w), body, bytes);
    ok = fake_send(f, WIRE_FRAME_REPLY, record->tag, row, r.bytes);
    free(row);
    return ok;
}

bool
fake_data(struct fake *f, uint32_t data, uint64_t offset, const void *bytes, size_t len,
          uint32_t flags, int result)
{
    /* struct wire_data: offset, flags, result */
    uint8_t *payload = malloc(16 + len);
    bool ok;

    memcpy(payload, &offset, 8);
    memcpy(payload + 8, &flags, 4);
    memcpy(payload + 12, &result, 4);
    if (len > 0)
        memcpy(payload + 16, bytes, len);
    ok = fake_send(f, WIRE_FRAME_DATA, data, payload, 16 + len);
    free(payload);
    return ok;
}

bool
fake_notice(struct fake *f, enum wire_call call, uint32_t tag, const void *args, size_t len)
{
    struct wire_record r = {.call = (uint16_t)call, .tag = tag};
    uint8_t *row = calloc(1, sizeof(r) + len);
    bool ok;

    r.bytes = (uint32_t)(sizeof(r) + len);
    memcpy(row, &r, sizeof(r));
    memcpy(row + sizeof(r), args, len);
    ok = fake_send(f, WIRE_FRAME_NOTICE, call, row, r.bytes);
    free(row);
    return ok;
}

void
fake_answer(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    static const uint64_t zeros[4];

    (void)args;
    (void)len;
    if (record->tag != 0)
        fake_reply(f, record, 0, 0, zeros, record->call == WIRE_CALL_gpLease ? 8 : 0);
}

/* --- control ----------------------------------------------------------------------- */

static bool
send_control(struct fake *f, enum wire_control_kind kind, const struct gp_buf *buf)
{
    return fake_send(f, WIRE_FRAME_HELLO, kind, buf->data, buf->len);
}

static bool
answer_hello(struct fake *f)
{
    struct wire_hello *hello = calloc(1, sizeof(*hello));
    struct gp_buf buf = {0};
    unsigned id;
    bool ok;

    hello->wire_format = f->opts.wire_format != 0 ? f->opts.wire_format : WIRE_FORMAT;
    hello->max_payload_bytes = PAYLOAD_MAX;
    hello->features = f->opts.features;
    snprintf(hello->build, sizeof(hello->build), "fake");
    for (id = 0; id < WIRE_CALL_COUNT; id++)
        if (wire_calls[id].name != NULL && !wire_calls[id].notice && id != f->opts.lacks)
            wire_call_set_add(&hello->calls, (uint16_t)id);
    ok = wire_hello_encode(hello, &buf) == GP_OK && send_control(f, WIRE_CONTROL_HELLO, &buf);
    gp_buf_fini(&buf);
    free(hello);
    return ok;
}

static bool
refuse_open(struct fake *f)
{
    struct wire_error_answer error = {.code = f->opts.refuse, .reason = "not today"};
    struct gp_buf buf = {0};
    bool ok = wire_error_answer_encode(&error, &buf) == GP_OK &&
              send_control(f, WIRE_CONTROL_ERROR, &buf);

    gp_buf_fini(&buf);
    return ok && fake_send(f, WIRE_FRAME_BYE, f->opts.refuse, NULL, 0);
}

static bool
answer_open(struct fake *f, const uint8_t *payload, size_t bytes)
{
    struct wire_open_answer answer = {
        .session_id = 42,
        .driver_version = 13000,
        .driver = "software device",
        .server = "fake",
        .software = true,
        .heartbeat_ms = f->opts.heartbeat_ms,
        .device_count = f->opts.devices != 0 ? f->opts.devices : 2,
    };
    struct wire_open_request request;
    struct gp_buf buf = {0};
    unsigned i;
    bool ok;

    if (wire_open_request_decode(payload, bytes, &request) != GP_OK)
        return false;
    f->opens++;
    f->records = 0;
    f->last_hint = request.device_base_hint;
    answer.device_range.bytes = 1ull << 30;
    answer.device_range.base = request.device_base_hint != 0 ? request.device_base_hint
                               : f->opts.device_base != 0    ? f->opts.device_base
                                                             : 0x551000000000ull;
    answer.host_range.base = answer.device_range.base + answer.device_range.bytes;
    answer.host_range.bytes = f->opts.host_bytes;
    if (answer.host_range.bytes == 0)
        answer.host_range.base = 0;
    wire_open_request_fini(&request);
    if (f->opts.refuse != 0)
        return refuse_open(f);

    answer.devices = calloc(answer.device_count, sizeof(*answer.devices));
    for (i = 0; i < answer.device_count; i++) {
        struct wire_device *d = &answer.devices[i];

        snprintf(d->name, sizeof(d->name), "device %u", i);
        memset(d->uuid, (int)(0x30 + i), sizeof(d->uuid));
        memset(d->uuid_v2, (int)(0x40 + i), sizeof(d->uuid_v2));
        snprintf(d->pci_bus_id, sizeof(d->pci_bus_id), "0000:0%u:00.0", i);
        d->total_bytes = d->free_bytes = d->lease_bytes = 1u << 30;
        d->granularity_bytes = 2u << 20;
        d->attribute_count = 148;
    }
    ok = wire_open_answer_encode(&answer, &buf) == GP_OK &&
         send_control(f, WIRE_CONTROL_ANSWER, &buf);
    gp_buf_fini(&buf);
    free(answer.devices);
    return ok;
}

/* --- the thread ---------------------------------------------------------------------- */

static bool
take_calls(struct fake *f, const struct wire_frame_header *header, const uint8_t *row)
{
    size_t left = header->payload_bytes, len;
    struct wire_record record;
    const uint8_t *args;
    uint32_t count = 0;
    bool bad = false;

    FAKE_NEED(header->seq == f->last_seq + 1); /* frames of calls are numbered */
    f->last_seq = header->seq;
    while (wire_next_record(&row, &left, &record, &args, &len, &bad)) {
        FAKE_NEED(record.call < WIRE_CALL_COUNT && wire_calls[record.call].check != NULL &&
                  wire_calls[record.call].check(args, len));
        f->records++;
        count++;
        if (f->opts.on_record != NULL)
            f->opts.on_record(f, &record, args, len);
        else
            fake_answer(f, &record, args, len);
    }
    FAKE_NEED(!bad);
    FAKE_NEED(count == header->tag); /* a frame tells how many calls it has */
    return true;
}

static bool
take_frame(struct fake *f, const struct wire_frame_header *header, const uint8_t *payload)
{
    switch (header->kind) {
    case WIRE_FRAME_HELLO:
        if (f->opts.silent)
            return true;
        return header->tag == WIRE_CONTROL_HELLO ? answer_hello(f)
                                                 : answer_open(f, payload, header->payload_bytes);
    case WIRE_FRAME_CALLS:
        return take_calls(f, header, payload);
    case WIRE_FRAME_PING:
        if (f->opts.on_ping != NULL)
            f->opts.on_ping(f);
        return f->opts.silent ||
               fake_send(f, WIRE_FRAME_PONG, header->tag, payload, header->payload_bytes);
    case WIRE_FRAME_BYE:
        f->bye = header->tag;
        return true;
    default:
        return true;
    }
}

static void
serve_one(struct fake *f)
{
    uint8_t bytes[WIRE_FRAME_HEADER_BYTES];
    uint8_t *payload = malloc(PAYLOAD_MAX);
    struct wire_frame_header header;

    f->sent = 0;
    f->last_seq = 0;
    while (read_all(f->fd, bytes, sizeof(bytes))) {
        FAKE_NEED(wire_frame_decode(bytes, PAYLOAD_MAX, &header) == GP_OK);
        if (!read_all(f->fd, payload, header.payload_bytes) || !take_frame(f, &header, payload))
            break;
    }
    free(payload);
    close(atomic_exchange(&f->fd, -1));
}

static void *
serve(void *arg)
{
    struct fake *f = arg;

    for (;;) {
        int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
            return NULL;
        f->fd = fd;
        serve_one(f);
    }
}

void
fake_start(struct fake *f, const struct fake_opts *opts)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    memset(f, 0, sizeof(*f));
    if (opts != NULL)
        f->opts = *opts;
    f->bye = UINT32_MAX;
    f->fd = -1;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FAKE_NEED(bind(f->listener, (struct sockaddr *)&at, sizeof(at)) == 0);
    FAKE_NEED(listen(f->listener, 16) == 0);
    FAKE_NEED(getsockname(f->listener, (struct sockaddr *)&at, &len) == 0);
    snprintf(f->url, sizeof(f->url), "tcp://127.0.0.1:%u", ntohs(at.sin_port));
    setenv("GPUPOOL_SERVER", f->url, 1);
    setenv("HOME", "/nonexistent", 1);
    unsetenv("GPUPOOL_CONFIG");
    unsetenv("CUDA_VISIBLE_DEVICES");
    FAKE_NEED(pthread_create(&f->thread, NULL, serve, f) == 0);
}

void
fake_join(struct fake *f)
{
    shutdown(f->listener, SHUT_RDWR); /* accept() fails once the connection in hand is done */
    pthread_join(f->thread, NULL);
    close(f->listener);
}

void
fake_stop(struct fake *f)
{
    shutdown(f->fd, SHUT_RDWR);
    fake_join(f);
}

void
fake_set(struct fake *f, unsigned value)
{
    pthread_mutex_lock(&f->lock);
    f->flag = value;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

void
fake_await(struct fake *f, unsigned value)
{
    pthread_mutex_lock(&f->lock);
    while (f->flag < value)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}
