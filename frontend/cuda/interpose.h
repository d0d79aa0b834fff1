/* frontend/cuda/interpose.h -- system calls of the program that are handed coherent memory
 *
 * The kernel does not wait for a page that a signal handler would bring: read(2) into it and
 * write(2) from it fail with EFAULT. So the pages are brought before, by functions that stand in
 * for libc's in the tables through which the program and its libraries call them. Only a process
 * that has coherent memory is changed, when it gets the first.
 */
#ifndef FE_INTERPOSE_H
#define FE_INTERPOSE_H

/* All objects that are loaded now and were not seen before. Cheap when there are none. */
void fe_interpose(void);

#endif
