/* The virtual clock, and the order in which threads run. See lockstep.h. */
#include "lockstep.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

HIDES(clock_gettime) HIDES(gettimeofday) HIDES(time) HIDES(nanosleep) HIDES(usleep) HIDES(sem_timedwait)
HIDES(sem_trywait) HIDES(sem_wait) HIDES(sem_post) HIDES(prctl) HIDES(sendto) HIDES(recvfrom)

/* ---------------------------------------------------------------- state */
enum { WALL_BASE = 1700000000, MONOTONIC_BASE = 1000, STUCK_S = 20 };
enum Thread { UNKNOWN, MAIN, SERVER, MESHES, OTHER };
int active = -1, in_lockstep;
long frames;
double settle_s, server_s;
_Atomic int64_t clock_us;
_Atomic int free_running;
static double let_go_at;
static pid_t main_tid;
static _Atomic int server_exists, server_waiting, round_open, round_done, round_number, meshes_open;
static _Atomic int changes, waiting_for_changes; /* of the clock, and of any semaphore */
static __thread enum Thread thread_kind;

static double real_seconds(void) {
    struct timespec t;
    REAL(clock_gettime)(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void real_sleep_us(long us) {
    struct timespec t = {us / 1000000, us % 1000000 * 1000};
    syscall(SYS_nanosleep, &t, NULL);
}

static void futex_wake(_Atomic int *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 64, NULL, NULL, 0); }

static void futex_wait_while(_Atomic int *word, int value, long us) {
    struct timespec limit = {us / 1000000, us % 1000000 * 1000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &limit, NULL, 0);
}

static void futex_wait(_Atomic int *word, long us) { futex_wait_while(word, 0, us); }

void start_once(void) {
    if (active >= 0) return;
    main_tid = getpid();
    active = getenv("LOCKSTEP_COMMANDS") && getenv("LOCKSTEP_REPLIES") && getenv("LOCKSTEP_FRAME");
}

/* The variable goes, so that programs which the game itself may start are left alone. */
__attribute__((constructor)) static void constructor(void) { start_once(); unsetenv("LD_PRELOAD"); }

/* The engine names its threads "Server" and "MeshUpdate"; a thread may be asked before it has its name, so OTHER does not stick. */
static enum Thread this_thread(void) {
    if (thread_kind != UNKNOWN && thread_kind != OTHER) return thread_kind;
    if ((pid_t)syscall(SYS_gettid) == main_tid) return thread_kind = MAIN;
    char name[17] = {0};
    REAL(prctl)(PR_GET_NAME, name);
    return thread_kind = !strcmp(name, "Server") ? SERVER : !strcmp(name, "MeshUpdate") ? MESHES : OTHER;
}

int prctl(int operation, ...) {
    __builtin_va_list list;
    __builtin_va_start(list, operation);
    unsigned long a = __builtin_va_arg(list, unsigned long), b = __builtin_va_arg(list, unsigned long);
    unsigned long c = __builtin_va_arg(list, unsigned long), d = __builtin_va_arg(list, unsigned long);
    __builtin_va_end(list);
    int result = REAL(prctl)(operation, a, b, c, d);
    if (operation == PR_SET_NAME) {
        thread_kind = UNKNOWN;
        if (active > 0 && !strcmp((const char *)a, "Server")) atomic_store(&server_exists, 1);
    }
    return result;
}

/* ---------------------------------------------------------------- virtual clock */
static int64_t now_us(void) {
    int64_t us = atomic_load(&clock_us);
    return atomic_load(&free_running) ? us + (int64_t)((real_seconds() - let_go_at) * 1e6) : us;
}

int clock_gettime(clockid_t id, struct timespec *out) {
    start_once();
    if (!active || id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_THREAD_CPUTIME_ID) return REAL(clock_gettime)(id, out);
    int64_t us = now_us(), base = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE ? WALL_BASE : MONOTONIC_BASE;
    out->tv_sec = base + us / 1000000;
    out->tv_nsec = us % 1000000 * 1000;
    return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    start_once();
    if (!active) return REAL(gettimeofday)(out, zone);
    int64_t us = now_us();
    out->tv_sec = WALL_BASE + us / 1000000;
    out->tv_usec = us % 1000000;
    return 0;
}

time_t time(time_t *out) {
    start_once();
    if (!active) return REAL(time)(out);
    time_t seconds = WALL_BASE + now_us() / 1000000;
    if (out) *out = seconds;
    return seconds;
}

/* ---------------------------------------------------------------- bringing the threads to rest */
enum { MAX_THREADS = 128, RESCAN_EVERY = 16, RESCAN_ALWAYS_UNTIL = 2000 };
static pid_t thread_ids[MAX_THREADS];
static int thread_stats[MAX_THREADS], thread_count;

static void list_threads(void) {
    pid_t found[MAX_THREADS];
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        pid_t id = atoi(entry->d_name);
        if (id > 0 && count < MAX_THREADS) found[count++] = id;
    }
    if (folder) closedir(folder);
    if (count == thread_count && !memcmp(found, thread_ids, count * sizeof *found)) return;
    for (int i = 0; i < thread_count; i++) if (thread_stats[i] >= 0) close(thread_stats[i]);
    thread_count = count;
    for (int i = 0; i < count; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/task/%d/stat", found[i]);
        thread_ids[i] = found[i];
        thread_stats[i] = open(path, O_RDONLY | O_CLOEXEC);
    }
}

