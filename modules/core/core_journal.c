/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's glue: attempts of exchanges become records, and a thread of each
 * child sees to it that they reach the database.
 *
 * That thread tries for the lease every 100 ms.  It is a thread of ours and no
 * watchdog callback, because a watchdog's ends when its child begins to stop,
 * while that child's last streams go on for minutes.  Who holds the lease hands
 * batches to its database thread and never waits for it: what that one cannot
 * take (the database is away, or hangs) goes to the spool instead.
 */
#include "core_live.h"
#include "core_store.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "apr_strings.h"

#include "base/timeutil.h"
#include "store/journal_write.h"

APLOG_USE_MODULE(gbalance);

#define TICK         apr_time_from_msec(100)
#define LEASE_TTL    apr_time_from_sec(2)
#define BATCH        512
#define ALONE        20                   /* ticks */
#define HANGS        apr_time_from_sec(2) /* a job that takes longer */
#define GIVEN_UP     apr_time_from_sec(70)
#define REPLAY_EVERY apr_time_from_msec(500)
#define LOOK_EVERY   apr_time_from_sec(2)
#define SWEEP_EVERY  apr_time_from_sec(1)
#define BOUND_EVERY  apr_time_from_sec(5)
#define SPOOL_PIECE  ((apr_off_t)1024 * 1024) /* bytes of a file that is read back at a time */

static gb_tenant_t *ring(void)
{
    return core_tenant_get(GB_RING_NAME);
}

void core_journal_tenants(apr_array_header_t *specs)
{
    gb_ring_spec(apr_array_push(specs));
}

/* ---- records of attempts: the engine's thread ---- */

static void text(char *out, apr_size_t size, const char *from)
{
    apr_cpystrn(out, from ? from : "", size);
}

#define TEXT(member, from) text(record->member, sizeof(record->member), from)

static void fill_call(gb_record_t *record, gb_exchange_t *x, const gb_attempt_t *attempt)
{
    const gb_plan_t *plan = gb_exchange_plan(x);
    const gb_exchange_conf_t *conf = gb_exchange_conf(x);

    memset(record, 0, sizeof(*record));
    memcpy(record->uid, attempt->ticket->uid, sizeof(record->uid));
    record->number = (apr_uint16_t)attempt->number;
    record->began = attempt->began;
    record->is_stream = plan->stream != 0;
    record->latency = record->first_byte = -1;
    record->prompt_tokens = record->completion_tokens = -1;
    record->thought_tokens = record->cached_tokens = -1;
    TEXT(request_id, attempt->request_id);
    TEXT(key_id, attempt->key_id);
    TEXT(key_masked, attempt->key_masked);
    TEXT(pool, conf->pool_name);
    TEXT(surface, plan->dialect->name);
    TEXT(operation, plan->operation);
    TEXT(caller, conf->caller_name);
    TEXT(model_asked, plan->model);
    TEXT(model_used, plan->model_used);
}

static void fill_outcome(gb_record_t *record, const gb_attempt_t *attempt)
{
    gb_class_t cls = attempt->verdict->cls;

    record->is_success = cls == GB_CLASS_SUCCESS || cls == GB_CLASS_BLOCKED;
    record->is_final = attempt->final != 0;
    record->status = (apr_int16_t)attempt->status;
    record->latency = attempt->latency;
    record->first_byte = attempt->first_byte;
    record->prompt_tokens = attempt->facts->prompt_tokens;
    record->completion_tokens = attempt->facts->completion_tokens;
    record->thought_tokens = attempt->facts->thought_tokens;
    record->cached_tokens = attempt->facts->cached_tokens;
    record->bytes = attempt->bytes;
    TEXT(cls, gb_class_name(cls));
}

/* Neither ring nor spool could take it: told once a minute, and counted. */
static void dropped(apr_status_t rv)
{
    static apr_time_t told; /* the engine's thread alone comes here */
    gb_ring_counts_t one;

    memset(&one, 0, sizeof(one));
    one.dropped = 1;
    gb_ring_count(ring(), &one);
    if (gb_mono_now() - told > apr_time_from_sec(60) || !told) {
        told = gb_mono_now();
        ap_log_error(
            APLOG_MARK, APLOG_ALERT, rv, core_store()->s,
            GBLOGNO(8040) "journal: the spool %s cannot be written: rows of the logs are lost",
            core_store()->spool.dir);
    }
}

