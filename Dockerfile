# SPDX-License-Identifier: Apache-2.0
# docker build -t gbalance . && docker run -p 8000:8000 -e API_KEYS=... -e ALLOWED_TOKENS=... gbalance
FROM debian:bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
    gcc libc6-dev make apache2-dev libcurl4-openssl-dev libjansson-dev libssl-dev libsndfile1-dev
COPY . /src
RUN make -C /src -f apxs.mk -j"$(nproc)" install DESTDIR=/out

FROM debian:bookworm
RUN apt-get update && apt-get install -y --no-install-recommends \
    apache2 ca-certificates libaprutil1-dbd-sqlite3 libaprutil1-dbd-mysql libcurl4 \
    libjansson4 libjs-chart.js libsndfile1 tzdata && rm -rf /var/lib/apt/lists/* \
    && a2enmod headers proxy_http ssl && a2dissite 000-default && : >/etc/apache2/ports.conf
COPY --from=build /out/ /
RUN printf '%s\n' 'Include conf.d/gbalance.conf' 'GBalanceStateDir /var/lib/gbalance/data' \
    'GBalanceSecretFile /var/lib/gbalance/gbalance.secret' \
    'Include conf.d/gbalance-site.conf' 'ErrorLog /dev/stderr' 'CustomLog /dev/stdout gbalance' \
    'GracefulShutdownTimeout 8' \
    >/etc/apache2/conf-enabled/gbalance.conf
VOLUME /var/lib/gbalance
EXPOSE 8000
# Streams end well, within the ten seconds that `docker stop` waits.
STOPSIGNAL SIGWINCH
# Each machine has a secret of its own, which only root reads.
CMD ["sh", "-ec", "cd /var/lib/gbalance; install -d -o www-data -g www-data -m 750 data; \
[ -e gbalance.secret ] || (umask 077; head -c 32 /dev/urandom >gbalance.secret); \
. /etc/apache2/envvars; mkdir -p $APACHE_RUN_DIR $APACHE_LOCK_DIR; exec apache2 -DFOREGROUND"]
