/* backend/cuda/account.h -- device memory that is not allocated inside a lease
 *
 * Contexts, modules, arrays, pools, graphs, limits: what the driver takes for them counts for the
 * tenant too. Where the size is known it is charged before it is taken (be_account_charge); where
 * only the driver knows, it is measured around the call (struct be_meter).
 *
 * Threads: the executor. Nothing costs anything while no tenant is configured.
 */
#ifndef BE_ACCOUNT_H
#define BE_ACCOUNT_H

#include "backend/cuda/state.h"

/* OUT_OF_MEMORY over the tenant's quota or the device's memory; then nothing is charged. */
CUresult be_account_charge(struct be_session *session, int32_t device, uint64_t bytes);
void be_account_uncharge(struct be_session *session, int32_t device, uint64_t bytes);

struct be_meter {
    bool on;
    int32_t device;
    uint64_t free_bytes, others_bytes;
};

/* A context of device is current. */
void be_meter_begin(struct be_session *session, int32_t device, struct be_meter *meter);
/* Charge what the driver took meanwhile; *charged_p grows by it. OUT_OF_MEMORY over a limit, and
 * then nothing is charged: the caller undoes. */
CUresult be_meter_end(struct be_session *session, const struct be_meter *meter,
                      uint64_t *charged_p);
/* The same over a limit too: it is there and stays. */
void be_meter_end_anyway(struct be_session *session, const struct be_meter *meter,
                         uint64_t *charged_p);

/* What a context of the device costs, measured once on an idle device; 0 if that is not known. */
uint64_t be_account_context_cost(const struct be_driver *driver, int32_t device);

#endif
