/* lockstep.c: an LD_PRELOAD shim that makes a stock Minetest 5.6 client (Irrlicht on X11/GLX) wait for its driver.
 *
 *   clock   The process sees a virtual clock. Only a driver's command advances it, so nothing depends on real time.
 *   frame   glXSwapBuffers is the frame boundary: let every thread come to rest, give the server thread one round,
 *           copy the pixels into shared memory, report, and block until the next command.
 *   input   Keys, buttons and mouse motion are synthetic X events; the pointer is virtual. The X server sees none.
 *   GUI     The game shows its cursor exactly while a menu is open, so that is what tells us.
 *
 * Environment: LOCKSTEP_COMMANDS, LOCKSTEP_REPLIES (pipe descriptors), LOCKSTEP_FRAME (file for W*H*3 bytes of RGB).
 * Only a C compiler is needed: the few X11 declarations in use are written out below (LP64 layouts).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* ---------------------------------------------------------------- X11 and GL, as far as used */
typedef struct _XDisplay Display;
typedef unsigned long XID;
enum { KeyPress = 2, KeyRelease, ButtonPress, ButtonRelease, MotionNotify, FocusIn = 9 };
enum { ShiftMask = 1, ControlMask = 4, NotifyNonlinear = 3, KEYSYM_SHIFT = 0xffe1, KEYSYM_CONTROL = 0xffe3 };
enum { GL_PACK_ALIGNMENT = 0x0D05, GL_UNSIGNED_BYTE = 0x1401, GL_BGRA = 0x80E1 };
typedef struct { /* XKeyEvent and XButtonEvent share this layout; detail is the keycode or the button */
    int type; unsigned long serial; int send_event; Display *display; XID window, root, subwindow; unsigned long time;
    int x, y, x_root, y_root; unsigned state, detail; int same_screen;
} InputEvent;
typedef struct {
    int type; unsigned long serial; int send_event; Display *display; XID window, root, subwindow; unsigned long time;
    int x, y, x_root, y_root; unsigned state; char is_hint; int same_screen;
} MotionEvent;
typedef struct { int type; unsigned long serial; int send_event; Display *display; XID window; int mode, detail; } FocusEvent;
typedef union { int type; InputEvent input; MotionEvent motion; FocusEvent focus; long pad[24]; } XEvent;

/* REAL(f)(...) calls the function that our own f hides. */
#define REAL(name) ((__typeof__(&name))real_##name())
#define HIDES(name) static void *real_##name(void) { static void *p; if (!p) p = dlsym(RTLD_NEXT, #name); return p; }
int XPending(Display *);
int XNextEvent(Display *, XEvent *);
int XPeekEvent(Display *, XEvent *);
int XMapRaised(Display *, XID);
int XMapWindow(Display *, XID);
int XDefineCursor(Display *, XID, XID);
int XUndefineCursor(Display *, XID);
int XQueryPointer(Display *, XID, XID *, XID *, int *, int *, int *, int *, unsigned *);
int XWarpPointer(Display *, XID, XID, int, int, unsigned, unsigned, int, int);
int XIWarpPointer(Display *, int, XID, XID, double, double, unsigned, unsigned, double, double);
void glXSwapBuffers(Display *, XID);
HIDES(clock_gettime) HIDES(gettimeofday) HIDES(time) HIDES(nanosleep) HIDES(usleep) HIDES(sem_timedwait) HIDES(sem_trywait)
HIDES(prctl) HIDES(XPending) HIDES(XNextEvent) HIDES(XPeekEvent) HIDES(XQueryPointer) HIDES(XWarpPointer) HIDES(XIWarpPointer)
HIDES(XMapRaised) HIDES(XMapWindow) HIDES(XDefineCursor) HIDES(XUndefineCursor) HIDES(glXSwapBuffers)

static int (*x_geometry)(Display *, XID, XID *, int *, int *, unsigned *, unsigned *, unsigned *, unsigned *);
static unsigned char (*x_keycode)(Display *, unsigned long);
static XID (*x_root)(Display *);
static void (*gl_read)(int, int, int, int, unsigned, unsigned, void *);
static void (*gl_store)(unsigned, int);

