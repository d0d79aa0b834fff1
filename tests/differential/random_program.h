/* tests/differential/random_program.h -- what an argument of a random call may be */
#ifndef RANDOM_PROGRAM_H
#define RANDOM_PROGRAM_H

enum object_kind {
    KIND_NONE,
    KIND_CTX,
    KIND_STREAM,
    KIND_EVENT,
    KIND_MODULE,
    KIND_FUNCTION,
    KIND_KERNEL,
    KIND_LIBRARY,
    KIND_GRAPH,
    KIND_NODE,
    KIND_EXEC,
    KIND_ARRAY,
    KIND_MIPMAP,
    KIND_POOL,
    KIND_PHYS,
    KIND_USER,
    KIND_TEXTURE,
    KIND_SURFACE,
    KIND_TEXREF,
    KIND_LINK,
    KIND_GREEN,
    KIND_DESC,         /* of what a green context has */
    KIND_RESOURCE,     /* SMs; its value is where a copy lies */
    KIND_COND,         /* a graph's condition */
    KIND_GRAPH_MEMORY, /* of an allocation node */
    KIND_FD,           /* of memory or a pool */
    KIND_IPC_MEMORY,   /* handles of other processes; values are where copies lie */
    KIND_IPC_EVENT,
    KIND_EXPORT,  /* what a pool says of an allocation */
    KIND_ADDRESS, /* device memory */
    KIND_HOST,    /* pinned memory */
    KIND_COUNT,
};

#define ARG_IN(kind)  (kind)
#define ARG_OUT(kind) (100 + (kind))

enum arg {
    ARG_IN_CTX = ARG_IN(KIND_CTX),
    ARG_IN_STREAM = ARG_IN(KIND_STREAM),
    ARG_IN_EVENT = ARG_IN(KIND_EVENT),
    ARG_IN_MODULE = ARG_IN(KIND_MODULE),
    ARG_IN_FUNCTION = ARG_IN(KIND_FUNCTION),
    ARG_IN_KERNEL = ARG_IN(KIND_KERNEL),
    ARG_IN_LIBRARY = ARG_IN(KIND_LIBRARY),
    ARG_IN_GRAPH = ARG_IN(KIND_GRAPH),
    ARG_IN_NODE = ARG_IN(KIND_NODE),
    ARG_IN_EXEC = ARG_IN(KIND_EXEC),
    ARG_IN_ARRAY = ARG_IN(KIND_ARRAY),
    ARG_IN_MIPMAP = ARG_IN(KIND_MIPMAP),
    ARG_IN_POOL = ARG_IN(KIND_POOL),
    ARG_IN_PHYS = ARG_IN(KIND_PHYS),
    ARG_IN_USER = ARG_IN(KIND_USER),
    ARG_IN_TEXTURE = ARG_IN(KIND_TEXTURE),
    ARG_IN_SURFACE = ARG_IN(KIND_SURFACE),
    ARG_IN_TEXREF = ARG_IN(KIND_TEXREF),
    ARG_IN_LINK = ARG_IN(KIND_LINK),
    ARG_IN_GREEN = ARG_IN(KIND_GREEN),
    ARG_IN_DESC = ARG_IN(KIND_DESC),
    ARG_IN_FD = ARG_IN(KIND_FD),
    ARG_IN_IPC_MEMORY = ARG_IN(KIND_IPC_MEMORY),
    ARG_IN_IPC_EVENT = ARG_IN(KIND_IPC_EVENT),
    ARG_IN_EXPORT = ARG_IN(KIND_EXPORT),
    ARG_ADDRESS = ARG_IN(KIND_ADDRESS),

