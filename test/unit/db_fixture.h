/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The databases that a store test runs on: a SQLite file in a folder of its own,
 * and a database on a private MariaDB server, which is started when the first
 * test asks and ends with the program.
 */
#ifndef GB_TEST_DB_FIXTURE_H
#define GB_TEST_DB_FIXTURE_H

#include <sys/types.h>

#include <apr_pools.h>

#include "store/db.h"

/* A new empty folder below /tmp, removed by db_fixture_end. */
const char *db_fixture_folder(apr_pool_t *p);

/* A new empty database.  NULL (with a line that says so) where the server is not installed; where
 * CI=true that fails instead. */
const gb_db_conf_t *db_fixture_conf(gb_db_kind_t kind, apr_pool_t *p);

/* To stop, continue and kill it; 0 before it runs. */
pid_t db_fixture_server(void);
/* Starts it again after a kill. */
void db_fixture_restart(void);

gb_db_t *db_fixture_open(const gb_db_conf_t *conf, apr_pool_t *p);
/* The same, migrated. */
gb_db_t *db_fixture_migrated(const gb_db_conf_t *conf, apr_pool_t *p);
/* The first cell of an answer; "" for none or NULL. */
const char *db_fixture_cell(gb_db_t *db, apr_pool_t *p, const char *sql);
void db_fixture_must(gb_db_t *db, const char *sql);

/* Group setup and teardown. */
int db_fixture_begin(void **state);
int db_fixture_end(void **state);

#endif
