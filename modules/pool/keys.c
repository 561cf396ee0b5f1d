/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys as records: added, found, changed, removed; which bits say that one is
 * picked in turn, and the counts of each pool.
 */
#include "pool/pool_int.h"

#include <apr_strings.h>
#include <apr_lib.h>

#include "base/timeutil.h"

/* ---- pools ---- */

u32 pool_name_find(const gb_pool_t *pool, const char *name)
{
    u32 i;

    for (i = 1; i <= GB_POOL_NAMES; i++) {
        if (strcmp(pool->head->pools[i].name, name) == 0) {
            return *name ? i : 0;
        }
    }
    return 0;
}

int gb_pool_open_locked(gb_pool_t *pool, const char *name)
{
    u32 i = pool_name_find(pool, name);

    if (i || *name == '\0' || strlen(name) >= GB_POOL_NAME_LEN) {
        return (int)i;
    }
    for (i = 1; i <= GB_POOL_NAMES; i++) {
        if (pool->head->pools[i].name[0] == '\0') {
            memset(&pool->head->pools[i], 0, sizeof(pool_rec_t));
            pool->head->pools[i].weight_max = 1;
            apr_cpystrn(pool->head->pools[i].name, name, GB_POOL_NAME_LEN);
            return (int)i;
        }
    }
    return 0;
}

void pool_changed(gb_pool_t *pool, u32 name)
{
    pool->head->pools[name].changes++;
    pool->head->changes++;
}

/* ---- derived words ---- */

static int in_turn(const key_rec_t *key)
{
    return key->used && key->enabled && !key->reserved
           && (key->state == GB_KEY_ACTIVE || (key->state == GB_KEY_TRIAL && !key->trial_hold));
}

void pool_key_bits(gb_pool_t *pool, u32 slot)
{
    const key_rec_t *key = &pool->keys[slot];
    u32 i;

    pool_bit_put(pool_bits(pool, pool->member, key->pool), slot, in_turn(key));
    for (i = 0; i < GB_POOL_TAGS; i++) {
        if (pool->head->tags[i][0] != '\0') {
            pool_bit_put(pool_bits(pool, pool->tagged, i), slot,
                         key->used && ((key->tags >> i) & 1));
        }
    }
    for (i = 2; i <= GB_POOL_WEIGHT_MAX; i++) {
        pool_bit_put(pool_bits(pool, pool->round, i), slot, key->used && key->weight >= i);
    }
    if (key->used && key->weight > pool->head->pools[key->pool].weight_max) {
        pool->head->pools[key->pool].weight_max = key->weight;
    }
}

void pool_key_count(gb_pool_t *pool, u32 slot, int more)
{
    const key_rec_t *key = &pool->keys[slot];
    pool_rec_t *rec = &pool->head->pools[key->pool];

    rec->n_total += (u32)more;
    if (!key->enabled) {
        rec->n_off += (u32)more;
    }
    else {
        rec->n_state[key->state] += (u32)more;
    }
    pool_changed(pool, key->pool);
}

void pool_key_state(gb_pool_t *pool, u32 slot, gb_pool_state_t state, apr_time_t wall)
{
    key_rec_t *key = &pool->keys[slot];

    pool_key_count(pool, slot, -1);
    if (key->state != (unsigned char)state) {
        key->state_since = wall;
    }
    key->state = (unsigned char)state;
    pool_key_count(pool, slot, 1);
    pool_key_bits(pool, slot);
}

void pool_key_day(key_rec_t *key, apr_time_t wall)
{
    if (wall >= key->day_ends) {
        key->day_calls = 0;
        key->day_tokens = 0;
        key->day_ends = gb_pacific_midnight(wall);
    }
}

/* ---- finding ---- */

/* Over what an id tells of a digest, so that both find the same bucket. */
static u64 digest_hash(const unsigned char *digest)
{
    return pool_mix(((u64)digest[0] << 24) | ((u64)digest[1] << 16) | ((u64)digest[2] << 8)
                    | digest[3]);
}

