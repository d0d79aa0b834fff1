/* frontend/nvml/others.c -- every other name: there, and refusing
 *
 * Weak, so that a function that answers stands before its refusal. The arguments are not looked at:
 * any prototype may be called this way.
 */
#include "protocol/abi/nvml_types.h"
#include "protocol/base/util.h"

#define NVML_NAME(name)                                                                            \
    GP_EXPORT __attribute__((weak)) nvmlReturn_t name(void);                                       \
    nvmlReturn_t name(void)                                                                        \
    {                                                                                              \
        return NVML_ERROR_NOT_SUPPORTED;                                                           \
    }

#include "frontend/nvml/names.inc.h"
