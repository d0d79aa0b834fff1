/* frontend/core/need.h -- what a program needs of GPUs: GPUPOOL_GPUS, _MODEL, _MEMORY and the like
 *
 * Without any of these a session shows all devices of the server that takes it. With one, it shows
 * --gpus of those that meet the need, and a server that has too few of them is passed over.
 *
 * Pure but for reading options.
 */
#ifndef FE_NEED_H
#define FE_NEED_H

#include "protocol/directory/place.h"
#include "protocol/base/options.h"
#include "protocol/wire/control.h"

/* For the table of client options; the same names in the environment, in files and for the
 * launcher. */
#define FE_NEED_OPTIONS                                                                            \
    {"gpus", "COUNT", GP_OPT_NUMBER, NULL, "how many GPUs the program shall see"},                 \
        {"model", "NAME", GP_OPT_STRINGS, NULL,                                                    \
         "models that will do: h200, a100, l20 or patterns with *"},                               \
        {"memory", "BYTES", GP_OPT_BYTES, NULL, "free memory that each GPU shall have"},           \
        {"share", "PERCENT", GP_OPT_NUMBER, NULL,                                                  \
         "of each GPU's time that nobody else was promised (by the directory)"},                   \
        {"priority",                                                                               \
         "CLASS",                                                                                  \
         GP_OPT_ENUM,                                                                              \
         "any",                                                                                    \
         "servers only where the tenant has at least this class",                                  \
         NULL,                                                                                     \
         NULL,                                                                                     \
         "any|high|normal|low"},                                                                   \
        {"region", "NAME", GP_OPT_TEXT, NULL, "servers of this region only"},                      \
        {"prefer",                                                                                 \
         "CLASS",                                                                                  \
         GP_OPT_ENUM,                                                                              \
         "onprem",                                                                                 \
         "own servers before rented ones, or the other way; only-: no others",                     \
         NULL,                                                                                     \
         NULL,                                                                                     \
         "onprem|cloud|only-onprem|only-cloud"},                                                   \
        {"order",                                                                                  \
         "KIND",                                                                                   \
         GP_OPT_ENUM,                                                                              \
         "pack",                                                                                   \
         "pack: where least is left over; spread: where least is going on",                        \
         NULL,                                                                                     \
         NULL,                                                                                     \
         "pack|spread"},                                                                           \
    {                                                                                              \
        "wait", "TIME", GP_OPT_TIME, NULL,                                                         \
            "wait so long for a server that takes the session; unset: do not"                      \
    }

/* *need_p from options that have FE_NEED_OPTIONS; true if anything was asked for. GP_ERR_INVALID in
 * *status_p is logged. */
bool fe_need_fill(const struct gp_options *options, struct place_need *need_p,
                  enum gp_status *status_p);

/* A device that a server has told about, as placement looks at it. */
struct place_gpu fe_need_gpu(const struct wire_device *device);

/* Keep of order (count devices, by number in the table) those that the program shall see, in that
 * order; returns how many there are: need->gpus, or fewer, and then why says what lacks. */
unsigned fe_need_choose(const struct place_need *need, const struct wire_device *devices,
                        unsigned *order, unsigned count, char why[PLACE_TEXT]);

#endif