static int others_asleep(void) {
    pid_t self = (pid_t)syscall(SYS_gettid);
    for (int i = 0; i < thread_count; i++) {
        if (thread_ids[i] == self || thread_stats[i] < 0) continue;
        char text[128];
        ssize_t n = pread(thread_stats[i], text, sizeof text - 1, 0);
        if (n <= 0) continue;
        text[n] = 0;
        char *after_name = strrchr(text, ')');
        if (after_name && !strchr("SZX", after_name[2])) return 0;
    }
    return 1;
}

/* The client and the server in it talk by UDP over the loopback device, and a busy kernel may deliver late, when all threads
 * sleep: a packet that was sent and not received yet counts as a thread at work, for a while (it may have been lost). */
enum { LOST_MS = 50 };
static _Atomic int packets_under_way;

ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t to_size) {
    start_once();
    int counts = active > 0 && to && (to->sa_family == AF_INET || to->sa_family == AF_INET6);
    if (counts) atomic_fetch_add(&packets_under_way, 1); /* first, as it may be received before this returns */
    ssize_t sent = REAL(sendto)(socket, data, size, flags, to, to_size);
    if (counts && sent < 0) atomic_fetch_sub(&packets_under_way, 1);
    return sent;
}

ssize_t recvfrom(int socket, void *restrict data, size_t size, int flags, struct sockaddr *restrict from, socklen_t *restrict from_size) {
    start_once();
    ssize_t got = REAL(recvfrom)(socket, data, size, flags, from, from_size);
    if (active > 0 && got >= 0 && from && (from->sa_family == AF_INET || from->sa_family == AF_INET6))
        atomic_fetch_sub(&packets_under_way, 1);
    return got;
}

/* A woken thread counts as running at once, so three looks in a row that find all asleep mean that nothing is on its way. */
static void settle(void) {
    static int calls;
    double begin = real_seconds();
    if (calls++ % RESCAN_EVERY == 0 || frames < RESCAN_ALWAYS_UNTIL) list_threads();
    for (int quiet = 0; quiet < 3;) {
        if (atomic_load(&packets_under_way) > 0 && real_seconds() - begin > LOST_MS * 1e-3) atomic_store(&packets_under_way, 0);
        if (others_asleep() && atomic_load(&packets_under_way) <= 0) { quiet++; continue; }
        quiet = 0;
        syscall(SYS_sched_yield);
        if (real_seconds() - begin > STUCK_S) { fprintf(stderr, "lockstep: threads do not settle, frame %ld\n", frames); break; }
    }
    settle_s += real_seconds() - begin;
}

/* Opens the gate for the server thread once and waits until it is back at the gate (or blocked somewhere else). */
static void server_round(void) {
    if (atomic_load(&free_running) || !atomic_load(&server_exists)) return;
    double begin = real_seconds();
    atomic_store(&round_done, 0);
    atomic_fetch_add(&round_number, 1);
    atomic_store(&round_open, 1);
    futex_wake(&round_open);
    for (int idle = 0; !atomic_load(&round_done);) {
        futex_wait(&round_done, 1000);
        if (atomic_load(&round_done)) break;
        idle = !atomic_load(&server_waiting) && others_asleep() ? idle + 1 : 0;
        if (idle >= 3) break;
        if (real_seconds() - begin > STUCK_S) { fprintf(stderr, "lockstep: the server hangs, frame %ld\n", frames); break; }
    }
    atomic_store(&round_open, 0);
    server_s += real_seconds() - begin;
}

void rest_and_run_server(void) {
    atomic_store(&meshes_open, 1);
    futex_wake(&meshes_open);
    settle();
    atomic_store(&meshes_open, 0);
    server_round();
    settle();
}

/* Whoever waits for a time or a semaphore looks again at once: woken, it counts as running when the threads are brought to
 * rest. A nap in real time would let it go on in this frame or the next, as it happens. */
static void tell_change(void) {
    atomic_fetch_add(&changes, 1);
    if (atomic_load(&waiting_for_changes)) futex_wake(&changes);
}