static void spool_record(gb_record_t *record, gb_record_state_t state)
{
    gb_ring_counts_t one;
    apr_status_t rv;

    gb_record_stamp(record);
    record->state = (apr_byte_t)state;
    rv = gb_spool_append_records(&core_store()->spool, record, 1);
    if (rv != APR_SUCCESS) {
        dropped(rv);
        return;
    }
    memset(&one, 0, sizeof(one));
    one.spooled = 1;
    gb_ring_count(ring(), &one);
}

void core_journal_begin(gb_exchange_t *x, const gb_attempt_t *attempt)
{
    gb_record_t record;

    if (!core_store() || !ring()) {
        return;
    }
    gb_uid_make(attempt->ticket->uid, sizeof(attempt->ticket->uid), attempt->began);
    fill_call(&record, x, attempt);
    attempt->ticket->slot = gb_ring_begin(ring(), &record);
    if (!attempt->ticket->slot) {
        spool_record(&record, GB_RECORD_OPEN);
    }
}

/* gemini-balance's words, which its pages filter by. */
static const char *error_type(const gb_plan_t *plan, apr_pool_t *p)
{
    static const char *const words[][3] = {
        {"gemini", "count",      "gemini-count-tokens"},
        {"gemini", "embed",      "gemini-embed-single"},
        {"openai", "embeddings", "openai-embedding"   },
        {"openai", "speech",     "google-tts"         },
    };
    const char *surface = plan->dialect->name;
    size_t i;

    if (strstr(plan->path, ":batchEmbedContents")) {
        return "gemini-embed-batch";
    }
    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(surface, words[i][0]) == 0 && strcmp(plan->operation, words[i][1]) == 0) {
            return words[i][2];
        }
    }
    if (plan->expects_content) {
        return apr_pstrcat(p, surface, plan->stream ? "-chat-stream" : "-chat-non-stream", NULL);
    }
    return apr_pstrcat(p, surface, "-", plan->operation, NULL);
}

/* The upstream's own words where it had any. */
static const char *error_text(const gb_attempt_t *attempt, apr_pool_t *p)
{
    const gb_error_t *err = &attempt->verdict->error;

    if (err->upstream_body && err->upstream_len) {
        return apr_pstrmemdup(p, err->upstream_body,
                              err->upstream_len < 32768 ? err->upstream_len : 32768);
    }
    return attempt->verdict->message[0] ? attempt->verdict->message : err->message;
}

static void note_error(const gb_record_t *record, gb_exchange_t *x, const gb_attempt_t *attempt)
{
    const gb_plan_t *plan = gb_exchange_plan(x);
    gb_error_row_t row;
    apr_pool_t *p;
    gb_buf_t line;

    if (record->is_success || attempt->verdict->cls == GB_CLASS_CANCELLED) {
        return;
    }
    apr_pool_create(&p, gb_exchange_own_pool(x));
    gb_buf_init_pool(&line, 4 * GB_SPOOL_TEXT_MAX, p);
    row.record = record;
    row.error_type = error_type(plan, p);
    row.log = error_text(attempt, p);
    row.request = gb_exchange_conf(x)->settings->error_log_record_request_body && plan->body
                      ? gb_journal_body(plan->body, plan->body_len, p)
                      : NULL;
    if (gb_journal_text(&line, &row) != APR_SUCCESS
        || gb_spool_append(&core_store()->spool, GB_SPOOL_TEXTS, line.data, line.len)
               != APR_SUCCESS) {
        gb_ring_counts_t one;

        memset(&one, 0, sizeof(one));
        one.dropped_texts = 1;
        gb_ring_count(ring(), &one);
    }
    apr_pool_destroy(p);
}

void core_journal_end(gb_exchange_t *x, const gb_attempt_t *attempt)
{
    gb_record_t record;

    if (!core_store() || !ring()) {
        return;
    }
    fill_call(&record, x, attempt);
    fill_outcome(&record, attempt);
    if (!attempt->ticket->slot || !gb_ring_end(ring(), attempt->ticket->slot, &record)) {
        spool_record(&record, GB_RECORD_DONE);
    }
    note_error(&record, x, attempt);
}

/* ---- the writer: this child's thread, and its jobs ---- */

typedef struct batch_t {
    int n;
    gb_record_t records[BATCH];
    apr_uint32_t slots[BATCH];
    /* or a file of the spool */
    gb_spool_kind_t kind;
    const char *path;
    int waits; /* some of it has to be read again, later */
} batch_t;

