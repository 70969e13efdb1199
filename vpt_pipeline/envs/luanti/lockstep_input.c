/* Synthetic keys, buttons and motion, and a pointer of our own. See lockstep.h. */
#include "lockstep.h"

HIDES(XPending) HIDES(XNextEvent) HIDES(XPeekEvent) HIDES(XQueryPointer) HIDES(XWarpPointer) HIDES(XIWarpPointer)
HIDES(XMapRaised) HIDES(XMapWindow) HIDES(XDefineCursor) HIDES(XUndefineCursor)

enum { QUEUE = 256 };
static XEvent queue[QUEUE];
static int queue_head, queue_tail;
int pointer_x, pointer_y, screen_w, screen_h, gui_open = 1;
static unsigned held_modifiers, held_buttons;
static XID window;
static Display *display;
static unsigned char (*x_keycode)(Display *, unsigned long);
static XID (*x_root)(Display *);

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

void key(unsigned long symbol, int down) {
    InputEvent *event = &new_event(down ? KeyPress : KeyRelease)->input;
    event->detail = x_keycode(display, symbol);
    event->same_screen = 1;
    set_bit(&held_modifiers, symbol == KEYSYM_SHIFT ? ShiftMask : symbol == KEYSYM_CONTROL ? ControlMask : 0, down);
}

void button(unsigned number, int down) {
    InputEvent *event = &new_event(down ? ButtonPress : ButtonRelease)->input;
    event->detail = number;
    event->same_screen = 1;
    set_bit(&held_buttons, 1u << (7 + number), down);
}

static int clamp(int value, int size) { return value < 0 ? 0 : value >= size ? size - 1 : value; }

void move(int dx, int dy) {
    if (!dx && !dy) return;
    warp(0, dx, dy);
    if (gui_open) { pointer_x = clamp(pointer_x, screen_w); pointer_y = clamp(pointer_y, screen_h); }
    new_event(MotionNotify)->motion.same_screen = 1;
}

XID game_window(void) { return window; }

void attach_input(Display *d) {
    display = d;
    x_keycode = dlsym(RTLD_DEFAULT, "XKeysymToKeycode");
    x_root = dlsym(RTLD_DEFAULT, "XDefaultRootWindow");
    warp(1, screen_w / 2, screen_h / 2);
    new_event(FocusIn)->focus.detail = NotifyNonlinear; /* no window manager here gives the focus */
}
