/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files and folders, without libFuzzer: so that what
 * was found once stays found with any compiler, under valgrind, in a debugger.
 * A run that read nothing fails.
 */
#include "fuzz.h"

#include <ftw.h>
#include <sys/stat.h>

static int inputs;

static int on_file(const char *path, const struct stat *st, int type)
{
    FILE *file;
    uint8_t *bytes;
    size_t len;

    if (type != FTW_F || (file = fopen(path, "rb")) == NULL) {
        return 0;
    }
    /* exactly as long as the input: a sanitizer sees each byte read beyond it */
    bytes = malloc(st->st_size > 0 ? (size_t)st->st_size : 1);
    len = bytes != NULL ? fread(bytes, 1, (size_t)st->st_size, file) : 0;
    fclose(file);
    if (bytes != NULL) {
        LLVMFuzzerTestOneInput(bytes, len);
        inputs++;
    }
    free(bytes);
    return 0;
}

int main(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++) {
        if (ftw(argv[i], on_file, 16) != 0) {
            perror(argv[i]);
            return 1;
        }
    }
    printf("%d inputs\n", inputs);
    return inputs > 0 ? 0 : 1;
}
