/* SPDX-License-Identifier: Apache-2.0 */
/* Standard base64 with padding (RFC 4648), written in whole groups wherever it is wanted. */
#ifndef GB_BASE64_H
#define GB_BASE64_H

#include <stddef.h>

#define GB_BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Fills GB_BASE64_LEN(len) characters at `to`, without a NUL; the last group is padded. */
void gb_base64(char *to, const void *bytes, size_t len);

/* What a digit stands for, of the alphabet for URLs as well; -1: it is none. */
int gb_base64_digit(char c);

#endif
