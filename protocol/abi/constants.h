/* protocol/abi/constants.h -- constants of the CUDA driver API that are no enumerators */
#ifndef GP_ABI_CONSTANTS_H
#define GP_ABI_CONSTANTS_H

#define CUDA_VERSION 13000
#define CU_IPC_HANDLE_SIZE                 64
#define CU_STREAM_LEGACY                   ((CUstream)0x1)
#define CU_STREAM_PER_THREAD               ((CUstream)0x2)
#define CU_COMPUTE_ACCELERATED_TARGET_BASE 0x10000
#define CU_COMPUTE_FAMILY_TARGET_BASE      0x20000
#define CU_GRAPH_COND_ASSIGN_DEFAULT                  0x1
#define CU_GRAPH_KERNEL_NODE_PORT_DEFAULT             0
#define CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC        1
#define CU_GRAPH_KERNEL_NODE_PORT_LAUNCH_ORDER        2
#define CU_KERNEL_NODE_ATTRIBUTE_ACCESS_POLICY_WINDOW CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW
#define CU_KERNEL_NODE_ATTRIBUTE_COOPERATIVE          CU_LAUNCH_ATTRIBUTE_COOPERATIVE
#define CU_KERNEL_NODE_ATTRIBUTE_CLUSTER_DIMENSION    CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
#define CU_KERNEL_NODE_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE                              \
    CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE
#define CU_KERNEL_NODE_ATTRIBUTE_PRIORITY            CU_LAUNCH_ATTRIBUTE_PRIORITY
#define CU_KERNEL_NODE_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP
#define CU_KERNEL_NODE_ATTRIBUTE_MEM_SYNC_DOMAIN     CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN
#define CU_KERNEL_NODE_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION                                       \
    CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION
#define CU_KERNEL_NODE_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE                                      \
    CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE
#define CU_KERNEL_NODE_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT                                  \
    CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT
#define CU_STREAM_ATTRIBUTE_ACCESS_POLICY_WINDOW                 CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW
#define CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY               CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY
#define CU_STREAM_ATTRIBUTE_PRIORITY                             CU_LAUNCH_ATTRIBUTE_PRIORITY
#define CU_STREAM_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP                  CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP
#define CU_STREAM_ATTRIBUTE_MEM_SYNC_DOMAIN                      CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN
#define CU_MEMHOSTALLOC_PORTABLE                                 0x01
#define CU_MEMHOSTALLOC_DEVICEMAP                                0x02
#define CU_MEMHOSTALLOC_WRITECOMBINED                            0x04
#define CU_MEMHOSTREGISTER_PORTABLE                              0x01
#define CU_MEMHOSTREGISTER_DEVICEMAP                             0x02
#define CU_MEMHOSTREGISTER_IOMEMORY                              0x04
#define CU_MEMHOSTREGISTER_READ_ONLY                             0x08
#define CU_ARRAY_SPARSE_PROPERTIES_SINGLE_MIPTAIL                0x1
#define CU_TENSOR_MAP_NUM_QWORDS                                 16
#define CUDA_EXTERNAL_MEMORY_DEDICATED                           0x1
#define CUDA_EXTERNAL_SEMAPHORE_SIGNAL_SKIP_NVSCIBUF_MEMSYNC     0x01
#define CUDA_EXTERNAL_SEMAPHORE_WAIT_SKIP_NVSCIBUF_MEMSYNC       0x02
#define CUDA_NVSCISYNC_ATTR_SIGNAL                               0x1
#define CUDA_NVSCISYNC_ATTR_WAIT                                 0x2
#define CU_MEM_CREATE_USAGE_TILE_POOL                            0x1
#define CU_MEM_CREATE_USAGE_HW_DECOMPRESS                        0x2
#define CU_MEM_POOL_CREATE_USAGE_HW_DECOMPRESS                   0x2
#define CUDA_COOPERATIVE_LAUNCH_MULTI_DEVICE_NO_PRE_LAUNCH_SYNC  0x01
#define CUDA_COOPERATIVE_LAUNCH_MULTI_DEVICE_NO_POST_LAUNCH_SYNC 0x02
#define CUDA_ARRAY3D_LAYERED                                     0x01
#define CUDA_ARRAY3D_2DARRAY                                     0x01
#define CUDA_ARRAY3D_SURFACE_LDST                                0x02
#define CUDA_ARRAY3D_CUBEMAP                                     0x04
#define CUDA_ARRAY3D_TEXTURE_GATHER                              0x08
#define CUDA_ARRAY3D_DEPTH_TEXTURE                               0x10
#define CUDA_ARRAY3D_COLOR_ATTACHMENT                            0x20
#define CUDA_ARRAY3D_SPARSE                                      0x40
#define CUDA_ARRAY3D_DEFERRED_MAPPING                            0x80
#define CUDA_ARRAY3D_VIDEO_ENCODE_DECODE                         0x100
#define CU_TRSA_OVERRIDE_FORMAT                                  0x01
#define CU_TRSF_READ_AS_INTEGER                                  0x01
#define CU_TRSF_NORMALIZED_COORDINATES                           0x02
#define CU_TRSF_SRGB                                             0x10
#define CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION                   0x20
#define CU_TRSF_SEAMLESS_CUBEMAP                                 0x40
#define CU_LAUNCH_KERNEL_REQUIRED_BLOCK_DIM                      1
#define CU_LAUNCH_PARAM_END_AS_INT                               0x00
#define CU_LAUNCH_PARAM_END                                      ((void *)CU_LAUNCH_PARAM_END_AS_INT)
#define CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT                    0x01
#define CU_LAUNCH_PARAM_BUFFER_POINTER                           ((void *)CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT)
#define CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT                       0x02
#define CU_LAUNCH_PARAM_BUFFER_SIZE                              ((void *)CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT)
#define CU_PARAM_TR_DEFAULT                                      -1
#define CU_DEVICE_CPU                                            ((CUdevice)-1)
#define CU_DEVICE_INVALID                                        ((CUdevice)-2)

#endif
