/* backend/driver/soft/ptx/sregs.h -- special registers: S(identifier, "name", bytes, components) */
#ifndef SD_PTX_SREGS_H
#define SD_PTX_SREGS_H

#define SD_SREGS(S)                                                                                \
    S(TID, "%tid", 4, 3)                                                                           \
    S(NTID, "%ntid", 4, 3)                                                                         \
    S(CTAID, "%ctaid", 4, 3)                                                                       \
    S(NCTAID, "%nctaid", 4, 3)                                                                     \
    S(CLUSTERID, "%clusterid", 4, 3)                                                               \
    S(NCLUSTERID, "%nclusterid", 4, 3)                                                             \
    S(CLUSTER_CTAID, "%cluster_ctaid", 4, 3)                                                       \
    S(CLUSTER_NCTAID, "%cluster_nctaid", 4, 3)                                                     \
    S(CLUSTER_CTARANK, "%cluster_ctarank", 4, 1)                                                   \
    S(CLUSTER_NCTARANK, "%cluster_nctarank", 4, 1)                                                 \
    S(IS_EXPLICIT_CLUSTER, "%is_explicit_cluster", 0, 1)                                           \
    S(LANEID, "%laneid", 4, 1)                                                                     \
    S(WARPID, "%warpid", 4, 1)                                                                     \
    S(NWARPID, "%nwarpid", 4, 1)                                                                   \
    S(SMID, "%smid", 4, 1)                                                                         \
    S(NSMID, "%nsmid", 4, 1)                                                                       \
    S(GRIDID, "%gridid", 8, 1)                                                                     \
    S(LANEMASK_EQ, "%lanemask_eq", 4, 1)                                                           \
    S(LANEMASK_LE, "%lanemask_le", 4, 1)                                                           \
    S(LANEMASK_LT, "%lanemask_lt", 4, 1)                                                           \
    S(LANEMASK_GE, "%lanemask_ge", 4, 1)                                                           \
    S(LANEMASK_GT, "%lanemask_gt", 4, 1)                                                           \
    S(CLOCK, "%clock", 4, 1)                                                                       \
    S(CLOCK_HI, "%clock_hi", 4, 1)                                                                 \
    S(CLOCK64, "%clock64", 8, 1)                                                                   \
    S(GLOBALTIMER, "%globaltimer", 8, 1)                                                           \
    S(GLOBALTIMER_LO, "%globaltimer_lo", 4, 1)                                                     \
    S(GLOBALTIMER_HI, "%globaltimer_hi", 4, 1)                                                     \
    S(ENVREG1, "%envreg1", 4, 1)                                                                   \
    S(ENVREG2, "%envreg2", 4, 1)                                                                   \
    S(TOTAL_SMEM_SIZE, "%total_smem_size", 4, 1)                                                   \
    S(AGGR_SMEM_SIZE, "%aggr_smem_size", 4, 1)                                                     \
    S(DYNAMIC_SMEM_SIZE, "%dynamic_smem_size", 4, 1)                                               \
    S(CURRENT_GRAPH_EXEC, "%current_graph_exec", 8, 1)                                             \
    S(RESERVED_SMEM_BEGIN, "%reserved_smem_offset_begin", 4, 1)                                    \
    S(RESERVED_SMEM_END, "%reserved_smem_offset_end", 4, 1)                                        \
    S(RESERVED_SMEM_CAP, "%reserved_smem_offset_cap", 4, 1)                                        \
    S(WARP_SZ, "WARP_SZ", 4, 1)                                                                    \
    S(ZERO, "", 4, 1) /* all other %envregN and %pmN */

enum sd_sreg_kind {
#define S(id, name, bytes, comps) SD_SREG_##id,
    SD_SREGS(S)
#undef S
    SD_SREG_COUNT,
};

/* An operand's register number is kind * 4 + component. */
#define SD_SREG(kind, comp) ((uint32_t)(kind) * 4 + (comp))

#endif
