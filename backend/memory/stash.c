/* backend/memory/stash.c */
#include "backend/memory/stash.h"

#include "backend/memory/arena.h"
#include "protocol/base/clock.h"
#include "protocol/base/compress.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROBE_PIECES 4u
#define PROBE_BYTES  (16u << 10) /* each */
#define TRIES        3
#define REST_NS      (10 * GP_NS_PER_S) /* a disk that failed is left alone for so long */

struct be_kept {
    uint64_t bytes;
    void *block; /* in the arena; NULL: not now */
    void *packed;
    size_t packed_bytes;
    bool in_file;
    uint64_t at, sum;     /* in_file */
    struct be_kept *next; /* in_file: by place */
};

struct be_stash {
    /* Set once. */
    struct be_ledger *ledger;
    struct be_stash_opts opts;
    struct be_arena *arena;

    /* Of who settles and fetches. */
    uint64_t rest_until_ns;

    pthread_mutex_t lock; /* rank 43 */
    /* Guarded by lock. */
    struct be_kept *in_file;
    struct be_stash_sums sums;
};

/* -- life -------------------------------------------------------------------------------------- */

int
be_stash_open_spill(const char *folder)
{
    char path[4096];
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        snprintf(path, sizeof(path), "%s/gpupool-spill-XXXXXX", folder);
        fd = mkostemp(path, O_CLOEXEC); /* 0600 */
        if (fd >= 0 && unlink(path) != 0)
            log_warn("memory: %s stays: %m", path);
    }
    if (fd < 0) {
        log_error("memory: no file for paging in %s: %m", folder);
        return -1;
    }
    /* Past the host's memory, which is what is short; not all file systems can. */
    if (fcntl(fd, F_SETFL, O_DIRECT) != 0)
        log_debug("memory: %s: not written directly: %m", folder);
    return fd;
}

struct be_stash *
be_stash_create(const struct be_driver *driver, struct be_ledger *ledger,
                const struct be_stash_opts *opts)
{
    struct be_stash *stash = calloc(1, sizeof(*stash));

    if (stash != NULL)
        stash->arena = be_arena_create(driver, opts->unit);
    if (stash == NULL || stash->arena == NULL) {
        if (opts->spill_fd >= 0)
            close(opts->spill_fd);
        free(stash);
        return NULL;
    }
    stash->ledger = ledger;
    stash->opts = *opts;
    pthread_mutex_init(&stash->lock, NULL);
    return stash;
}

void
be_stash_destroy(struct be_stash *stash)
{
    if (stash == NULL)
        return;
    be_arena_destroy(stash->arena);
    if (stash->opts.spill_fd >= 0)
        close(stash->opts.spill_fd);
    pthread_mutex_destroy(&stash->lock);
    free(stash);
}

static bool
fault(struct be_stash *stash)
{
    return stash->opts.fault != NULL && stash->opts.fault(stash->opts.user);
}

/* The ledger hears what this session has of the host's memory and of the disk. */
static void
tell(struct be_stash *stash)
{
    struct be_aside host = {.bytes = be_arena_bytes(stash->arena)};

    pthread_mutex_lock(&stash->lock);
    host.bytes += stash->sums.packed_to;
    host.spilled_bytes = stash->sums.spilled;
    host.packed_bytes = stash->sums.packed_from;
    pthread_mutex_unlock(&stash->lock);
    be_ledger_set_host(stash->ledger, &host);
}

void
be_stash_sums(struct be_stash *stash, struct be_stash_sums *sums_p)
{
    pthread_mutex_lock(&stash->lock);
    *sums_p = stash->sums;
    pthread_mutex_unlock(&stash->lock);
}

/* -- packed ------------------------------------------------------------------------------------ */

/* Some pieces from all over it shrink to two thirds or less. */
static bool
packing_pays(const struct be_kept *kept)
{
    size_t out = gp_zstd_bound(PROBE_PIECES * PROBE_BYTES), len = 0;
    GP_AUTO_FREE uint8_t *pieces = malloc(PROBE_PIECES * PROBE_BYTES);
    GP_AUTO_FREE uint8_t *packed = malloc(out);
    const uint8_t *from = kept->block;

    if (pieces == NULL || packed == NULL || kept->bytes < PROBE_PIECES * PROBE_BYTES)
        return false;
    for (uint64_t i = 0; i < PROBE_PIECES; i++)
        memcpy(pieces + i * PROBE_BYTES,
               from + i * (kept->bytes - PROBE_BYTES) / (PROBE_PIECES - 1), PROBE_BYTES);
    return gp_zstd_compress(pieces, PROBE_PIECES * PROBE_BYTES, packed, out, 1, &len) == GP_OK &&
           len <= PROBE_PIECES * PROBE_BYTES * 2 / 3;
}

