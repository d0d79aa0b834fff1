/* backend/driver/soft/exec/async.h -- barriers in memory (mbarrier)
 *
 * The 64-bit object, as this machine lays it out (its contents are opaque to programs):
 *   bits  0..19  arrivals that are still pending in this phase
 *   bits 20..39  arrivals expected per phase
 *   bits 40..62  transaction bytes outstanding, in two's complement
 *   bit  63      phase
 * The state that mbarrier.arrive gives is the object's value before it.
 */
#ifndef SD_ASYNC_H
#define SD_ASYNC_H

enum sd_mbar_op {
    SD_MBAR_NOTHING,
    SD_MBAR_INIT,        /* b: count */
    SD_MBAR_ARRIVE,      /* b: count; extra[3]: row of bytes to expect, or 0 */
    SD_MBAR_ARRIVE_DROP,
    SD_MBAR_EXPECT,      /* b: bytes */
    SD_MBAR_COMPLETE,
    SD_MBAR_TEST,        /* b: state; the result is a predicate */
    SD_MBAR_TEST_PARITY, /* b: parity */
    SD_MBAR_PENDING,     /* b: state */
};

/* What a bulk copy has in fn->extra. The copy is done at once; to_shared completes the bytes on
 * the barrier (row and offset of its shared address). */
enum sd_bulk_extra {
    SD_BULK_SHARED_OFFSET,
    SD_BULK_GLOBAL_OFFSET,
    SD_BULK_SITE,
    SD_BULK_TO_SHARED,
    SD_BULK_BARRIER,
    SD_BULK_BARRIER_OFFSET,
    SD_BULK_EXTRA,
};

#endif
