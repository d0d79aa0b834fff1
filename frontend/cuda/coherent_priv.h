/* frontend/cuda/coherent_priv.h -- the inside of coherent.h: regions, and what moves their bytes */
#ifndef FE_COHERENT_PRIV_H
#define FE_COHERENT_PRIV_H

#include "frontend/cuda/coherent.h"

struct fe_extent {
    uint64_t base, bytes;
    const void *key; /* the variable's library */
};

struct fe_region {
    struct fe_region_info info;
    struct fe_pages pages;
    struct fe_extent *extents; /* VARIABLE: the bytes that are ours, sorted; NULL: all */
    size_t extents_count;
    uint8_t *twins; /* as long as the region, touched where pages have a twin */
    unsigned attach;
    struct fe_stream *stream; /* CU_MEM_ATTACH_SINGLE */
    uint64_t stream_wire;
    uint64_t bring_first, bring_count; /* pages that the next touch there brings */
    bool fresh;                        /* the server still has zeros where nothing was sent */
    bool watched;                      /* touched while work was under way that may touch it too */
    bool live;                         /* in the list of regions with pages that are not stale */
    struct fe_region *next, *prev;
};

/* A part of a page. */
struct fe_edge {
    uint64_t base, bytes;
    struct fe_session *session;
    const void *key;
    bool read_only;
    bool stale;  /* work may have written there since it was fetched */
    bool pushed; /* twin is what the server has, or had */
    uint8_t twin[FE_PAGE_BYTES];
};

/* --- move.c: the lock is held ------------------------------------------------- */

/* Protect pages as their state says. CUDA_ERROR_OUT_OF_MEMORY where the system refuses. */
CUresult fe_move_protect(const struct fe_region *r, uint64_t first, uint64_t count,
                         enum fe_page state);
/* Send what the program changed in pages that are readable; merge: by byte. */
CUresult fe_move_push(struct fe_region *r, uint64_t first, uint64_t count, bool merge);
/* Bring pages, which stay protected: what both sides have then. in_flight: work may write. */
CUresult fe_move_fetch(struct fe_region *r, uint64_t first, uint64_t count, bool in_flight);
/* Whether any of the pages is not what both sides last had. */
bool fe_move_peek(struct fe_region *r, uint64_t first, uint64_t count);
/* Keep what both sides have of readable pages; false: no memory for it. */
bool fe_move_keep(struct fe_region *r, uint64_t first, uint64_t count);
void fe_move_forget_twins(struct fe_region *r, uint64_t first, uint64_t count);
/* merge: byte by byte, kernels may write others. */
CUresult fe_move_push_edge(struct fe_edge *e, bool merge);
CUresult fe_move_fetch_edge(struct fe_edge *e, bool in_flight);
void fe_move_stats(struct fe_coherent_stats *stats_p);

#endif
