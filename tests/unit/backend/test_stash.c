/* tests/unit/backend/test_stash.c -- extents in the arena, packed, in a file; and a disk that fails
 *
 * The ledger here is a few numbers.
 */
#include "backend/memory/arena.h"
#include "backend/memory/stash.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1ull << 20)

static struct be_driver driver;
static bool full, bad;
static uint64_t spilled, spill_most = UINT64_MAX;
static unsigned fail_every, steps;

void
be_ledger_set_host(struct be_ledger *ledger, const struct be_aside *host)
{
    (void)ledger;
    spilled = host->spilled_bytes;
}

bool
be_ledger_host_full(const struct be_ledger *ledger)
{
    (void)ledger;
    return full;
}

bool
be_ledger_spill_left(const struct be_ledger *ledger, uint64_t bytes)
{
    (void)ledger;
    return spilled + bytes <= spill_most;
}

void
be_ledger_set_spill_bad(struct be_ledger *ledger, bool is_bad)
{
    (void)ledger;
    bad = is_bad;
}

static bool
fails_sometimes(void *user)
{
    (void)user;
    return fail_every != 0 && ++steps % fail_every == 0;
}

static struct be_stash *
stash_create(enum be_stash_pack pack, int fd)
{
    const struct be_stash_opts opts = {
        .unit = 2 * MIB, .spill_fd = fd, .pack = pack, .fault = fails_sometimes};
    struct be_stash *stash = be_stash_create(&driver, NULL, &opts);

    cr_assert_not_null(stash);
    return stash;
}

/* Bytes that shrink to about nothing, or do not shrink. */
static void
fill(void *block, uint64_t bytes, uint32_t seed, bool shrinks)
{
    uint32_t *words = block;

    for (uint64_t i = 0; i < bytes / 4; i++) {
        words[i] = seed;
        if (!shrinks) {
            seed = seed * 1664525u + 1013904223u;
            words[i] = seed ^ seed >> 15;
        }
    }
}

static bool
same(const void *block, uint64_t bytes, uint32_t seed, bool shrinks)
{
    void *wanted = malloc(bytes);
    bool good;

    fill(wanted, bytes, seed, shrinks);
    good = memcmp(wanted, block, bytes) == 0;
    free(wanted);
    return good;
}

static struct be_kept *
keep(struct be_stash *stash, uint64_t bytes, uint32_t seed, bool shrinks)
{
    struct be_kept *kept = be_stash_take(stash, bytes);

    cr_assert_not_null(kept);
    fill(be_kept_block(kept), bytes, seed, shrinks);
    be_stash_settle(stash, kept);
    return kept;
}

static void
fetch(struct be_stash *stash, struct be_kept *kept, uint64_t bytes, uint32_t seed, bool shrinks)
{
    enum gp_status status;
    int tries = 0;

    while ((status = be_stash_fetch(stash, kept)) != GP_OK)
        cr_assert_lt(tries++, 1000, "%d", (int)status);
    cr_assert(same(be_kept_block(kept), bytes, seed, shrinks));
}

static int
file_in(const char *folder)
{
    int fd = be_stash_open_spill(folder);

    cr_assert_geq(fd, 0);
    return fd;
}

Test(stash, what_shrinks_is_packed_when_the_host_is_full)
{
    struct be_stash *stash = stash_create(BE_PACK_FULL, -1);
    struct be_stash_sums sums;
    struct be_kept *kept = keep(stash, 4 * MIB, 1, true);

    cr_assert_not_null(be_kept_block(kept), "there is room");
    be_stash_drop(stash, kept);
    full = true;
    kept = keep(stash, 4 * MIB, 1, true);
    cr_assert_null(be_kept_block(kept));
    be_stash_sums(stash, &sums);
    cr_assert_eq(sums.packed_from, 4 * MIB);
    cr_assert_leq(sums.packed_to, 64 << 10);
    fetch(stash, kept, 4 * MIB, 1, true);
    be_stash_unfetch(stash, kept); /* it could not go to the device */
    cr_assert_null(be_kept_block(kept));
    fetch(stash, kept, 4 * MIB, 1, true);
    be_stash_drop(stash, kept);
    be_stash_sums(stash, &sums);
    cr_assert_eq(sums.packed_from + sums.packed_to, 0);

    kept = keep(stash, 4 * MIB, 1, false); /* a probe says no */
    cr_assert_not_null(be_kept_block(kept));
    be_stash_drop(stash, kept);
    be_stash_destroy(stash);
}

