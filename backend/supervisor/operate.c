/* backend/supervisor/operate.c -- what operators do */
#include "backend/supervisor/operate.h"

#include "backend/metrics/page.h"
#include "backend/supervisor/accounting.h"
#include "backend/supervisor/supervisor_priv.h"
#include "backend/tenant/view.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void refuse(struct wire_admin_answer *answer, enum wire_control_code code, const char *hint,
                   const char *fmt, ...) GP_PRINTF(4, 5);

static void
refuse(struct wire_admin_answer *answer, enum wire_control_code code, const char *hint,
       const char *fmt, ...)
{
    va_list args;

    answer->code = (uint32_t)code;
    snprintf(answer->hint, sizeof(answer->hint), "%s", hint);
    va_start(args, fmt);
    vsnprintf(answer->reason, sizeof(answer->reason), fmt, args);
    va_end(args);
}

/* -- drain ------------------------------------------------------------------------------------- */

static void
drain(struct be_supervisor *s, const char *who, const struct wire_admin_request *request,
      struct wire_admin_answer *answer)
{
    if (s->draining) {
        refuse(answer, WIRE_CODE_DRAINING, "start it again when it has ended",
               "the server is ending, this cannot be undone");
        return;
    }
    if (request->undo) {
        s->cordoned = s->stopping = false;
        s->cordon_until_ns = GP_FOREVER;
        log_info("%s: takes new sessions again", who);
        return;
    }
    s->cordoned = true;
    s->stopping = request->stop;
    s->cordon_until_ns = GP_FOREVER;
    if (request->deadline_ms != 0)
        s->cordon_until_ns = gp_deadline_after(
            gp_now_ns(), gp_min_u64(request->deadline_ms, UINT32_MAX) * GP_NS_PER_MS);
    answer->affected = s->workers.counts[BE_WORKER_SERVING];
    log_info("%s: drains, %u sessions go on%s", who, answer->affected,
             request->deadline_ms != 0 ? " until the deadline" : "");
}

void
be_operate_check(struct be_supervisor *s)
{
    if ((!s->cordoned && !s->succession.given) || s->draining)
        return;
    if (s->stopping && be_supervisor_busy(s) + s->pending.count == 0) {
        be_supervisor_drain(s, s->config->drain_ns);
        return;
    }
    if (gp_now_ns() < s->cordon_until_ns)
        return;
    s->cordon_until_ns = GP_FOREVER;
    log_warn("the drain's deadline is over: %u sessions are ended",
             s->workers.counts[BE_WORKER_SERVING]);
    for (struct be_worker *w = s->workers.list; w != NULL; w = w->next)
        if (w->state == BE_WORKER_SERVING)
            (void)kill(w->pid, SIGTERM); /* it ends by force if it does not otherwise */
}

/* -- kick -------------------------------------------------------------------------------------- */

static bool
is_meant(struct be_supervisor *s, const struct be_worker *w,
         const struct wire_admin_request *request, struct be_tenant_state *tenant)
{
    struct be_board_view view;
    struct be_slot_view slot;

    if (w->state != BE_WORKER_SERVING || w->dropped)
        return false;
    if (request->session_id != 0)
        return be_board_view(s->board, w->slot, &view) && view.session.id == request->session_id;
    return be_ledger_slot_view(s->workers.ledger, w->slot, &slot) &&
           be_ledger_tenant(s->workers.ledger, slot.tenant, tenant) &&
           strcmp(tenant->policy.name, request->tenant) == 0;
}

static void
kick(struct be_supervisor *s, const char *who, const struct wire_admin_request *request,
     struct wire_admin_answer *answer)
{
    GP_AUTO_FREE struct be_tenant_state *tenant = calloc(1, sizeof(*tenant));

    if (tenant == NULL || (request->session_id == 0 && request->tenant[0] == '\0')) {
        refuse(answer, WIRE_CODE_PROTOCOL, "name a session or a tenant", "nobody is named");
        return;
    }
    for (struct be_worker *w = s->workers.list; w != NULL; w = w->next) {
        if (!is_meant(s, w, request, tenant))
            continue;
        log_warn("%s: worker %d's session %s%s is ended", who, (int)w->pid,
                 request->tenant[0] != '\0' ? "of " : "", request->tenant);
        (void)kill(w->pid, SIGUSR1);
        answer->affected++;
    }
    if (answer->affected == 0 && request->session_id != 0)
        refuse(answer, WIRE_CODE_NO_SESSION, "gpupool get sessions lists them",
               "there is no session %016llx here", (unsigned long long)request->session_id);
    else if (answer->affected == 0)
        refuse(answer, WIRE_CODE_NO_SESSION, "gpupool get sessions lists them",
               "tenant %.100s has no session here", request->tenant);
}

