# SPDX-License-Identifier: Apache-2.0
#
# Makes one C file of htdocs/templates/*.html and htdocs/i18n/*.json: the module
# carries its pages with it and needs no folder at run time.  Browsers read the
# catalogues from htdocs.

function quoted(line) {
    gsub(/\\/, "\\\\&", line)
    gsub(/"/, "\\\"", line)
    gsub(/\?\?/, "?\"\"?", line)
    return "    \"" line "\\n\""
}

function finish() {
    if (open)
        print "    },"
    open = 0
}

function list(name) {
    finish()
    if (current)
        print "    { NULL, NULL }\n};\n"
    if (name)
        print "const gb_template_file_t " name "[] = {"
    current = name
}

BEGIN {
    print "/* Made by files.awk. */"
    print "#include \"admin/admin.h\"\n"
}

FNR == 1 {
    n = split(FILENAME, parts, "/")
    kind = parts[n - 1] == "templates" ? "admin_template_files" : "admin_words_files"
    if (kind != current)
        list(kind)
    finish()
    sub(/\.[a-z]+$/, "", parts[n])
    print "    { \"" parts[n] "\","
    open = 1
}

{ print quoted($0) }

END { list("") }
