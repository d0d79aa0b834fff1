/* frontend/cuda/fault.h -- the program's touch of a protected page
 *
 * The signal handler hands the fault to a thread of its own and waits: it needs no lock, no memory
 * and hardly any stack, whatever the touching thread was doing. That thread asks the server.
 * A fault that is not ours goes to the handler that the program has set, before or after ours.
 */
#ifndef FE_FAULT_H
#define FE_FAULT_H

#include "protocol/abi/cuda_types.h"

#include <signal.h>
#include <stdbool.h>

/* Once, with the first region: handler, thread, what interpose.h does. */
CUresult fe_fault_start(void);
/* The handler must still be ours, also where somebody set one behind our back. */
void fe_fault_check(void);
/* Wake the thread: something must be pumped. */
void fe_fault_ring(void);
/* The calling thread, which is ours, runs functions of the program: let it fault. */
void fe_fault_allow(void);

/* What the program's own sigaction(SIGSEGV) gets; 0, or an errno. */
int fe_fault_sigaction(const struct sigaction *act, struct sigaction *old);

#endif
