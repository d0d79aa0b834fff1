/* backend/cuda/tail.h -- the end of a file that others append to, looked at without a system call
 *
 * What kernels print is looked for in each wait, and there hardly ever is any: a read() that finds
 * nothing took a third of a wait over shared memory. The page that holds the file's end is mapped,
 * and behind the end it is zeros; what is appended shows there at once. Where the end is a page's
 * end nothing can be mapped, and a read() looks.
 *
 * Threads: none; the caller's lock.
 */
#ifndef BE_TAIL_H
#define BE_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct be_tail {
    int fd;              /* borrowed; in memory, opened for appending; -1: none */
    uint64_t at;         /* what is before was read */
    const uint8_t *page; /* the one with at in it; NULL: cannot be mapped */
    uint64_t page_at;    /* where it begins in the file */
};

/* Begins at the file's beginning; an empty one gets a byte that is never read. */
void be_tail_init(struct be_tail *tail, int fd);
void be_tail_fini(struct be_tail *tail);

/* False: nothing was appended since be_tail_read() returned 0 or be_tail_init(). What begins with
 * eight zeros is found with what comes behind it; be_tail_read() finds it in any case. */
bool be_tail_grown(const struct be_tail *tail);

/* As read(2): the next bytes, 0 where there are none. What was read is punched out now and then. */
ssize_t be_tail_read(struct be_tail *tail, void *to, size_t bytes);

#endif
