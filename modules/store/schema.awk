# SPDX-License-Identifier: Apache-2.0
#
# Makes one C file of schema/DRIVER/NNN-*.sql: the modules carry their schema
# with them and need no folder at run time.  Files come in order.

function quoted(line) {
    gsub(/\\/, "\\\\&", line)
    gsub(/"/, "\\\"", line)
    return "    \"" line "\\n\""
}

function finish() {
    if (open)
        print "    },"
}

BEGIN {
    print "/* Made by schema.awk. */"
    print "#include \"store/migrate.h\"\n"
    print "const gb_schema_file_t gb_schema_files[] = {"
}

FNR == 1 {
    finish()
    n = split(FILENAME, parts, "/")
    driver = parts[n - 1] == "mysql" ? "GB_DB_MYSQL" : "GB_DB_SQLITE3"
    print "    { " driver ", " (parts[n] + 0) ", \"" parts[n] "\","
    open = 1
}

{ print quoted($0) }

END {
    finish()
    print "    { GB_DB_SQLITE3, 0, NULL, NULL }"
    print "};"
}
