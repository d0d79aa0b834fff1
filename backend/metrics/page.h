/* backend/metrics/page.h -- the state of a server as Prometheus reads it
 *
 * Pure: text from what operators are told (protocol/wire/admin.h). Labels are server, gpu, uuid,
 * model, tenant, never a session or a process: their number stays small.
 */
#ifndef BE_PAGE_H
#define BE_PAGE_H

#include "protocol/base/buf.h"
#include "protocol/wire/admin.h"

/* Our own names, as promtool likes them. */
void be_page_metrics(const struct wire_admin_answer *state, struct gp_buf *out);
/* What of it has a name in NVIDIA's DCGM exporter and in HAMi, for dashboards made for these. */
void be_page_compat(const struct wire_admin_answer *state, struct gp_buf *out);

#endif
