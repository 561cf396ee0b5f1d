#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A private httpd with gbalance in the foreground, for `make -f apxs.mk run`, which
# sets GB_SRCDIR, GB_BUILD, GB_HTTPD and GB_LIBEXECDIR.  Reads ./.env and the
# environment (which wins).  Everything it writes is below STATE_DIR: httpd.conf,
# logs, tokens, data (the server's own), and as root a copy of the modules that
# the server's user can reach.  The settings themselves are gbalance's business;
# here only keys and tokens are looked at, to know what to make up.
set -eu

port=${PORT:-8000}
user=www-data
env_file=$PWD/.env

say() { echo "gbalance: $*"; }
die() { echo "gbalance: $*" >&2; exit 1; }

case $port in
'' | 0* | *[!0-9]* | ??????*) port_ok= ;;
*) [ "$port" -le 65535 ] && port_ok=yes || port_ok= ;;
esac
[ -n "$port_ok" ] || die "PORT must be a number from 1 to 65535, not \"$port\""

# ---- where things are, and whose ----

if [ "$(id -u)" -eq 0 ]; then
    as_root=yes
    state=${STATE_DIR:-/var/lib/gbalance}
    getent passwd "$user" >/dev/null || die "there is no user $user to run the server as"
else
    as_root=
    state=${STATE_DIR:-$PWD/var}
fi

