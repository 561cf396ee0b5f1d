/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a project has used of a model's quota, and the limits that were learnt.
 *
 * Minutes slide in slices, and a slice counts until 60 seconds after its end:
 * who keeps to that keeps to a token bucket, to fixed minutes and to sliding
 * ones, whichever Google has.  Days end at midnight Pacific.
 *
 * A limit that Google told is enforced only after our own count agreed with it
 * (others may use the same project), and is forgotten after a while, so that a
 * project that moved to a better tier is found out.
 */
#include "pool/pool_int.h"

#include "base/timeutil.h"

#define DAY_SLACK (60 * (i64)APR_USEC_PER_SEC)

static const i64 trust_time[GB_LIMIT_N] = {25 * HOUR, 25 * HOUR, 49 * HOUR};

/* ---- counting ---- */

static void slide_rpm(cell_rec_t *cell, i64 slice)
{
    i64 gone = slice - cell->rpm_slice;

    if (gone >= WINDOW_RPM_N || gone < 0) {
        memset(cell->rpm, 0, sizeof(cell->rpm));
        cell->rpm_slice = slice;
    }
    while (cell->rpm_slice < slice) {
        cell->rpm_slice++;
        cell->rpm[cell->rpm_slice % WINDOW_RPM_N] = 0;
    }
}

static void slide_tpm(cell_rec_t *cell, i64 slice)
{
    i64 gone = slice - cell->tpm_slice;

    if (gone >= WINDOW_TPM_N || gone < 0) {
        memset(cell->tpm, 0, sizeof(cell->tpm));
        cell->tpm_slice = slice;
    }
    while (cell->tpm_slice < slice) {
        cell->tpm_slice++;
        cell->tpm[cell->tpm_slice % WINDOW_TPM_N] = 0;
    }
}

static void slide(cell_rec_t *cell, const gb_pool_clock_t *clock)
{
    slide_rpm(cell, clock->mono / WINDOW_RPM_SLICE);
    slide_tpm(cell, clock->mono / WINDOW_TPM_SLICE);
    if (clock->wall >= cell->day_ends) {
        cell->rpd = 0;
        cell->day_ends = gb_pacific_midnight(clock->wall);
    }
}

void pool_window_tokens(cell_rec_t *cell, i64 more, const gb_pool_clock_t *clock)
{
    i64 sum;
    u32 *now;

    slide(cell, clock);
    now = &cell->tpm[cell->tpm_slice % WINDOW_TPM_N];
    sum = (i64)*now + more;
    *now = sum < 0 ? 0 : sum > (i64)UINT32_MAX ? UINT32_MAX : (u32)sum;
}

void pool_window_add(cell_rec_t *cell, i64 tokens, const gb_pool_clock_t *clock)
{
    unsigned short *now;

    pool_window_tokens(cell, tokens, clock);
    now = &cell->rpm[cell->rpm_slice % WINDOW_RPM_N];
    *now = (unsigned short)(*now < UINT16_MAX ? *now + 1 : UINT16_MAX);
    cell->rpd++;
}

i64 pool_window_used(cell_rec_t *cell, gb_pool_limit_t which, const gb_pool_clock_t *clock)
{
    i64 sum = 0, s;

    slide(cell, clock);
    if (which == GB_LIMIT_RPD) {
        return (i64)cell->rpd;
    }
    if (which == GB_LIMIT_RPM) {
        for (s = cell->rpm_slice; s > cell->rpm_slice - WINDOW_RPM_SPAN && s >= 0; s--) {
            sum += cell->rpm[s % WINDOW_RPM_N];
        }
        return sum;
    }
    for (s = 0; s < WINDOW_TPM_N; s++) {
        sum += cell->tpm[s];
    }
    return sum;
}

/* ---- limits ---- */

i64 pool_window_limit(const cell_rec_t *cell, gb_pool_limit_t which, const i64 *by_hand,
                      apr_time_t mono)
{
    if (by_hand && by_hand[which] > 0) {
        return by_hand[which];
    }
    if (!cell->held[which] || mono - cell->limit_since[which] > trust_time[which]) {
        return 0;
    }
    return cell->limits[which];
}

/* Four fifths, because what we count and what Google counts begin at different moments. */
void pool_window_learn(cell_rec_t *cell, gb_pool_limit_t which, i64 value,
                       const gb_pool_clock_t *clock)
{
    i64 used = pool_window_used(cell, which, clock);

    if (cell->limits[which] != value) {
        cell->limits[which] = value;
        cell->held[which] = 0;
    }
    if (used * 10 >= value * 8) {
        cell->held[which] = 1;
        cell->limit_since[which] = clock->mono;
    }
}

/* ---- room ---- */

/* When the requests of the last minute have become fewer than limit. */
static apr_time_t rpm_room_at(const cell_rec_t *cell, i64 limit)
{
    i64 s, sum = 0;

    for (s = cell->rpm_slice; s > cell->rpm_slice - WINDOW_RPM_SPAN && s >= 0; s--) {
        sum += cell->rpm[s % WINDOW_RPM_N];
        if (sum >= limit) {
            return (s + 1) * WINDOW_RPM_SLICE + WINDOW_MINUTE;
        }
    }
    return 0;
}

static apr_time_t tpm_room_at(const cell_rec_t *cell, i64 limit)
{
    i64 s, sum = 0;

    for (s = cell->tpm_slice; s > cell->tpm_slice - WINDOW_TPM_N && s >= 0; s--) {
        sum += cell->tpm[s % WINDOW_TPM_N];
        if (sum >= limit) {
            return (s + 1) * WINDOW_TPM_SLICE + WINDOW_MINUTE;
        }
    }
    return 0;
}

apr_time_t pool_window_full(cell_rec_t *cell, const i64 *by_hand, const gb_pool_clock_t *clock)
{
    i64 rpm = pool_window_limit(cell, GB_LIMIT_RPM, by_hand, clock->mono);
    i64 tpm = pool_window_limit(cell, GB_LIMIT_TPM, by_hand, clock->mono);
    i64 rpd = pool_window_limit(cell, GB_LIMIT_RPD, by_hand, clock->mono);
    apr_time_t at = 0, other;

    if (rpm == 0 && tpm == 0 && rpd == 0) {
        return 0;
    }
    slide(cell, clock);
    if (rpm > 0) {
        at = rpm_room_at(cell, rpm);
    }
    if (tpm > 0 && (other = tpm_room_at(cell, tpm)) > at) {
        at = other;
    }
    if (rpd > 0 && (i64)cell->rpd >= rpd) {
        other = clock->mono + (cell->day_ends - clock->wall) + DAY_SLACK;
        at = other > at ? other : at;
    }
    return at > clock->mono ? at : 0;
}

int pool_window_room(cell_rec_t *cell, const i64 *by_hand, const gb_pool_clock_t *clock)
{
    i64 least = 1000;
    int which;

    for (which = 0; which < GB_LIMIT_N; which++) {
        i64 limit = pool_window_limit(cell, (gb_pool_limit_t)which, by_hand, clock->mono);
        i64 room;

        if (limit > 0) {
            room = limit - pool_window_used(cell, (gb_pool_limit_t)which, clock);
            room = room < 0 ? 0 : room * 1000 / limit;
            least = room < least ? room : least;
        }
    }
    return (int)least;
}
