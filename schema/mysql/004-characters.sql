-- SPDX-License-Identifier: Apache-2.0
--
-- The tables of a gemini-balance have the character set of their database, which may be
-- latin1 or one without emoji: rows with such texts would be refused.

-- step: t_settings takes every character
ALTER TABLE t_settings CONVERT TO CHARACTER SET utf8mb4

-- step: t_error_logs takes every character
ALTER TABLE t_error_logs CONVERT TO CHARACTER SET utf8mb4

-- step: t_request_log takes every character
ALTER TABLE t_request_log CONVERT TO CHARACTER SET utf8mb4

-- step: t_file_records takes every character
ALTER TABLE t_file_records ROW_FORMAT = DYNAMIC, CONVERT TO CHARACTER SET utf8mb4