static bool
pack(struct be_stash *stash, struct be_kept *kept)
{
    size_t room = kept->bytes - kept->bytes / 4, len = 0;
    void *packed, *less;

    if (fault(stash) || !packing_pays(kept))
        return false;
    packed = malloc(room);
    if (packed == NULL)
        return false;
    if (fault(stash) ||
        gp_zstd_compress(kept->block, kept->bytes, packed, room, 1, &len) != GP_OK) {
        free(packed);
        return false;
    }
    less = realloc(packed, len);
    kept->packed = less != NULL ? less : packed;
    kept->packed_bytes = len;
    pthread_mutex_lock(&stash->lock);
    stash->sums.packed_from += kept->bytes;
    stash->sums.packed_to += len;
    pthread_mutex_unlock(&stash->lock);
    return true;
}

static void
packed_drop(struct be_stash *stash, struct be_kept *kept)
{
    if (kept->packed == NULL)
        return;
    pthread_mutex_lock(&stash->lock);
    stash->sums.packed_from -= kept->bytes;
    stash->sums.packed_to -= kept->packed_bytes;
    pthread_mutex_unlock(&stash->lock);
    free(kept->packed);
    kept->packed = NULL;
}

/* -- in the file ------------------------------------------------------------------------------- */

static uint64_t
sum_of(const void *data, uint64_t bytes)
{
    uint64_t lanes[4] = {1, 2, 3, 4}, sum = bytes, words[4];
    const uint8_t *at = data;

    for (uint64_t i = 0; i + sizeof(words) <= bytes; i += sizeof(words)) {
        memcpy(words, at + i, sizeof(words));
        for (int l = 0; l < 4; l++) {
            lanes[l] = (lanes[l] ^ words[l]) * 0x9e3779b97f4a7c15u;
            lanes[l] ^= lanes[l] >> 29;
        }
    }
    for (int l = 0; l < 4; l++)
        sum = (sum ^ lanes[l]) * 0x100000001b3u;
    return sum;
}

static bool
transfer(struct be_stash *stash, void *data, uint64_t bytes, uint64_t at, bool out)
{
    for (uint64_t done = 0; done < bytes;) {
        uint8_t *from = (uint8_t *)data + done;
        ssize_t n;

        if (fault(stash)) {
            errno = EIO;
            return false;
        }
        n = out ? pwrite(stash->opts.spill_fd, from, bytes - done, (off_t)(at + done))
                : pread(stash->opts.spill_fd, from, bytes - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EINVAL) { /* directly it cannot */
            int flags = fcntl(stash->opts.spill_fd, F_GETFL);

            if (flags < 0 || (flags & O_DIRECT) == 0 ||
                fcntl(stash->opts.spill_fd, F_SETFL, flags & ~O_DIRECT) != 0)
                return false;
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return false;
        }
        done += (uint64_t)n;
    }
    return true;
}

/* A place for it that nothing else has; its own from now on. */
static void
file_place(struct be_stash *stash, struct be_kept *kept)
{
    struct be_kept **at = &stash->in_file;

    pthread_mutex_lock(&stash->lock);
    kept->at = 0;
    for (; *at != NULL && (*at)->at < kept->at + kept->bytes; at = &(*at)->next)
        kept->at = (*at)->at + (*at)->bytes;
    kept->next = *at;
    *at = kept;
    kept->in_file = true;
    stash->sums.spilled += kept->bytes;
    pthread_mutex_unlock(&stash->lock);
}

static void
file_drop(struct be_stash *stash, struct be_kept *kept)
{
    struct be_kept **at = &stash->in_file;

    if (!kept->in_file)
        return;
    pthread_mutex_lock(&stash->lock);
    while (*at != kept)
        at = &(*at)->next;
    *at = kept->next;
    kept->in_file = false;
    stash->sums.spilled -= kept->bytes;
    (void)fallocate(stash->opts.spill_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    (off_t)kept->at, (off_t)kept->bytes); /* else it is written over, later */
    pthread_mutex_unlock(&stash->lock);
}

