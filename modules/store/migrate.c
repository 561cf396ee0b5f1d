/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applies the steps of schema files that a database has not seen yet.
 */
#include "store/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <apr_strings.h>
#include <apr_tables.h>

#include "base/log.h"

#define STEP_MARK    "-- step:"
#define LOCK_SECONDS 10
#define STEP_WHOLE   0 /* recorded when all steps of a file are done */

static const gb_sql_t sql_has_schema = {
    "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'gb_schema'",
    "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() "
    "AND table_name = 'gb_schema'",
};
static const gb_sql_t sql_version = {"SELECT MAX(version) FROM gb_schema", NULL};
static const gb_sql_t sql_whole = {"SELECT 1 FROM gb_schema WHERE version = %s AND step = 0", NULL};
static const gb_sql_t sql_steps = {"SELECT step FROM gb_schema WHERE version = %s", NULL};
static const gb_sql_t sql_record = {"INSERT INTO gb_schema (version, step, name, at) "
                                    "VALUES (%s, %s, %s, %s)",
                                    NULL};

static const char create_schema[] =
    "CREATE TABLE IF NOT EXISTS gb_schema (version INTEGER NOT NULL, "
    "step INTEGER NOT NULL, name VARCHAR(100) NOT NULL, "
    "at BIGINT NOT NULL, PRIMARY KEY (version, step))";

/* ---- versions ---- */

int gb_schema_newest(gb_db_kind_t kind)
{
    const gb_schema_file_t *file;
    int newest = 0;

    for (file = gb_schema_files; file->version; file++) {
        if (file->kind == kind && file->version > newest) {
            newest = file->version;
        }
    }
    return newest;
}

static apr_status_t has_schema(gb_db_t *db, int *yes, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(db, &sql_has_schema, NULL, &rows, p);

    *yes = rv == APR_SUCCESS && rows.n > 0;
    return rv;
}

apr_status_t gb_schema_version(gb_db_t *db, int *found, apr_pool_t *p)
{
    gb_rows_t rows;
    int yes;
    apr_status_t rv = has_schema(db, &yes, p);

    *found = 0;
    if (rv == APR_SUCCESS && yes) {
        rv = gb_db_query(db, &sql_version, NULL, &rows, p);
        if (rv == APR_SUCCESS && rows.n) {
            *found = (int)gb_rows_int(&rows, 0, 0, 0);
        }
    }
    return rv;
}

/* ---- steps ---- */

typedef struct step_t {
    int number; /* from 1 */
    const char *name;
    const char *text;
} step_t;

/* The statement from here to the next mark, without blanks and comments around it. */
static const char *statement(const char *from, const char *end, apr_pool_t *p)
{
    while (end > from && strchr(" \t\r\n;", end[-1])) {
        end--;
    }
    return apr_pstrmemdup(p, from, (apr_size_t)(end - from));
}

static apr_array_header_t *split(const char *text, apr_pool_t *p)
{
    apr_array_header_t *steps = apr_array_make(p, 64, sizeof(step_t));
    const char *mark = strstr(text, STEP_MARK);

    while (mark) {
        const char *name = mark + strlen(STEP_MARK);
        const char *line_end = name + strcspn(name, "\n");
        const char *next = strstr(line_end, "\n" STEP_MARK);
        step_t *step = apr_array_push(steps);

        step->number = steps->nelts;
        step->name = statement(name + strspn(name, " "), line_end, p);
        step->text = statement(line_end + (*line_end ? 1 : 0),
                               next ? next : line_end + strlen(line_end), p);
        mark = next ? next + 1 : NULL;
    }
    return steps;
}

/* A column, key or table that is there already: the step was done, and the record of it lost. */
static int was_done(const gb_db_t *db)
{
    static const char *const numbers[] = {"(1050)", "(1060)", "(1061)", NULL};
    int i;

    for (i = 0; gb_db_kind(db) == GB_DB_MYSQL && numbers[i]; i++) {
        if (strstr(gb_db_error(db), numbers[i])) {
            return 1;
        }
    }
    return 0;
}

static apr_status_t record(gb_db_t *db, int version, int number, const char *name, apr_pool_t *p)
{
    const char *args[4];

    args[0] = apr_itoa(p, version);
    args[1] = apr_itoa(p, number);
    args[2] = apr_pstrndup(p, name, 100);
    args[3] = gb_db_int(apr_time_as_msec(apr_time_now()), p);
    return gb_db_run(db, &sql_record, args, NULL);
}

static apr_status_t apply_step(gb_db_t *db, int version, const step_t *step, apr_pool_t *p)
{
    apr_status_t rv = gb_db_exec(db, step->text);

    if (rv != APR_SUCCESS && was_done(db)) {
        rv = APR_SUCCESS;
    }
    if (rv != APR_SUCCESS) {
        gb_log(GB_LOG_ERR, 0, GBLOGNO(6001) "schema %d, step %d (%s): %s", version, step->number,
               step->name, gb_db_error(db));
        return rv;
    }
    return record(db, version, step->number, step->name, p);
}

