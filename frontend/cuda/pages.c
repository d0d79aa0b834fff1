/* frontend/cuda/pages.c */
#include "frontend/cuda/pages.h"

#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STATE_BITS  2
#define STATE_MASK  3u
#define EPOCH_MAX   (UINT32_MAX >> STATE_BITS)
#define STREAK_PART 6u /* of a streak is brought along: at most a sixth in vain */
#define STREAK_GAP  4u /* pages that were there already do not end a streak */
#define RUNS_MIN    16u
#define RUNS_MAX    1024u

static size_t
marks_bytes(uint64_t count)
{
    return (size_t)(count * sizeof(uint32_t));
}

bool
fe_pages_init(struct fe_pages *p, uint64_t count)
{
    void *marks;

    memset(p, 0, sizeof(*p));
    /* Memory that is touched as the pages are. */
    marks = mmap(NULL, marks_bytes(count), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    p->runs = malloc(RUNS_MIN * sizeof(*p->runs));
    if (marks == MAP_FAILED || p->runs == NULL) {
        if (marks != MAP_FAILED)
            munmap(marks, marks_bytes(count));
        free(p->runs);
        return false;
    }
    p->runs_room = RUNS_MIN;
    p->marks = marks;
    p->count = count;
    p->epoch = 1;
    return true;
}

void
fe_pages_fini(struct fe_pages *p)
{
    if (p->marks != NULL)
        munmap(p->marks, marks_bytes(p->count));
    free(p->runs);
    memset(p, 0, sizeof(*p));
}

enum fe_page
fe_pages_state(const struct fe_pages *p, uint64_t page)
{
    uint32_t mark = p->marks[page];

    return mark >> STATE_BITS == p->epoch ? (enum fe_page)(mark & STATE_MASK) : FE_PAGE_STALE;
}

uint64_t
fe_pages_ahead(const struct fe_pages *p, struct fe_streak *streak, uint64_t page, uint64_t most)
{
    enum fe_page state = fe_pages_state(p, page);
    uint64_t want, n = 1;

    if (page < streak->next || page - streak->next > STREAK_GAP)
        streak->length = 0;
    want = gp_min_u64(1 + streak->length / STREAK_PART, most);
    while (n < want && page + n < p->count && fe_pages_state(p, page + n) == state)
        n++;
    streak->next = page + n;
    streak->length += n;
    return n;
}

/* Remember that these are not stale. */
static void
runs_add(struct fe_pages *p, uint64_t first, uint64_t count)
{
    struct fe_run *last = p->runs_count > 0 ? &p->runs[p->runs_count - 1] : NULL;

    if (last != NULL && last->first + last->count == first) {
        last->count += count;
        return;
    }
    if (last != NULL && first + count == last->first) {
        last->first = first;
        last->count += count;
        return;
    }
    if (p->runs_count == p->runs_room && p->runs_room < RUNS_MAX) {
        size_t room = 2 * p->runs_room;
        struct fe_run *runs = realloc(p->runs, room * sizeof(*runs));

        if (runs != NULL) {
            p->runs = runs;
            p->runs_room = room;
        }
    }
    if (p->runs_count < p->runs_room) {
        p->runs[p->runs_count++] = (struct fe_run){first, count};
        return;
    }
    /* Too many: one around all, stale pages in between are passed over. */
    for (size_t i = 0; i < p->runs_count; i++) {
        uint64_t end = gp_max_u64(first + count, p->runs[i].first + p->runs[i].count);

        first = gp_min_u64(first, p->runs[i].first);
        count = end - first;
    }
    p->runs[0] = (struct fe_run){first, count};
    p->runs_count = 1;
}

static bool
inside_runs(const struct fe_pages *p, uint64_t page)
{
    for (size_t i = 0; i < p->runs_count; i++)
        if (page - p->runs[i].first < p->runs[i].count)
            return true;
    return false;
}

void
fe_pages_set(struct fe_pages *p, uint64_t first, uint64_t count, enum fe_page state)
{
    bool fresh = fe_pages_state(p, first) == FE_PAGE_STALE;

    for (uint64_t i = first; i < first + count; i++) {
        p->dirty -= fe_page_is_dirty(fe_pages_state(p, i));
        p->marks[i] = p->epoch << STATE_BITS | (uint32_t)state;
    }
    if (fe_page_is_dirty(state))
        p->dirty += count;
    if (fresh && state != FE_PAGE_STALE &&
        !(inside_runs(p, first) && inside_runs(p, first + count - 1)))
        runs_add(p, first, count);
}

void
fe_pages_forget(struct fe_pages *p)
{
    p->runs_count = 0;
    p->dirty = 0;
    if (p->epoch == EPOCH_MAX) {
        memset(p->marks, 0, marks_bytes(p->count));
        p->epoch = 0;
    }
    p->epoch++;
}

bool
fe_pages_next(const struct fe_pages *p, struct fe_stretch *at, uint64_t *first_p, uint64_t *count_p,
              enum fe_page *state_p)
{
    while (at->run < p->runs_count) {
        const struct fe_run *run = &p->runs[at->run];
        uint64_t end = run->first + run->count, first = gp_max_u64(at->page, run->first), page;
        enum fe_page state;

        if (first >= end) {
            at->run++;
            at->page = 0;
            continue;
        }
        state = fe_pages_state(p, first);
        for (page = first + 1; page < end && fe_pages_state(p, page) == state;)
            page++;
        at->page = page;
        if (page >= end) {
            at->run++;
            at->page = 0;
        }
        if (state == FE_PAGE_STALE)
            continue;
        *first_p = first;
        *count_p = page - first;
        *state_p = state;
        return true;
    }
    return false;
}

size_t
fe_bytes_changed(const uint8_t *now, const uint8_t *before, size_t count, uint8_t *mask,
                 uint8_t *out)
{
    size_t n = 0;

    memset(mask, 0, count / 8);
    for (size_t word = 0; word < count; word += 8) {
        if (memcmp(now + word, before + word, 8) == 0)
            continue;
        for (size_t i = word; i < word + 8; i++) {
            if (now[i] == before[i])
                continue;
            mask[word / 8] |= (uint8_t)(1u << (i - word));
            out[n++] = now[i];
        }
    }
    return n;
}
