-- SPDX-License-Identifier: Apache-2.0
--
-- gemini-balance's four tables with their names and types, our columns beside theirs,
-- and our own tables.  A database of gemini-balance goes the same way: what is there
-- stays, what is missing is added.  Times in `at` are milliseconds since 1970 in UTC;
-- request_time is local time in TIMEZONE, as there.
--
-- A step is one statement and ends where the next one begins.

-- step: t_settings
CREATE TABLE IF NOT EXISTS t_settings (
    id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY,
    `key` VARCHAR(100) NOT NULL UNIQUE,
    value MEDIUMTEXT,
    description VARCHAR(255),
    created_at DATETIME,
    updated_at DATETIME
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4

-- step: t_settings.value is long enough for thousands of keys
ALTER TABLE t_settings MODIFY COLUMN value MEDIUMTEXT

-- step: t_error_logs
CREATE TABLE IF NOT EXISTS t_error_logs (
    id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY,
    gemini_key VARCHAR(100),
    model_name VARCHAR(100),
    error_type VARCHAR(50),
    error_log TEXT,
    error_code INTEGER,
    request_msg JSON,
    request_time DATETIME
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4

-- step: t_request_log
CREATE TABLE IF NOT EXISTS t_request_log (
    id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY,
    request_time DATETIME,
    model_name VARCHAR(100),
    api_key VARCHAR(100),
    is_success BOOLEAN NOT NULL,
    status_code INTEGER,
    latency_ms INTEGER
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4

-- step: t_file_records
CREATE TABLE IF NOT EXISTS t_file_records (
    id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(255) NOT NULL UNIQUE,
    display_name VARCHAR(255),
    mime_type VARCHAR(100) NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256_hash VARCHAR(255),
    state ENUM('PROCESSING', 'ACTIVE', 'FAILED') NOT NULL,
    create_time DATETIME NOT NULL,
    update_time DATETIME NOT NULL,
    expiration_time DATETIME NOT NULL,
    uri VARCHAR(500) NOT NULL,
    api_key VARCHAR(100) NOT NULL,
    upload_url TEXT,
    user_token VARCHAR(100),
    upload_completed DATETIME
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4

-- step: columns of t_request_log
ALTER TABLE t_request_log
    ADD COLUMN uid VARCHAR(32),
    ADD COLUMN at BIGINT,
    ADD COLUMN request_id VARCHAR(64),
    ADD COLUMN attempt INTEGER,
    ADD COLUMN is_final INTEGER NOT NULL DEFAULT 1,
    ADD COLUMN pool VARCHAR(32) NOT NULL DEFAULT 'default',
    ADD COLUMN surface VARCHAR(16),
    ADD COLUMN operation VARCHAR(32),
    ADD COLUMN model_asked VARCHAR(100),
    ADD COLUMN key_id VARCHAR(20),
    ADD COLUMN caller VARCHAR(100),
    ADD COLUMN class VARCHAR(20),
    ADD COLUMN first_byte_ms INTEGER,
    ADD COLUMN prompt_tokens BIGINT,
    ADD COLUMN completion_tokens BIGINT,
    ADD COLUMN thought_tokens BIGINT,
    ADD COLUMN cached_tokens BIGINT,
    ADD COLUMN bytes BIGINT,
    ADD COLUMN is_stream INTEGER NOT NULL DEFAULT 0

-- step: columns of t_error_logs
ALTER TABLE t_error_logs
    ADD COLUMN uid VARCHAR(32),
    ADD COLUMN at BIGINT,
    ADD COLUMN request_id VARCHAR(64),
    ADD COLUMN attempt INTEGER,
    ADD COLUMN pool VARCHAR(32) NOT NULL DEFAULT 'default',
    ADD COLUMN surface VARCHAR(16),
    ADD COLUMN key_id VARCHAR(20),
    ADD COLUMN caller VARCHAR(100)

-- step: columns of t_file_records
ALTER TABLE t_file_records
    ADD COLUMN pool VARCHAR(32) NOT NULL DEFAULT 'default',
    ADD COLUMN key_id VARCHAR(20)

-- step: index of t_request_log: uid
CREATE UNIQUE INDEX t_request_log_uid ON t_request_log (uid)

-- step: index of t_error_logs: uid
CREATE UNIQUE INDEX t_error_logs_uid ON t_error_logs (uid)

-- step: index of t_request_log: at
CREATE INDEX t_request_log_at ON t_request_log (at)

-- step: index of t_request_log: key_id, at
CREATE INDEX t_request_log_key_id_at ON t_request_log (key_id, at)

-- step: index of t_request_log: model_name, at
CREATE INDEX t_request_log_model_name_at ON t_request_log (model_name, at)

-- step: index of t_request_log: class, at
CREATE INDEX t_request_log_class_at ON t_request_log (class, at)

-- step: index of t_request_log: status_code, at
CREATE INDEX t_request_log_status_code_at ON t_request_log (status_code, at)

-- step: index of t_request_log: caller, at
CREATE INDEX t_request_log_caller_at ON t_request_log (caller, at)

-- step: index of t_request_log: pool, at
CREATE INDEX t_request_log_pool_at ON t_request_log (pool, at)

-- step: index of t_request_log: request_id
CREATE INDEX t_request_log_request_id ON t_request_log (request_id)

-- step: index of t_error_logs: at
CREATE INDEX t_error_logs_at ON t_error_logs (at)

-- step: index of t_error_logs: key_id, at
CREATE INDEX t_error_logs_key_id_at ON t_error_logs (key_id, at)

-- step: index of t_error_logs: model_name, at
CREATE INDEX t_error_logs_model_name_at ON t_error_logs (model_name, at)

-- step: index of t_error_logs: error_code, at
CREATE INDEX t_error_logs_error_code_at ON t_error_logs (error_code, at)

-- step: index of t_error_logs: error_type, at
CREATE INDEX t_error_logs_error_type_at ON t_error_logs (error_type, at)

-- step: index of t_error_logs: pool, at
CREATE INDEX t_error_logs_pool_at ON t_error_logs (pool, at)

-- step: index of t_error_logs: request_id
CREATE INDEX t_error_logs_request_id ON t_error_logs (request_id)

-- step: index of t_file_records: expiration_time
CREATE INDEX t_file_records_expiration_time ON t_file_records (expiration_time)

-- step: index of t_file_records: user_token, create_time
CREATE INDEX t_file_records_user_token_create_time ON t_file_records (user_token, create_time)

-- step: index of t_file_records: api_key
CREATE INDEX t_file_records_api_key ON t_file_records (api_key)

-- step: gb_settings
CREATE TABLE IF NOT EXISTS gb_settings (
    scope VARCHAR(8) NOT NULL,
    name VARCHAR(255) NOT NULL,
    `key` VARCHAR(100) NOT NULL,
    value MEDIUMTEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (scope, name, `key`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4

-- step: gb_history
CREATE TABLE IF NOT EXISTS gb_history (
    id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY,
    change_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    who VARCHAR(100) NOT NULL,
    action VARCHAR(16) NOT NULL,
    vhost VARCHAR(255) NOT NULL,
    scope VARCHAR(8) NOT NULL,
    name VARCHAR(255) NOT NULL,
    `key` VARCHAR(100) NOT NULL,
    old_value MEDIUMTEXT,
    new_value MEDIUMTEXT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4

-- step: index of gb_history: change_id
CREATE INDEX gb_history_change_id ON gb_history (change_id)

-- step: gb_meta
CREATE TABLE IF NOT EXISTS gb_meta (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4

-- step: gb_rollup
CREATE TABLE IF NOT EXISTS gb_rollup (
    period INTEGER NOT NULL,
    start BIGINT NOT NULL,
    pool VARCHAR(32) NOT NULL,
    model VARCHAR(100) NOT NULL,
    key_id VARCHAR(20) NOT NULL,
    caller VARCHAR(100) NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    failures BIGINT NOT NULL DEFAULT 0,
    calls BIGINT NOT NULL DEFAULT 0,
    call_failures BIGINT NOT NULL DEFAULT 0,
    prompt_tokens BIGINT NOT NULL DEFAULT 0,
    completion_tokens BIGINT NOT NULL DEFAULT 0,
    thought_tokens BIGINT NOT NULL DEFAULT 0,
    cached_tokens BIGINT NOT NULL DEFAULT 0,
    latency_ms BIGINT NOT NULL DEFAULT 0,
    first_byte_ms BIGINT NOT NULL DEFAULT 0,
    first_bytes BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (period, start, pool, model, key_id, caller)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4

-- step: index of gb_rollup: key_id, period, start
CREATE INDEX gb_rollup_key_id ON gb_rollup (key_id, period, start)

-- step: index of gb_rollup: model, period, start
CREATE INDEX gb_rollup_model ON gb_rollup (model, period, start)

-- step: index of gb_rollup: caller, period, start
CREATE INDEX gb_rollup_caller ON gb_rollup (caller, period, start)

-- step: index of gb_rollup: pool, period, start
CREATE INDEX gb_rollup_pool ON gb_rollup (pool, period, start)
