/* transport/rdma/verbs.c */
#include "transport/rdma/verbs.h"

#include "protocol/base/log.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

#define LIBRARY "libibverbs.so.1"

static pthread_once_t once = PTHREAD_ONCE_INIT;
/* Written under once, then read-only. */
static struct tp_verbs table;
static char why[160];
static bool loaded;

static bool
find(void *library, const char *name, void *to_p)
{
    void *found = dlsym(library, name);

    if (found == NULL) {
        snprintf(why, sizeof(why), "%s has no %s: install rdma-core 32 or later", LIBRARY, name);
        return false;
    }
    *(void **)to_p = found;
    return true;
}

static void
load(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    enum ibv_fork_status (*fork_status)(void);
    int error;

    if (library == NULL) {
        snprintf(why, sizeof(why), "%s cannot be loaded: install libibverbs1 and ibverbs-providers",
                 LIBRARY);
        log_debug("rdma: %s", dlerror());
        return;
    }
#define TP_VERB(result, name, arguments)                                                           \
    if (!find(library, "ibv_" #name, &table.name))                                                 \
        return;
    TP_VERBS(TP_VERB)
#undef TP_VERB
    if (!find(library, "_ibv_query_gid_table", &table.query_gid_table))
        return;
    *(void **)&table.reg_dmabuf_mr = dlsym(library, "ibv_reg_dmabuf_mr");
    /* Before anything is registered, so that a child never shares memory that is. Too late if the
     * program uses verbs itself: then it has decided that, and our rings stay out of children. */
    error = table.fork_init();
    if (error != 0)
        log_debug("rdma: ibv_fork_init: error %d", error);
    *(void **)&fork_status = dlsym(library, "ibv_is_fork_initialized"); /* rdma-core 35 */
    table.copies_on_fork = fork_status != NULL && fork_status() == IBV_FORK_UNNEEDED;
    loaded = true;
}

const struct tp_verbs *
tp_verbs(const char **why_p)
{
    pthread_once(&once, load);
    if (why_p != NULL)
        *why_p = why;
    return loaded ? &table : NULL;
}
