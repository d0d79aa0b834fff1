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

/* What a bulk copy has in fn->extra; a: destination, b: source, c: bytes. The copy is done at once. */
enum sd_bulk_extra {
    SD_BULK_TO,          /* spaces: enum sd_bulk_space */
    SD_BULK_TO_OFFSET,
    SD_BULK_FROM,
    SD_BULK_FROM_OFFSET,
    SD_BULK_SITE,
    SD_BULK_COMPLETES,   /* its bytes, on the barrier: row and offset of its shared address */
    SD_BULK_BARRIER,
    SD_BULK_BARRIER_OFFSET,
    SD_BULK_MULTICAST,   /* to the same place of each block whose rank is a bit of a row of 16 bits */
    SD_BULK_RANKS,
    SD_BULK_OP,          /* enum sd_atom_op, or SD_ASYNC_STORE, and its type */
    SD_BULK_TYPE,
    SD_BULK_EXTRA,
};

enum sd_bulk_space {
    SD_BULK_GLOBAL,
    SD_BULK_SHARED,
    SD_BULK_CLUSTER,
};

/* st.async and red.async have in fn->extra; a: destination, b: barrier. Done at once too. */
enum sd_async_extra {
    SD_ASYNC_OFFSET,
    SD_ASYNC_BARRIER_OFFSET,
    SD_ASYNC_SITE,
    SD_ASYNC_ELEMENTS,
    SD_ASYNC_BYTES, /* of an element */
    SD_ASYNC_OP,
    SD_ASYNC_TYPE,
    SD_ASYNC_VALUES, /* rows */
};

/* In place of an atomic operation: what was there does not count. */
#define SD_ASYNC_STORE 255u

#endif