/* The bytes that an id's first eight digits stand for; 0 when they are none. */
static int id_bytes(unsigned char bytes[4], const char *id)
{
    static const char digits[] = "0123456789abcdef";
    int i;

    for (i = 0; i < 8; i++) {
        const char *at = id[i] ? strchr(digits, id[i]) : NULL;

        if (at == NULL) {
            return 0;
        }
        bytes[i / 2] = (unsigned char)((bytes[i / 2] << 4) | (at - digits));
    }
    return 1;
}

void pool_key_hash_in(gb_pool_t *pool, u32 slot)
{
    u32 *bucket = &pool->key_hash[digest_hash(pool->keys[slot].digest) & pool->key_mask];

    pool->keys[slot].next_hash = *bucket;
    *bucket = slot;
}

static void hash_out(gb_pool_t *pool, u32 slot)
{
    u32 *at = &pool->key_hash[digest_hash(pool->keys[slot].digest) & pool->key_mask];

    while (*at != slot) {
        at = &pool->keys[*at].next_hash;
    }
    *at = pool->keys[slot].next_hash;
}

/* name 0: in any pool */
static u32 find_digest(const gb_pool_t *pool, u32 name, const unsigned char *digest)
{
    u32 i = pool->key_hash[digest_hash(digest) & pool->key_mask];

    while (i
           && ((name && pool->keys[i].pool != name)
               || memcmp(pool->keys[i].digest, digest, GB_POOL_DIGEST_LEN) != 0)) {
        i = pool->keys[i].next_hash;
    }
    return i;
}

static u32 find_id(const gb_pool_t *pool, u32 name, const char *id)
{
    unsigned char bytes[4] = {0};
    u32 i;

    if (!id_bytes(bytes, id)) {
        return 0;
    }
    i = pool->key_hash[digest_hash(bytes) & pool->key_mask];
    while (i && (pool->keys[i].pool != name || strcmp(pool->keys[i].id, id) != 0)) {
        i = pool->keys[i].next_hash;
    }
    return i;
}

apr_uint32_t gb_pool_find_locked(gb_pool_t *pool, const char *name, const unsigned char *digest,
                                 const char *id)
{
    u32 wanted = pool_name_find(pool, name);

    if (wanted == 0) {
        return 0;
    }
    return digest ? find_digest(pool, wanted, digest) : find_id(pool, wanted, id);
}

static key_rec_t *key_at(const gb_pool_t *pool, u32 slot, u32 generation)
{
    key_rec_t *key = &pool->keys[slot];

    return slot >= 1 && slot <= pool->head->keys_top && key->used && key->generation == generation
               ? key
               : NULL;
}

/* ---- tags ---- */

static int tag_get(gb_pool_t *pool, const char *tag, apr_size_t len)
{
    int i, free_at = -1;

    for (i = 0; i < GB_POOL_TAGS; i++) {
        if (strlen(pool->head->tags[i]) == len && strncmp(pool->head->tags[i], tag, len) == 0) {
            return i;
        }
        if (free_at < 0 && pool->head->tags[i][0] == '\0') {
            free_at = i;
        }
    }
    if (free_at >= 0) {
        apr_cpystrn(pool->head->tags[free_at], tag, len + 1);
    }
    return free_at;
}

/* A tag that nobody carries any more makes room. */
static void tags_sweep(gb_pool_t *pool)
{
    u32 used = 0, i;

    for (i = 1; i <= pool->head->keys_top; i++) {
        used |= pool->keys[i].used ? pool->keys[i].tags : 0;
    }
    for (i = 0; i < GB_POOL_TAGS; i++) {
        if (!((used >> i) & 1)) {
            pool->head->tags[i][0] = '\0';
        }
    }
}

static apr_status_t tags_parse(gb_pool_t *pool, const char *text, u32 *mask)
{
    u32 found = 0;

    while (*text) {
        apr_size_t len;
        int tag;

        text += strspn(text, ", ");
        len = strcspn(text, ",");
        while (len > 0 && text[len - 1] == ' ') {
            len--;
        }
        if (len >= GB_POOL_TAG_LEN) {
            return APR_EINVAL;
        }
        if (len > 0) {
            tag = tag_get(pool, text, len);
            if (tag < 0) {
                return APR_ENOSPC;
            }
            found |= (u32)1 << tag;
        }
        text += strcspn(text, ",");
    }
    *mask = found;
    return APR_SUCCESS;
}