Test(stash, a_file_holds_what_does_not_shrink_and_its_places_are_used_again)
{
    int fd = file_in("/tmp");
    struct be_stash *stash;
    struct be_kept *kept[8];
    struct stat st;

    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(st.st_nlink, 0);
    stash = stash_create(BE_PACK_FULL, fd);
    full = true;
    for (unsigned i = 0; i < 8; i++) {
        kept[i] = keep(stash, (2 + i % 3 * 2) * MIB, i, false);
        cr_assert_null(be_kept_block(kept[i]));
    }
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = round % 2; i < 8; i += 2) {
            fetch(stash, kept[i], (2 + i % 3 * 2) * MIB, i, false);
            be_stash_drop(stash, kept[i]);
            kept[i] = keep(stash, (2 + i % 3 * 2) * MIB, i, false);
        }
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_leq((uint64_t)st.st_size, 40 * MIB);
    for (unsigned i = 0; i < 8; i++) {
        fetch(stash, kept[i], (2 + i % 3 * 2) * MIB, i, false);
        be_stash_drop(stash, kept[i]);
    }
    cr_assert_eq(spilled, 0);
    be_stash_destroy(stash);
}

Test(stash, a_disk_that_cannot_be_written_leaves_the_bytes_where_they_are)
{
    struct rlimit most = {4 * MIB, 4 * MIB};
    struct be_stash *stash = stash_create(BE_PACK_NEVER, file_in("/tmp"));
    struct be_kept *good, *kept;

    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &most), 0);
    full = true;
    good = keep(stash, 4 * MIB, 1, false);
    cr_assert_null(be_kept_block(good));
    cr_assert_not(bad);
    kept = keep(stash, 2 * MIB, 2, false); /* past the disk's end */
    cr_assert(same(be_kept_block(kept), 2 * MIB, 2, false));
    cr_assert(bad, "nobody shall be let in by it");
    cr_assert_eq(spilled, 4 * MIB);
    fetch(stash, good, 4 * MIB, 1, false);
    be_stash_drop(stash, good);
    be_stash_drop(stash, kept);
    be_stash_destroy(stash);
}

Test(stash, no_more_of_the_disk_is_used_than_may_be)
{
    struct be_stash *stash = stash_create(BE_PACK_NEVER, file_in("/tmp"));
    struct be_kept *first, *second;

    full = true;
    spill_most = 3 * MIB;
    first = keep(stash, 2 * MIB, 1, false);
    second = keep(stash, 2 * MIB, 2, false);
    cr_assert_null(be_kept_block(first));
    cr_assert_not_null(be_kept_block(second));
    cr_assert_not(bad);
    be_stash_drop(stash, first);
    be_stash_drop(stash, second);
    be_stash_destroy(stash);
}

Test(stash, a_disk_that_gives_other_bytes_is_found_out)
{
    int fd = file_in("/tmp"), flags = fcntl(fd, F_GETFL);
    struct be_stash *stash = stash_create(BE_PACK_NEVER, fd);
    struct be_kept *kept;
    char was, other;

    full = true;
    kept = keep(stash, 2 * MIB, 1, false);
    cr_assert_eq(fcntl(fd, F_SETFL, flags & ~O_DIRECT), 0);
    cr_assert_eq(pread(fd, &was, 1, 1 << 20), 1);
    other = (char)(was ^ 1);
    cr_assert_eq(pwrite(fd, &other, 1, 1 << 20), 1);
    cr_assert_eq(be_stash_fetch(stash, kept), GP_ERR_PROTOCOL);
    cr_assert_null(be_kept_block(kept));
    cr_assert_eq(pwrite(fd, &was, 1, 1 << 20), 1); /* it was the reading */
    fetch(stash, kept, 2 * MIB, 1, false);
    be_stash_drop(stash, kept);
    be_stash_destroy(stash);
}

Test(stash, nothing_is_lost_whatever_step_fails)
{
    full = true;
    for (fail_every = 2; fail_every < 8; fail_every++)
        for (unsigned p = 0; p < 2; p++) {
            struct be_stash *stash =
                stash_create(p == 0 ? BE_PACK_NEVER : BE_PACK_ALWAYS, file_in("/tmp"));
            struct be_kept *kept[6];

            for (unsigned i = 0; i < 6; i++)
                kept[i] = keep(stash, 2 * MIB, i, i % 2 == 0);
            for (unsigned i = 0; i < 6; i++) {
                fetch(stash, kept[i], 2 * MIB, i, i % 2 == 0);
                be_stash_drop(stash, kept[i]);
            }
            cr_assert_eq(spilled, 0);
            be_stash_destroy(stash);
        }
}
