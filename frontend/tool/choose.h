/* frontend/tool/choose.h -- needs from options, and servers for them */
#ifndef FE_TOOL_CHOOSE_H
#define FE_TOOL_CHOOSE_H

#include "frontend/core/need.h"
#include "protocol/base/options.h"

#define TOOL_NEED_OPTIONS                                                                          \
    FE_NEED_OPTIONS, {"spread", NULL, GP_OPT_FLAG, NULL, "short for --order spread"},              \
        {"pack", NULL, GP_OPT_FLAG, NULL, "short for --order pack"},                               \
        {"etcd", "URL", GP_OPT_URLS, NULL, "the directory, https://host:2379, several by comma"},  \
    {                                                                                              \
        "servers-file", "FILE", GP_OPT_PATH, NULL,                                                 \
            "servers, one a line: URL [region=NAME] [zone=NAME] [cost=onprem|cloud]"               \
    }

/* Put what was given into the environment, where the program's own library finds it too. */
bool tool_need_set(const struct gp_options *o);
/* Where a choice is to be made, make it: GPUPOOL_SERVER then names servers in their order. Returns
 * -1 to go on, else the exit code. */
int tool_choose(void);

#endif