/* Tags that nobody has any more make room. */
static apr_status_t tags_get(gb_pool_t *pool, const char *text, u32 *mask)
{
    apr_status_t rv = tags_parse(pool, text, mask);

    if (rv == APR_ENOSPC) {
        tags_sweep(pool);
        *mask = 0;
        rv = tags_parse(pool, text, mask);
    }
    return rv;
}

void pool_tags_text(const gb_pool_t *pool, u32 mask, char *out, apr_size_t size)
{
    int i;

    *out = '\0';
    for (i = 0; i < GB_POOL_TAGS; i++) {
        apr_size_t len = strlen(out);

        if ((mask >> i) & 1) {
            apr_snprintf(out + len, size - len, "%s%s", len ? "," : "", pool->head->tags[i]);
        }
    }
}

/* ---- adding and removing ---- */

/* What a person may set, and what came back from persistence. */
static void key_fill(key_rec_t *key, const gb_pool_key_t *spec, const gb_pool_clock_t *clock)
{
    apr_cpystrn(key->id, spec->id, sizeof(key->id));
    memcpy(key->digest, spec->digest, sizeof(key->digest));
    apr_cpystrn(key->note, spec->note, sizeof(key->note));
    apr_cpystrn(key->row, spec->row, sizeof(key->row));
    apr_cpystrn(key->text, spec->text, sizeof(key->text));
    key->weight = (unsigned char)(spec->weight < 1                    ? 1
                                  : spec->weight > GB_POOL_WEIGHT_MAX ? GB_POOL_WEIGHT_MAX
                                                                      : spec->weight);
    key->enabled = spec->enabled != 0;
    key->reserved = spec->reserved != 0;
    key->source = (unsigned char)spec->source;
    key->by_hand = spec->project_by_hand != 0;
    key->state = (unsigned char)(spec->state <= GB_KEY_INVALID ? spec->state : GB_KEY_ACTIVE);
    key->revocable = (unsigned char)spec->revocable;
    key->failures = (u32)spec->failures;
    key->strikes = (u32)spec->strikes;
    key->checks = (u32)spec->checks;
    key->added = spec->added ? spec->added : clock->wall;
    key->state_since = spec->state_since ? spec->state_since : clock->wall;
    key->last_used = spec->last_used;
    key->next_check = spec->next_check;
    key->text_at = spec->text_at;
    key->day_ends = spec->day_ends;
}

static void key_fill_counters(key_rec_t *key, const gb_pool_key_t *spec)
{
    key->picks = spec->picks;
    key->successes = spec->successes;
    key->neutral = spec->neutral;
    key->quotas = spec->quotas;
    key->faults = spec->faults;
    key->deaths = spec->deaths;
    key->lost = spec->lost;
    key->prompt_tokens = spec->prompt_tokens;
    key->total_tokens = spec->total_tokens;
    key->day_calls = spec->day_calls;
    key->day_tokens = spec->day_tokens;
}

static u32 slot_take(gb_pool_t *pool)
{
    head_t *head = pool->head;
    u32 slot = head->keys_free;

    if (slot) {
        head->keys_free = pool->keys[slot].next_hash;
        return slot;
    }
    return head->keys_top < head->max_keys ? ++head->keys_top : 0;
}

static void slot_wipe(gb_pool_t *pool, u32 slot)
{
    u32 generation = pool->keys[slot].generation;

    memset(&pool->keys[slot], 0, sizeof(key_rec_t));
    pool->keys[slot].generation = generation + 1;
}

/* A failed key's trial is a deadline again; one whose time has passed is tried now. */
static void key_resume(gb_pool_t *pool, u32 slot, const gb_pool_key_t *spec,
                       const gb_pool_clock_t *clock)
{
    key_rec_t *key = &pool->keys[slot];

    if (key->state == GB_KEY_FAILED) {
        apr_time_t at = pool_to_mono(spec->retry_at, clock);

        pool_timer_key(pool, slot, at > clock->mono ? at : clock->mono);
    }
}

