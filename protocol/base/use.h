/* protocol/base/use.h -- what one thread takes away goes when no other looks at it any more
 *
 * Whoever follows a handle to memory that may be taken away says so before it looks at the handle:
 * GP_USE() in a function, gp_use_begin() for longer. What is retired meanwhile stays until all who
 * were there then have left. Two atomic additions for a user; no waiting for anybody.
 *
 * Threads: any. Nothing is ended while a lock of this is held.
 */
#ifndef GP_USE_H
#define GP_USE_H

struct gp_retired {
    struct gp_retired *next;
    /* Called by the thread that is the last one, which may hold locks of its own: it takes none but
     * leaves. */
    void (*end)(struct gp_retired *what);
};

/* What it returns is gp_use_end's. */
unsigned gp_use_begin(void);
void gp_use_end(unsigned phase);
/* After nobody can find it any more, by an atomic operation that reads and writes; what->end is
 * set.
 */
void gp_retire(struct gp_retired *what);

static inline void
gp_use_end_(const unsigned *phase)
{
    gp_use_end(*phase);
}

/* Until the block's end; first of its declarations, so that it lasts longer than its locks. */
#define GP_USE()                                                                                   \
    __attribute__((cleanup(gp_use_end_), unused)) const unsigned gp_use_ = gp_use_begin()

#endif