/* Of this child. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    pthread_t thread;
    int runs, stops;
    int nudged;      /* a batch is done and more wait: do not sleep */
    int holds;       /* the lease */
    int unheld;      /* ticks for which nobody did, as an outdated child counts them */
    int alone;       /* nobody newer wants it */
    core_job_t *job; /* under way, NULL for none */
    apr_time_t job_at;
    batch_t *batch; /* what it took from the ring, NULL for a file */
    batch_t *file;  /* a file of the spool, NULL for others */
    apr_time_t replayed_at, looked_at, swept_at, bounded_at;
} w;

static gb_zone_t *zone_of(apr_pool_t *p)
{
    const gb_settings_t *settings = core_live_pool("default", p);
    gb_zone_t *zone = NULL;

    settings = settings ? settings : core_store()->settings;
    return gb_zone_load(&zone, settings->timezone, p) == APR_SUCCESS ? zone : NULL;
}

void core_journal_writer(gb_writer_t *writer, gb_db_t *db, apr_pool_t *p)
{
    memset(writer, 0, sizeof(*writer));
    writer->db = db;
    writer->zone = zone_of(p);
    writer->spool = &core_store()->spool;
    writer->rejected = core_store()->rejected;
    writer->file_gone = core_owners_forget;
}

void core_journal_nudge(void)
{
    pthread_mutex_lock(&w.lock);
    w.nudged = 1;
    pthread_cond_signal(&w.cond);
    pthread_mutex_unlock(&w.lock);
}

/* The database thread: a batch of the ring. */
static apr_status_t write_batch(gb_db_t *db, void *baton, apr_pool_t *p)
{
    batch_t *batch = baton;
    gb_writer_t writer;
    apr_status_t rv;

    core_journal_writer(&writer, db, p);
    rv = gb_journal_write(&writer, batch->records, batch->n, p);
    gb_ring_count(ring(), &writer.counts);
    if (rv == APR_SUCCESS) {
        gb_ring_give(ring(), batch->records, batch->slots, batch->n, 0);
    }
    return rv;
}

static apr_status_t write_file(gb_db_t *db, void *baton, apr_pool_t *p)
{
    batch_t *batch = baton;
    gb_writer_t writer;
    apr_status_t rv;

    core_journal_writer(&writer, db, p);
    rv = gb_journal_replay(&writer, batch->kind, batch->path, p);
    batch->waits = writer.put_back > 0;
    gb_ring_count(ring(), &writer.counts);
    if (batch->kind == GB_SPOOL_FILES) {
        core_upkeep_soon();
    }
    return rv;
}

/* Hands a job over without waiting for it.  0: it was not taken, and is still the caller's. */
static int post(core_job_t *job)
{
    apr_status_t rv = core_job_run(job, 0);

    if (rv == APR_ENOTIMPL || rv == APR_EOF || rv == APR_EAGAIN) {
        return 0;
    }
    w.job = job;
    w.job_at = gb_mono_now();
    return 1;
}

/* What the thread could not take is done again.  One that hangs is given up: its records may be
 * written twice, which does no harm. */
static void collect_job(void)
{
    apr_status_t rv = APR_TIMEUP;

    if (!w.job || (!core_job_ended(w.job, &rv) && gb_mono_now() - w.job_at < GIVEN_UP)) {
        return;
    }
    if (rv != APR_SUCCESS && w.batch) {
        gb_ring_give(ring(), w.batch->records, w.batch->slots, w.batch->n, 1);
    }
    if (!w.batch && (rv != APR_SUCCESS || (w.file && w.file->waits))) {
        w.replayed_at = gb_mono_now(); /* not at once again */
    }
    core_job_release(w.job);
    w.job = NULL;
    w.batch = w.file = NULL;
}

static int takes_jobs(void)
{
    return core_store_state(NULL) <= CORE_STORE_READY;
}

static void send_batch(void)
{
    core_job_t *job;
    batch_t *batch;

    if (w.job || !gb_ring_waiting(ring())) {
        return;
    }
    job = core_job_make(write_batch, 1);
    batch = apr_palloc(core_job_pool(job), sizeof(*batch));
    batch->n = gb_ring_take(ring(), batch->records, batch->slots, BATCH);
    if (batch->n == BATCH) {
        core_job_nudges(job); /* there may be more */
    }
    core_job_baton(job, batch);
    if (post(job)) {
        w.batch = batch;
        return;
    }
    gb_ring_give(ring(), batch->records, batch->slots, batch->n, 1);
    core_job_release(job);
}

