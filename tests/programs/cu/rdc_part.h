/* tests/programs/cu/rdc_part.h -- what rdc_part.cu offers to rdc_main.cu */
#ifndef TEST_PROGRAMS_RDC_PART_H
#define TEST_PROGRAMS_RDC_PART_H

extern __device__ int part_table[8];

/* x*x + shared_counter */
__device__ int part_transform(int x);

/* Runs a kernel of that file; its answer. */
int part_launch();

#endif
