/* The smallest program that can tell when it began: no libc, no loader, so that what is measured is
 * the supervisor and not this. It writes one line to the FIFO named by BENCH_FIFO:
 *
 *   probe                    "C <CLOCK_MONOTONIC ns>", then waits for ever (the supervised child)
 *   probe --exec PROGRAM …   "E <CLOCK_MONOTONIC ns>", then becomes PROGRAM (the moment before
 *   exec) probe --end              ends at once with 0: the cheapest process there can be
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>

#if defined(__x86_64__)
__asm__(".globl _start\n_start: mov %rsp,%rdi; and $-16,%rsp; call begin");
static long call(long n, long a, long b, long c, long d) {
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: mov x0,sp; bl begin");
static long call(long n, long a, long b, long c, long d) {
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#else
#error "two instructions are missing for this machine"
#endif

static const char *after(const char *text, const char *prefix) {
    while (*prefix)
        if (*text++ != *prefix++) return 0;
    return text;
}

__attribute__((used)) void begin(long *stack) {
    struct timespec now;
    call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0);
    char **argv = (char **)(stack + 1);
    if (stack[0] == 2 && after(argv[1], "--end")) call(SYS_exit_group, 0, 0, 0, 0);
    char **envp = argv + stack[0] + 1;
    const char *fifo = 0;
    for (char **entry = envp; *entry && !fifo; entry++) fifo = after(*entry, "BENCH_FIFO=");
    const char *flag = stack[0] > 2 ? after(argv[1], "--exec") : 0;

    long file = fifo ? call(SYS_openat, AT_FDCWD, (long)fifo, O_WRONLY | O_CLOEXEC, 0) : -1;
    if (file < 0) call(SYS_exit_group, 111, 0, 0, 0);
    if (flag) call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0); /* as late as can be */

    char line[32];
    int at = sizeof line;
    unsigned long nanos = (unsigned long)now.tv_sec * 1000000000UL + (unsigned long)now.tv_nsec;
    line[--at] = '\n';
    do line[--at] = (char)('0' + nanos % 10); while (nanos /= 10);
    line[--at] = ' ';
    line[--at] = flag ? 'E' : 'C';
    call(SYS_write, file, (long)(line + at), (long)sizeof line - at, 0);

    if (flag) {
        call(SYS_execve, (long)argv[2], (long)(argv + 2), (long)envp, 0);
        call(SYS_exit_group, 127, 0, 0, 0);
    }
    for (;;) call(SYS_ppoll, 0, 0, 0, 0);
}