/* All that is done goes to the spool; what cannot stays in the ring. */
static void spill(void)
{
    gb_record_t records[32];
    apr_uint32_t slots[32];
    gb_ring_counts_t counts;
    int n, failed = 0;

    memset(&counts, 0, sizeof(counts));
    while (!failed && (n = gb_ring_take(ring(), records, slots, 32)) > 0) {
        failed = gb_spool_append_records(&core_store()->spool, records, n) != APR_SUCCESS;
        gb_ring_give(ring(), records, slots, n, failed);
        counts.spooled += failed ? 0 : (apr_uint64_t)n;
    }
    gb_ring_count(ring(), &counts);
    gb_spool_turn(&core_store()->spool, GB_SPOOL_ROWS, SPOOL_PIECE);
    gb_spool_turn(&core_store()->spool, GB_SPOOL_TEXTS, SPOOL_PIECE);
}

/* The oldest file of either kind that waits; NULL when none does. */
static const char *next_file(gb_spool_kind_t *kind, apr_pool_t *p)
{
    const gb_spool_t *spool = &core_store()->spool;
    int k;

    for (k = 0; k < GB_SPOOL_KINDS; k++) {
        apr_array_header_t *list = gb_spool_list(spool, (gb_spool_kind_t)k, p);

        if (!list->nelts && gb_spool_current(spool, (gb_spool_kind_t)k)) {
            gb_spool_turn(spool, (gb_spool_kind_t)k, 1);
            list = gb_spool_list(spool, (gb_spool_kind_t)k, p);
        }
        if (list->nelts) {
            *kind = (gb_spool_kind_t)k;
            return APR_ARRAY_IDX(list, 0, const char *);
        }
    }
    return NULL;
}

/* Is it there, and has another machine saved settings? */
static apr_status_t look(gb_db_t *db, void *baton, apr_pool_t *p)
{
    (void)baton;
    return core_live_refresh(db, p);
}

/* A file of the spool; or a look at the database. */
static void send_file(apr_time_t now)
{
    core_job_t *job;
    batch_t *batch;

    if (w.job || now - w.replayed_at < REPLAY_EVERY) {
        return;
    }
    job = core_job_make(write_file, 1);
    batch = apr_pcalloc(core_job_pool(job), sizeof(*batch));
    batch->path = next_file(&batch->kind, core_job_pool(job));
    core_job_nudges(job);
    core_job_baton(job, batch);
    if (!batch->path) {
        w.replayed_at = now;
        core_job_release(job);
        batch = NULL;
        if (core_store_state(NULL) == CORE_STORE_READY && now - w.looked_at < LOOK_EVERY) {
            return;
        }
        w.looked_at = now;
        job = core_job_make(look, 0);
    }
    else if (!takes_jobs()) {
        w.replayed_at = now; /* else one file follows the other */
    }
    if (!post(job)) {
        core_job_release(job);
    }
    else {
        w.file = batch;
    }
}

static void send_upkeep(apr_time_t now)
{
    core_job_t *job = w.job || core_store_state(NULL) != CORE_STORE_READY ? NULL
                                                                          : core_upkeep_job(now);

    if (job && !post(job)) {
        core_job_release(job);
    }
}

static void bound(apr_time_t now)
{
    gb_ring_counts_t counts;
    apr_pool_t *p;

    if (now - w.bounded_at < BOUND_EVERY) {
        return;
    }
    w.bounded_at = now;
    memset(&counts, 0, sizeof(counts));
    apr_pool_create(&p, NULL);
    gb_spool_bound(&core_store()->spool,
                   (apr_off_t)core_store()->settings->spool_max_mb * 1024 * 1024, &counts, NULL, p);
    apr_pool_destroy(p);
    if (counts.dropped_texts || counts.dropped_rows) {
        gb_ring_count(ring(), &counts);
        ap_log_error(APLOG_MARK, APLOG_ALERT, 0, core_store()->s,
                     GBLOGNO(8041) "journal: the spool is full (SPOOL_MAX_MB): %" APR_UINT64_T_FMT
                                   " error texts and %" APR_UINT64_T_FMT " rows were dropped",
                     counts.dropped_texts, counts.dropped_rows);
    }
}

