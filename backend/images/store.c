/* backend/images/store.c */
#include "backend/images/store.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/tls/sha256.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define BE_HEX_CHARS   (2 * BE_IMAGE_HASH_BYTES)
#define BE_PATH_BYTES  (2 * BE_HEX_CHARS + 2)
#define BE_CHUNK_BYTES (256u << 10)
#define BE_SEALS       (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)
#define BE_TEMPORARY   "incoming"

struct be_stored {
    struct be_image_name name;
    uint64_t bytes, used; /* used: a number that grows with each use */
    int memory;           /* -1: in the directory */
    uint32_t holder;
};

/* A scope and what it holds; free where that is nothing. */
struct be_holder {
    uint8_t scope[BE_IMAGE_HASH_BYTES];
    uint64_t bytes;
    uint32_t count;
};

struct be_store {
    int dir; /* -1: in memory */
    uint64_t limit_bytes, bytes, uses;
    struct be_stored *images;
    uint32_t count;
    struct be_holder *holders; /* one for each image may be needed */
    uint32_t holder_count;
    struct be_stored notes[BE_NOTES_MAX];
    uint32_t note_count;
};

/* -- names ------------------------------------------------------------------------------------- */

static void
hex_put(const uint8_t hash[BE_IMAGE_HASH_BYTES], char text[BE_HEX_CHARS + 1])
{
    for (int i = 0; i < BE_IMAGE_HASH_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
}

/* False for anything that we did not name. */
static bool
hex_get(const char *text, uint8_t hash[BE_IMAGE_HASH_BYTES])
{
    static const char digits[] = "0123456789abcdef";

    if (strlen(text) != BE_HEX_CHARS)
        return false;
    for (int i = 0; i < BE_IMAGE_HASH_BYTES; i++) {
        const char *high = strchr(digits, text[2 * i]), *low = strchr(digits, text[2 * i + 1]);

        if (high == NULL || low == NULL)
            return false;
        hash[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    return true;
}

static void
path_of(const struct be_image_name *name, char path[BE_PATH_BYTES])
{
    hex_put(name->scope, path);
    path[BE_HEX_CHARS] = '/';
    hex_put(name->digest, path + BE_HEX_CHARS + 1);
}

/* -- the table --------------------------------------------------------------------------------- */

static struct be_stored *
find(struct be_store *store, const struct be_image_name *name)
{
    for (uint32_t i = 0; i < store->count; i++)
        if (memcmp(&store->images[i].name, name, sizeof(*name)) == 0)
            return &store->images[i];
    return NULL;
}

static void
forget(struct be_store *store, struct be_stored *image)
{
    char path[BE_PATH_BYTES];

    if (image->memory >= 0) {
        close(image->memory);
    } else {
        path_of(&image->name, path);
        if (unlinkat(store->dir, path, 0) != 0)
            log_warn("images: %s stays: %m", path);
    }
    store->bytes -= image->bytes;
    store->holders[image->holder].bytes -= image->bytes;
    store->holders[image->holder].count--;
    *image = store->images[--store->count];
}

/* The one with this scope, or a free one for it. */
static uint32_t
holder_of(struct be_store *store, const uint8_t scope[BE_IMAGE_HASH_BYTES])
{
    uint32_t free_one = store->holder_count;

    for (uint32_t i = 0; i < store->holder_count; i++) {
        if (memcmp(store->holders[i].scope, scope, BE_IMAGE_HASH_BYTES) == 0)
            return i;
        if (store->holders[i].count == 0)
            free_one = i;
    }
    if (free_one == store->holder_count)
        store->holder_count++; /* as many as images at most: others hold something */
    memcpy(store->holders[free_one].scope, scope, BE_IMAGE_HASH_BYTES);
    return free_one;
}

/* Of who holds most, counting what is about to come. */
static void
make_room(struct be_store *store, const struct be_image_name *name, uint64_t bytes)
{
    while (store->count > 0 &&
           (store->count == BE_IMAGES_MAX || store->bytes > store->limit_bytes - bytes)) {
        struct be_stored *oldest = NULL;
        uint64_t most = 0;

        for (uint32_t i = 0; i < store->count; i++) {
            struct be_stored *image = &store->images[i];
            uint64_t held = store->holders[image->holder].bytes;

            if (memcmp(image->name.scope, name->scope, BE_IMAGE_HASH_BYTES) == 0)
                held += bytes;
            if (oldest == NULL || held > most || (held == most && image->used < oldest->used)) {
                most = held;
                oldest = image;
            }
        }
        forget(store, oldest);
    }
}

static void
enter(struct be_store *store, const struct be_image_name *name, uint64_t bytes, int memory)
{
    uint32_t holder = holder_of(store, name->scope);

    store->images[store->count++] = (struct be_stored){
        .name = *name, .bytes = bytes, .used = ++store->uses, .memory = memory, .holder = holder};
    store->holders[holder].bytes += bytes;
    store->holders[holder].count++;
    store->bytes += bytes;
}

/* -- opening ----------------------------------------------------------------------------------- */

struct be_found {
    struct be_image_name name;
    uint64_t bytes;
    struct timespec used;
};

static int
older(const void *a, const void *b)
{
    const struct timespec *x = &((const struct be_found *)a)->used;
    const struct timespec *y = &((const struct be_found *)b)->used;

    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* One tenant's directory; takes fd. */
static uint32_t
scan_scope(int fd, const uint8_t scope[BE_IMAGE_HASH_BYTES], struct be_found *found, uint32_t room)
{
    DIR *dir = fdopendir(fd);
    struct dirent *entry;
    uint32_t count = 0;

    if (dir == NULL) {
        close(fd);
        return 0;
    }
    while (count < room && (entry = readdir(dir)) != NULL) {
        struct be_found *f = &found[count];
        struct stat st;

        if (!hex_get(entry->d_name, f->name.digest) ||
            fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        memcpy(f->name.scope, scope, BE_IMAGE_HASH_BYTES);
        f->bytes = (uint64_t)st.st_size;
        f->used = st.st_mtim;
        count++;
    }
    closedir(dir);
    return count;
}

/* What an earlier server left, the longest unused first. */
static enum gp_status
scan(struct be_store *store)
{
    GP_AUTO_FREE struct be_found *found = calloc(BE_IMAGES_MAX, sizeof(*found));
    int again = openat(store->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = again >= 0 ? fdopendir(again) : NULL;
    struct dirent *entry;
    uint32_t count = 0;

    if (found == NULL || dir == NULL) {
        if (dir != NULL)
            closedir(dir);
        else if (again >= 0)
            close(again);
        return GP_ERR_NO_MEMORY;
    }
    while ((entry = readdir(dir)) != NULL) {
        uint8_t scope[BE_IMAGE_HASH_BYTES];
        int fd;

        if (!hex_get(entry->d_name, scope))
            continue;
        fd = openat(store->dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            count += scan_scope(fd, scope, found + count, BE_IMAGES_MAX - count);
    }
    closedir(dir);
    qsort(found, count, sizeof(*found), older);
    for (uint32_t i = 0; i < count; i++)
        enter(store, &found[i].name, found[i].bytes, -1);
    while (store->count > 0 && store->bytes > store->limit_bytes)
        make_room(store, &store->images[0].name, 0);
    (void)unlinkat(store->dir, BE_TEMPORARY, 0);
    if (count > 0)
        log_info("images: %u of earlier sessions, %llu MiB", store->count,
                 (unsigned long long)(store->bytes >> 20));
    return GP_OK;
}

enum gp_status
be_store_open(const char *dir, uint64_t limit_bytes, struct be_store **store_p)
{
    struct be_store *store = calloc(1, sizeof(*store));
    enum gp_status status = GP_OK;

    if (store == NULL)
        return GP_ERR_NO_MEMORY;
    store->dir = -1;
    store->limit_bytes = limit_bytes;
    store->images = calloc(BE_IMAGES_MAX, sizeof(*store->images));
    store->holders = calloc(BE_IMAGES_MAX, sizeof(*store->holders));
    if (store->images == NULL || store->holders == NULL)
        status = GP_ERR_NO_MEMORY;
    if (status == GP_OK && dir != NULL) {
        if (mkdir(dir, 0700) != 0 && errno != EEXIST)
            log_error("images: %s: %m", dir);
        store->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        status = store->dir >= 0 ? scan(store) : GP_ERR_IO;
        if (status == GP_ERR_IO)
            log_error("images: %s: %m", dir);
    }
    if (status != GP_OK) {
        be_store_close(store);
        return status;
    }
    *store_p = store;
    return GP_OK;
}

void
be_store_close(struct be_store *store)
{
    if (store == NULL)
        return;
    for (uint32_t i = 0; i < store->count; i++)
        if (store->images[i].memory >= 0)
            close(store->images[i].memory);
    for (uint32_t i = 0; i < store->note_count; i++)
        close(store->notes[i].memory);
    if (store->dir >= 0)
        close(store->dir);
    free(store->images);
    free(store->holders);
    free(store);
}

/* -- using ------------------------------------------------------------------------------------- */

enum gp_status
be_store_get(struct be_store *store, const struct be_image_name *name, int *fd_p)
{
    struct be_stored *image = find(store, name);
    char path[BE_PATH_BYTES];
    int fd;

    if (image == NULL)
        return GP_ERR_NOT_FOUND;
    if (image->memory >= 0) {
        fd = fcntl(image->memory, F_DUPFD_CLOEXEC, 0);
    } else {
        path_of(name, path);
        fd = openat(store->dir, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            (void)futimens(fd, NULL); /* for the order after a restart */
    }
    if (fd < 0) {
        log_warn("images: one that should be there is not: %m");
        forget(store, image);
        return GP_ERR_NOT_FOUND;
    }
    image->used = ++store->uses;
    *fd_p = fd;
    return GP_OK;
}

/* All of fd, hashed, and written to `to` unless that is -1. */
static enum gp_status
take_in(int fd, uint64_t bytes, const uint8_t digest[BE_IMAGE_HASH_BYTES], int to)
{
    GP_AUTO_FREE uint8_t *chunk = malloc(BE_CHUNK_BYTES);
    uint8_t got[BE_IMAGE_HASH_BYTES];
    struct tp_sha256 *hash;
    enum gp_status status;

    if (chunk == NULL || tp_sha256_create(&hash) != GP_OK)
        return GP_ERR_NO_MEMORY;
    status = GP_OK;
    for (uint64_t at = 0; at < bytes && status == GP_OK;) {
        ssize_t n = pread(fd, chunk, gp_min_u64(bytes - at, BE_CHUNK_BYTES), (off_t)at);

        if (n <= 0 || (to >= 0 && write(to, chunk, (size_t)n) != n)) {
            status = GP_ERR_IO;
        } else {
            tp_sha256_add(hash, chunk, (size_t)n);
            at += (uint64_t)n;
        }
    }
    if (tp_sha256_finish(hash, got) != GP_OK && status == GP_OK)
        status = GP_ERR_NO_MEMORY;
    if (status == GP_OK && memcmp(got, digest, sizeof(got)) != 0)
        status = GP_ERR_PROTOCOL;
    return status;
}

/* Whole under its name, or not at all. */
static enum gp_status
write_file(struct be_store *store, const struct be_image_name *name, int fd, uint64_t bytes)
{
    char path[BE_PATH_BYTES];
    enum gp_status status;
    int to;

    path_of(name, path);
    path[BE_HEX_CHARS] = '\0';
    if (mkdirat(store->dir, path, 0700) != 0 && errno != EEXIST)
        return GP_ERR_IO;
    path[BE_HEX_CHARS] = '/';
    to = openat(store->dir, BE_TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                0600);
    if (to < 0)
        return GP_ERR_IO;
    status = take_in(fd, bytes, name->digest, to);
    if (status == GP_OK && renameat(store->dir, BE_TEMPORARY, store->dir, path) != 0)
        status = GP_ERR_IO;
    close(to);
    if (status != GP_OK)
        (void)unlinkat(store->dir, BE_TEMPORARY, 0);
    return status;
}

static bool
is_sealed(int fd, uint64_t bytes)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    return seals >= 0 && (seals & BE_SEALS) == BE_SEALS && fstat(fd, &st) == 0 && bytes != 0 &&
           (uint64_t)st.st_size == bytes;
}

enum gp_status
be_store_put(struct be_store *store, const struct be_image_name *name, int fd, uint64_t bytes)
{
    int memory = -1;
    enum gp_status status;

    if (!is_sealed(fd, bytes))
        return GP_ERR_PROTOCOL;
    if (bytes > store->limit_bytes / 2)
        return GP_ERR_LIMIT;
    if (find(store, name) != NULL)
        return GP_OK;
    make_room(store, name, bytes);
    if (store->dir >= 0) {
        status = write_file(store, name, fd, bytes);
    } else {
        status = take_in(fd, bytes, name->digest, -1);
        if (status == GP_OK) {
            memory = fcntl(fd, F_DUPFD_CLOEXEC, 0);
            status = memory >= 0 ? GP_OK : GP_ERR_IO;
        }
    }
    if (status == GP_ERR_IO)
        log_warn("images: one cannot be kept: %m");
    if (status == GP_OK)
        enter(store, name, bytes, memory);
    return status;
}

void
be_store_drop(struct be_store *store, const struct be_image_name *name)
{
    struct be_stored *image = find(store, name);

    if (image != NULL)
        forget(store, image);
}

static struct be_stored *
note_find(struct be_store *store, const struct be_image_name *name)
{
    for (uint32_t i = 0; i < store->note_count; i++)
        if (memcmp(&store->notes[i].name, name, sizeof(*name)) == 0)
            return &store->notes[i];
    return NULL;
}

static struct be_stored *
note_oldest(struct be_store *store)
{
    struct be_stored *oldest = &store->notes[0];

    for (uint32_t i = 1; i < store->note_count; i++)
        if (store->notes[i].used < oldest->used)
            oldest = &store->notes[i];
    return oldest;
}

enum gp_status
be_store_note_get(struct be_store *store, const struct be_image_name *name, int *fd_p)
{
    struct be_stored *note = note_find(store, name);
    int fd = note != NULL ? fcntl(note->memory, F_DUPFD_CLOEXEC, 0) : -1;

    if (fd < 0)
        return GP_ERR_NOT_FOUND;
    note->used = ++store->uses;
    *fd_p = fd;
    return GP_OK;
}

enum gp_status
be_store_note_put(struct be_store *store, const struct be_image_name *name, int fd, uint64_t bytes)
{
    struct be_stored *note = note_find(store, name);
    int memory;

    if (bytes > BE_NOTE_BYTES_MAX)
        return GP_ERR_LIMIT;
    if (!is_sealed(fd, bytes))
        return GP_ERR_PROTOCOL;
    memory = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (memory < 0)
        return GP_ERR_IO;
    if (note == NULL && store->note_count < BE_NOTES_MAX) {
        note = &store->notes[store->note_count++];
    } else {
        if (note == NULL)
            note = note_oldest(store);
        close(note->memory);
    }
    *note =
        (struct be_stored){.name = *name, .bytes = bytes, .used = ++store->uses, .memory = memory};
    return GP_OK;
}
