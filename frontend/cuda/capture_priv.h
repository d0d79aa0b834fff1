/* frontend/cuda/capture_priv.h -- captures, of capture.c and capture_member.c; all with the graphs'
 * lock held */
#ifndef FE_CAPTURE_PRIV_H
#define FE_CAPTURE_PRIV_H

#include "frontend/cuda/graph.h"
#include "frontend/cuda/objects.h"

struct fe_member {
    struct fe_member *next;
    struct fe_stream *stream; /* NULL: destroyed meanwhile */
    struct fe_context *ctx;
    CUgraphNode *deps;     /* owned */
    CUgraphEdgeData *data; /* owned: of the edges from deps to the next node */
    size_t count;
};

struct fe_capture {
    struct fe_graph *graph;
    bool own_graph; /* made by the capture, not given to it */
    struct fe_stream *origin;
    struct fe_context *ctx;
    CUstreamCaptureMode mode;
    pthread_t thread;
    cuuint64_t id;
    bool invalid;
    bool recorded; /* an event carries some of its nodes */
    struct fe_member *members;
    struct fe_capture *next;
};

/* NULL: the stream takes no part. */
struct fe_member *fe_member_of(const struct fe_capture *capture, const struct fe_stream *stream);
/* What its next node comes behind: these, or these too. data may be NULL. */
CUresult fe_member_set(struct fe_member *m, const CUgraphNode *nodes, const CUgraphEdgeData *data,
                       size_t count);
CUresult fe_member_merge(struct fe_member *m, const CUgraphNode *nodes, const CUgraphEdgeData *data,
                         size_t count);
/* The list without node, whose length comes back; data may be NULL. */
size_t fe_nodes_without(CUgraphNode *nodes, CUgraphEdgeData *data, size_t count,
                        const struct fe_node *node);

#endif