/* ---------------------------------------------------------------- state */
enum { WALL_BASE = 1700000000, MONOTONIC_BASE = 1000, STUCK_S = 20 };
enum Thread { UNKNOWN, MAIN, SERVER, OTHER };
static int active = -1, command_fd, reply_fd, in_lockstep;
static pid_t main_tid;
static uint8_t *frame_out;
static size_t frame_bytes;
static long frames;
static double settle_s, server_s;
static _Atomic int64_t clock_us;            /* the virtual clock */
static _Atomic int free_running;            /* after LET_GO: real time again, for a clean shutdown */
static double let_go_at;
static _Atomic int server_exists, server_waiting, round_open, round_done, round_number;
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

static void futex_wait(_Atomic int *word, long us) {
    struct timespec limit = {us / 1000000, us % 1000000 * 1000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, &limit, NULL, 0);
}

static void start_once(void) {
    if (active >= 0) return;
    const char *commands = getenv("LOCKSTEP_COMMANDS"), *replies = getenv("LOCKSTEP_REPLIES"), *path = getenv("LOCKSTEP_FRAME");
    if (!commands || !replies || !path) { active = 0; return; }
    command_fd = atoi(commands);
    reply_fd = atoi(replies);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat info;
    if (fd >= 0 && !fstat(fd, &info)) {
        void *map = mmap(NULL, info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map != MAP_FAILED) { frame_out = map; frame_bytes = info.st_size; }
        close(fd);
    }
    main_tid = getpid();
    active = 1;
}

/* The variable goes, so that programs which the game itself may start are left alone. */
__attribute__((constructor)) static void constructor(void) { start_once(); unsetenv("LD_PRELOAD"); }

