/* transport/link/store.c */
#include "transport/link/store.h"

#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

/* Below malloc's threshold for mappings of their own, so that a spare one costs no page faults. */
#define PIECE_BYTES (96u << 10)
/* 6 MiB: what a fast line has on its way. */
#define SPARES_MAX 64

struct tp_store_piece {
    struct tp_store_piece *next;
    uint64_t at; /* number of data[0] */
    size_t len;
    const uint8_t *data; /* room, or what is lent */
    uint8_t room[];      /* PIECE_BYTES; none where bytes are lent */
};

static bool
is_lent(const struct tp_store_piece *piece)
{
    return piece->data != piece->room;
}

/* How many bytes may be added. */
static size_t
room_of(const struct tp_store_piece *piece)
{
    return is_lent(piece) ? 0 : PIECE_BYTES - piece->len;
}

static void
list_free(struct tp_store_piece *piece)
{
    while (piece != NULL) {
        struct tp_store_piece *next = piece->next;

        free(piece);
        piece = next;
    }
}

void
tp_store_fini(struct tp_store *store)
{
    list_free(store->first);
    list_free(store->spare);
    *store = (struct tp_store){0};
}

static struct tp_store_piece *
piece_take(struct tp_store *store, uint64_t at)
{
    struct tp_store_piece *piece = store->spare;

    if (piece != NULL) {
        store->spare = piece->next;
        store->spares--;
    } else {
        piece = malloc(sizeof(*piece) + PIECE_BYTES);
    }
    if (piece != NULL) {
        piece->next = NULL;
        piece->at = at;
        piece->len = 0;
        piece->data = piece->room;
    }
    return piece;
}

static void
piece_put(struct tp_store *store, struct tp_store_piece *piece)
{
    if (store->spares == SPARES_MAX || is_lent(piece)) {
        free(piece);
        return;
    }
    piece->next = store->spare;
    store->spare = piece;
    store->spares++;
}

/* Have room for bytes in pieces behind the last one, which are linked but empty. */
static enum gp_status
room_make(struct tp_store *store, size_t bytes)
{
    size_t have = store->last != NULL ? room_of(store->last) : 0;
    struct tp_store_piece **tail = store->last != NULL ? &store->last->next : &store->first;

    while (have < bytes) {
        *tail = piece_take(store, 0);
        if (*tail == NULL)
            return GP_ERR_NO_MEMORY;
        have += PIECE_BYTES;
        tail = &(*tail)->next;
    }
    if (store->last == NULL && store->first != NULL) {
        store->last = store->first;
        store->last->at = store->end; /* some may have passed before */
    }
    return GP_OK;
}

static void
room_return(struct tp_store *store)
{
    struct tp_store_piece **from = store->last != NULL ? &store->last->next : &store->first;
    struct tp_store_piece *piece = *from;

    *from = NULL;
    list_free(piece);
}

static void
copy_in(struct tp_store *store, const uint8_t *from, size_t bytes)
{
    while (bytes > 0) {
        struct tp_store_piece *last = store->last;
        size_t n = gp_min_u64(bytes, room_of(last));

        if (n == 0) {
            store->last = last->next;
            store->last->at = store->end;
            continue;
        }
        memcpy(last->room + last->len, from, n);
        last->len += n;
        store->end += n;
        from += n;
        bytes -= n;
    }
}

enum gp_status
tp_store_add(struct tp_store *store, const struct iovec *iov, int iovcnt, size_t bytes)
{
    enum gp_status status = room_make(store, bytes);

    if (status != GP_OK) {
        room_return(store);
        return status;
    }
    for (int i = 0; i < iovcnt && bytes > 0; i++) {
        size_t n = gp_min_u64(bytes, iov[i].iov_len);

        copy_in(store, iov[i].iov_base, n);
        bytes -= n;
    }
    return GP_OK;
}

