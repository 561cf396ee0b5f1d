/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses a server may be asked to fetch from: public ones, and those
 * that the operator has opened.  Pure; names are somebody else's.
 */
#ifndef GB_NETADDR_H
#define GB_NETADDR_H

#include <sys/socket.h>

#include "base/settings.h"

/*
 * 0 for private, loopback, link-local, multicast, reserved and unknown kinds;
 * an IPv4 address inside an IPv6 one (mapped, 6to4, NAT64) counts as itself.
 */
int gb_addr_is_public(const struct sockaddr *addr);

/* Whether a text is such a range at all; what is none holds no address. */
int gb_addr_range_ok(const char *range);

/* Whether one of the ranges ("10.1.0.0/16", "fd00::/8", "192.168.1.5") holds the address. */
int gb_addr_in(const gb_list_t *ranges, const struct sockaddr *addr);

#endif
