#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# gbalance-reseal.sh SECRET-FILE COMMAND...: seals keys and tokens in the database
# under a new secret.  Keeps the one until now as SECRET-FILE.before, makes a new
# SECRET-FILE, and runs COMMAND (`apachectl graceful`, say), which makes httpd read
# both: gbalance.conf names the second file where it exists.  When all is sealed
# anew, run it with --done, which removes the old secret, and restart gracefully.
set -eu

say() { echo "gbalance-reseal: $*"; }
die() { echo "gbalance-reseal: $*" >&2; exit 1; }

done_with=
if [ "${1:-}" = --done ]; then
    done_with=yes
    shift
fi
[ $# -ge 2 ] || die "usage: gbalance-reseal.sh [--done] SECRET-FILE COMMAND..."
secret=$1
shift
[ -f "$secret" ] || die "$secret is not there"

if [ -n "$done_with" ]; then
    [ -f "$secret.before" ] || die "$secret.before is not there: nothing is under way"
    rm -f "$secret.before"
    "$@"
    exit
fi

[ ! -e "$secret.before" ] || die "$secret.before is there: is the last change finished? (--done)"
umask 077
head -c 32 /dev/urandom >"$secret.new"
# Never without a secret: the copy first, then one rename.
cp -p "$secret" "$secret.before"
mv -f "$secret.new" "$secret"
if ! "$@"; then
    mv -f "$secret.before" "$secret"
    die "\"$*\" failed: the secret is the old one again"
fi
say "a new secret is in $secret; when the error log says GB6022 (values were sealed), finish with"
say "    $0 --done $secret $*"