static int is_done(const gb_rows_t *done, int number)
{
    int i;

    for (i = 0; i < done->n; i++) {
        if (gb_rows_int(done, i, 0, -1) == number) {
            return 1;
        }
    }
    return 0;
}

static apr_status_t apply_steps(gb_db_t *db, const gb_schema_file_t *file, apr_pool_t *p)
{
    apr_array_header_t *steps = split(file->text, p);
    const char *args[1];
    gb_rows_t done;
    apr_status_t rv;
    int i;

    args[0] = apr_itoa(p, file->version);
    rv = gb_db_query(db, &sql_steps, args, &done, p);
    if (rv != APR_SUCCESS || is_done(&done, STEP_WHOLE)) {
        return rv;
    }
    for (i = 0; rv == APR_SUCCESS && i < steps->nelts; i++) {
        const step_t *step = &APR_ARRAY_IDX(steps, i, step_t);

        if (!is_done(&done, step->number)) {
            rv = apply_step(db, file->version, step, p);
        }
    }
    return rv == APR_SUCCESS ? record(db, file->version, STEP_WHOLE, file->name, p) : rv;
}

static apr_status_t apply_file(gb_db_t *db, const gb_schema_file_t *file, apr_pool_t *p)
{
    int atomic = gb_db_kind(db) == GB_DB_SQLITE3;
    apr_status_t rv = atomic ? gb_db_begin(db) : APR_SUCCESS;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = apply_steps(db, file, p);
    if (atomic && rv == APR_SUCCESS) {
        rv = gb_db_commit(db);
    }
    if (atomic && rv != APR_SUCCESS) {
        gb_db_rollback(db);
    }
    return rv;
}

static apr_status_t apply_all(gb_db_t *db, apr_pool_t *p)
{
    const gb_schema_file_t *file;
    apr_status_t rv = gb_db_exec(db, create_schema);

    for (file = gb_schema_files; rv == APR_SUCCESS && file->version; file++) {
        if (file->kind == gb_db_kind(db)) {
            rv = apply_file(db, file, p);
        }
    }
    return rv;
}

/* ---- the lock ---- */

/* *pfd -1 where the lock is the connection's own. */
static apr_status_t lock_file(const char *path, int *pfd)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int tries;

    if (fd < 0 && (errno == EACCES || errno == EROFS)) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        return errno;
    }
    for (tries = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; tries++) {
        if (tries >= LOCK_SECONDS * 20) {
            close(fd);
            return APR_EBUSY;
        }
        apr_sleep(apr_time_from_msec(50));
    }
    *pfd = fd;
    return APR_SUCCESS;
}

static apr_status_t lock_server(gb_db_t *db, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv = gb_db_ask(db, "SELECT GET_LOCK('gbalance', 10)", &rows, p);

    if (rv == APR_SUCCESS && (!rows.n || gb_rows_int(&rows, 0, 0, 0) != 1)) {
        rv = APR_EBUSY;
    }
    return rv;
}

static apr_status_t lock(gb_db_t *db, int *pfd, apr_pool_t *p)
{
    *pfd = -1;
    return gb_db_kind(db) == GB_DB_MYSQL ? lock_server(db, p)
                                         : lock_file(gb_db_conf(db)->lock_path, pfd);
}

static void unlock(gb_db_t *db, int fd, apr_pool_t *p)
{
    gb_rows_t rows;

    if (fd >= 0) {
        close(fd);
    }
    else {
        gb_db_ask(db, "SELECT RELEASE_LOCK('gbalance')", &rows, p);
    }
}

/* Whether there is anything to do: a database that is up to date is not even locked. */
static apr_status_t look(gb_db_t *db, int *found, int *whole, apr_pool_t *p)
{
    int newest = gb_schema_newest(gb_db_kind(db));
    const char *args[1];
    gb_rows_t rows;
    apr_status_t rv = gb_schema_version(db, found, p);

    *whole = 0;
    if (rv == APR_SUCCESS && *found > newest) {
        return APR_EMISMATCH;
    }
    if (rv == APR_SUCCESS && *found == newest) {
        args[0] = apr_itoa(p, newest);
        rv = gb_db_query(db, &sql_whole, args, &rows, p);
        *whole = rv == APR_SUCCESS && rows.n > 0;
    }
    return rv;
}

static apr_status_t migrate_locked(gb_db_t *db, int *found, apr_pool_t *p)
{
    int whole;
    apr_status_t rv = look(db, found, &whole, p);

    return rv == APR_SUCCESS && !whole ? apply_all(db, p) : rv;
}

apr_status_t gb_schema_migrate(gb_db_t *db, int *found, apr_pool_t *p)
{
    apr_pool_t *scratch;
    int fd, whole;
    apr_status_t rv;

    apr_pool_create(&scratch, p);
    rv = look(db, found, &whole, scratch);
    if (rv == APR_SUCCESS && !whole) {
        rv = lock(db, &fd, scratch);
        if (rv == APR_SUCCESS) {
            rv = migrate_locked(db, found, scratch);
            unlock(db, fd, scratch);
        }
    }
    apr_pool_destroy(scratch);
    return rv;
}
