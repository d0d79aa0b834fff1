/* backend/driver/soft/exec/cluster.h -- flags of the operation on addresses in a cluster */
#ifndef SD_CLUSTER_H
#define SD_CLUSTER_H

enum sd_cluster_flags {
    SD_CLUSTER_MAPA = 0,   /* dst: the address of the same place in the block of rank b */
    SD_CLUSTER_RANK = 1,   /* dst: the rank of the block that the address belongs to */
    SD_CLUSTER_IS_OWN = 2, /* dst: a predicate */
    SD_CLUSTER_OP = 3,
    SD_CLUSTER_GENERIC = 4, /* the address is generic, not one of shared memory */
    SD_CLUSTER_WIDE = 8,    /* and of 8 bytes */
};

#endif
