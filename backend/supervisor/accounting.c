/* backend/supervisor/accounting.c */
#include "backend/supervisor/accounting.h"

#include "backend/supervisor/accounts.h"
#include "backend/supervisor/supervisor_priv.h"
#include "backend/tenant/view.h"
#include "protocol/base/clock.h"
#include "protocol/base/util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(BE_ACCOUNT_SLOTS >= BE_BOARD_ROWS, "each row's session is followed");

enum gp_status
be_accounting_open(struct be_supervisor *s)
{
    return be_accounts_open(s->config->accounts, gp_wall_ms(), &s->accounts);
}

void
be_accounting_close(struct be_supervisor *s)
{
    be_accounts_close(s->accounts, gp_wall_ms());
    s->accounts = NULL;
}

static uint64_t
calls_of(const uint64_t counts[BE_COUNT_END])
{
    uint64_t sum = 0;

    for (int i = 0; i < BE_COUNT_CLASSES; i++)
        sum += counts[i];
    return sum;
}

static void
look(struct be_supervisor *s, const struct be_worker *w, struct be_board_view *view,
     struct be_tenant_state *tenant, uint64_t now_ms)
{
    struct be_account_seen seen = {.name = view->session.common_name};
    struct be_slot_view slot;

    if (!be_board_view(s->board, w->slot, view) || view->session.monitor ||
        !be_ledger_slot_view(s->workers.ledger, w->slot, &slot))
        return;
    if (slot.tenant != BE_TENANT_NONE && be_ledger_tenant(s->workers.ledger, slot.tenant, tenant))
        seen.name = tenant->policy.name;
    for (unsigned d = 0; d < BE_LEDGER_DEVICES; d++)
        seen.gpus += slot.use[d].used + slot.use[d].other > 0;
    seen.session_id = view->session.id;
    seen.opened_ms = view->session.opened_ms;
    seen.launches = view->counts[BE_COUNT_LAUNCHES];
    seen.calls = calls_of(view->counts);
    seen.bytes_in = view->counts[BE_COUNT_BYTES_IN];
    seen.bytes_out = view->counts[BE_COUNT_BYTES_OUT];
    be_accounts_look(s->accounts, w->slot, &seen, now_ms);
}

static void
look_at_all(struct be_supervisor *s, uint64_t now_ms)
{
    GP_AUTO_FREE struct be_tenant_state *tenant = calloc(1, sizeof(*tenant));
    struct be_board_view view;

    for (const struct be_worker *w = s->workers.list; tenant != NULL && w != NULL; w = w->next)
        if (w->state == BE_WORKER_SERVING)
            look(s, w, &view, tenant, now_ms);
    be_accounts_looked(s->accounts, now_ms, s->succession.predecessor < 0 && !s->succession.given);
}

uint64_t
be_accounting_check(struct be_supervisor *s, uint64_t now_ns)
{
    uint64_t now_ms = gp_wall_ms(), next_ms = be_accounts_next_ms(s->accounts);

    /* Also where the clock was set back. */
    if (now_ms >= next_ms || next_ms - now_ms > 2 * BE_ACCOUNT_LOOK_MS) {
        look_at_all(s, now_ms);
        next_ms = now_ms + BE_ACCOUNT_LOOK_MS;
    }
    return gp_deadline_after(now_ns, (next_ms - now_ms) * GP_NS_PER_MS);
}

void
be_accounting_gone(struct be_supervisor *s, const struct be_worker *worker)
{
    GP_AUTO_FREE struct be_tenant_state *tenant = calloc(1, sizeof(*tenant));
    struct be_board_view view;

    if (s->accounts == NULL)
        return;
    if (tenant != NULL && worker->state == BE_WORKER_SERVING)
        look(s, worker, &view, tenant, gp_wall_ms());
    be_accounts_gone(s->accounts, worker->slot);
}

static void
row_fill(const struct be_account *row, struct wire_admin_account *out)
{
    snprintf(out->tenant, sizeof(out->tenant), "%s", row->name);
    out->sessions = row->sums[BE_ACCOUNT_SESSIONS];
    out->session_ms = row->sums[BE_ACCOUNT_SESSION_MS];
    out->gpu_ms = row->sums[BE_ACCOUNT_GPU_MS];
    out->launches = row->sums[BE_ACCOUNT_LAUNCHES];
    out->calls = row->sums[BE_ACCOUNT_CALLS];
    out->bytes_in = row->sums[BE_ACCOUNT_BYTES_IN];
    out->bytes_out = row->sums[BE_ACCOUNT_BYTES_OUT];
}

bool
be_accounting_fill(struct be_supervisor *s, const struct wire_admin_request *request,
                   struct wire_admin_answer *answer)
{
    GP_AUTO_FREE struct be_account *rows = NULL;
    size_t count = 0;

    look_at_all(s, gp_wall_ms());
    if (!be_accounts_sum(s->accounts, request->from_day,
                         request->to_day != 0 ? request->to_day : UINT32_MAX, &rows, &count))
        return false;
    count = gp_min_u64(count, WIRE_ADMIN_ACCOUNTS_MAX);
    answer->accounts = calloc(count + 1, sizeof(*answer->accounts));
    if (answer->accounts == NULL)
        return false;
    answer->account_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        row_fill(&rows[i], &answer->accounts[i]);
    return true;
}
