/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a body of pieces (see pieces.h).
 */
#include "upstream/pieces.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

size_t gb_pieces_len(const apr_array_header_t *list)
{
    size_t len = 0;
    int i;

    for (i = 0; i < list->nelts; i++) {
        const gb_piece_t *piece = &APR_ARRAY_IDX(list, i, gb_piece_t);

        len += piece->base64 ? (piece->bytes.len + 2) / 3 * 4 : piece->bytes.len;
    }
    return len;
}

void gb_pieces_begin(gb_pieces_t *pieces, const apr_array_header_t *list)
{
    memset(pieces, 0, sizeof(*pieces));
    pieces->list = list;
}

/* Whole pages behind the reader; they come back from the file when they are read again. */
static void give_back(gb_pieces_t *pieces, const gb_piece_t *piece)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)(piece->bytes.p + pieces->kept) / page * page;
    uintptr_t to = (uintptr_t)(piece->bytes.p + pieces->at) / page * page;

    if (to > from) {
        madvise((void *)from, to - from, MADV_DONTNEED);
    }
    pieces->kept = pieces->at;
}

static void encode_group(char *to, const unsigned char *from, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = (unsigned)from[0] << 16 | (n > 1 ? (unsigned)from[1] << 8 : 0)
                    | (n > 2 ? from[2] : 0);

    to[0] = digits[bits >> 18];
    to[1] = digits[bits >> 12 & 63];
    to[2] = n > 1 ? digits[bits >> 6 & 63] : '=';
    to[3] = n > 2 ? digits[bits & 63] : '=';
}

/* As many whole groups as there is room for. */
static size_t encode(gb_pieces_t *pieces, const gb_piece_t *piece, char *room, size_t size)
{
    const unsigned char *from = (const unsigned char *)piece->bytes.p + pieces->at;
    size_t left = piece->bytes.len - pieces->at, n = 0;

    while (left > 0 && size - n >= 4) {
        size_t group = left < 3 ? left : 3;

        encode_group(room + n, from, group);
        from += group;
        left -= group;
        n += 4;
    }
    pieces->at = piece->bytes.len - left;
    return n;
}

static size_t copy(gb_pieces_t *pieces, const gb_piece_t *piece, char *room, size_t size)
{
    size_t left = piece->bytes.len - pieces->at, n = left < size ? left : size;

    memcpy(room, piece->bytes.p + pieces->at, n);
    pieces->at += n;
    return n;
}

size_t gb_pieces_read(gb_pieces_t *pieces, char *room, size_t size)
{
    size_t n = 0;

    while (pieces->i < pieces->list->nelts && size - n >= 4) {
        const gb_piece_t *piece = &APR_ARRAY_IDX(pieces->list, pieces->i, gb_piece_t);
        int done;

        n += (piece->base64 ? encode : copy)(pieces, piece, room + n, size - n);
        done = pieces->at == piece->bytes.len;
        if (piece->mapped && (done || pieces->at - pieces->kept >= GB_PIECES_WINDOW)) {
            give_back(pieces, piece);
        }
        if (done) {
            pieces->i++;
            pieces->at = pieces->kept = 0;
        }
    }
    return n;
}
