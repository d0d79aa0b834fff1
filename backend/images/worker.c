/* backend/images/worker.c -- the worker's side of the keeper */
#include "backend/images/keeper.h"
#include "backend/images/message.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/tls/sha256.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define BE_ANSWER_MS 2000
/* The keeper hashes as fast as copies come, or about. */
#define BE_ROOM_MS 200

enum gp_status
be_images_scope(const char *tenant, uint8_t scope[BE_IMAGE_HASH_BYTES])
{
    return tp_sha256(tenant, strlen(tenant), scope);
}

/* A keeper that does not answer is asked no more: a slow disk shall not slow everything down. */
static void
give_up(struct be_images *images)
{
    log_warn("images: no answer from the keeper; images are sent anew from now on");
    close(images->socket);
    images->socket = -1;
}

static struct be_image_message
message_of(const struct be_images *images, enum be_store_kind kind, enum be_image_word word,
           const uint8_t digest[BE_IMAGE_HASH_BYTES], uint64_t bytes)
{
    struct be_image_message message = {.word = word, .kind = kind, .bytes = bytes};

    memcpy(message.name.scope, kind == BE_STORE_CONTENTS ? images->contents : images->scope,
           sizeof(message.name.scope));
    memcpy(message.name.digest, digest, sizeof(message.name.digest));
    return message;
}

static enum gp_status
ask(struct be_images *images, enum be_store_kind kind, enum be_image_word word,
    const uint8_t digest[BE_IMAGE_HASH_BYTES], int *fd_p)
{
    struct be_image_message message = message_of(images, kind, word, digest, 0);
    struct pollfd polled = {.fd = images->socket, .events = POLLIN};

    if (images->socket < 0)
        return GP_ERR_NOT_FOUND;
    if (be_image_send(images->socket, &message, -1) != GP_OK ||
        poll(&polled, 1, BE_ANSWER_MS) <= 0 ||
        be_image_receive(images->socket, &message, fd_p, MSG_DONTWAIT) != GP_OK) {
        give_up(images);
        return GP_ERR_NOT_FOUND;
    }
    return *fd_p >= 0 ? GP_OK : GP_ERR_NOT_FOUND;
}

/* Copied first, hashed then: nobody can change it in between. */
static enum gp_status
read_whole(int fd, uint8_t *data, uint64_t bytes, const uint8_t digest[BE_IMAGE_HASH_BYTES])
{
    uint8_t got[BE_IMAGE_HASH_BYTES], more;

    for (uint64_t at = 0; at < bytes;) {
        ssize_t n = pread(fd, data + at, bytes - at, (off_t)at);

        if (n <= 0)
            return GP_ERR_PROTOCOL;
        at += (uint64_t)n;
    }
    if (pread(fd, &more, 1, (off_t)bytes) != 0 || tp_sha256(data, bytes, got) != GP_OK)
        return GP_ERR_PROTOCOL;
    return memcmp(got, digest, sizeof(got)) == 0 ? GP_OK : GP_ERR_PROTOCOL;
}

static enum gp_status
hold(struct be_images *images, enum be_store_kind kind, const uint8_t digest[BE_IMAGE_HASH_BYTES],
     uint64_t bytes, int *fd_p)
{
    struct stat st;
    int fd = -1;
    enum gp_status status = ask(images, kind, BE_IMAGE_GET, digest, &fd);

    if (status != GP_OK)
        return status;
    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != bytes) {
        close(fd); /* the client is wrong about it */
        return GP_ERR_NOT_FOUND;
    }
    *fd_p = fd;
    return GP_OK;
}

enum gp_status
be_images_hold(struct be_images *images, const uint8_t digest[BE_IMAGE_HASH_BYTES], uint64_t bytes,
               int *fd_p)
{
    return hold(images, BE_STORE_IMAGES, digest, bytes, fd_p);
}

static void
drop(struct be_images *images, enum be_store_kind kind, const uint8_t digest[BE_IMAGE_HASH_BYTES])
{
    struct be_image_message message = message_of(images, kind, BE_IMAGE_DROP, digest, 0);

    log_warn("images: one is not what it was when it came; it is dropped");
    if (be_image_send(images->socket, &message, -1) != GP_OK)
        give_up(images);
}

enum gp_status
be_images_read(int fd, const uint8_t digest[BE_IMAGE_HASH_BYTES], uint64_t bytes, uint8_t **data_p)
{
    uint8_t *data = malloc(gp_align_up_u64(bytes, 4096));

    if (data == NULL)
        return GP_ERR_NO_MEMORY;
    if (read_whole(fd, data, bytes, digest) != GP_OK) {
        free(data);
        return GP_ERR_PROTOCOL;
    }
    *data_p = data;
    return GP_OK;
}