/* The same secret in another pool has the same quota; else the label decides. */
static u32 project_for(gb_pool_t *pool, const gb_pool_key_t *spec)
{
    u32 twin = find_digest(pool, 0, spec->digest);

    if (spec->project[0] == '\0' && twin) {
        return pool->keys[twin].project;
    }
    return pool_project_get(pool, spec->project);
}

apr_status_t gb_pool_add_locked(gb_pool_t *pool, const gb_pool_key_t *spec, const char *secret,
                                apr_size_t len, const gb_pool_clock_t *clock, apr_uint32_t *pslot)
{
    u32 name = (u32)gb_pool_open_locked(pool, spec->pool), tags = 0, slot, project;
    key_rec_t *key;

    if (name == 0 || len > GB_POOL_SECRET_MAX) {
        return name ? APR_EINVAL : APR_ENOSPC;
    }
    slot = find_digest(pool, name, spec->digest);
    if (slot) {
        *pslot = slot;
        return APR_EEXIST;
    }
    slot = slot_take(pool);
    if (slot == 0) {
        return APR_ENOSPC;
    }
    project = project_for(pool, spec); /* there are as many as slots */
    slot_wipe(pool, slot);
    key = &pool->keys[slot];
    key->pool = name;
    key_fill(key, spec, clock);
    key_fill_counters(key, spec);
    if (tags_get(pool, spec->tags, &tags) == APR_SUCCESS) {
        key->tags = tags;
    }
    memcpy(pool_secret_at(pool, slot), secret, len);
    pool_secret_at(pool, slot)[len] = '\0';
    key->secret_len = (u32)len;
    key->project = project;
    POOL_IN_ORDER();
    key->used = 1;
    pool_key_hash_in(pool, slot);
    pool_project_join(pool, slot, project);
    pool_key_count(pool, slot, 1);
    pool_key_bits(pool, slot);
    key_resume(pool, slot, spec, clock);
    *pslot = slot;
    return APR_SUCCESS;
}

apr_status_t gb_pool_remove_locked(gb_pool_t *pool, apr_uint32_t slot, apr_uint32_t generation)
{
    key_rec_t *key = key_at(pool, slot, generation);

    if (key == NULL) {
        return APR_NOTFOUND;
    }
    pool_key_count(pool, slot, -1);
    pool_timer_key_off(pool, slot);
    pool_project_quit(pool, slot);
    hash_out(pool, slot);
    key->used = 0;
    POOL_IN_ORDER();
    pool_key_bits(pool, slot);
    pool_bit_put(pool->busy, slot, 0);
    memset(pool_secret_at(pool, slot), 0, GB_POOL_SECRET_MAX);
    pool_blame_forget(&pool->head->pools[key->pool], slot, 0);
    key->next_hash = pool->head->keys_free;
    pool->head->keys_free = slot;
    return APR_SUCCESS;
}

/* ---- changing ---- */

static void project_edit(gb_pool_t *pool, u32 slot, const char *label, apr_time_t mono)
{
    key_rec_t *key = &pool->keys[slot];
    u32 project;

    key->by_hand = *label != '\0';
    if (strcmp(pool->projects[key->project].label, label) == 0) {
        return;
    }
    project = pool_project_get(pool, label);
    if (project == 0 && pool->projects[key->project].n_keys == 1) {
        pool_project_label(pool, key->project, label); /* every record is in use: by its key */
    }
    else if (project && pool->projects[key->project].n_keys == 1) {
        pool_project_merge(pool, key->project, project, mono);
    }
    else if (project) {
        pool_project_quit(pool, slot);
        pool_project_join(pool, slot, project);
    }
}

static void weight_edit(gb_pool_t *pool, u32 slot, int weight)
{
    pool_rec_t *rec = &pool->head->pools[pool->keys[slot].pool];
    u32 i;

    pool->keys[slot].weight = (unsigned char)weight;
    rec->weight_max = 1;
    for (i = 1; i <= pool->head->keys_top; i++) {
        const key_rec_t *key = &pool->keys[i];

        if (key->used && key->pool == pool->keys[slot].pool && key->weight > rec->weight_max) {
            rec->weight_max = key->weight;
        }
    }
}