umask 022
mkdir -p "$state" || die "STATE_DIR=$state cannot be made"
state=$(cd "$state" && pwd)
case $state in
*[\"\$\\]* | *"
"*) die "STATE_DIR must not hold quotes, dollar signs or backslashes" ;;
esac
data=$state/data
mkdir -p "$state/logs" "$state/run" "$state/lib" "$state/htdocs" "$data"

# What root reads at the next restart (httpd.conf, modules) must not lie in a
# folder of the server's user; only data is its own.
if [ -n "$as_root" ]; then
    chown "$user:$user" "$data"
    chmod 750 "$data"
    as_user="setpriv --reuid=$user --regid=$user --init-groups"
else
    as_user=
fi
user_name=$($as_user id -un)

# The folder on the way to $1 that the server's user may not pass.
forbidding() {
    dir=$1
    found=
    while :; do
        $as_user test -x "$dir" || found=$dir
        [ "$dir" = / ] && break
        dir=$(dirname "$dir")
    done
    # The outermost one was tested last.
    [ -n "$found" ] && echo "$found"
}

check_reach() {
    wall=$(forbidding "$1") || return 0
    die "the server's user ($user_name) cannot reach $2 in $1: $wall forbids it" \
        "(chmod a+x \"$wall\", or choose another STATE_DIR)"
}

# A clone below /root is out of the server's reach, so root's server gets a copy.
if [ -n "$as_root" ]; then
    for file in "$GB_BUILD"/.libs/mod_gbalance*.so "$GB_BUILD/gemini-simulator"; do
        install -m 755 "$file" "$state/lib/.new"
        mv -f "$state/lib/.new" "$state/lib/${file##*/}"
    done
    rm -rf "$state/assets.new"
    cp -R "$GB_SRCDIR/htdocs" "$state/assets.new"
    chmod -R a+rX "$state/assets.new"
    rm -rf "$state/assets"
    mv "$state/assets.new" "$state/assets"
    lib=$state/lib
    simulator=$state/lib/gemini-simulator
    assets=$state/assets
else
    lib=$GB_BUILD/.libs
    simulator=$GB_BUILD/gemini-simulator
    assets=$GB_SRCDIR/htdocs
fi
check_reach "$lib" "the modules"
check_reach "$data" "its state"
$as_user test -w "$data" || die "the server's user ($user_name) cannot write to $data"

# ---- keys and tokens ----

# The value of a name in the environment, else in .env, where quoted ones may run
# over lines: enough to see whether there is one.
setting() {
    if value=$(printenv "$1"); then
        echo "$value"
    elif [ -r "$env_file" ]; then
        awk -v name="$1" -v single="'" '
            quote == "" {
                line = $0
                sub(/^[ \t]*(export[ \t]+)?/, "", line)
                key = line
                sub(/[ \t]*=.*/, "", key)
                mine = key == name && line != key
                sub(/^[^=]*=[ \t]*/, "", line)
                quote = substr(line, 1, 1)
                if (quote == "\"" || quote == single)
                    line = substr(line, 2)
                else
                    quote = ""
                if (quote == "")
                    sub(/^#.*|[ \t]#.*/, "", line)
                if (mine)
                    value = ""
                $0 = line
            }
            {
                end = quote == "" ? 0 : index($0, quote)
                if (mine)
                    value = value " " (end ? substr($0, 1, end - 1) : $0)
                if (end)
                    quote = ""
            }
            END { print value }' "$env_file"
    fi
}

is_set() {
    # Quotes, blanks, brackets and commas alone are an empty list.
    rest=$(setting "$1" | tr -d " \t\r\n\"',[]")
    [ -n "$rest" ]
}

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

sim_pid=
httpd_pid=
stop() {
    trap '' INT TERM HUP
    [ -z "$httpd_pid" ] || kill -TERM "$httpd_pid" 2>/dev/null || :
    [ -z "$httpd_pid" ] || wait "$httpd_pid" || :
    [ -z "$sim_pid" ] || kill -TERM "$sim_pid" 2>/dev/null || :
}

start_simulator() {
    port_file=$data/simulator.port
    rm -f "$port_file"
    $as_user "$simulator" --port 0 --bind 127.0.0.1 --port-file "$port_file" --die-with-parent &
    sim_pid=$!
    tries=0
    while [ ! -s "$port_file" ]; do
        kill -0 "$sim_pid" 2>/dev/null || die "the simulator ended before it listened"
        tries=$((tries + 1))
        [ "$tries" -le 100 ] || die "the simulator does not say its port"
        sleep 0.1
    done
    BASE_URL=http://127.0.0.1:$(cat "$port_file")/v1beta
    API_KEYS=simulated-key-one,simulated-key-two,simulated-key-three
    export BASE_URL API_KEYS
    say "there are no API_KEYS in the environment or in $env_file, so the bundled simulator"
    say "answers in Google's place, at $BASE_URL"
}

# Tokens that nobody has set, random, kept for the next start once they were told.
tokens_file=$state/tokens
kept=
made=
ensure_token() {
    value=
    is_set "$1" && return 0
    value=$(sed -n "s/^$1=//p" "$tokens_file" 2>/dev/null || :)
    if [ -n "$value" ]; then
        kept=yes
    else
        value=$2$(random)
        made="$made$1=$value
"
    fi
    export "$1=$value"
}

ensure_token ALLOWED_TOKENS sk-
token=${value:-YOUR-TOKEN}
ensure_token AUTH_TOKEN admin-

tell_tokens() {
    if [ -z "$made" ]; then
        [ -z "$kept" ] || say "the tokens made at an earlier start are in $tokens_file"
        return
    fi
    (umask 077 && printf %s "$made" >>"$tokens_file")
    say "no tokens were set, so these were made; they are kept in $tokens_file (mode 0600)"
    echo
    printf %s "$made" | sed 's/^/    /'
    cat <<END

Administration: http://127.0.0.1:$port/ (sign in with AUTH_TOKEN)

Try OpenAI's protocol:

    curl http://127.0.0.1:$port/v1/chat/completions \\
        -H 'Authorization: Bearer $token' -H 'Content-Type: application/json' \\
        -d '{"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "Hello"}]}'

and Gemini's:

    curl http://127.0.0.1:$port/v1beta/models/gemini-2.5-flash:generateContent \\
        -H 'x-goog-api-key: $token' -H 'Content-Type: application/json' \\
        -d '{"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}'

END
}

# ---- httpd's configuration ----

# LoadModule for one of httpd's own modules, unless it is compiled in.
load() {
    [ ! -e "$GB_LIBEXECDIR/mod_$1.so" ] || cat <<END
<IfModule !$1_module>
    LoadModule $1_module "$GB_LIBEXECDIR/mod_$1.so"
</IfModule>
END
}

error_log=/dev/stderr
# Behind sudo or su the terminal may belong to somebody else.
if ! (: >>/dev/fd/3) 3>&2 2>/dev/null; then
    error_log=$state/logs/error.log
    say "errors go to $error_log"
fi

write_conf() {
    echo "# Written by \`make -f apxs.mk run\` at every start; changes here are lost."
    for module in mpm_event authn_core authz_core unixd log_config logio watchdog alias headers; do
        load "$module"
    done
    [ -z "$as_root" ] || printf 'User %s\nGroup %s\n' "$user" "$user"
    cat <<END
ServerRoot "$state"
DefaultRuntimeDir "$state/run"
PidFile "$pid_file"
ServerName localhost
DocumentRoot "$state/htdocs"
<Directory />
    AllowOverride None
    Require all denied
</Directory>
ErrorLog "$error_log"
LogLevel warn
ServerTokens Prod

Define GB_MODULES "$lib"
Define GB_CONF "$GB_SRCDIR/conf.d"
Define GB_HTDOCS "$assets"
Define GB_LISTEN 127.0.0.1:$port
Define GB_PORT $port
Include "\${GB_CONF}/gbalance.conf"
CustomLog "$state/logs/access.log" gbalance
GBalanceStateDir "$data"
END
    for module in "$lib"/mod_gbalance*.so; do
        module=${module##*/mod_}
        echo "LogLevel ${module%.so}_module:info"
    done
    echo "GBalanceSecretFile \"$secret\""
    [ ! -r "$env_file" ] || echo "GBalanceEnvFile \"$env_file\""
    echo 'Include "${GB_CONF}/gbalance-site.conf"'
}

# What seals keys and tokens in the database; not in a folder of the server's user.
secret=$state/secret
if [ ! -e "$secret" ]; then
    (umask 077 && head -c 32 /dev/urandom >"$secret.new")
    mv "$secret.new" "$secret"
fi

conf=$state/httpd.conf
pid_file=$state/run/httpd.pid
# A pid file that a crash left may name any process by now.
if pid=$(cat "$pid_file" 2>/dev/null) && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$conf"; then
    die "process $pid already serves from $state; end it or choose another STATE_DIR"
fi
rm -f "$pid_file"
(umask 077 && write_conf >"$conf")

# ---- serve ----

trap 'stop; exit 0' INT TERM HUP
is_set API_KEYS || start_simulator
if ! "$GB_HTTPD" -t -f "$conf" >"$state/run/configtest" 2>&1; then
    cat "$state/run/configtest" >&2
    stop
    die "httpd does not accept the configuration $conf"
fi

# httpd takes the terminal's SIGWINCH for a graceful stop, so it gets a session of
# its own; it ends with this script whatever becomes of that.
setsid setpriv --pdeathsig TERM "$GB_HTTPD" -DFOREGROUND -f "$conf" &
httpd_pid=$!
while [ ! -s "$pid_file" ] && kill -0 "$httpd_pid" 2>/dev/null; do
    sleep 0.1
done
if [ -s "$pid_file" ]; then
    tell_tokens
    say "serving on http://127.0.0.1:$port, state in $state; Ctrl-C ends it"
fi
status=0
wait "$httpd_pid" || status=$?
httpd_pid=
stop
exit "$status"
