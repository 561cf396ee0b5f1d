-- SPDX-License-Identifier: Apache-2.0
--
-- Which key made what: caches, operations, batches, interactions, stores and the like, as
-- t_file_records does for files.  Times are milliseconds since 1970 in UTC.

-- step: gb_made
CREATE TABLE IF NOT EXISTS gb_made (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pool VARCHAR(64) NOT NULL,
    name VARCHAR(128) NOT NULL,
    key_id VARCHAR(20) NOT NULL,
    caller VARCHAR(100),
    made BIGINT NOT NULL,
    ends BIGINT NOT NULL
)

-- step: index of gb_made: pool, name
CREATE UNIQUE INDEX IF NOT EXISTS gb_made_name ON gb_made (pool, name)

-- step: index of gb_made: ends
CREATE INDEX IF NOT EXISTS gb_made_ends ON gb_made (ends)
