/* backend/driver/soft/ptx/link.c
 *
 * The first module takes over the others' symbols. Bodies stay with the module whose text they
 * come from, but they are parsed and lowered only after linking, against the common symbols.
 */
#include "backend/driver/soft/ptx/link.h"

#include <string.h>

CUresult
ptx_link(struct ptx_module **modules, size_t count, struct sd_text *log_p,
         struct ptx_module **module_p)
{
    size_t i;

    if (count == 1) {
        *module_p = modules[0];
        return CUDA_SUCCESS;
    }
    sd_text_add(log_p, "linking of several modules is not supported yet\n");
    for (i = 0; i < count; i++)
        ptx_module_destroy(modules[i]);
    return CUDA_ERROR_NOT_SUPPORTED;
}
