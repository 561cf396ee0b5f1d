#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Leads applications that insist on https://generativelanguage.googleapis.com to
# this Apache.  Three parts, each of which can be taken back:
#
#   gbalance-intercept.sh on [ADDRESS:PORT]   a local authority, a certificate for
#                     Google's name, and the VirtualHost of gbalance-intercept.conf
#                     at that address (127.0.0.1:443).  Again with another address
#                     or port: moves it.  Reload httpd afterwards.
#   gbalance-intercept.sh run COMMAND ...     runs one application that is led
#                     here: it sees a hosts file of its own (a private mount
#                     namespace) and trusts the authority through its environment.
#                     Nothing outside of it changes.  Needs root, and port 443.
#   gbalance-intercept.sh hosts [ADDRESS]     leads every application of this
#                     machine here: an entry in /etc/hosts, and the authority among
#                     those that the system trusts.  ADDRESS is the gateway's.
#   gbalance-intercept.sh unhosts             takes both away.
#   gbalance-intercept.sh off                 unhosts, and no VirtualHost any more;
#                     certificate and authority stay for the next `on`.
#   gbalance-intercept.sh remove              off, and nothing is left.
#   gbalance-intercept.sh status
#
# `hosts` on the gateway's own machine would lead the gateway to itself as well:
# there it must reach Google through a proxy (PROXIES), or use `run`.
#
# GB_INTERCEPT_DIR   /etc/gbalance-intercept: authority, certificate, listen.conf
# GB_INTERCEPT_HOSTS /etc/hosts
# GB_INTERCEPT_TRUST /usr/local/share/ca-certificates/gbalance-intercept.crt
# GB_INTERCEPT_UPDATE the command that renews the system's list of authorities
set -eu
umask 022

name=generativelanguage.googleapis.com
mark='# gbalance-intercept'
dir=${GB_INTERCEPT_DIR:-/etc/gbalance-intercept}
hosts=${GB_INTERCEPT_HOSTS:-/etc/hosts}
trust=${GB_INTERCEPT_TRUST:-/usr/local/share/ca-certificates/gbalance-intercept.crt}
update=${GB_INTERCEPT_UPDATE:-update-ca-certificates}
hooks=/etc/ca-certificates/update.d

fail() { echo "gbalance-intercept.sh: $*" >&2; exit 1; }

# ---- authority and certificate ----

make_ca() {
    [ -s "$dir/ca.pem" ] && return 0
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 \
        -subj '/CN=gbalance interception (local)' -keyout "$dir/ca.key" -out "$dir/ca.pem.new" \
        -addext 'basicConstraints=critical,CA:TRUE,pathlen:0' \
        -addext 'keyUsage=critical,keyCertSign,cRLSign' \
        -addext "nameConstraints=critical,permitted;DNS:$name" 2>/dev/null
    chmod 600 "$dir/ca.key"
    mv "$dir/ca.pem.new" "$dir/ca.pem"
}

# A certificate that lives for another month is kept.
make_cert() {
    openssl x509 -in "$dir/cert.pem" -noout -checkend 2592000 >/dev/null 2>&1 && return 0
    if [ "${GB_INTERCEPT_MKCERT:-}" ]; then     # mkcert has an authority of its own
        CAROOT=$dir mkcert -cert-file "$dir/cert.pem" -key-file "$dir/cert.key" "$name" >/dev/null
        cp "$dir/rootCA.pem" "$dir/ca.pem"
        return 0
    fi
    make_ca
    printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\n' "$name" >"$dir/cert.ext"
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
        -keyout "$dir/cert.key" -out "$dir/cert.csr" 2>/dev/null
    openssl x509 -req -in "$dir/cert.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial \
        -days 397 -extfile "$dir/cert.ext" -out "$dir/cert.pem" 2>/dev/null
    chmod 600 "$dir/cert.key"
    rm -f "$dir/cert.csr" "$dir/cert.ext"
}

# ---- hosts ----

# A file of hosts, without our lines.
without() { grep -v " $mark\$" "$1" || true; }

# Written in place: the file may be a mount, and keeps its owner and mode.
set_hosts() {
    text=$(without "$hosts")
    printf '%s\n' "$text" ${1:+"$1 $name $mark"} >"$hosts"
}

# ---- the verbs ----

listen_address() { sed -n 's/^Define GB_INTERCEPT_LISTEN \(.*\):[0-9]*$/\1/p' "$dir/listen.conf" 2>/dev/null; }

on() {
    listen=${1:-127.0.0.1:443}
    case $listen in *:*[0-9]) ;; *) fail "on wants ADDRESS:PORT, not \"$listen\"" ;; esac
    mkdir -p "$dir"
    make_cert
    printf 'Define GB_INTERCEPT_LISTEN %s\n' "$listen" >"$dir/listen.conf"
    echo "on at $listen; reload httpd. Authority: $dir/ca.pem"
}

off() {
    unhosts
    rm -f "$dir/listen.conf"
    echo "off; reload httpd"
}

hosts_on() {
    [ -s "$dir/ca.pem" ] || fail "switch it on first"
    set_hosts "${1:-$(listen_address)}"
    cp "$dir/ca.pem" "$trust"
    $update >/dev/null
}

unhosts() {
    if grep -q " $mark\$" "$hosts" 2>/dev/null; then
        set_hosts ''
    fi
    if [ -e "$trust" ]; then
        rm -f "$trust"
        $update --fresh >/dev/null      # else a link to nowhere would stay
        tell_hooks
    fi
}

# update-ca-certificates tells its hooks (Java's keystore) what is new, but not what has gone.
tell_hooks() {
    [ "$update" = update-ca-certificates ] && [ -d "$hooks" ] || return 0
    run-parts --test -- "$hooks" | while read -r hook; do
        echo "-/etc/ssl/certs/$(basename "$trust" .crt).pem" | "$hook" >/dev/null || true
    done
}

# The application's own hosts file lives in the memory of its mount namespace.
run_in() {
    [ $# -gt 0 ] || fail "run wants a command"
    [ -s "$dir/ca.pem" ] && [ -s "$dir/listen.conf" ] || fail "switch it on first"
    bundle=$dir/bundle.pem
    cat /etc/ssl/certs/ca-certificates.crt "$dir/ca.pem" >"$bundle" 2>/dev/null || cp "$dir/ca.pem" "$bundle"
    SSL_CERT_FILE=$bundle REQUESTS_CA_BUNDLE=$bundle CURL_CA_BUNDLE=$bundle \
        NODE_EXTRA_CA_CERTS=$dir/ca.pem GB_INTERCEPT_LINE="$(listen_address) $name" \
        exec unshare --mount --propagation private sh -c '
            own=$(mktemp -d) && mount -t tmpfs -o mode=755 tmpfs "$own"
            { cat /etc/hosts; echo "$GB_INTERCEPT_LINE"; } >"$own/hosts"
            mount --bind "$own/hosts" /etc/hosts && umount -l "$own" && rmdir "$own"
            exec "$@"' run "$@"
}

status() {
    if [ -s "$dir/listen.conf" ]; then
        sed 's/^Define GB_INTERCEPT_LISTEN /on at /' "$dir/listen.conf"
    else
        echo off
    fi
    grep " $mark\$" "$hosts" || true
}

case ${1:-status} in
on) shift; on "$@" ;;
off) off ;;
hosts) shift; hosts_on "$@" ;;
unhosts) unhosts ;;
run) shift; run_in "$@" ;;
remove) off; rm -rf "$dir"; echo removed ;;
status) status ;;
*) fail "what is \"$1\"? on, run, hosts, unhosts, off, remove, status" ;;
esac
