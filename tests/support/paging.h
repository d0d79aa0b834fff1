/* tests/support/paging.h -- sessions on one small device that was promised more than once
 *
 * The software device has a name, so that all workers share its bytes: it refuses what does not
 * fit, and what was paged out is not mapped.
 */
#ifndef TEST_PAGING_H
#define TEST_PAGING_H

#include "protocol/wire/admin.h"
#include "tests/support/tenants.h"

#define MIB (1ull << 20)
/* Small, for the processor really copies these bytes. */
#define DEVICE (40 * MIB)
#define MOST   (38 * MIB) /* 95 % of it */
#define PIECE  (2 * MIB)
#define PIECES 19

/* alice, bob, carol and dave, with MOST each. */
extern const char paging_two[];
extern const char *const paging_names[4];

struct test_server paging_server(const char *config, const char *one, const char *other);
/* All that it may have; the lease. */
uint64_t paging_lease_all(struct test_client *c);

/* Pieces are numbered, and 64 MiB apart. */
uint64_t paging_at(const struct test_client *c, unsigned piece);
void paging_take(struct test_client *c, unsigned piece, uint64_t bytes);
/* Memory of the program's own, mapped there. */
#define OBJECT(piece) ID(10 + (piece))
void paging_object_as(struct test_client *c, unsigned piece, uint64_t bytes, uint64_t id);
void paging_object(struct test_client *c, unsigned piece, uint64_t bytes);
void paging_fill(struct test_client *c, unsigned piece, uint64_t bytes, uint32_t value);
/* The words at some places of a piece are all value. */
bool paging_holds(struct test_client *c, unsigned piece, uint64_t bytes, uint32_t value);

/* A kernel that does nothing, but might do anything: its row, and one launch of it. */
int paging_kernel(struct test_client *c);
void paging_launch(struct test_client *c, int row);

/* What operators see, by the socket at path. */
void paging_admin(const char *path, struct wire_admin_answer *answer_p);

#endif