enum gp_status
be_images_get(struct be_images *images, const uint8_t digest[BE_IMAGE_HASH_BYTES], uint64_t bytes,
              uint8_t **data_p)
{
    GP_AUTO_CLOSE int fd = -1;
    enum gp_status status = be_images_hold(images, digest, bytes, &fd);

    if (status == GP_OK)
        status = be_images_read(fd, digest, bytes, data_p);
    if (status != GP_ERR_PROTOCOL)
        return status;
    drop(images, BE_STORE_IMAGES, digest);
    return GP_ERR_NOT_FOUND;
}

/* The keeper has hashed what is sealed; what comes from a disk is hashed here. */
static enum gp_status
map(int fd, const uint8_t digest[BE_IMAGE_HASH_BYTES], uint64_t bytes, void **at_p)
{
    int seals = fcntl(fd, F_GET_SEALS);
    bool sealed = seals >= 0 && (seals & F_SEAL_WRITE) != 0 && (seals & F_SEAL_SHRINK) != 0;
    int flags = sealed ? MAP_SHARED | MAP_POPULATE : MAP_PRIVATE | MAP_ANONYMOUS;
    void *at =
        mmap(NULL, bytes, sealed ? PROT_READ : PROT_READ | PROT_WRITE, flags, sealed ? fd : -1, 0);

    if (at == MAP_FAILED)
        return GP_ERR_NO_MEMORY;
    if (!sealed && read_whole(fd, at, bytes, digest) != GP_OK) {
        munmap(at, bytes);
        return GP_ERR_PROTOCOL;
    }
    *at_p = at;
    return GP_OK;
}

enum gp_status
be_contents_map(struct be_images *images, const uint8_t digest[BE_IMAGE_HASH_BYTES], uint64_t bytes,
                const uint8_t **data_p)
{
    GP_AUTO_CLOSE int fd = -1;
    enum gp_status status;
    void *at = NULL;

    if (!images->has_contents)
        return GP_ERR_NOT_FOUND;
    status = hold(images, BE_STORE_CONTENTS, digest, bytes, &fd);
    if (status == GP_OK)
        status = map(fd, digest, bytes, &at);
    if (status == GP_ERR_PROTOCOL)
        drop(images, BE_STORE_CONTENTS, digest);
    *data_p = at;
    return status == GP_OK ? GP_OK : GP_ERR_NOT_FOUND;
}

static void
put(struct be_images *images, enum be_store_kind kind, enum be_image_word word,
    const uint8_t digest[BE_IMAGE_HASH_BYTES], const void *data, uint64_t bytes)
{
    struct be_image_message message = message_of(images, kind, word, digest, bytes);
    GP_AUTO_CLOSE int fd = -1;
    uint64_t at = 0;

    if (images->socket < 0)
        return;
    fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    while (fd >= 0 && at < bytes) {
        ssize_t n = write(fd, (const uint8_t *)data + at, bytes - at);

        if (n <= 0)
            return;
        at += (uint64_t)n;
    }
    if (fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) == 0 &&
        be_image_send(images->socket, &message, fd) != GP_OK)
        log_debug("images: the keeper takes none just now");
}

void
be_images_put(struct be_images *images, const uint8_t digest[BE_IMAGE_HASH_BYTES], const void *data,
              uint64_t bytes)
{
    put(images, BE_STORE_IMAGES, BE_IMAGE_PUT, digest, data, bytes);
}

void
be_contents_put(struct be_images *images, const uint8_t digest[BE_IMAGE_HASH_BYTES],
                const void *data, uint64_t bytes)
{
    struct pollfd polled = {.fd = images->socket, .events = POLLOUT};

    if (images->has_contents && images->socket >= 0 && poll(&polled, 1, BE_ROOM_MS) > 0)
        put(images, BE_STORE_CONTENTS, BE_IMAGE_PUT, digest, data, bytes);
}

void
be_images_note_put(struct be_images *images, const uint8_t digest[BE_IMAGE_HASH_BYTES],
                   const void *data, size_t bytes)
{
    put(images, BE_STORE_IMAGES, BE_IMAGE_NOTE_PUT, digest, data, bytes);
}

enum gp_status
be_images_note_get(struct be_images *images, const uint8_t digest[BE_IMAGE_HASH_BYTES],
                   uint8_t **data_p, size_t *bytes_p)
{
    GP_AUTO_CLOSE int fd = -1;
    struct stat st;
    uint8_t *data;
    enum gp_status status = ask(images, BE_STORE_IMAGES, BE_IMAGE_NOTE_GET, digest, &fd);

    if (status != GP_OK)
        return status;
    if (fstat(fd, &st) != 0 || st.st_size <= 0 || st.st_size > (off_t)BE_NOTE_BYTES_MAX)
        return GP_ERR_NOT_FOUND;
    data = malloc((size_t)st.st_size);
    if (data == NULL)
        return GP_ERR_NO_MEMORY;
    if (pread(fd, data, (size_t)st.st_size, 0) != st.st_size) {
        free(data);
        return GP_ERR_NOT_FOUND;
    }
    *data_p = data;
    *bytes_p = (size_t)st.st_size;
    return GP_OK;
}
