/* tests/unit/backend/test_accounts.c -- what sessions did, by days, over restarts */
#include "backend/supervisor/accounts.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOON   1795867200000ull /* 2026-11-28 12:00 UTC */
#define MINUTE 60000ull

static char folder[] = "/tmp/gpupool-accounts-XXXXXX", path[64];

static void
begin(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/accounts", folder);
}

static void
finish(void)
{
    (void)unlink(path);
    cr_assert_eq(rmdir(folder), 0); /* and nothing else is there */
}

TestSuite(accounts, .init = begin, .fini = finish);

static struct be_accounts *
opened(uint64_t now)
{
    struct be_accounts *a = NULL;

    cr_assert_eq(be_accounts_open(path, now, &a), GP_OK);
    return a;
}

static void
look(struct be_accounts *a, unsigned slot, uint64_t id, const char *name, unsigned gpus,
     uint64_t launches, uint64_t now)
{
    const struct be_account_seen seen = {
        .session_id = id, .opened_ms = 1, .name = name, .gpus = gpus, .launches = launches};

    be_accounts_look(a, slot, &seen, now);
}

/* Of one name over these days; zeros where there is none. */
static struct be_account
sum_of(struct be_accounts *a, const char *name, uint32_t from, uint32_t to)
{
    struct be_account *rows, found = {0};
    size_t count;

    cr_assert(be_accounts_sum(a, from, to, &rows, &count));
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            found = rows[i];
    free(rows);
    return found;
}

#define TIMES(a, name, sessions, open, gpu)                                                        \
    do {                                                                                           \
        struct be_account found_ = sum_of(a, name, 0, UINT32_MAX);                                 \
                                                                                                   \
        cr_assert_eq(found_.sums[BE_ACCOUNT_SESSIONS], (sessions));                                \
        cr_assert_eq(found_.sums[BE_ACCOUNT_SESSION_MS], (open));                                  \
        cr_assert_eq(found_.sums[BE_ACCOUNT_GPU_MS], (gpu));                                       \
    } while (0)

Test(accounts, count_time_by_gpus_and_what_has_grown)
{
    struct be_accounts *a = opened(NOON);

    look(a, 3, 7, "alice", 0, 5, NOON + 1000);
    look(a, 3, 7, "alice", 2, 9, NOON + 3000);
    look(a, 3, 7, "alice", 2, 4, NOON + 3500); /* a count that shrinks is a lie */
    look(a, 4, 8, "bob", 1, 0, NOON + 500);
    TIMES(a, "alice", 1, 3500, 5000);
    TIMES(a, "bob", 1, 500, 500);
    cr_assert_eq(sum_of(a, "alice", 0, UINT32_MAX).sums[BE_ACCOUNT_LAUNCHES], 9);
    be_accounts_gone(a, 3);
    be_accounts_looked(a, NOON + 4000, true);
    look(a, 3, 9, "alice", 1, 2, NOON + 5000); /* the next in the slot, since all were looked at */
    TIMES(a, "alice", 2, 4500, 6000);
    look(a, BE_ACCOUNT_SLOTS, 1, "eve", 1, 1, NOON);
    TIMES(a, "eve", 0, 0, 0);
    be_accounts_close(a, NOON + 5000);
}

Test(accounts, stay_over_restarts_and_by_days)
{
    struct be_accounts *a = opened(NOON);

    look(a, 0, 1, "alice", 1, 0, NOON + 1000);
    be_accounts_close(a, NOON + 1000);
    a = opened(NOON + MINUTE);
    TIMES(a, "alice", 1, 1000, 1000);
    be_accounts_looked(a, NOON + 12 * 60 * MINUTE, true); /* midnight */
    look(a, 0, 2, "alice", 1, 0, NOON + 12 * 60 * MINUTE + 500);
    cr_assert_eq(sum_of(a, "alice", 20261128, 20261128).sums[BE_ACCOUNT_GPU_MS], 1000);
    cr_assert_eq(sum_of(a, "alice", 20261129, 20261129).sums[BE_ACCOUNT_GPU_MS], 500);
    cr_assert_eq(sum_of(a, "alice", 20261130, 0).sums[BE_ACCOUNT_GPU_MS], 0);
    be_accounts_close(a, NOON);
}

