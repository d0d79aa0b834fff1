/* tests/unit/backend/test_images.c -- what is kept of images: whose, how much, and only what is
 * whole
 */
#include "backend/images/keeper.h"
#include "backend/images/message.h"
#include "transport/tls/sha256.h"

#include <criterion/criterion.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIB 1024ull

static uint8_t bytes_of[64 * KIB];

static void
fill(int seed)
{
    for (size_t i = 0; i < sizeof(bytes_of); i++)
        bytes_of[i] = (uint8_t)(i * 7 + i / 251 + (size_t)seed * 31);
}

static struct be_image_name
name_of(const char *tenant, int seed, size_t len)
{
    struct be_image_name name;

    fill(seed);
    cr_assert_eq(be_images_scope(tenant, name.scope), GP_OK);
    cr_assert_eq(tp_sha256(bytes_of, len, name.digest), GP_OK);
    return name;
}

static int
memory_file(size_t len, bool sealed)
{
    int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    cr_assert_eq(write(fd, bytes_of, len), (ssize_t)len);
    if (sealed)
        cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    return fd;
}

static enum gp_status
put(struct be_store *store, const char *tenant, int seed, size_t len)
{
    struct be_image_name name = name_of(tenant, seed, len);
    int fd = memory_file(len, true);
    enum gp_status status = be_store_put(store, &name, fd, len);

    close(fd);
    return status;
}

static bool
has(struct be_store *store, const char *tenant, int seed, size_t len)
{
    struct be_image_name name = name_of(tenant, seed, len);
    uint8_t got[sizeof(bytes_of) + 1];
    int fd;

    if (be_store_get(store, &name, &fd) != GP_OK)
        return false;
    cr_assert_eq(pread(fd, got, sizeof(got), 0), (ssize_t)len);
    cr_assert_eq(memcmp(got, bytes_of, len), 0);
    close(fd);
    return true;
}

static struct be_store *
open_store(const char *dir, uint64_t limit)
{
    struct be_store *store;

    cr_assert_eq(be_store_open(dir, limit, &store), GP_OK);
    return store;
}

Test(images, are_found_by_who_sent_them_only)
{
    struct be_store *store = open_store(NULL, 1024 * KIB);

    cr_assert_eq(put(store, "alice", 1, 5000), GP_OK);
    cr_assert(has(store, "alice", 1, 5000));
    cr_assert_not(has(store, "bob", 1, 5000));
    cr_assert_not(has(store, "alice", 2, 5000));
    be_store_close(store);
}

Test(images, that_can_change_or_are_not_what_they_say_are_refused)
{
    struct be_store *store = open_store(NULL, 1024 * KIB);
    struct be_image_name name = name_of("alice", 1, 5000);
    int fd = memory_file(5000, false);

    cr_assert_eq(be_store_put(store, &name, fd, 5000), GP_ERR_PROTOCOL);
    close(fd);
    fd = memory_file(5000, true);
    cr_assert_eq(be_store_put(store, &name, fd, 4999), GP_ERR_PROTOCOL);
    name.digest[3] ^= 1;
    cr_assert_eq(be_store_put(store, &name, fd, 5000), GP_ERR_PROTOCOL);
    cr_assert_eq(be_store_put(store, &name, STDERR_FILENO, 5000), GP_ERR_PROTOCOL);
    cr_assert_not(has(store, "alice", 1, 5000));
    close(fd);
    be_store_close(store);
}

Test(images, beyond_the_limit_go_from_who_holds_most)
{
    struct be_store *store = open_store(NULL, 100 * KIB);

    cr_assert_eq(put(store, "alice", 0, 51 * KIB), GP_ERR_LIMIT);
    cr_assert_eq(put(store, "bob", 1, 20 * KIB), GP_OK);
    cr_assert_eq(put(store, "alice", 1, 20 * KIB), GP_OK);
    cr_assert_eq(put(store, "alice", 2, 30 * KIB), GP_OK);
    cr_assert(has(store, "alice", 1, 20 * KIB)); /* used just now */
    for (int seed = 3; seed < 20; seed++)
        cr_assert_eq(put(store, "alice", seed, 30 * KIB), GP_OK);
    cr_assert(has(store, "bob", 1, 20 * KIB), "what others do shows");
    cr_assert_not(has(store, "alice", 2, 30 * KIB));
    cr_assert(has(store, "alice", 19, 30 * KIB));
    cr_assert(has(store, "alice", 18, 30 * KIB));
    cr_assert_not(has(store, "alice", 17, 30 * KIB));
    be_store_close(store);
}

