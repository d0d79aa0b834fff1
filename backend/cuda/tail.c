/* backend/cuda/tail.c */
#include "backend/cuda/tail.h"

#include "protocol/base/util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_BYTES  4096u
#define LOOK_BYTES  8u
#define PUNCH_BYTES (1u << 20)

/* Map the page that at is in, if the file reaches into it: beyond its last page it cannot be read.
 */
static void
page_turn(struct be_tail *tail)
{
    uint64_t page_at = tail->at & ~(uint64_t)(PAGE_BYTES - 1);
    void *page;

    if (tail->page != NULL && page_at == tail->page_at)
        return;
    be_tail_fini(tail);
    if (page_at == tail->at)
        return;
    page = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, tail->fd, (off_t)page_at);
    if (page == MAP_FAILED)
        return;
    tail->page = page;
    tail->page_at = page_at;
}

void
be_tail_init(struct be_tail *tail, int fd)
{
    struct stat st;

    *tail = (struct be_tail){.fd = fd};
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 0 && write(fd, "", 1) == 1)
        tail->at = 1;
    page_turn(tail);
}

void
be_tail_fini(struct be_tail *tail)
{
    if (tail->page != NULL)
        munmap((void *)(uintptr_t)tail->page, PAGE_BYTES);
    tail->page = NULL;
}

bool
be_tail_grown(const struct be_tail *tail)
{
    const volatile uint8_t *at; /* the kernel writes there */
    size_t in_page = tail->at & (PAGE_BYTES - 1);
    size_t n = gp_min_u64(LOOK_BYTES, PAGE_BYTES - in_page);

    if (tail->page == NULL)
        return tail->fd >= 0;
    at = tail->page + in_page;
    while (n > 0 && *at == 0) {
        at++;
        n--;
    }
    return n > 0;
}

ssize_t
be_tail_read(struct be_tail *tail, void *to, size_t bytes)
{
    uint64_t before = tail->at / PUNCH_BYTES;
    ssize_t n = pread(tail->fd, to, bytes, (off_t)tail->at);

    if (n > 0)
        tail->at += (uint64_t)n;
    if (tail->at / PUNCH_BYTES != before)
        (void)fallocate(tail->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)tail->at);
    page_turn(tail);
    return n;
}
