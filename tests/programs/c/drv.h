/* tests/programs/c/drv.h -- what the driver API test programs share
 *
 * A program prints what it found, always the same on any device, and ends with
 * `return drv_result("name")`: 0 only if no check failed. Failed checks go to
 * standard error with file and line. Threads: the checks may be used by any. */
#ifndef TEST_PROGRAMS_DRV_H
#define TEST_PROGRAMS_DRV_H

#include "api.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The call must succeed; a failure ends the program with status 2. */
#define CU(call) drv_must((call), #call, __FILE__, __LINE__)
/* The call must give this very code; a difference is counted. */
#define EXPECT_CU(want, call) drv_expect_cu((want), (call), #call, __FILE__, __LINE__)
/* The condition must hold; a difference is counted. */
#define EXPECT(cond) drv_expect((cond), #cond, __FILE__, __LINE__)

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

void drv_must(CUresult cr, const char *what, const char *file, int line);
void drv_expect_cu(CUresult want, CUresult got, const char *what, const char *file, int line);
bool drv_expect(bool ok, const char *what, const char *file, int line);

/* Device 0 with its primary context current in this thread. */
CUdevice drv_open(void);
/* Gives the primary context back. */
void drv_close(CUdevice dev);

/* The function `name` of a PTX text; the module stays loaded. */
CUfunction drv_kernel(const char *ptx, const char *name);

/* Launch in one dimension with 128 threads a block over n elements. */
void drv_launch(CUfunction f, uint32_t n, CUstream stream, void **params);

/* x after `rounds` steps of the generator that kernel `burn` computes. */
uint32_t drv_lcg(uint32_t x, uint32_t rounds);

/* The error's name, or "?" where the driver knows none. */
const char *drv_name(CUresult cr);

/* A word of device memory. */
uint32_t drv_word_at(CUdeviceptr p);

/* body in a forked child, which must be made before cuInit: its status, or 128 and the signal that
 * ended it. */
int drv_in_child(int (*body)(void));

/* A message to another process over a socket that keeps them apart, with a descriptor unless that
 * is -1; and one from it, with its descriptor or -1. The other's end is this program's, with 3. */
void drv_tell(int peer, const void *data, size_t bytes, int fd);
int drv_hear(int peer, void *data, size_t bytes);

/* Prints the outcome; the program's exit status. */
int drv_result(const char *name);

#endif
