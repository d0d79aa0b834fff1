/* protocol/wire/preface.h -- the clear words before a further connection of an open session
 *
 * WIRE_PREFACE_BYTES that tell whoever accepts connections which session this one belongs to, so
 * that it can be handed to the process that has it; little endian:
 *
 *   offset  0  u8[8]  "GPsess1\n"
 *           8  u64    session id, not 0
 *          16  u8[16] 0
 *
 * Nothing follows from them but the handing over: the session's own handshake, which comes next,
 * decides. The first bytes are neither those of a TLS handshake nor of a frame. Pure.
 */
#ifndef WIRE_PREFACE_H
#define WIRE_PREFACE_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_PREFACE_BYTES 32u

void wire_preface_encode(uint64_t session_id, uint8_t out[WIRE_PREFACE_BYTES]);
/* True if these bytes, of which there may be few, can be a preface's. */
bool wire_preface_begins(const uint8_t *bytes, size_t count);
/* GP_ERR_PROTOCOL for anything else. */
GP_CHECK enum gp_status wire_preface_decode(const uint8_t in[WIRE_PREFACE_BYTES],
                                            uint64_t *session_id_p);

#endif
