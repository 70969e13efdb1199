/* The frame boundary: where the game hands over a frame and waits for the driver. See lockstep.h; game.py knows the
 * layouts of Command and Reply. */
#include "lockstep.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

HIDES(glXSwapBuffers)

static int command_fd, reply_fd;
static uint8_t *frame_out;
static size_t frame_bytes;
static void (*gl_read)(int, int, int, int, unsigned, unsigned, void *);
static void (*gl_store)(unsigned, int);

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

static void attach(Display *display) {
    const char *path = getenv("LOCKSTEP_FRAME");
    int fd = open(path, O_RDWR | O_CLOEXEC), x, y;
    struct stat info;
    if (fd < 0 || fstat(fd, &info)) { perror(path); _exit(1); }
    frame_bytes = info.st_size;
    frame_out = mmap(NULL, frame_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (frame_out == MAP_FAILED) { perror(path); _exit(1); }
    close(fd);
    command_fd = atoi(getenv("LOCKSTEP_COMMANDS"));
    reply_fd = atoi(getenv("LOCKSTEP_REPLIES"));
    int (*geometry)(Display *, XID, XID *, int *, int *, unsigned *, unsigned *, unsigned *, unsigned *);
    geometry = dlsym(RTLD_DEFAULT, "XGetGeometry");
    gl_read = dlsym(RTLD_DEFAULT, "glReadPixels");
    gl_store = dlsym(RTLD_DEFAULT, "glPixelStorei");
    XID root;
    unsigned w, h, border, depth;
    geometry(display, game_window(), &root, &x, &y, &w, &h, &border, &depth);
    screen_w = w;
    screen_h = h;
    attach_input(display);
    in_lockstep = 1;
}

void glXSwapBuffers(Display *display, XID drawable) {
    start_once();
    if (!active || atomic_load(&free_running)) { REAL(glXSwapBuffers)(display, drawable); return; }
    if (!in_lockstep) attach(display);
    rest_and_run_server();
    copy_frame(); /* and no real swap: nobody looks at the X server's window */
    struct Reply reply = {screen_w, screen_h, frames++, gui_open, pointer_x, pointer_y, atomic_load(&clock_us), settle_s, server_s};
    struct Command command;
    transfer(reply_fd, &reply, sizeof reply, 1);
    transfer(command_fd, &command, sizeof command, 0);
    if (command.operation == QUIT) _exit(0);
    if (command.operation == LET_GO) { run_freely(); return; }
    move(command.dx, command.dy);
    for (uint32_t i = 0; i < command.events; i++) {
        uint32_t event[2];
        transfer(command_fd, event, sizeof event, 0);
        if (event[0] == KEY_UP || event[0] == KEY_DOWN) key(event[1], event[0] == KEY_DOWN);
        else button(event[1], event[0] == BUTTON_DOWN);
    }
    advance_clock(command.advance_us);
}