/* -- quota ------------------------------------------------------------------------------------- */

static struct be_policy *
policy_find(struct be_supervisor *s, const char *name)
{
    for (uint32_t i = 0; i < s->policies->count; i++)
        if (strcmp(s->policies->list[i].name, name) == 0)
            return &s->policies->list[i];
    return NULL;
}

static void
quota(struct be_supervisor *s, const char *who, const struct wire_admin_request *request,
      struct wire_admin_answer *answer)
{
    struct be_policy *policy = policy_find(s, request->tenant);
    GP_AUTO_FREE struct be_policy *changed = malloc(sizeof(*changed));

    if (policy == NULL || changed == NULL) {
        refuse(answer, WIRE_CODE_NOT_ALLOWED, "gpupool get tenants lists them",
               "there is no tenant %.100s here", request->tenant);
        return;
    }
    *changed = *policy;
    for (uint32_t i = 0; i < request->setting_count; i++) {
        const struct wire_admin_setting *setting = &request->settings[i];

        switch (be_policy_change(changed, setting->key, setting->value)) {
        case GP_OK:
            answer->affected++;
            break;
        case GP_ERR_NOT_FOUND:
            refuse(answer, WIRE_CODE_NOT_SUPPORTED,
                   "memory, memory-total, share, floor, policy, priority, sessions, "
                   "max-kernel-time, max-hold-time; the rest is in the configuration file",
                   "%s is nothing that can be changed so", setting->key);
            return;
        default:
            refuse(answer, WIRE_CODE_LIMIT, "see backend/tenant/README.md or gpupoold(8)",
                   "\"%.100s\" is no value for %s", setting->value, setting->key);
            return;
        }
        log_info("%s: tenant %s: %s = %s", who, request->tenant, setting->key, setting->value);
    }
    *policy = *changed; /* all of it or nothing */
    be_ledger_publish(s->workers.ledger, s->policies);
}

/* -- all --------------------------------------------------------------------------------------- */

static void
parts_drop(struct wire_admin_answer *answer, uint32_t parts)
{
    struct wire_admin_answer others = {0};

    if ((parts & WIRE_ADMIN_GPUS) == 0) {
        others.gpus = answer->gpus;
        others.gpu_count = answer->gpu_count;
        answer->gpus = NULL;
        answer->gpu_count = 0;
    }
    if ((parts & WIRE_ADMIN_SESSIONS) == 0) {
        others.sessions = answer->sessions;
        others.session_count = answer->session_count;
        answer->sessions = NULL;
        answer->session_count = 0;
    }
    if ((parts & WIRE_ADMIN_TENANTS) == 0) {
        others.transports = answer->transports;
        others.transport_count = answer->transport_count;
        answer->transports = NULL;
        answer->transport_count = 0;
        others.tenants = answer->tenants;
        others.tenant_count = answer->tenant_count;
        answer->tenants = NULL;
        answer->tenant_count = 0;
    }
    wire_admin_answer_fini(&others);
}

/* be_admin.answer */
static void
answer_request(void *user, const char *who, const struct wire_admin_request *request,
               struct wire_admin_answer *answer)
{
    uint32_t parts = request->what == WIRE_ADMIN_LIST ? request->parts : 0;
    struct be_supervisor *s = user;

    switch (request->what) {
    case WIRE_ADMIN_LIST:
        break;
    case WIRE_ADMIN_DRAIN:
        drain(s, who, request, answer);
        break;
    case WIRE_ADMIN_KICK:
        kick(s, who, request, answer);
        break;
    case WIRE_ADMIN_QUOTA:
        quota(s, who, request, answer);
        break;
    default:
        refuse(answer, WIRE_CODE_NOT_SUPPORTED, "a newer server may know it",
               "request %u is not known here", request->what);
        break;
    }
    if (!be_operate_state(s, parts & ~WIRE_ADMIN_ACCOUNTS, answer) ||
        ((parts & WIRE_ADMIN_ACCOUNTS) != 0 && !be_accounting_fill(s, request, answer)))
        refuse(answer, WIRE_CODE_INTERNAL, "see the server's log", "out of memory");
    parts_drop(answer, parts);
}