static void work(void)
{
    apr_time_t now = gb_mono_now();

    collect_job();
    if (now - w.swept_at >= SWEEP_EVERY) {
        w.swept_at = now;
        gb_ring_sweep(ring());
    }
    if (takes_jobs() && core_dbthread_busy() < HANGS) {
        send_batch();
    }
    else {
        spill();
    }
    send_file(now);
    send_upkeep(now);
    bound(now);
}

/*
 * A child of an earlier configuration, whose last streams go on for minutes, may
 * know another database: it leaves the journal to those of the newest one, unless
 * there are none that keep it.
 */
static int may_hold(void)
{
    if (core_store_is_current()) {
        return 1;
    }
    if (w.holds && !w.alone) {
        gb_segment_lease_end(ring()->segment, CORE_LEASE_JOURNAL);
        w.holds = w.unheld = 0;
    }
    else if (!w.holds) {
        w.unheld = gb_segment_lease_holder(ring()->segment, CORE_LEASE_JOURNAL) ? 0 : w.unheld + 1;
    }
    w.alone = w.unheld >= ALONE;
    return w.alone;
}

static void tick(void)
{
    int holds = may_hold()
                && gb_segment_lease(ring()->segment, CORE_LEASE_JOURNAL, LEASE_TTL) == APR_SUCCESS;

    if (holds && !w.holds) {
        gb_ring_retake(ring()); /* of whoever died with it */
    }
    w.holds = holds;
    if (holds) {
        work();
    }
    else {
        collect_job();
    }
}

static void *thread_main(void *unused)
{
    struct timespec until;
    int stops = 0;

    (void)unused;
    while (!stops) {
        apr_time_t at = gb_mono_now() + TICK;

        tick();
        until.tv_sec = (time_t)apr_time_sec(at);
        until.tv_nsec = (long)apr_time_usec(at) * 1000;
        pthread_mutex_lock(&w.lock);
        while (!w.stops && !w.nudged && pthread_cond_timedwait(&w.cond, &w.lock, &until) == 0) {
            ;
        }
        w.nudged = 0;
        stops = w.stops;
        pthread_mutex_unlock(&w.lock);
    }
    return NULL;
}

/* ---- ends ---- */

/* The engine has ended: every attempt of this child is done.  Writes them, or leaves them to others. */
static void drain(void)
{
    int i;

    w.unheld = ALONE; /* there is no time to see whether somebody comes */
    for (i = 0; i < 30 && (w.job || gb_ring_waiting(ring())); i++) {
        tick();
        if (!w.holds || !takes_jobs()) {
            break;
        }
        apr_sleep(apr_time_from_msec(10));
    }
}

static apr_status_t child_ends(void *unused)
{
    (void)unused;
    if (!w.runs) {
        return APR_SUCCESS;
    }
    pthread_mutex_lock(&w.lock);
    w.stops = 1;
    pthread_cond_signal(&w.cond);
    pthread_mutex_unlock(&w.lock);
    pthread_join(w.thread, NULL);
    w.runs = 0;
    drain();
    core_dbthread_stop(apr_time_from_sec(2));
    collect_job();
    if (w.holds) {
        gb_segment_lease_end(ring()->segment, CORE_LEASE_JOURNAL);
    }
    return APR_SUCCESS;
}

void core_journal_child_init(apr_pool_t *pchild)
{
    pthread_condattr_t attr;
    sigset_t all, before;

    memset(&w, 0, sizeof(w));
    core_dbthread_child_init();
    if (!core_store() || !ring()) {
        return;
    }
    pthread_mutex_init(&w.lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w.cond, &attr);
    pthread_condattr_destroy(&attr);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    w.runs = pthread_create(&w.thread, NULL, thread_main, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    apr_pool_pre_cleanup_register(pchild, NULL, child_ends);
}

/* The parent's: what children have left is safe before the segment goes. */
static apr_status_t parent_ends(void *data)
{
    if ((pid_t)(apr_size_t)data == getpid() && core_store() && ring()) {
        gb_ring_sweep(ring());
        gb_ring_retake(ring());
        spill();
    }
    return APR_SUCCESS;
}

void core_journal_post_config(apr_pool_t *pconf)
{
    if (core_store() && ring()) {
        apr_pool_cleanup_register(pconf, (void *)(apr_size_t)getpid(), parent_ends,
                                  apr_pool_cleanup_null);
    }
}
