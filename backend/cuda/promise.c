/* backend/cuda/promise.c */
#include "backend/cuda/promise.h"

#include "backend/cuda/state.h"
#include "be_hooks.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/codec.h"
#include "transport/tls/sha256.h"

#include <string.h>

/* A row of a note; the table follows, padded to 8 bytes. */
struct row {
    uint8_t digest[BE_IMAGE_HASH_BYTES];
    uint64_t bytes;
    uint32_t table_len;
    uint32_t pad;
};

_Static_assert(sizeof(struct row) % 8 == 0, "rows are aligned");

/* All that a table follows from beside the image. */
static enum gp_status
name_note(struct be_session *session, const char *program, uint8_t digest[BE_IMAGE_HASH_BYTES])
{
    const struct be_driver *driver = session->driver;
    struct tp_sha256 *hash;
    enum gp_status status = tp_sha256_create(&hash);

    if (status != GP_OK)
        return status;
    tp_sha256_add(hash, program, strlen(program) + 1);
    tp_sha256_add(hash, driver->text, strlen(driver->text) + 1);
    tp_sha256_add(hash, &driver->version, sizeof(driver->version));
    for (int32_t i = 0; i < driver->device_count; i++) {
        char name[256] = "";
        CUdevice device;

        if (driver->table.cuDeviceGet(&device, i) == CUDA_SUCCESS)
            (void)driver->table.cuDeviceGetName(name, sizeof(name), device);
        tp_sha256_add(hash, name, strlen(name) + 1);
    }
    return tp_sha256_finish(hash, digest);
}

void
be_promises_open(struct be_session *session, const char *program)
{
    struct be_promises *p = &session->promises;

    p->wanted = session->images.socket >= 0 && name_note(session, program, p->note) == GP_OK;
}

static void
tell(struct be_session *session, const struct row *row, const uint8_t *table)
{
    struct be_promises *p = &session->promises;
    struct be_promise *promise = &p->list[p->count];
    struct wire_gpNoticeLibrary_args args = {
        .total = row->bytes, .table = table, .table_len = row->table_len};
    uint8_t *to;

    if (tp_sha256(table, row->table_len, promise->table) != GP_OK ||
        be_images_hold(&session->images, row->digest, row->bytes, &promise->fd) != GP_OK)
        return;
    memcpy(promise->digest, row->digest, sizeof(promise->digest));
    promise->bytes = row->bytes;
    memcpy(args.sha256, row->digest, sizeof(args.sha256));
    to = be_notice_begin(session, WIRE_CALL_gpNoticeLibrary, 0,
                         wire_size_gpNoticeLibrary_args(&args));
    if (to == NULL) {
        close(promise->fd);
        return;
    }
    wire_put_gpNoticeLibrary_args(to, &args);
    be_notice_end(session);
    p->count++;
}

void
be_promises_tell(struct be_session *session)
{
    struct be_promises *p = &session->promises;
    GP_AUTO_FREE uint8_t *note = NULL;
    const uint8_t *at;
    size_t left = 0;

    if (!p->wanted || be_images_note_get(&session->images, p->note, &note, &left) != GP_OK)
        return;
    for (at = note; left >= sizeof(struct row) && p->count < BE_PROMISES_MAX;) {
        struct row row;
        size_t whole;

        memcpy(&row, at, sizeof(row));
        whole = sizeof(row) + WIRE_PAD((size_t)row.table_len);
        if (row.table_len > BE_PROMISE_TABLE_MAX || whole > left || row.bytes == 0 ||
            row.bytes > session->limits.upload_bytes)
            return;
        tell(session, &row, at + sizeof(row));
        at += whole;
        left -= whole;
    }
}

bool
be_promises_take(struct be_session *session, const uint8_t digest[BE_IMAGE_HASH_BYTES],
                 uint64_t bytes, struct be_promise *promise_p)
{
    struct be_promises *p = &session->promises;

    for (unsigned i = 0; i < p->count; i++) {
        if (p->list[i].bytes != bytes ||
            memcmp(p->list[i].digest, digest, BE_IMAGE_HASH_BYTES) != 0)
            continue;
        *promise_p = p->list[i];
        p->list[i] = p->list[--p->count];
        return true;
    }
    return false;
}

bool
be_promise_kept(const struct be_promise *promise, const void *table, size_t table_len)
{
    uint8_t hash[BE_IMAGE_HASH_BYTES];

    return tp_sha256(table, table_len, hash) == GP_OK &&
           memcmp(hash, promise->table, sizeof(hash)) == 0;
}

void
be_promises_learn(struct be_session *session, const uint8_t digest[BE_IMAGE_HASH_BYTES],
                  uint64_t bytes, const void *table, size_t table_len)
{
    static const uint8_t zeros[8];
    struct be_promises *p = &session->promises;
    struct row row = {.bytes = bytes, .table_len = (uint32_t)table_len};
    size_t whole = sizeof(row) + WIRE_PAD(table_len);

    if (!p->wanted || p->learned_count == BE_PROMISES_MAX || table_len > BE_PROMISE_TABLE_MAX ||
        p->learned.len + whole > BE_NOTE_BYTES_MAX)
        return;
    memcpy(row.digest, digest, sizeof(row.digest));
    if (gp_buf_reserve(&p->learned, whole) == NULL)
        return;
    gp_buf_append(&p->learned, &row, sizeof(row));
    gp_buf_append(&p->learned, table, table_len);
    gp_buf_append(&p->learned, zeros, WIRE_PAD(table_len) - table_len);
    p->learned_count++;
}

void
be_promises_close(struct be_session *session)
{
    struct be_promises *p = &session->promises;

    if (p->learned_count > 0)
        be_images_note_put(&session->images, p->note, p->learned.data, p->learned.len);
    p->learned_count = 0;
    p->wanted = false;
    while (p->count > 0)
        close(p->list[--p->count].fd);
    gp_buf_fini(&p->learned);
}
