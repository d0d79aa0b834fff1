/* protocol/cudart/proc_table.h -- every exported function by base name and CUDA version
 *
 * Each library that plays libcuda holds its own generated table (protocol/gen, proc-table) of
 * its own functions.
 */
#ifndef GP_CUDART_PROC_TABLE_H
#define GP_CUDART_PROC_TABLE_H

#include <stddef.h>

struct gp_proc {
    const char *base;  /* "cuMemAlloc" */
    int since;         /* CUDA version that introduced this ABI, 3020 for 3.2 */
    const char *name;  /* "cuMemAlloc_v2" */
    void (*fn)(void);
    void (*twin)(void); /* the _ptsz or _ptds variant, or NULL */
};

/* Sorted by base (strcmp), then by since. */
extern const struct gp_proc gp_proc_table[];
extern const size_t gp_proc_count;

#endif
