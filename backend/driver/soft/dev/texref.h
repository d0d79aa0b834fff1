/* backend/driver/soft/dev/texref.h -- texture and surface references of modules
 *
 * The variable of a reference holds the handle of a texture object that this file makes anew
 * whenever something of the reference changes. A launch has the handles of its moment with it; only
 * kernels in graphs read the variable.
 *
 * Lock: the modules' lock guards all of them.
 */
#ifndef SD_TEXREF_H
#define SD_TEXREF_H

#include "backend/driver/soft/dev/module.h"
#include "backend/driver/soft/dev/work.h"

/* What the references of the work's kernel are bound to now. */
CUresult sd_texrefs_snapshot(struct sd_kernel_work *work);

/* The module's references go; modules' lock held. */
void sd_texrefs_of_module_gone(struct CUmod_st *mod);

#endif
