/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a body of pieces (see pieces.h).
 */
#include "upstream/pieces.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base64.h"

size_t gb_pieces_len(const apr_array_header_t *list)
{
    size_t len = 0;
    int i;

    for (i = 0; i < list->nelts; i++) {
        const gb_piece_t *piece = &APR_ARRAY_IDX(list, i, gb_piece_t);

        len += piece->base64 ? GB_BASE64_LEN(piece->bytes.len) : piece->bytes.len;
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

/* As many whole groups as there is room for. */
static size_t encode(gb_pieces_t *pieces, const gb_piece_t *piece, char *room, size_t size)
{
    size_t left = piece->bytes.len - pieces->at, fits = size / 4 * 3;
    size_t n = left < fits ? left : fits;

    gb_base64(room, piece->bytes.p + pieces->at, n);
    pieces->at += n;
    return GB_BASE64_LEN(n);
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