/* The engine names its server thread "Server"; a thread may be asked before it has its name, so only MAIN and SERVER stick. */
static enum Thread this_thread(void) {
    if (thread_kind == MAIN || thread_kind == SERVER) return thread_kind;
    if ((pid_t)syscall(SYS_gettid) == main_tid) return thread_kind = MAIN;
    char name[17] = {0};
    REAL(prctl)(PR_GET_NAME, name);
    return thread_kind = strcmp(name, "Server") ? OTHER : SERVER;
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

/* A woken thread counts as running at once, so three looks in a row that find all asleep mean that nothing is on its way. */
static void settle(void) {
    static int calls;
    double begin = real_seconds();
    if (calls++ % RESCAN_EVERY == 0 || frames < RESCAN_ALWAYS_UNTIL) list_threads();
    for (int quiet = 0; quiet < 3;) {
        if (others_asleep()) { quiet++; continue; }
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
    for (;;) { /* short real waits: the main thread returns after one, others when the virtual deadline has passed */
        struct timespec until;
        REAL(clock_gettime)(CLOCK_REALTIME, &until);
        until.tv_nsec += kind == MAIN ? 5000000 : 20000000;
        if (until.tv_nsec >= 1000000000) { until.tv_nsec -= 1000000000; until.tv_sec++; }
        int result = REAL(sem_timedwait)(semaphore, &until);
        if (kind == MAIN || !result || errno != ETIMEDOUT) return result;
        if (now_us() >= deadline_us) { errno = ETIMEDOUT; return -1; }
    }
}

/* The main thread's sleeps advance the clock; other threads sleep until it has passed. */
static int virtual_sleep(int64_t us) {
    if (atomic_load(&free_running)) { real_sleep_us(us); return 0; }
    if (this_thread() == MAIN) {
        settle(); server_round(); settle();
        atomic_fetch_add(&clock_us, us);
        return 0;
    }
    int64_t until = atomic_load(&clock_us) + us;
    double begin = real_seconds(), patience = in_lockstep ? 5 : 0.05;
    while (atomic_load(&clock_us) < until && real_seconds() - begin < patience) real_sleep_us(500);
    return 0;
}

int nanosleep(const struct timespec *want, struct timespec *left) {
    start_once();
    return active ? virtual_sleep((int64_t)want->tv_sec * 1000000 + want->tv_nsec / 1000) : REAL(nanosleep)(want, left);
}

int usleep(useconds_t us) { start_once(); return active ? virtual_sleep(us) : REAL(usleep)(us); }

/* ---------------------------------------------------------------- input */
enum { QUEUE = 256 };
static XEvent queue[QUEUE];
static int queue_head, queue_tail;
static int pointer_x, pointer_y, screen_w, screen_h, gui_open = 1;
static unsigned held_modifiers, held_buttons;
static XID window;
static Display *display;

int XPending(Display *d) {
    start_once();
    return REAL(XPending)(d) + (active ? (queue_tail - queue_head + QUEUE) % QUEUE : 0);
}

static int ours_next(Display *d) { return active && queue_head != queue_tail && REAL(XPending)(d) == 0; }

int XNextEvent(Display *d, XEvent *out) {
    if (!ours_next(d)) return REAL(XNextEvent)(d, out);
    *out = queue[queue_head];
    queue_head = (queue_head + 1) % QUEUE;
    return 0;
}

int XPeekEvent(Display *d, XEvent *out) {
    if (!ours_next(d)) return REAL(XPeekEvent)(d, out);
    *out = queue[queue_head];
    return 0;
}

int XQueryPointer(Display *d, XID w, XID *root, XID *child, int *rx, int *ry, int *wx, int *wy, unsigned *mask) {
    if (!in_lockstep) return REAL(XQueryPointer)(d, w, root, child, rx, ry, wx, wy, mask);
    *root = *child = w;
    *rx = *wx = pointer_x;
    *ry = *wy = pointer_y;
    *mask = held_modifiers | held_buttons;
    return 1;
}

static void warp(int absolute, int x, int y) {
    pointer_x = absolute ? x : pointer_x + x;
    pointer_y = absolute ? y : pointer_y + y;
}

int XWarpPointer(Display *d, XID from, XID to, int sx, int sy, unsigned sw, unsigned sh, int x, int y) {
    if (!in_lockstep) return REAL(XWarpPointer)(d, from, to, sx, sy, sw, sh, x, y);
    warp(to != 0, x, y);
    return 1;
}

int XIWarpPointer(Display *d, int device, XID from, XID to, double sx, double sy, unsigned sw, unsigned sh, double x, double y) {
    if (!in_lockstep) return REAL(XIWarpPointer)(d, device, from, to, sx, sy, sw, sh, x, y);
    warp(to != 0, (int)x, (int)y);
    return 0;
}

int XDefineCursor(Display *d, XID w, XID cursor) { gui_open = 0; return REAL(XDefineCursor)(d, w, cursor); }
int XUndefineCursor(Display *d, XID w) { gui_open = 1; return REAL(XUndefineCursor)(d, w); }
int XMapRaised(Display *d, XID w) { if (!window) window = w; return REAL(XMapRaised)(d, w); }
int XMapWindow(Display *d, XID w) { if (!window) window = w; return REAL(XMapWindow)(d, w); }

static XEvent *new_event(int type) {
    static unsigned long serial;
    XEvent *event = &queue[queue_tail];
    memset(event, 0, sizeof *event);
    event->input.type = type;
    event->input.serial = ++serial;
    event->input.display = display;
    event->input.window = window;
    if (type != FocusIn) { /* keys, buttons and motion share these fields */
        event->input.root = x_root(display);
        event->input.time = 1000 + atomic_load(&clock_us) / 1000;
        event->input.x = event->input.x_root = pointer_x;
        event->input.y = event->input.y_root = pointer_y;
        event->input.state = held_modifiers | held_buttons;
    }
    if ((queue_tail + 1) % QUEUE != queue_head) queue_tail = (queue_tail + 1) % QUEUE;
    return event;
}

static void set_bit(unsigned *mask, unsigned bit, int down) { *mask = down ? *mask | bit : *mask & ~bit; }

static void key(unsigned long symbol, int down) {
    InputEvent *event = &new_event(down ? KeyPress : KeyRelease)->input;
    event->detail = x_keycode(display, symbol);
    event->same_screen = 1;
    set_bit(&held_modifiers, symbol == KEYSYM_SHIFT ? ShiftMask : symbol == KEYSYM_CONTROL ? ControlMask : 0, down);
}

static void button(unsigned number, int down) {
    InputEvent *event = &new_event(down ? ButtonPress : ButtonRelease)->input;
    event->detail = number;
    event->same_screen = 1;
    set_bit(&held_buttons, 1u << (7 + number), down);
}

static int clamp(int value, int size) { return value < 0 ? 0 : value >= size ? size - 1 : value; }

static void move(int dx, int dy) {
    if (!dx && !dy) return;
    warp(0, dx, dy);
    if (gui_open) { pointer_x = clamp(pointer_x, screen_w); pointer_y = clamp(pointer_y, screen_h); }
    new_event(MotionNotify)->motion.same_screen = 1;
}

/* ---------------------------------------------------------------- frame boundary; game.py knows these layouts */
enum Operation { STEP = 1, QUIT, LET_GO };
enum EventKind { KEY_UP, KEY_DOWN, BUTTON_UP, BUTTON_DOWN };
struct Command { uint32_t operation, advance_us; int32_t dx, dy; uint32_t events; };
struct Reply { uint32_t width, height, frame, gui_open; int32_t pointer_x, pointer_y; int64_t clock_us; double settle_s, server_s; };

static void transfer(int fd, void *data, size_t size, int writing) { /* a driver that is gone ends the game */
    for (char *at = data; size;) {
        ssize_t n = writing ? write(fd, at, size) : read(fd, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) _exit(0);
        at += n;
        size -= n;
    }
}

static void copy_frame(void) {
    static uint8_t *bgra;
    size_t w = screen_w, h = screen_h;
    if (!bgra) bgra = malloc(w * h * 4);
    if (!bgra || frame_bytes < w * h * 3) return;
    gl_store(GL_PACK_ALIGNMENT, 4);
    gl_read(0, 0, w, h, GL_BGRA, GL_UNSIGNED_BYTE, bgra);
    for (size_t y = 0; y < h; y++) { /* GL's rows go upwards */
        const uint8_t *in = bgra + (h - 1 - y) * w * 4;
        uint8_t *out = frame_out + y * w * 3;
        for (size_t x = 0; x < w; x++, in += 4, out += 3) { out[0] = in[2]; out[1] = in[1]; out[2] = in[0]; }
    }
}

static void enter_lockstep(Display *d) {
    XID root;
    int x, y;
    unsigned w, h, border, depth;
    x_geometry = dlsym(RTLD_DEFAULT, "XGetGeometry");
    x_keycode = dlsym(RTLD_DEFAULT, "XKeysymToKeycode");
    x_root = dlsym(RTLD_DEFAULT, "XDefaultRootWindow");
    gl_read = dlsym(RTLD_DEFAULT, "glReadPixels");
    gl_store = dlsym(RTLD_DEFAULT, "glPixelStorei");
    x_geometry(d, window, &root, &x, &y, &w, &h, &border, &depth);
    screen_w = w;
    screen_h = h;
    warp(1, w / 2, h / 2);
    in_lockstep = 1;
    new_event(FocusIn)->focus.detail = NotifyNonlinear; /* no window manager here gives the focus */
}

void glXSwapBuffers(Display *d, XID drawable) {
    start_once();
    if (!active || atomic_load(&free_running)) { REAL(glXSwapBuffers)(d, drawable); return; }
    display = d;
    if (!in_lockstep) enter_lockstep(d);
    settle(); server_round(); settle();
    copy_frame(); /* and no real swap: nobody looks at the X server's window */
    struct Reply reply = {screen_w, screen_h, frames++, gui_open, pointer_x, pointer_y, atomic_load(&clock_us), settle_s, server_s};
    struct Command command;
    transfer(reply_fd, &reply, sizeof reply, 1);
    transfer(command_fd, &command, sizeof command, 0);
    if (command.operation == QUIT) _exit(0);
    if (command.operation == LET_GO) { let_go_at = real_seconds(); atomic_store(&free_running, 1); return; }
    move(command.dx, command.dy);
    for (uint32_t i = 0; i < command.events; i++) {
        uint32_t event[2];
        transfer(command_fd, event, sizeof event, 0);
        if (event[0] == KEY_UP || event[0] == KEY_DOWN) key(event[1], event[0] == KEY_DOWN);
        else button(event[1], event[0] == BUTTON_DOWN);
    }
    atomic_fetch_add(&clock_us, command.advance_us);
}