static void wait_for_change(int since) {
    atomic_fetch_add(&waiting_for_changes, 1);
    futex_wait_while(&changes, since, 20000);
    atomic_fetch_sub(&waiting_for_changes, 1);
}

void advance_clock(int64_t us) {
    atomic_fetch_add(&clock_us, us);
    tell_change();
}

int sem_post(sem_t *semaphore) {
    start_once();
    int result = REAL(sem_post)(semaphore), error = errno;
    if (active) tell_change();
    errno = error;
    return result;
}

void run_freely(void) { let_go_at = real_seconds(); atomic_store(&free_running, 1); }

/* The server thread waits for packets here. In each round it may take all packets there are and time out twice (one full
 * step of the world); then the round is over. */
static int wait_at_gate(sem_t *packets) {
    static __thread int seen_round = -1, timeouts;
    atomic_store(&server_exists, 1);
    double begin = real_seconds();
    for (;;) {
        if (atomic_load(&free_running)) {
            real_sleep_us(1000);
            if (!REAL(sem_trywait)(packets)) return 0;
            break;
        }
        if (!atomic_load(&round_open)) {
            futex_wait(&round_open, 500000);
        } else {
            int current = atomic_load(&round_number);
            if (current != seen_round) { seen_round = current; timeouts = 0; }
            if (!atomic_load(&round_done)) {
                if (!REAL(sem_trywait)(packets)) return 0;
                if (timeouts++ < 2) break;
                atomic_store(&round_done, 1);
                futex_wake(&round_done);
            }
            real_sleep_us(50);
        }
        if (!in_lockstep && real_seconds() - begin > STUCK_S) break;
    }
    errno = ETIMEDOUT;
    return -1;
}

/* The thread that makes the meshes of what has changed waits at semaphores: for work, and for textures that only the main
 * thread can make. It goes on only while that one rests, or it would depend on who is faster in which frame a change is seen. */
static void wait_for_rest(void) {
    while (in_lockstep && !atomic_load(&meshes_open) && !atomic_load(&free_running)) futex_wait(&meshes_open, 500000);
}

int sem_wait(sem_t *semaphore) {
    start_once();
    int result = REAL(sem_wait)(semaphore), error = errno;
    if (active && this_thread() == MESHES) wait_for_rest();
    errno = error;
    return result;
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    start_once();
    if (!active) return REAL(sem_timedwait)(semaphore, deadline);
    enum Thread kind = this_thread();
    if (kind == SERVER) {
        atomic_store(&server_waiting, 1);
        int result = wait_at_gate(semaphore), error = errno;
        atomic_store(&server_waiting, 0);
        errno = error;
        return result;
    }
    int64_t deadline_us = ((int64_t)deadline->tv_sec - WALL_BASE) * 1000000 + deadline->tv_nsec / 1000;
    if (deadline_us <= now_us()) {
        if (!REAL(sem_trywait)(semaphore)) return 0;
        errno = ETIMEDOUT;
        return -1;
    }
    if (kind == MAIN) { /* a short real wait, then it goes on */
        struct timespec until;
        REAL(clock_gettime)(CLOCK_REALTIME, &until);
        until.tv_nsec += 5000000;
        if (until.tv_nsec >= 1000000000) { until.tv_nsec -= 1000000000; until.tv_sec++; }
        return REAL(sem_timedwait)(semaphore, &until);
    }
    for (;;) {
        int since = atomic_load(&changes);
        if (!REAL(sem_trywait)(semaphore)) break;
        if (now_us() >= deadline_us) { errno = ETIMEDOUT; return -1; }
        wait_for_change(since);
    }
    if (kind == MESHES) wait_for_rest();
    return 0;
}

/* The main thread's sleeps advance the clock; other threads sleep until it has passed. */
static int virtual_sleep(int64_t us) {
    if (atomic_load(&free_running)) { real_sleep_us(us); return 0; }
    if (this_thread() == MAIN) {
        rest_and_run_server();
        advance_clock(us);
        return 0;
    }
    int64_t until = atomic_load(&clock_us) + us;
    double begin = real_seconds(), patience = in_lockstep ? 5 : 0.05;
    while (real_seconds() - begin < patience) {
        int since = atomic_load(&changes);
        if (atomic_load(&clock_us) >= until) break;
        wait_for_change(since);
    }
    return 0;
}

int nanosleep(const struct timespec *want, struct timespec *left) {
    start_once();
    return active ? virtual_sleep((int64_t)want->tv_sec * 1000000 + want->tv_nsec / 1000) : REAL(nanosleep)(want, left);
}

int usleep(useconds_t us) { start_once(); return active ? virtual_sleep(us) : REAL(usleep)(us); }
