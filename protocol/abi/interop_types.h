/* protocol/abi/interop_types.h -- the few types that the graphics entry points name
 *
 * All of those entry points are refused; only the width and class of their arguments matter.
 */
#ifndef GP_ABI_INTEROP_TYPES_H
#define GP_ABI_INTEROP_TYPES_H

#include "protocol/abi/cuda_types.h"

typedef unsigned int GLuint;
typedef unsigned int GLenum;
typedef int EGLint;
typedef void *EGLStreamKHR;
typedef void *EGLImageKHR;
typedef uint32_t VdpDevice;
typedef uint32_t VdpVideoSurface;
typedef uint32_t VdpOutputSurface;
typedef int VdpGetProcAddress(VdpDevice device, uint32_t function_id, void **function_p);

typedef enum CUGLDeviceList_enum {
    CU_GL_DEVICE_LIST_ALL = 0x01,
    CU_GL_DEVICE_LIST_CURRENT_FRAME = 0x02,
    CU_GL_DEVICE_LIST_NEXT_FRAME = 0x03
} CUGLDeviceList;

typedef struct CUeglStreamConnection_st *CUeglStreamConnection;

/* Passed by value in memory: only its size is part of the calling convention. */
typedef struct CUeglFrame_st {
    union {
        CUarray pArray[3];
        void *pPitch[3];
    } frame;
    unsigned int width;
    unsigned int height;
    unsigned int depth;
    unsigned int pitch;
    unsigned int planeCount;
    unsigned int numChannels;
    unsigned int frameType;
    unsigned int eglColorFormat;
    CUarray_format cuFormat;
} CUeglFrame;

#endif
