/* protocol/wire/codec.h -- what the generated codecs share, and the records that frames carry
 *
 * A CALLS, REPLY or NOTICE frame's payload is a row of records, each a multiple of 8 bytes:
 *   call:   struct wire_record, then the call's arguments
 *   reply:  struct wire_record (tag of the call), struct wire_result, then the reply's fields
 *   notice: struct wire_record, then the notice's arguments (tag != 0: the client owes an
 *           answer by the call that the notice's description names)
 * Little endian, as are all hosts that CUDA runs on.
 */
#ifndef GP_WIRE_CODEC_H
#define GP_WIRE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WIRE_PAD(n) (((n) + 7) & ~(size_t)7)

/* Rows of records are at most this long; longer things go in pieces (gpUpload, DATA frames). */
#define WIRE_RECORD_BYTES_MAX (8u << 20)

struct wire_record {
    uint32_t bytes;   /* of the whole record, this header included; a multiple of 8 */
    uint16_t call;    /* enum wire_call */
    uint16_t flags;   /* 0 */
    uint32_t tag;     /* names the call in its reply; 0: no reply is owed */
    uint32_t context; /* wire index of the context it runs in; 0: none */
};

struct wire_result {
    int32_t result;         /* CUresult of this call */
    int32_t deferred;       /* first failure of an asynchronous call since the last reply, or 0 */
    uint16_t deferred_call; /* enum wire_call of that failure */
    uint16_t pad;
    uint32_t deferred_context; /* wire index of the context it happened in; 0: not told */
};

_Static_assert(sizeof(struct wire_record) == 16, "wire_record");
_Static_assert(sizeof(struct wire_result) == 16, "wire_result");

/* The next record of a row; false at the end or, with *bad set, on a malformed row. */
static inline bool
wire_next_record(const uint8_t **row, size_t *len, struct wire_record *record, const uint8_t **body,
                 size_t *body_len, bool *bad)
{
    if (*len == 0)
        return false;
    if (*len < sizeof(*record)) {
        *bad = true;
        return false;
    }
    memcpy(record, *row, sizeof(*record));
    if (record->bytes < sizeof(*record) || record->bytes > *len || record->bytes % 8 != 0) {
        *bad = true;
        return false;
    }
    *body = *row + sizeof(*record);
    *body_len = record->bytes - sizeof(*record);
    *row += record->bytes;
    *len -= record->bytes;
    return true;
}

/* Copy len bytes (of which the last one is a NUL of ours if terminator) and pad to 8. With from
 * NULL the room is left for the caller to fill. */
static inline uint8_t *
wire_put_bytes(uint8_t *to, const void *from, size_t len, size_t terminator)
{
    size_t padded = WIRE_PAD(len);

    if (len > terminator && from != NULL)
        memcpy(to, from, len - terminator);
    memset(to + len - terminator, 0, padded - len + terminator);
    return to + padded;
}

/* len bytes out of the row, or NULL if they are not there or a string lacks its NUL. */
static inline const void *
wire_get_bytes(const uint8_t **from, size_t *left, size_t len, size_t terminator)
{
    const uint8_t *here = *from;
    size_t padded = WIRE_PAD(len);

    if (padded > *left)
        return NULL;
    if (terminator != 0 && memchr(here, 0, len) != here + len - 1)
        return NULL;
    *from += padded;
    *left -= padded;
    return here;
}

#endif
