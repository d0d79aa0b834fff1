/* tests/support/tenants.h -- a server whose clients are told apart by their certificates
 *
 * alice, bob, carol, dave and eve have one each, with that common name. One server at a time.
 */
#ifndef TEST_TENANTS_H
#define TEST_TENANTS_H

#include "tests/support/client.h"
#include "tests/support/server.h"

/* On tls://, with this configuration file (NULL: none). */
struct test_server test_tenants_start(const char *config);
/* The same with options up to NULL, four at most. */
struct test_server test_tenants_start_with(const char *config, const char *const *options);
void test_tenants_stop(struct test_server *server);
/* The software device is one for all workers of the server that is started next. */
void test_tenants_share_device(void);
/* What its file says from now on, once it is read again. */
void test_tenants_config(const char *config);

/* Connect and open, or fill refused. */
bool test_tenants_try(struct test_client *c, const struct test_server *server, const char *name);
/* The same, or fail the test, and test_client_begin(). */
void test_tenants_open(struct test_client *c, const struct test_server *server, const char *name);
/* cuMemGetInfo: what the client is shown. */
void test_tenants_memory(struct test_client *c, uint64_t *free_p, uint64_t *total_p);

#endif
