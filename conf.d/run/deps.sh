#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# deps.sh PACKAGE...: installs the Debian packages that are missing.  Says which,
# asks for root only then, and where that is not possible prints the one line to
# run.  Elsewhere than on Debian the tools are the user's own business.
set -eu

say() { echo "gbalance: $*"; }

if ! command -v dpkg-query >/dev/null 2>&1; then
    exit 0
fi

missing=
for package in "$@"; do
    case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || :) in
    *' installed') ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

say "these packages are missing and will be installed:$missing"

update='apt-get -o DPkg::Lock::Timeout=600 update'
install="apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends$missing"

# Word splitting of $update and $install is meant: neither holds a quoted word.
if [ "$(id -u)" -eq 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    $update -qq </dev/null
    $install </dev/null
elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    sudo $update -qq
    sudo DEBIAN_FRONTEND=noninteractive $install
else
    say "that needs root; run this line and start again:"
    echo "    apt-get update && apt-get install -y --no-install-recommends$missing"
    exit 1
fi