    ARG_OUT_CTX = ARG_OUT(KIND_CTX),
    ARG_OUT_STREAM = ARG_OUT(KIND_STREAM),
    ARG_OUT_EVENT = ARG_OUT(KIND_EVENT),
    ARG_OUT_MODULE = ARG_OUT(KIND_MODULE),
    ARG_OUT_FUNCTION = ARG_OUT(KIND_FUNCTION),
    ARG_OUT_KERNEL = ARG_OUT(KIND_KERNEL),
    ARG_OUT_LIBRARY = ARG_OUT(KIND_LIBRARY),
    ARG_OUT_GRAPH = ARG_OUT(KIND_GRAPH),
    ARG_OUT_NODE = ARG_OUT(KIND_NODE),
    ARG_OUT_EXEC = ARG_OUT(KIND_EXEC),
    ARG_OUT_ARRAY = ARG_OUT(KIND_ARRAY),
    ARG_OUT_MIPMAP = ARG_OUT(KIND_MIPMAP),
    ARG_OUT_POOL = ARG_OUT(KIND_POOL),
    ARG_OUT_PHYS = ARG_OUT(KIND_PHYS),
    ARG_OUT_USER = ARG_OUT(KIND_USER),
    ARG_OUT_TEXTURE = ARG_OUT(KIND_TEXTURE),
    ARG_OUT_SURFACE = ARG_OUT(KIND_SURFACE),
    ARG_OUT_TEXREF = ARG_OUT(KIND_TEXREF),
    ARG_OUT_LINK = ARG_OUT(KIND_LINK),
    ARG_OUT_GREEN = ARG_OUT(KIND_GREEN),
    ARG_OUT_DESC = ARG_OUT(KIND_DESC),
    ARG_OUT_RESOURCE = ARG_OUT(KIND_RESOURCE),
    ARG_OUT_COND = ARG_OUT(KIND_COND),
    ARG_OUT_FD = ARG_OUT(KIND_FD),
    ARG_OUT_IPC_MEMORY = ARG_OUT(KIND_IPC_MEMORY),
    ARG_OUT_IPC_EVENT = ARG_OUT(KIND_IPC_EVENT),
    ARG_OUT_EXPORT = ARG_OUT(KIND_EXPORT),
    ARG_OUT_ADDRESS = ARG_OUT(KIND_ADDRESS),
    ARG_OUT_HOST = ARG_OUT(KIND_HOST),
    ARG_OUT_END,

    ARG_OUT_32 = 200,
    ARG_OUT_64,
    ARG_OUT_BYTES,     /* not compared */
    ARG_OUT_RESOURCES, /* as many as ARG_GROUPS says */

    ARG_DEVICE = 300,
    ARG_BYTES, /* a size, pitch or count */
    ARG_FLAGS,
    ARG_SMALL,
    ARG_ENUM,
    ARG_DIM,
    ARG_SHARED,
    ARG_VALUE,
    ARG_HOST, /* host memory, pinned or not */
    ARG_NAME, /* of a kernel or variable */
    ARG_NULL,
    ARG_USER_DATA,
    ARG_HOST_FN,
    ARG_STREAM_FN,
    ARG_KERNEL_PARAMS,
    ARG_LAUNCH_CONFIG,
    ARG_COPY2D,
    ARG_COPY3D,
    ARG_NODE_MEMSET,
    ARG_NODE_KERNEL,
    ARG_NODE_HOST,
    ARG_NODES,
    ARG_ARRAY_DESC,
    ARG_ARRAY3D_DESC,
    ARG_ALLOC_PROP,
    ARG_ACCESS_DESC,
    ARG_POOL_PROPS,
    ARG_LOCATION,
    ARG_LOCATION_VALUE,
    ARG_RESOURCE_DESC,
    ARG_TEXTURE_DESC,
    ARG_RESOURCES, /* two */
    ARG_RESOURCE_TYPE,
    ARG_GROUPS, /* in and out */
    ARG_MULTICAST,
    ARG_IMAGE,
    ARG_IMAGE_BYTES,
    ARG_ZERO,
    ARG_FOUR,
    ARG_ONE,

    ARG_ANY_NODE = 400, /* families.c from here on */
    ARG_MEM_OPS,
    ARG_OPS_COUNT, /* before ARG_OPS */
    ARG_OPS,
    ARG_COPY_PEER,
    ARG_BATCH, /* all arguments of a call */
    ARG_ATTRIBUTE,
    ARG_ASKED_COUNT, /* before ARG_ASKED, which is before ARG_ANSWERS */
    ARG_ASKED,
    ARG_ANSWERS,
    ARG_POOL_VALUE,
    ARG_FLOAT, /* a whole number that the call gets as a float */
};

enum {
    CALL_DESTROYS = 1,    /* its first argument, on success */
    CALL_RESULT_ONLY = 2, /* outputs are not compared */
};

#define ARGS_MAX 12

struct call {
    const char *name;
    const char *area; /* of the API, as the descriptions divide it */
    unsigned flags;
    int count;
    int args[ARGS_MAX]; /* enum arg */
};

#endif