Test(accounts, are_written_each_minute)
{
    struct be_accounts *a = opened(NOON), *killed;

    look(a, 0, 1, "alice", 1, 0, NOON + 1000);
    be_accounts_looked(a, NOON + MINUTE - 1, true);
    cr_assert_neq(access(path, F_OK), 0);
    be_accounts_looked(a, NOON + MINUTE, true);
    killed = opened(NOON + MINUTE);
    TIMES(killed, "alice", 1, 1000, 1000);
    be_accounts_close(killed, NOON);
    be_accounts_close(a, NOON);
}

/* A successor, while the old one's last session goes on. */
Test(accounts, of_two_servers_are_one)
{
    struct be_accounts *old = opened(NOON), *new = opened(NOON);

    look(old, 0, 1, "alice", 1, 0, NOON + 1000);
    be_accounts_looked(old, NOON + MINUTE, false);
    look(new, 0, 2, "alice", 1, 0, NOON + 2000);
    TIMES(new, "alice", 2, 3000, 3000);
    look(old, 0, 1, "alice", 1, 0, NOON + 2 * MINUTE);
    be_accounts_close(old, NOON);
    TIMES(new, "alice", 2, 2000 + 2 * MINUTE, 2000 + 2 * MINUTE);
    be_accounts_close(new, NOON);
    new = opened(NOON);
    TIMES(new, "alice", 2, 2000 + 2 * MINUTE, 2000 + 2 * MINUTE);
    be_accounts_close(new, NOON);
}

Test(accounts, lines_that_are_none_do_not_count)
{
    static const char text[] = "20261128 1 1000 1000 0 0 0 0 alice\n"
                               "20261128 1 -5 1000 0 0 0 0 alice x\n"
                               "rubbish\n"
                               "19990101 1 1 1 1 1 1 1 bob\n"
                               "20261128 99999999999999999999999 1 1 1 1 1 1 bob\n"
                               "20261128 1 1 1 1 1 1 1 one two\n"
                               "20261128 1 1 1 1 1 1 1\n"
                               "20261128 2 500 500 0 0 0 0 alice\n"
                               "20261128 1 7";
    struct be_accounts *a;
    FILE *file = fopen(path, "w");

    gp_log_set_level(GP_LOG_ERROR);
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    a = opened(NOON);
    TIMES(a, "alice", 3, 1500, 1500);
    TIMES(a, "bob", 0, 0, 0);
    look(a, 0, 1, "a b\nc\x7f", 1, 0, NOON + 10); /* a name that would end its line */
    look(a, 1, 2, "", 1, 0, NOON + 10);
    be_accounts_close(a, NOON);
    a = opened(NOON);
    TIMES(a, "a_b_c_", 1, 10, 10);
    TIMES(a, "-", 1, 10, 10);
    be_accounts_close(a, NOON);
}

Test(accounts, many_lines_become_few_and_old_days_go)
{
    struct stat st;
    FILE *file = fopen(path, "w");
    struct be_accounts *a;

    cr_assert_not_null(file);
    fputs("20240101 1 1 1 1 1 1 1 old\n", file);
    for (int i = 0; i < 6000; i++)
        fprintf(file, "20261128 1 10 20 1 1 1 1 t%d\n", i % 3);
    fclose(file);
    a = opened(NOON);
    be_accounts_looked(a, NOON + MINUTE, false);
    cr_assert(stat(path, &st) == 0 && st.st_size > 100000); /* another one writes too */
    be_accounts_looked(a, NOON + 2 * MINUTE, true);
    cr_assert(stat(path, &st) == 0 && st.st_size < 200);
    TIMES(a, "t1", 2000, 20000, 40000);
    TIMES(a, "old", 0, 0, 0);
    be_accounts_close(a, NOON);
    a = opened(NOON);
    TIMES(a, "t2", 2000, 20000, 40000);
    be_accounts_close(a, NOON);
}
