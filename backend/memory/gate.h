/* backend/memory/gate.h -- streams that wait for the host, without a thread that waits in them
 *
 * A gate is a word in pinned memory that a stream waits for (stream memory operations). Host
 * functions would do for one stream; a driver may run those of all streams one after the other, and
 * then one that waits holds up all others.
 *
 * Threads: _close by the executor with the context current; _open by any, without a call of the
 * driver. Lock: gates.lock (rank 40).
 */
#ifndef BE_GATE_H
#define BE_GATE_H

#include "backend/driver/driver.h"

struct be_gates;
struct be_gate;

CUresult be_gates_create(const struct be_driver *driver, struct be_gates **gates_p);
/* With the context current and nothing of it running. */
void be_gates_destroy(struct be_gates *gates);

/* What is queued on stream after this call waits until the gate is opened. Each gate must be
 * opened, once. CUDA_ERROR_NOT_SUPPORTED: the driver has no stream memory operations. */
CUresult be_gate_close(struct be_gates *gates, CUstream stream, struct be_gate **gate_p);
void be_gate_open(struct be_gates *gates, struct be_gate *gate);

#endif