Test(images, of_ever_new_tenants_leave_room_for_more)
{
    struct be_store *store = open_store(NULL, 4 * KIB);
    char tenant[16];

    for (unsigned i = 0; i < 2 * BE_IMAGES_MAX; i++) {
        snprintf(tenant, sizeof(tenant), "t%u", i);
        cr_assert_eq(put(store, tenant, 1, KIB), GP_OK);
    }
    cr_assert(has(store, tenant, 1, KIB));
    cr_assert_not(has(store, "t1", 1, KIB));
    be_store_close(store);
}

static void
remove_below(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    char below[1024];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        if (unlink(below) != 0)
            remove_below(below);
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(path);
}

/* The first entry of path, appended to it. */
static void
go_down(char path[512])
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    size_t len = strlen(path);

    cr_assert_not_null(dir);
    do
        entry = readdir(dir);
    while (entry != NULL && entry->d_name[0] == '.');
    cr_assert_not_null(entry);
    cr_assert_lt(len + 1 + strlen(entry->d_name), 512);
    path[len] = '/';
    strcpy(path + len + 1, entry->d_name);
    closedir(dir);
}

Test(images, in_a_directory_outlive_the_server)
{
    char dir[] = "/tmp/gpupool-images-XXXXXX", path[512];
    struct be_store *store;
    int fd;

    cr_assert_not_null(mkdtemp(dir));
    store = open_store(dir, 1024 * KIB);
    cr_assert_eq(put(store, "alice", 1, 5000), GP_OK);
    be_store_close(store);
    snprintf(path, sizeof(path), "%s/incoming", dir); /* as if it had died writing */
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_eq(write(fd, "half", 4), 4);
    close(fd);
    store = open_store(dir, 1024 * KIB);
    cr_assert(has(store, "alice", 1, 5000));
    cr_assert_not(has(store, "bob", 1, 5000));
    cr_assert_neq(access(path, F_OK), 0, "what was half written is left");
    be_store_close(store);
    store = open_store(dir, 4 * KIB); /* less than before */
    cr_assert_not(has(store, "alice", 1, 5000));
    be_store_close(store);
    remove_below(dir);
}

Test(images, have_notes_that_later_ones_replace)
{
    struct be_store *store = open_store(NULL, 1024 * KIB);
    char got[8] = "";
    int fd;

    for (int seed = 0; seed < 200; seed++) { /* more than are kept */
        struct be_image_name name = name_of("alice", seed, 100);

        for (int version = 0; version < 2; version++) {
            memcpy(bytes_of, version == 0 ? "old" : "new", 4);
            fd = memory_file(4, true);
            cr_assert_eq(be_store_note_put(store, &name, fd, 4), GP_OK);
            cr_assert_eq(be_store_note_put(store, &name, fd, 5), GP_ERR_PROTOCOL);
            close(fd);
        }
        cr_assert_eq(be_store_note_get(store, &name, &fd), GP_OK);
        cr_assert_eq(pread(fd, got, 4, 0), 4);
        cr_assert_str_eq(got, "new");
        close(fd);
        name.scope[0] ^= 1;
        cr_assert_eq(be_store_note_get(store, &name, &fd), GP_ERR_NOT_FOUND);
    }
    cr_assert_eq(be_store_note_get(store, &(struct be_image_name){.scope = {0}}, &fd),
                 GP_ERR_NOT_FOUND);
    be_store_close(store);
}

