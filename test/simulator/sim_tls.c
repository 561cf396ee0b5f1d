/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for the simulator, when it was built with OpenSSL (SIM_WITH_TLS): one
 * certificate, HTTP/1.1 by ALPN, non-blocking. Without OpenSSL the functions
 * say that TLS is off.
 */
#include "sim.h"

#include <errno.h>
#include <stdio.h>

#ifdef SIM_WITH_TLS

#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *context;

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len)
        != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

bool sim_tls_init(const char *cert, const char *key)
{
    context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_use_certificate_chain_file(context, cert) != 1
        || SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        return false;
    }
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                                  | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    return true;
}

bool sim_tls_on(void)
{
    return context != NULL;
}

bool sim_tls_attach(sim_conn_t *c)
{
    SSL *ssl = SSL_new(context);

    if (ssl == NULL) {
        return false;
    }
    SSL_set_fd(ssl, c->fd);
    SSL_set_accept_state(ssl);
    c->tls = ssl;
    return true;
}

void sim_tls_detach(sim_conn_t *c)
{
    SSL_free(c->tls);
    c->tls = NULL;
    ERR_clear_error();
}

void sim_tls_shutdown(sim_conn_t *c)
{
    if (SSL_is_init_finished(c->tls)) {
        SSL_shutdown(c->tls);
    }
    ERR_clear_error();
}

static long result(sim_conn_t *c, int n)
{
    int why;

    if (n > 0) {
        return n;
    }
    why = SSL_get_error(c->tls, n);
    ERR_clear_error();
    if (why == SSL_ERROR_ZERO_RETURN) {
        return 0;
    }
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
    return -1;
}

long sim_tls_read(sim_conn_t *c, void *p, size_t n)
{
    return result(c, SSL_read(c->tls, p, n > 1 << 20 ? 1 << 20 : (int)n));
}

long sim_tls_write(sim_conn_t *c, const void *p, size_t n)
{
    return result(c, SSL_write(c->tls, p, n > 1 << 20 ? 1 << 20 : (int)n));
}

#else

bool sim_tls_init(const char *cert, const char *key)
{
    (void)cert;
    (void)key;
    fprintf(stderr, "gemini-simulator: built without TLS\n");
    return false;
}

bool sim_tls_on(void)
{
    return false;
}

bool sim_tls_attach(sim_conn_t *c)
{
    (void)c;
    return false;
}

void sim_tls_detach(sim_conn_t *c)
{
    (void)c;
}

void sim_tls_shutdown(sim_conn_t *c)
{
    (void)c;
}

long sim_tls_read(sim_conn_t *c, void *p, size_t n)
{
    (void)c;
    (void)p;
    (void)n;
    errno = EIO;
    return -1;
}

long sim_tls_write(sim_conn_t *c, const void *p, size_t n)
{
    (void)c;
    (void)p;
    (void)n;
    errno = EIO;
    return -1;
}

#endif
