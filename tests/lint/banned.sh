#!/bin/sh
# Risky calls have one home: allocation in base/mem.c, clocks in base/clock.c. A line that frees another library's memory says so with
# a comment that names it: free(line); /* libevent's */
set -eu
bad=0
look() { # pattern, home, what to use
    found=$(grep -nE "$1" src/*/*.c | grep -vE "^($2):" | grep -vE "/\* [a-z]+'s \*/" || true)
    [ -z "$found" ] || { echo "$3:"; echo "$found"; bad=1; }
}
look '(^|[^_a-zA-Z.>])(malloc|calloc|realloc|free|strdup|strndup)\(' 'src/base/mem\.c' 'use base/mem.h'
look '(^|[^_a-zA-Z])(clock_gettime|gettimeofday|time)\((CLOCK|NULL|&)' 'src/base/clock\.c' 'use base/clock.h'
look '(^|[^_a-zA-Z])(strcpy|strcat|sprintf|gets|strtok|atoi|atol|setlocale|system|popen)\(' 'nothing' 'never use these'
exit $bad
