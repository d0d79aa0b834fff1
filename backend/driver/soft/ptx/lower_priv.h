/* backend/driver/soft/ptx/lower_priv.h -- between lower.c, kernel.c and lower_ctl.c */
#ifndef SD_PTX_LOWER_PRIV_H
#define SD_PTX_LOWER_PRIV_H

#include "backend/driver/soft/ptx/lower.h"

/* Lower one function whose body is parsed; *cr_p only on failure. */
bool lower_function(struct lower_kernel *k, struct ptx_func *f, struct sd_fn *fn, CUresult *cr_p);
/* Emit a branch to a block, on a predicate if pred_row is not negative. */
bool lower_jump(struct lower *lw, uint32_t block, int32_t pred_row, bool neg);
/* What a function does before its first instruction: register parameters. */
bool lower_entry(struct lower *lw);
/* Index in code->fns of a function, -1 if it is not part of the kernel. */
int64_t lower_fn_index(const struct lower_kernel *k, const struct ptx_func *f);
/* Functions that the machine itself provides. */
enum lower_builtin {
    BUILTIN_NONE, BUILTIN_VPRINTF, BUILTIN_ASSERT, BUILTIN_MALLOC, BUILTIN_FREE,
    BUILTIN_LAUNCH_BUFFER, BUILTIN_LAUNCH, BUILTIN_STREAM_CREATE, BUILTIN_STREAM_DESTROY,
    BUILTIN_LAST_ERROR, BUILTIN_SET_ERROR, BUILTIN_SET_CONDITION,
};
enum lower_builtin lower_builtin_of(const struct ptx_func *f);

#endif
