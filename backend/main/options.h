/* backend/main/options.h -- gpupoold's options, from arguments, environment and file */
#ifndef BE_OPTIONS_H
#define BE_OPTIONS_H

#include "backend/memory/stash.h"
#include "backend/tenant/ledger.h"
#include "backend/tenant/policy.h"
#include "protocol/base/options.h"

#define BE_FABRICS_MAX 64

/* For the reference page too. */
extern const struct gp_option_set be_option_set;

/*
 * Load everything; tenants into *policies, which is all zeros or finished, and the caller's to
 * finish on GP_OK. GP_ERR_AGAIN: --help or --version was asked for and answered, end with 0.
 */
GP_CHECK enum gp_status be_options_load(int argc, char *const argv[], struct gp_options **options_p,
                                        struct be_policies *policies);

/* How much more than there is may be promised. GP_ERR_INVALID is logged. */
enum be_stash_pack be_options_pack(const struct gp_options *options);
GP_CHECK enum gp_status be_options_paging(const struct gp_options *options,
                                          struct be_paging *paging_p);

#endif
