/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses against tables of ranges (see netaddr.h).
 */
#include "base/netaddr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 64

/* An address as bytes: 4 of them or 16. */
typedef struct bytes_t {
    unsigned char b[16];
    int len;
} bytes_t;

/* IANA's special-purpose registries: what is not globally reachable. */
static const char *const not_public[] = {
    "0.0.0.0/8",       "10.0.0.0/8",     "100.64.0.0/10", "127.0.0.0/8",    "169.254.0.0/16",
    "172.16.0.0/12",   "192.0.0.0/24",   "192.0.2.0/24",  "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",   "240.0.0.0/4",    "::/128",
    "::1/128",         "64:ff9b:1::/48", "100::/64",      "2001::/23",      "2001:db8::/32",
    "fc00::/7",        "fe80::/10",      "fec0::/10",     "ff00::/8",
};

/* Where an IPv4 address stands in an IPv6 one: behind a prefix of so many bytes. */
static const struct {
    unsigned char prefix[12];
    int prefix_len, at;
} embedded[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff},    12, 12}, /* mapped */
    {{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}, 12, 12}, /* NAT64 */
    {{0x20, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},    2,  2 }, /* 6to4 */
};

static void unwrap(bytes_t *addr)
{
    size_t i;

    for (i = 0; i < sizeof(embedded) / sizeof(embedded[0]); i++) {
        if (addr->len == 16
            && memcmp(addr->b, embedded[i].prefix, (size_t)embedded[i].prefix_len) == 0) {
            memmove(addr->b, addr->b + embedded[i].at, 4);
            addr->len = 4;
        }
    }
}

static int bytes_of(bytes_t *bytes, const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET) {
        bytes->len = 4;
        memcpy(bytes->b, &((const struct sockaddr_in *)(const void *)addr)->sin_addr, 4);
    }
    else if (addr->sa_family == AF_INET6) {
        bytes->len = 16;
        memcpy(bytes->b, &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr, 16);
    }
    else {
        return 0;
    }
    unwrap(bytes);
    return 1;
}

static int same_bits(const unsigned char *a, const unsigned char *b, int bits)
{
    int whole = bits / 8, rest = bits % 8;

    if (memcmp(a, b, (size_t)whole) != 0) {
        return 0;
    }
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

/* A range's network and the bits of it that count; 0 when it is none. */
static int range_read(const char *range, bytes_t *net, int *bits)
{
    const char *slash = strchr(range, '/');
    size_t n = slash ? (size_t)(slash - range) : strlen(range);
    char text[TEXT_MAX], *end = NULL;

    if (n >= sizeof(text)) {
        return 0;
    }
    memcpy(text, range, n);
    text[n] = '\0';
    net->len = strchr(text, ':') ? 16 : 4;
    if (inet_pton(net->len == 4 ? AF_INET : AF_INET6, text, net->b) != 1) {
        return 0;
    }
    *bits = net->len * 8;
    if (slash) {
        long told = strtol(slash + 1, &end, 10);

        if (end == slash + 1 || *end != '\0' || told < 0 || told > *bits) {
            return 0;
        }
        *bits = (int)told;
    }
    return 1;
}

int gb_addr_range_ok(const char *range)
{
    bytes_t net;
    int bits;

    return range_read(range, &net, &bits);
}

static int in_range(const bytes_t *addr, const char *range)
{
    bytes_t net;
    int bits;

    return range_read(range, &net, &bits) && net.len == addr->len
           && same_bits(addr->b, net.b, bits);
}

int gb_addr_is_public(const struct sockaddr *addr)
{
    bytes_t bytes;
    size_t i;

    if (!bytes_of(&bytes, addr)) {
        return 0;
    }
    for (i = 0; i < sizeof(not_public) / sizeof(not_public[0]); i++) {
        if (in_range(&bytes, not_public[i])) {
            return 0;
        }
    }
    return 1;
}

int gb_addr_in(const gb_list_t *ranges, const struct sockaddr *addr)
{
    bytes_t bytes;
    int i;

    if (!bytes_of(&bytes, addr)) {
        return 0;
    }
    for (i = 0; i < ranges->n; i++) {
        if (in_range(&bytes, ranges->items[i])) {
            return 1;
        }
    }
    return 0;
}
