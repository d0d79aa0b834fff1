/* transport/tls/look.h -- what a certificate file says, for who looks for faults
 *
 * Pure but for the files. Nothing is logged.
 */
#ifndef TP_TLS_LOOK_H
#define TP_TLS_LOOK_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct tp_cert_look {
    char name[256];          /* the common name, or what there is of the subject */
    int64_t from_s, until_s; /* valid, since 1970 */
    bool is_ca;
    bool for_client; /* by its extended key usage; also without one */
};

/* The first certificate of a PEM file: GP_ERR_NOT_FOUND, GP_ERR_IO (cannot be read),
 * GP_ERR_INVALID (no certificate in it). */
GP_CHECK enum gp_status tp_cert_look(const char *path, struct tp_cert_look *look_p);
/* Whether the key of one file belongs to the certificate of the other: GP_ERR_NOT_FOUND, GP_ERR_IO
 * as above for the key, GP_ERR_INVALID for a key that is none, GP_ERR_AUTH for another's. */
GP_CHECK enum gp_status tp_cert_key_check(const char *cert_path, const char *key_path);
/* Whether somebody in the file ca_path signed the certificate; dates are not looked at. */
GP_CHECK enum gp_status tp_cert_signed_check(const char *cert_path, const char *ca_path);

#endif
