/* backend/driver/soft/ptx/link.h -- several relocatable modules become one */
#ifndef SD_PTX_LINK_H
#define SD_PTX_LINK_H

#include "backend/driver/soft/ptx/module.h"

/* Consumes all modules, also on failure. Errors: INVALID_PTX (a name defined twice or with
 * another type), OUT_OF_MEMORY. Names that stay undefined are found when they are used. */
CUresult ptx_link(struct ptx_module **modules, size_t count, struct sd_text *log_p,
                  struct ptx_module **module_p);

#endif
