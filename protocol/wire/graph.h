/* protocol/wire/graph.h -- the description of a graph, as it travels to be instantiated
 *
 * Graphs live with the client. What it instantiates is described whole: a struct wire_graph_head,
 * then its nodes, each after those that it depends on. A node is a struct wire_graph_node, then
 * its edges, then its body by type; child graphs and bodies of conditions are descriptions inside
 * the body. Everything is a multiple of 8 bytes long. Nodes are numbered through, a node before
 * the nodes inside it; edges name places in their own graph.
 *
 * Host memory and host functions are named by tokens of the client (bit 63 set) or, where data
 * goes to the client, by its data id.
 *
 * Threads: pure, any. What is read is checked; values are checked by who uses them.
 */
#ifndef GP_WIRE_GRAPH_H
#define GP_WIRE_GRAPH_H

#include "protocol/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_GRAPH_MAGIC          0x31475047u /* GPG1 */
#define WIRE_GRAPH_NODES_MAX      (1u << 20)  /* in all */
#define WIRE_GRAPH_DEPTH_MAX      16u
#define WIRE_GRAPH_PARAMS_MAX     32768u
#define WIRE_GRAPH_VALUES_MAX     256u
#define WIRE_GRAPH_ATTRIBUTES_MAX 32u
#define WIRE_GRAPH_BODIES_MAX     1024u
#define WIRE_GRAPH_TOKEN          (1ull << 63)

struct wire_graph_head {
    uint32_t magic;
    uint32_t nodes; /* of this graph, without those inside */
};

struct wire_graph_node {
    uint32_t bytes;   /* all of the node */
    uint32_t type;    /* CUgraphNodeType */
    uint64_t context; /* wire id; 0: the call's */
    uint32_t edges;
    uint32_t flags;
};

struct wire_graph_edge {
    uint32_t from; /* place in the graph, below the node's own */
    uint8_t from_port, to_port, type, zero;
};

/* KERNEL: then attributes times CUlaunchAttribute, then the values one after the other or, with
 * WIRE_GRAPH_EXTRA, the buffer of the extra form. */
#define WIRE_GRAPH_EXTRA 1u
struct wire_graph_kernel {
    uint64_t function; /* wire_function_id */
    uint64_t green;    /* the green context it runs in, of the function's context; 0: none */
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t shared_bytes;
    uint32_t flags;
    uint32_t attributes;
    uint32_t param_bytes;
};

enum wire_graph_place {
    WIRE_GRAPH_DEVICE, /* base is an address */
    WIRE_GRAPH_HOST,   /* base is a token (source) or a data id (destination); rows are packed */
    WIRE_GRAPH_ARRAY,  /* base is an array's id */
};

struct wire_graph_side {
    uint32_t place; /* enum wire_graph_place */
    uint32_t zero;
    uint64_t base;
    uint64_t pitch, slice; /* bytes from row to row, from plane to plane */
    uint64_t x, y, z;      /* in an array, where the box begins; x in bytes */
};

struct wire_graph_copy {           /* MEMCPY */
    uint64_t width, height, depth; /* bytes, rows, planes */
    struct wire_graph_side src, dst;
};

struct wire_graph_fill { /* MEMSET */
    uint64_t dst, pitch, width, height;
    uint32_t value, element;
};

struct wire_graph_id { /* HOST: a token; EVENT_RECORD, WAIT_EVENT: an event */
    uint64_t id;
};

struct wire_graph_values { /* BATCH_MEM_OP: then count times CUstreamBatchMemOpParams */
    uint32_t count;
    uint32_t flags;
};

struct wire_graph_cond { /* CONDITIONAL: then as many descriptions as bodies */
    uint64_t handle; /* the client's; the server puts its driver's into kernels' values instead */
    uint32_t type;
    uint32_t bodies;
    uint32_t value, flags; /* at the begin of a launch, CU_GRAPH_COND_* */
};

/* --- reading --- */

struct wire_graph_reader {
    const uint8_t *at;
    size_t left;
    uint32_t nodes; /* still to come */
    uint32_t index; /* of the next one, in its graph */
};

/* One node; the pointers are into the description and may be unaligned. */
struct wire_graph_item {
    struct wire_graph_node node;
    const uint8_t *edges;
    const uint8_t *body;
    size_t body_len;
};

/* False if this does not begin a description. */
bool wire_graph_open(struct wire_graph_reader *r, const uint8_t *data, size_t len);
/* The next node. False at the end or, with *bad_p set, where the description is malformed. */
bool wire_graph_next(struct wire_graph_reader *r, struct wire_graph_item *item, bool *bad_p);
/* The k-th edge, k < node.edges. */
struct wire_graph_edge wire_graph_edge_at(const struct wire_graph_item *item, uint32_t k);

/* The fixed head of a body, and what follows it: false if the body is shorter, or longer where
 * exact is wanted. */
bool wire_graph_body(const struct wire_graph_item *item, void *head, size_t head_len, bool exact);
/* A kernel's body, its attributes and values. */
bool wire_graph_body_kernel(const struct wire_graph_item *item, size_t attribute_bytes,
                            struct wire_graph_kernel *head, const uint8_t **attributes_p,
                            const uint8_t **params_p);
bool wire_graph_body_values(const struct wire_graph_item *item, size_t op_bytes,
                            struct wire_graph_values *head, const uint8_t **ops_p);

/* A whole description with all inside it is well formed. */
bool wire_graph_check(const uint8_t *data, size_t len);

/* --- writing --- */

/* Places in the buffer, to be filled in by the matching end. */
size_t wire_graph_begin(struct gp_buf *buf, uint32_t nodes);
size_t wire_graph_node_begin(struct gp_buf *buf, const struct wire_graph_node *node,
                             const struct wire_graph_edge *edges);
/* Bytes of a body, padded to 8. */
void wire_graph_put(struct gp_buf *buf, const void *data, size_t bytes);
void wire_graph_node_end(struct gp_buf *buf, size_t place);

#endif
