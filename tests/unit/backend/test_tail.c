/* tests/unit/backend/test_tail.c -- what is appended to a file is seen wherever its end is */
#include "backend/cuda/tail.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int
output_make(void)
{
    int fd = memfd_create("output", MFD_CLOEXEC);

    cr_assert_geq(fd, 0);
    cr_assert_eq(fcntl(fd, F_SETFL, O_APPEND), 0);
    return fd;
}

static void
append(int fd, const void *text, size_t bytes)
{
    cr_assert_eq(write(fd, text, bytes), (ssize_t)bytes);
}

/* All that was appended, as be_print_drain() takes it. */
static size_t
take(struct be_tail *tail, char *to, size_t room)
{
    size_t got = 0;
    ssize_t n;

    while ((n = be_tail_read(tail, to + got, room - got)) > 0)
        got += (size_t)n;
    cr_assert_eq(n, 0);
    return got;
}

/* Pages begin and end in the middle of texts, before and behind them. */
Test(tail, every_text_is_seen_and_nothing_else)
{
    static char text[9000], got[sizeof(text)];
    int fd = output_make();
    struct be_tail tail;

    be_tail_init(&tail, fd);
    for (unsigned i = 0; i < 20000; i++) {
        size_t bytes = i % 7 == 0 ? 4096 - tail.at % 4096 : 1 + i * 37 % sizeof(text);

        memset(text, 'a' + (int)(i % 26), bytes);
        /* Without a page, at a page's end, nobody can tell but by a read. */
        cr_assert(tail.page == NULL || !be_tail_grown(&tail), "round %u", i);
        append(fd, text, bytes);
        cr_assert(be_tail_grown(&tail), "round %u at %lu", i, (unsigned long)tail.at);
        cr_assert_eq(take(&tail, got, sizeof(got)), bytes);
        cr_assert_eq(memcmp(got, text, bytes), 0);
    }
    be_tail_fini(&tail);
    close(fd);
}

Test(tail, what_was_there_before_is_told)
{
    int fd = output_make();
    struct be_tail tail;
    char got[16];

    append(fd, "before", 6);
    be_tail_init(&tail, fd);
    cr_assert(be_tail_grown(&tail));
    cr_assert_eq(take(&tail, got, sizeof(got)), 6);
    cr_assert_eq(memcmp(got, "before", 6), 0);
    cr_assert_not(be_tail_grown(&tail));
    be_tail_fini(&tail);
    close(fd);
}

/* A look that needs no system call: the file is mapped, but where its end is a page's. */
Test(tail, a_look_without_a_read_is_the_rule)
{
    char text[4095], got[4096];
    int fd = output_make();
    struct be_tail tail;

    be_tail_init(&tail, fd);
    cr_assert_not_null(tail.page);
    memset(text, 'x', sizeof(text));
    append(fd, text, sizeof(text));
    cr_assert_eq(take(&tail, got, sizeof(got)), sizeof(text));
    cr_assert_null(tail.page, "beyond the end");
    append(fd, "y", 1);
    cr_assert_eq(take(&tail, got, sizeof(got)), 1);
    cr_assert_not_null(tail.page);
    be_tail_fini(&tail);
    close(fd);
}

Test(tail, zeros_are_told_with_what_follows)
{
    char got[64];
    int fd = output_make();
    struct be_tail tail;

    be_tail_init(&tail, fd);
    append(fd, "\0\0\0z", 4);
    cr_assert(be_tail_grown(&tail));
    cr_assert_eq(take(&tail, got, sizeof(got)), 4);
    append(fd, "\0\0\0\0\0\0\0\0\0\0", 10);
    append(fd, "z", 1);
    cr_assert_eq(take(&tail, got, sizeof(got)), 11);
    cr_assert_eq(got[10], 'z');
    be_tail_fini(&tail);
    close(fd);
}
