/* transport/shm/ring.c */
#include "transport/shm/ring.h"

#include "protocol/base/tsan.h"
#include "protocol/base/util.h"
#include "transport/shm/flow.h"
#include "transport/walk.h"

#include <string.h>

/* What is told to the other side at once, so that it works while we go on. */
#define PART_BYTES (128u << 10)
/* What one put or get moves at most: then the other side may have to be woken. */
#define GO_BYTES (256u << 10)
/* Less than this in a row memcpy() copies, and to places of less than FAR_BYTES. */
#define FLOW_BYTES (16u << 10)
#define FAR_BYTES  (128u << 10)
/* A writer that sleeps is woken when this share of the ring is free. */
#define ROOM_SHARE 2

/* Stands for the other processes, whose order of what they get and give is seen by nobody here. */
static const char others;

/* -- counts --------------------------------------------------------------------------------------
 */

/* Counts and the words of sleepers are sequentially consistent: each side writes its own, then
 * reads the other's, so one of them sees what the other wrote in any case. */

static uint64_t
tail_of(const struct tp_ring *ring)
{
    return atomic_load(&ring->shared->tail);
}

static uint64_t
head_of(const struct tp_ring *ring)
{
    return atomic_load(&ring->shared->head);
}

bool
tp_ring_has_data(const struct tp_ring *ring)
{
    return tail_of(ring) != ring->pos;
}

/* -- copying -------------------------------------------------------------------------------------
 */

/* How much of the ring lies in a row from pos on, within one part. */
static uint64_t
in_a_row(const struct tp_ring *ring, uint64_t most)
{
    return gp_min_u64(gp_min_u64(most, PART_BYTES), ring->size - (ring->pos & (ring->size - 1)));
}

enum gp_status
tp_ring_get(struct tp_ring *ring, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    struct tp_iov_walk walk = {iov, iovcnt, 0};
    size_t total = 0, n;
    uint8_t *to;

    while (total < GO_BYTES) {
        const uint8_t *from = ring->data + (ring->pos & (ring->size - 1));

        if (ring->seen == ring->pos) {
            ring->seen = tail_of(ring);
            if (ring->seen - ring->pos > ring->size)
                return GP_ERR_PROTOCOL;
        }
        n = tp_iov_next(&walk, in_a_row(ring, ring->seen - ring->pos), &to);
        if (n == 0)
            break;
        GP_TSAN_GOT(&others);
        if (n >= FLOW_BYTES && walk.iov->iov_len >= FAR_BYTES)
            tp_flow_out(to, from, n);
        else
            memcpy(to, from, n);
        ring->pos += n;
        total += n;
        atomic_store(&ring->shared->head, ring->pos);
    }
    *got_p = total;
    return total > 0 ? GP_OK : GP_ERR_AGAIN;
}

const uint8_t *
tp_ring_peek(struct tp_ring *ring, size_t most, size_t *bytes_p)
{
    uint64_t at = ring->pos & (ring->size - 1), there;

    there = tail_of(ring) - ring->pos;
    if (there == 0 || there > ring->size)
        return NULL;
    ring->seen = ring->pos + there;
    GP_TSAN_GOT(&others);
    *bytes_p = gp_min_u64(gp_min_u64(most, there), ring->size - at);
    return ring->data + at;
}

void
tp_ring_skip(struct tp_ring *ring, size_t bytes)
{
    ring->pos += bytes;
    atomic_store(&ring->shared->head, ring->pos);
}

/* Whether there is room, as far as it was looked up or is now. */
static enum gp_status
look_for_room(struct tp_ring *ring)
{
    if (ring->pos - ring->seen == ring->size) {
        ring->seen = head_of(ring);
        if (ring->pos - ring->seen > ring->size)
            return GP_ERR_PROTOCOL;
    }
    return ring->pos - ring->seen == ring->size ? GP_ERR_AGAIN : GP_OK;
}

enum gp_status
tp_ring_room(struct tp_ring *ring, size_t most, void **to_p, size_t *bytes_p)
{
    enum gp_status status = look_for_room(ring);

    *to_p = ring->data + (ring->pos & (ring->size - 1));
    *bytes_p = in_a_row(ring, gp_min_u64(most, ring->size - (ring->pos - ring->seen)));
    return status;
}

void
tp_ring_filled(struct tp_ring *ring, size_t bytes)
{
    GP_TSAN_GIVEN(&others);
    ring->pos += bytes;
    atomic_store(&ring->shared->tail, ring->pos);
}

enum gp_status
tp_ring_put(struct tp_ring *ring, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    struct tp_iov_walk walk = {iov, iovcnt, 0};
    size_t total = 0, told = 0, n;
    uint8_t *from;

    while (total < GO_BYTES) {
        uint8_t *to = ring->data + (ring->pos & (ring->size - 1));

        if (look_for_room(ring) == GP_ERR_PROTOCOL)
            return GP_ERR_PROTOCOL;
        n = tp_iov_next(&walk, in_a_row(ring, ring->size - (ring->pos - ring->seen)), &from);
        if (n == 0)
            break;
        if (n >= FLOW_BYTES)
            tp_flow_in(to, from, n);
        else
            memcpy(to, from, n);
        ring->pos += n;
        total += n;
        if (total - told < PART_BYTES)
            continue; /* what is small is seen at once: a header does not wake anybody alone */
        told = total;
        GP_TSAN_GIVEN(&others);
        atomic_store_explicit(&ring->shared->tail, ring->pos, memory_order_release);
    }
    if (total == 0)
        return GP_ERR_AGAIN;
    GP_TSAN_GIVEN(&others);
    atomic_store(&ring->shared->tail, ring->pos);
    *put_p = total;
    return GP_OK;
}

/* -- sleeping ------------------------------------------------------------------------------------
 */

bool
tp_ring_await_data(struct tp_ring *ring)
{
    atomic_store(&ring->shared->want_data, 1);
    return tp_ring_has_data(ring);
}

bool
tp_ring_await_room(struct tp_ring *ring, enum tp_ring_want who)
{
    atomic_store(&ring->shared->want_room, (uint32_t)who);
    return ring->pos - head_of(ring) != ring->size;
}

bool
tp_ring_data_wanted(struct tp_ring *ring)
{
    return atomic_load(&ring->shared->want_data) != 0 &&
           atomic_exchange(&ring->shared->want_data, 0) != 0;
}

uint32_t
tp_ring_room_wanted(struct tp_ring *ring)
{
    if (atomic_load(&ring->shared->want_room) == 0)
        return 0;
    /* The writer sleeps, so what it said last stays; a liar is woken too often or too seldom. */
    if (tail_of(ring) - ring->pos > ring->size - ring->size / ROOM_SHARE)
        return 0;
    return atomic_exchange(&ring->shared->want_room, 0);
}
