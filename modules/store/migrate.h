/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database's schema: numbered files of steps, built into the modules.  A
 * database of an older version (or gemini-balance's own) is brought up to ours,
 * one of a newer version is left alone.
 *
 * On SQLite a whole file is one transaction.  MySQL commits each DDL statement
 * by itself, so there every step is recorded alone and may be met half done:
 * what a step wants to add and finds is taken as done.
 */
#ifndef GB_MIGRATE_H
#define GB_MIGRATE_H

#include "store/db.h"

typedef struct gb_schema_file_t {
    gb_db_kind_t kind;
    int version; /* 0 at the end of the table */
    const char *name;
    const char *text;
} gb_schema_file_t;

extern const gb_schema_file_t gb_schema_files[];

/* The newest version that this build knows. */
int gb_schema_newest(gb_db_kind_t kind);

/* *found: the version that the database is at, 0 when it has none of our tables. */
apr_status_t gb_schema_version(gb_db_t *db, int *found, apr_pool_t *p);

/*
 * Brings the database to gb_schema_newest under a lock that other processes (on
 * MySQL: other machines) heed.  *found is what it was at before.  APR_EMISMATCH:
 * it is newer, nothing was written.  APR_EBUSY: somebody else holds the lock for
 * too long.  All else: the database's fault, see gb_db_error.
 */
apr_status_t gb_schema_migrate(gb_db_t *db, int *found, apr_pool_t *p);

#endif