enum gp_status
tp_store_lend(struct tp_store *store, const void *bytes, size_t n)
{
    struct tp_store_piece *piece = malloc(sizeof(*piece));

    if (piece == NULL)
        return GP_ERR_NO_MEMORY;
    *piece = (struct tp_store_piece){.at = store->end, .len = n, .data = bytes};
    if (store->last != NULL)
        store->last->next = piece;
    else
        store->first = piece;
    store->last = piece;
    store->end += n;
    return GP_OK;
}

/* Put pieces of our own in the place of *at. */
static enum gp_status
settle_one(struct tp_store *store, struct tp_store_piece **at)
{
    struct tp_store_piece *lent = *at, **tail = at, *last = NULL;
    size_t from = store->start > lent->at ? store->start - lent->at : 0;

    do {
        struct tp_store_piece *piece = piece_take(store, lent->at + from);
        size_t n = gp_min_u64(lent->len - from, PIECE_BYTES);

        if (piece == NULL) { /* what was copied stays away, too */
            *tail = NULL;
            list_free(*at != lent ? *at : NULL);
            *at = lent;
            return GP_ERR_NO_MEMORY;
        }
        memcpy(piece->room, lent->data + from, n);
        piece->len = n;
        from += n;
        *tail = last = piece;
        tail = &piece->next;
    } while (from < lent->len);
    last->next = lent->next;
    if (store->last == lent)
        store->last = last;
    free(lent);
    return GP_OK;
}

static bool
is_lent_of(const struct tp_store_piece *piece, const void *base, size_t bytes)
{
    uintptr_t data = (uintptr_t)piece->data, from = (uintptr_t)base;

    return is_lent(piece) && piece->len > 0 && data < from + bytes && from < data + piece->len;
}

bool
tp_store_lends(const struct tp_store *store, const void *base, size_t bytes)
{
    const struct tp_store_piece *piece = store->first;

    while (piece != NULL && !is_lent_of(piece, base, bytes))
        piece = piece->next;
    return piece != NULL;
}

enum gp_status
tp_store_settle(struct tp_store *store, const void *base, size_t bytes)
{
    struct tp_store_piece **at = &store->first;
    enum gp_status status = GP_OK;

    for (; *at != NULL && status == GP_OK; at = &(*at)->next)
        if (is_lent_of(*at, base, bytes))
            status = settle_one(store, at);
    return status;
}

void
tp_store_drop(struct tp_store *store, uint64_t to)
{
    store->start = to;
    while (store->first != store->last && store->first->at + store->first->len <= to) {
        struct tp_store_piece *gone = store->first;

        store->first = gone->next;
        piece_put(store, gone);
    }
    if (to == store->end && store->last != NULL) { /* empty: begin again in warm memory */
        store->last->at = to;
        store->last->len = 0; /* of what was lent nothing is ever looked at again */
    }
}

void
tp_store_pass(struct tp_store *store, uint64_t bytes)
{
    store->end += bytes;
    tp_store_drop(store, store->end);
}

void
tp_store_trim(struct tp_store *store, uint64_t to)
{
    struct tp_store_piece *last = store->first;

    if (to == store->end)
        return;
    while (last->at + last->len < to)
        last = last->next;
    while (last->next != NULL) {
        struct tp_store_piece *gone = last->next;

        last->next = gone->next;
        piece_put(store, gone);
    }
    last->len = to - last->at;
    store->last = last;
    store->end = to;
}

int
tp_store_find(const struct tp_store *store, uint64_t from, struct iovec *iov, int most)
{
    int n = 0;

    for (struct tp_store_piece *p = store->first; p != NULL && n < most && from < store->end;
         p = p->next) {
        if (from >= p->at + p->len)
            continue;
        iov[n].iov_base = (uint8_t *)(uintptr_t)p->data + (from - p->at);
        iov[n].iov_len = p->len - (from - p->at);
        from += iov[n++].iov_len;
    }
    return n;
}
