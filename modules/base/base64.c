/* SPDX-License-Identifier: Apache-2.0 */
/* Three bytes are four digits (see base64.h). */
#include "base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void group(char *to, unsigned bits)
{
    to[0] = digits[bits >> 18 & 63];
    to[1] = digits[bits >> 12 & 63];
    to[2] = digits[bits >> 6 & 63];
    to[3] = digits[bits & 63];
}

void gb_base64(char *to, const void *bytes, size_t len)
{
    const unsigned char *from = bytes;

    for (; len >= 3; len -= 3, from += 3, to += 4) {
        group(to, (unsigned)from[0] << 16 | (unsigned)from[1] << 8 | from[2]);
    }
    if (len > 0) {
        group(to, (unsigned)from[0] << 16 | (len > 1 ? (unsigned)from[1] << 8 : 0));
        to[3] = '=';
        to[2] = len > 1 ? to[2] : '=';
    }
}

int gb_base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+' || c == '-' ? 62
           : c == '/' || c == '_' ? 63
                                  : -1;
}