/* Of all of them as a text, commas between them. */
static apr_size_t tags_len(const gb_pool_t *pool, u32 mask)
{
    apr_size_t len = 0;
    int i;

    for (i = 0; i < GB_POOL_TAGS; i++) {
        len += (mask >> i) & 1 ? strlen(pool->head->tags[i]) + (len > 0) : 0;
    }
    return len;
}

static apr_status_t tags_edit(gb_pool_t *pool, u32 slot, const gb_pool_edit_t *edit)
{
    u32 tags = pool->keys[slot].tags, mask = 0;
    apr_status_t rv = APR_SUCCESS;

    if (edit->tags) {
        rv = tags_get(pool, edit->tags, &mask);
        tags = mask;
    }
    if (rv == APR_SUCCESS && edit->tags_add) {
        mask = 0;
        rv = tags_get(pool, edit->tags_add, &mask);
        tags |= mask;
    }
    if (rv == APR_SUCCESS && edit->tags_remove) {
        mask = 0;
        rv = tags_get(pool, edit->tags_remove, &mask);
        tags &= ~mask;
    }
    if (rv == APR_SUCCESS && tags_len(pool, tags) >= sizeof(((gb_pool_key_t *)0)->tags)) {
        rv = APR_ENOSPC;
    }
    if (rv == APR_SUCCESS) {
        pool->keys[slot].tags = tags;
    }
    return rv;
}

apr_status_t gb_pool_edit_locked(gb_pool_t *pool, apr_uint32_t slot, apr_uint32_t generation,
                                 const gb_pool_edit_t *edit, const gb_pool_clock_t *clock)
{
    key_rec_t *key = key_at(pool, slot, generation);
    apr_status_t rv;

    if (key == NULL) {
        return APR_NOTFOUND;
    }
    if (edit->weight == 0 || edit->weight > GB_POOL_WEIGHT_MAX) {
        return APR_EINVAL;
    }
    rv = tags_edit(pool, slot, edit); /* what alone may fail comes first */
    if (rv != APR_SUCCESS) {
        return rv;
    }
    pool_key_count(pool, slot, -1);
    if (edit->weight > 0) {
        weight_edit(pool, slot, edit->weight);
    }
    key->enabled = (unsigned char)(edit->enabled >= 0 ? edit->enabled != 0 : key->enabled);
    key->reserved = (unsigned char)(edit->reserved >= 0 ? edit->reserved != 0 : key->reserved);
    if (edit->note) {
        apr_cpystrn(key->note, edit->note, sizeof(key->note));
    }
    if (edit->project) {
        project_edit(pool, slot, edit->project, clock->mono);
    }
    pool_key_count(pool, slot, 1);
    pool_key_bits(pool, slot);
    return APR_SUCCESS;
}

apr_status_t gb_pool_reset_locked(gb_pool_t *pool, apr_uint32_t slot, apr_uint32_t generation,
                                  const gb_pool_clock_t *clock)
{
    key_rec_t *key = key_at(pool, slot, generation);
    u32 cell;

    if (key == NULL) {
        return APR_NOTFOUND;
    }
    key->failures = key->strikes = key->checks = 0;
    key->check_wanted = 0;
    key->trial_hold = 0;
    pool_timer_key_off(pool, slot);
    pool_blame_forget(&pool->head->pools[key->pool], slot, 0);
    pool_key_state(pool, slot, GB_KEY_ACTIVE, clock->wall);
    for (cell = pool->projects[key->project].first_cell; cell;
         cell = pool->cells[cell].next_in_project) {
        if (pool->cells[cell].key == 0 || pool->cells[cell].key == slot) {
            pool->cells[cell].strikes = 0;
            pool_cell_serve(pool, cell);
        }
    }
    return APR_SUCCESS;
}

apr_status_t gb_pool_secret_locked(gb_pool_t *pool, apr_uint32_t slot, apr_uint32_t generation,
                                   char secret[GB_POOL_SECRET_MAX + 1])
{
    const key_rec_t *key = key_at(pool, slot, generation);

    if (key == NULL) {
        return APR_NOTFOUND;
    }
    memcpy(secret, pool_secret_at(pool, slot), key->secret_len);
    secret[key->secret_len] = '\0';
    return APR_SUCCESS;
}