static bool
spill(struct be_stash *stash, struct be_kept *kept)
{
    if (stash->opts.spill_fd < 0 || gp_now_ns() < stash->rest_until_ns ||
        !be_ledger_spill_left(stash->ledger, kept->bytes))
        return false;
    kept->sum = sum_of(kept->block, kept->bytes);
    file_place(stash, kept);
    for (int i = 0; i < TRIES; i++)
        if (transfer(stash, kept->block, kept->bytes, kept->at, true)) {
            be_ledger_set_spill_bad(stash->ledger, false);
            return true;
        }
    log_warn("memory: the file for paging cannot be written: %m; nobody new is let in by it");
    be_ledger_set_spill_bad(stash->ledger, true);
    stash->rest_until_ns = gp_now_ns() + REST_NS;
    file_drop(stash, kept);
    return false;
}

/* -- extents ----------------------------------------------------------------------------------- */

struct be_kept *
be_stash_take(struct be_stash *stash, uint64_t bytes)
{
    struct be_kept *kept = calloc(1, sizeof(*kept));

    if (kept == NULL)
        return NULL;
    kept->bytes = bytes;
    kept->block = be_arena_take(stash->arena, bytes);
    if (kept->block == NULL) {
        free(kept);
        return NULL;
    }
    tell(stash);
    return kept;
}

void *
be_kept_block(const struct be_kept *kept)
{
    return kept->block;
}

static void
block_give(struct be_stash *stash, struct be_kept *kept)
{
    be_arena_give(stash->arena, kept->block, kept->bytes);
    kept->block = NULL;
}

void
be_stash_settle(struct be_stash *stash, struct be_kept *kept)
{
    bool full = be_ledger_host_full(stash->ledger), away = false;

    if (stash->opts.pack == BE_PACK_ALWAYS || (full && stash->opts.pack == BE_PACK_FULL))
        away = pack(stash, kept);
    if (!away && (full || stash->opts.spill_always))
        away = spill(stash, kept);
    if (!away)
        return;
    block_give(stash, kept);
    if (full) /* what is free of it counts too */
        be_arena_trim(stash->arena, BE_ARENA_SLAB);
    tell(stash);
}

static enum gp_status
file_fetch(struct be_stash *stash, struct be_kept *kept)
{
    for (int i = 0; i < TRIES; i++) {
        if (!transfer(stash, kept->block, kept->bytes, kept->at, false))
            continue;
        if (sum_of(kept->block, kept->bytes) == kept->sum)
            return GP_OK;
        errno = 0;
    }
    if (errno != 0) {
        log_error("memory: the file for paging cannot be read: %m");
        return GP_ERR_IO;
    }
    log_error("memory: the file for paging gives other bytes than were written");
    return GP_ERR_PROTOCOL;
}

enum gp_status
be_stash_fetch(struct be_stash *stash, struct be_kept *kept)
{
    enum gp_status status = GP_OK;
    size_t len = 0;

    if (kept->block != NULL)
        return GP_OK;
    if (!fault(stash))
        kept->block = be_arena_take(stash->arena, kept->bytes);
    if (kept->block == NULL)
        return GP_ERR_NO_MEMORY;
    if (kept->packed != NULL)
        status =
            gp_zstd_decompress(kept->packed, kept->packed_bytes, kept->block, kept->bytes, &len);
    else
        status = file_fetch(stash, kept);
    if (status == GP_OK && kept->packed != NULL && len != kept->bytes)
        status = GP_ERR_PROTOCOL;
    if (status != GP_OK)
        block_give(stash, kept);
    return status;
}

void
be_stash_unfetch(struct be_stash *stash, struct be_kept *kept)
{
    if (kept->block != NULL && (kept->packed != NULL || kept->in_file))
        block_give(stash, kept);
}

void
be_stash_drop(struct be_stash *stash, struct be_kept *kept)
{
    if (kept == NULL)
        return;
    be_arena_give(stash->arena, kept->block, kept->bytes);
    packed_drop(stash, kept);
    file_drop(stash, kept);
    free(kept);
    if (be_ledger_host_full(stash->ledger))
        be_arena_trim(stash->arena, BE_ARENA_SLAB);
    tell(stash);
}