Test(images, damaged_on_disk_are_not_used)
{
    char dir[] = "/tmp/gpupool-images-XXXXXX", path[512];
    struct be_image_name name = name_of("alice", 1, 5000);
    const struct be_keeper_opts opts[BE_STORES] = {{dir, 1024 * KIB}, {NULL, 0}};
    struct be_images images = {.socket = -1};
    struct be_keeper keeper;
    uint8_t *data;
    int fd, tries = 0;

    cr_assert_not_null(mkdtemp(dir));
    be_keeper_start(opts, &keeper);
    images.socket = be_keeper_line(&keeper);
    memcpy(images.scope, name.scope, sizeof(images.scope));
    cr_assert_geq(images.socket, 0);
    cr_assert_eq(be_images_get(&images, name.digest, 5000, &data), GP_ERR_NOT_FOUND);
    be_images_put(&images, name.digest, bytes_of, 5000); /* answered in order */
    while (be_images_get(&images, name.digest, 5000, &data) != GP_OK)
        cr_assert_lt(tries++, 1);
    cr_assert_eq(memcmp(data, bytes_of, 5000), 0);
    free(data);
    cr_assert_eq(be_images_get(&images, name.digest, 4999, &data), GP_ERR_NOT_FOUND);
    strcpy(path, dir);
    go_down(path); /* the tenant */
    go_down(path); /* the image */
    fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, "\xff", 1, 2500), 1);
    close(fd);
    cr_assert_eq(be_images_get(&images, name.digest, 5000, &data), GP_ERR_NOT_FOUND);
    be_images_put(&images, name.digest, bytes_of, 5000);
    cr_assert_eq(be_images_get(&images, name.digest, 5000, &data), GP_OK);
    free(data);
    /* A keeper that is gone is missed by nobody. */
    be_keeper_stop(&keeper);
    cr_assert_eq(be_images_get(&images, name.digest, 5000, &data), GP_ERR_NOT_FOUND);
    be_images_put(&images, name.digest, bytes_of, 5000);
    cr_assert_eq(be_keeper_line(&keeper), -1);
    remove_below(dir);
}

/* Contents, of a directory or in memory: apart from images, and right or not there. */
static void
contents_keep(const char *dir)
{
    const struct be_keeper_opts opts[BE_STORES] = {{NULL, 1024 * KIB}, {dir, 1024 * KIB}};
    struct be_image_name name = name_of("alice", 1, 5000);
    struct be_images images = {.socket = -1, .has_contents = true};
    const uint8_t *mapped;
    struct be_keeper keeper;
    char path[512];
    uint8_t *data;
    int fd;

    be_keeper_start(opts, &keeper);
    images.socket = be_keeper_line(&keeper);
    memcpy(images.contents, name.scope, sizeof(images.contents));
    cr_assert_eq(be_contents_map(&images, name.digest, 5000, &mapped), GP_ERR_NOT_FOUND);
    be_contents_put(&images, name.digest, bytes_of, 5000);
    cr_assert_eq(be_contents_map(&images, name.digest, 5000, &mapped), GP_OK);
    cr_assert_eq(memcmp(mapped, bytes_of, 5000), 0);
    cr_assert_eq(munmap((void *)(uintptr_t)mapped, 5000), 0);
    cr_assert_eq(be_contents_map(&images, name.digest, 4999, &mapped), GP_ERR_NOT_FOUND);
    memcpy(images.scope, name.scope, sizeof(images.scope));
    cr_assert_eq(be_images_get(&images, name.digest, 5000, &data), GP_ERR_NOT_FOUND);
    images.has_contents = false;
    cr_assert_eq(be_contents_map(&images, name.digest, 5000, &mapped), GP_ERR_NOT_FOUND);
    images.has_contents = true;
    if (dir != NULL) {
        snprintf(path, sizeof(path), "%s", dir);
        go_down(path);
        go_down(path);
        fd = open(path, O_WRONLY);
        cr_assert_eq(pwrite(fd, "\xff", 1, 2500), 1);
        close(fd);
        cr_assert_eq(be_contents_map(&images, name.digest, 5000, &mapped), GP_ERR_NOT_FOUND);
        be_contents_put(&images, name.digest, bytes_of, 5000);
        cr_assert_eq(be_contents_map(&images, name.digest, 5000, &mapped), GP_OK);
        cr_assert_eq(munmap((void *)(uintptr_t)mapped, 5000), 0);
    }
    close(images.socket);
    be_keeper_stop(&keeper);
}

Test(images, contents_are_kept_apart)
{
    char dir[] = "/tmp/gpupool-contents-XXXXXX";

    contents_keep(NULL);
    cr_assert_not_null(mkdtemp(dir));
    contents_keep(dir);
    remove_below(dir);
}
