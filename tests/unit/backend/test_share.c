/* tests/unit/backend/test_share.c -- what sessions offer each other, and to whom */
#include "backend/memory/share.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct be_share *
make(const char *tenant)
{
    struct be_share *share = NULL;

    cr_assert_eq(be_share_create(tenant, &share), GP_OK);
    return share;
}

/* An offer of parts files in memory; each is as long as its number says. */
static struct be_offer
offer_of(enum be_share_kind kind, uint32_t parts)
{
    struct be_offer offer = {.kind = kind, .device = 3, .bytes = 77, .offset = 5};

    offer.fds = malloc((parts + 1) * sizeof(int));
    offer.part_bytes = malloc((parts + 1) * sizeof(uint64_t));
    for (uint32_t i = 0; i < parts; i++) {
        offer.fds[i] = memfd_create("part", MFD_CLOEXEC);
        cr_assert_geq(offer.fds[i], 0);
        cr_assert_eq(ftruncate(offer.fds[i], 100 + i), 0);
        offer.part_bytes[i] = 1000 + i;
    }
    offer.parts = parts;
    memcpy(offer.data, "some bytes", 11);
    return offer;
}

static unsigned
descriptors(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 4096; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

Test(share, another_session_of_the_tenant_gets_what_is_offered)
{
    struct be_share *maker = make("alice"), *user = make("alice");
    struct be_offer offer = offer_of(BE_SHARE_MEMORY, 150), got;
    uint8_t token[BE_TOKEN_BYTES];
    struct stat st;

    cr_assert_eq(be_share_offer(maker, "key", &offer, token), GP_OK);
    cr_assert_eq(be_share_fetch(user, token, BE_SHARE_MEMORY, &got), GP_OK);
    cr_assert_eq(got.parts, 150);
    cr_assert_eq(got.device, 3);
    cr_assert_eq(got.bytes, 77);
    cr_assert_eq(got.offset, 5);
    cr_assert_str_eq((const char *)got.data, "some bytes");
    for (uint32_t i = 0; i < 150; i++) {
        cr_assert_eq(fstat(got.fds[i], &st), 0);
        cr_assert_eq(st.st_size, 100 + i);
        cr_assert_eq(got.part_bytes[i], 1000 + i);
    }
    be_offer_fini(&got);
    cr_assert(be_share_is_own(maker, token));
    cr_assert_not(be_share_is_own(user, token));
    be_share_destroy(user);
    be_share_destroy(maker);
}

Test(share, a_session_gets_its_own_too)
{
    struct be_share *maker = make("alice");
    struct be_offer offer = offer_of(BE_SHARE_OBJECT, 1), got;
    uint8_t token[BE_TOKEN_BYTES];

    cr_assert_eq(be_share_offer(maker, "key", &offer, token), GP_OK);
    cr_assert_eq(be_share_fetch(maker, token, BE_SHARE_OBJECT, &got), GP_OK);
    be_offer_fini(&got);
    be_share_destroy(maker);
}

Test(share, other_tenants_other_kinds_and_forged_tokens_get_nothing)
{
    struct be_share *maker = make("alice"), *user = make("alice"), *other = make("bob");
    struct be_offer offer = offer_of(BE_SHARE_MEMORY, 1), got;
    uint8_t token[BE_TOKEN_BYTES], forged[BE_TOKEN_BYTES];

    cr_assert_eq(be_share_offer(maker, "key", &offer, token), GP_OK);
    cr_assert_eq(be_share_fetch(other, token, BE_SHARE_MEMORY, &got), GP_ERR_NOT_FOUND);
    cr_assert_eq(be_share_fetch(user, token, BE_SHARE_OBJECT, &got), GP_ERR_NOT_FOUND);
    cr_assert_eq(be_share_fetch(maker, token, BE_SHARE_OBJECT, &got), GP_ERR_NOT_FOUND);
    for (unsigned i = 0; i < BE_TOKEN_BYTES; i++) {
        memcpy(forged, token, sizeof(forged));
        forged[i] ^= 1;
        cr_assert_eq(be_share_fetch(user, forged, BE_SHARE_MEMORY, &got), GP_ERR_NOT_FOUND,
                     "byte %u", i);
    }
    memset(forged, 0, sizeof(forged));
    cr_assert_eq(be_share_fetch(user, forged, BE_SHARE_MEMORY, &got), GP_ERR_NOT_FOUND);
    be_share_destroy(other);
    be_share_destroy(user);
    be_share_destroy(maker);
}

static bool
is_second(void *user, const void *key, uint32_t kind)
{
    (void)kind;
    return key == user;
}

Test(share, what_is_withdrawn_is_gone_and_no_descriptor_stays)
{
    unsigned before = descriptors();
    struct be_share *maker = make("alice"), *user = make("alice");
    struct be_offer one = offer_of(BE_SHARE_MEMORY, 2), two = offer_of(BE_SHARE_MEMORY, 2), got;
    uint8_t first[BE_TOKEN_BYTES], second[BE_TOKEN_BYTES], again[BE_TOKEN_BYTES];
    int keys[2];

    cr_assert_eq(be_share_offer(maker, &keys[0], &one, first), GP_OK);
    cr_assert_eq(be_share_offer(maker, &keys[1], &two, second), GP_OK);
    cr_assert(be_share_token(maker, &keys[0], again));
    cr_assert_arr_eq(first, again, BE_TOKEN_BYTES);
    be_share_withdraw(maker, &keys[0]);
    be_share_withdraw(maker, &keys[0]);
    cr_assert_not(be_share_token(maker, &keys[0], again));
    cr_assert_eq(be_share_fetch(user, first, BE_SHARE_MEMORY, &got), GP_ERR_NOT_FOUND);
    cr_assert_eq(be_share_fetch(user, second, BE_SHARE_MEMORY, &got), GP_OK);
    be_offer_fini(&got);
    be_share_prune(maker, is_second, &keys[1]);
    cr_assert_eq(be_share_fetch(user, second, BE_SHARE_MEMORY, &got), GP_ERR_NOT_FOUND);
    be_share_destroy(maker);
    cr_assert_eq(be_share_fetch(user, second, BE_SHARE_MEMORY, &got), GP_ERR_NOT_FOUND);
    be_share_destroy(user);
    cr_assert_eq(descriptors(), before);
}
