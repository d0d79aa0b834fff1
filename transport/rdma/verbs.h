/* transport/rdma/verbs.h -- libibverbs, loaded when it is needed
 *
 * The client libraries live in programs that may have their own copy or none, and a server without
 * RDMA needs none either: so the library is loaded by name, privately, and called by this table.
 * What it has in its headers as inline functions (posting, polling) is called as it is.
 *
 * Threads: any; loaded once, never unloaded.
 */
#ifndef TP_RDMA_VERBS_H
#define TP_RDMA_VERBS_H

#include "protocol/base/status.h"

#include <infiniband/verbs.h>
#include <stdbool.h>

/* The headers make macros of these, which call by name what is to be called by the table. */
#undef ibv_reg_mr
#undef ibv_query_port

/* All of them as the library has them; X(result, name, arguments). */
#define TP_VERBS(X)                                                                                \
    X(int, fork_init, (void))                                                                      \
    X(struct ibv_device **, get_device_list, (int *count_p))                                       \
    X(void, free_device_list, (struct ibv_device * *list))                                         \
    X(const char *, get_device_name, (struct ibv_device * device))                                 \
    X(struct ibv_context *, open_device, (struct ibv_device * device))                             \
    X(int, close_device, (struct ibv_context * context))                                           \
    X(int, query_device, (struct ibv_context * context, struct ibv_device_attr * attr))            \
    X(int, query_port,                                                                             \
      (struct ibv_context * context, uint8_t port, struct _compat_ibv_port_attr * attr))           \
    X(struct ibv_pd *, alloc_pd, (struct ibv_context * context))                                   \
    X(int, dealloc_pd, (struct ibv_pd * pd))                                                       \
    X(struct ibv_mr *, reg_mr, (struct ibv_pd * pd, void *address, size_t bytes, int access))      \
    X(int, dereg_mr, (struct ibv_mr * mr))                                                         \
    X(struct ibv_comp_channel *, create_comp_channel, (struct ibv_context * context))              \
    X(int, destroy_comp_channel, (struct ibv_comp_channel * channel))                              \
    X(struct ibv_cq *, create_cq,                                                                  \
      (struct ibv_context * context, int entries, void *user, struct ibv_comp_channel *channel,    \
       int vector))                                                                                \
    X(int, destroy_cq, (struct ibv_cq * cq))                                                       \
    X(int, get_cq_event,                                                                           \
      (struct ibv_comp_channel * channel, struct ibv_cq * *cq_p, void **user_p))                   \
    X(void, ack_cq_events, (struct ibv_cq * cq, unsigned count))                                   \
    X(struct ibv_qp *, create_qp, (struct ibv_pd * pd, struct ibv_qp_init_attr * attr))            \
    X(int, modify_qp, (struct ibv_qp * qp, struct ibv_qp_attr * attr, int mask))                   \
    X(int, destroy_qp, (struct ibv_qp * qp))                                                       \
    X(const char *, wc_status_str, (enum ibv_wc_status status))

struct tp_verbs {
#define TP_VERB(result, name, arguments) result(*name) arguments;
    TP_VERBS(TP_VERB)
#undef TP_VERB
    ssize_t (*query_gid_table)(struct ibv_context *context, struct ibv_gid_entry *entries,
                               size_t max, uint32_t flags, size_t entry_bytes);
    /* NULL: rdma-core before 34. */
    struct ibv_mr *(*reg_dmabuf_mr)(struct ibv_pd *pd, uint64_t offset, size_t bytes, uint64_t iova,
                                    int fd, int access);
    /* Children get their own copies of what is registered: the kernel sees to it. */
    bool copies_on_fork;
};

/* NULL where the library is missing or too old; *why_p, which may be NULL, then says so. */
const struct tp_verbs *tp_verbs(const char **why_p);

#endif