/* be_workers.gone: what a session did is not forgotten. */
static void
worker_gone(void *user, const struct be_worker *worker)
{
    GP_AUTO_FREE struct be_tenant_state *tenant = calloc(1, sizeof(*tenant));
    struct be_supervisor *s = user;
    struct be_totals *totals = &s->totals[BE_TENANTS_MAX];
    struct be_board_view view;
    struct be_slot_view slot;

    if (tenant != NULL && be_board_view(s->board, worker->slot, &view) &&
        be_ledger_slot_view(s->workers.ledger, worker->slot, &slot)) {
        if (be_ledger_tenant(s->workers.ledger, slot.tenant, tenant)) {
            totals = &s->totals[slot.tenant];
            if (strcmp(totals->name, tenant->policy.name) != 0)
                memset(totals, 0, sizeof(*totals)); /* it was somebody else's entry */
            snprintf(totals->name, sizeof(totals->name), "%s", tenant->policy.name);
        }
        totals->sessions += !view.session.monitor;
        for (int i = 0; i < BE_WAY_END; i++) {
            s->bytes[i].in += view.bytes[i].in;
            s->bytes[i].out += view.bytes[i].out;
        }
        for (int i = 0; i < BE_COUNT_END; i++)
            totals->counts[i] += view.counts[i];
    }
    be_accounting_gone(s, worker);
    be_board_row_clear(s->board, worker->slot);
}

/* be_http_page_fn */
static bool
page(void *user, const char *path, struct gp_buf *out)
{
    bool ours = strcmp(path, "/metrics") == 0;
    struct wire_admin_answer state = {0};

    if (strcmp(path, "/healthz") == 0) {
        gp_buf_append_text(out, "ok\n");
        return true;
    }
    if (!ours && strcmp(path, "/metrics/compat") != 0 && strcmp(path, "/metrics/dcgm") != 0)
        return false;
    if (!be_operate_state(user, WIRE_ADMIN_GPUS, &state))
        out->status = GP_ERR_NO_MEMORY;
    else if (ours)
        be_page_metrics(&state, out);
    else
        be_page_compat(&state, out);
    wire_admin_answer_fini(&state);
    return true;
}

void
be_operate_policies(struct be_supervisor *s, const struct be_policies *policies)
{
    memset(s->policies, 0, sizeof(*s->policies));
    s->policies->count = policies->count;
    memcpy(s->policies->list, policies->list, sizeof(s->policies->list));
}

enum gp_status
be_operate_open(struct be_supervisor *s)
{
    enum gp_status status;

    s->policies = calloc(1, sizeof(*s->policies));
    if (s->policies == NULL)
        return GP_ERR_NO_MEMORY;
    be_operate_policies(s, s->config->policies);
    s->started_ms = gp_wall_ms();
    s->admin.answer = answer_request;
    s->admin.user = s;
    s->workers.gone = worker_gone;
    s->workers.user = s;
    status = be_board_create(&s->board);
    if (status == GP_OK) {
        s->workers.board = be_board_fd(s->board);
        status = be_admin_open(&s->admin, s->config->admin_socket, s->succession.predecessor >= 0);
    }
    if (status == GP_OK && s->config->metrics != NULL)
        status = be_http_open(s->config->metrics, page, s, &s->http);
    return status;
}

void
be_operate_close(struct be_supervisor *s)
{
    be_http_close(s->http);
    be_admin_close(&s->admin, false);
    be_registry_end(s);
    be_board_close(s->board);
    free(s->policies);
}

void
be_operate_connect(struct be_supervisor *s, struct be_worker *worker)
{
    struct be_handoff what = {0};
    struct be_board_view view;
    char who[64];
    int fd;

    worker->connected = true;
    snprintf(who, sizeof(who), "operator %.40s",
             be_board_view(s->board, worker->slot, &view) ? view.session.common_name : "?");
    if (be_admin_line_make(&s->admin, who, &fd) != GP_OK) {
        log_warn("admin: %s is not served, %d operators are here", who, BE_ADMIN_LINES_MAX);
        (void)kill(worker->pid, SIGTERM);
        return;
    }
    snprintf(what.scheme, sizeof(what.scheme), "admin");
    if (be_handoff_send(worker->socket, &what, fd) != GP_OK)
        (void)kill(worker->pid, SIGTERM);
    close(fd);
}

void
be_operate_hand_over(struct be_supervisor *s)
{
    s->stopping = true;
    be_http_close(s->http);
    s->http = NULL;
    be_admin_close(&s->admin, true); /* the registrar hears it, and takes our entries back */
    be_operate_leave(s);
}

void
be_operate_leave(struct be_supervisor *s)
{
    for (struct be_worker *w = s->workers.list; w != NULL; w = w->next)
        if (w->state == BE_WORKER_ADMIN)
            (void)kill(w->pid, SIGTERM);
}
