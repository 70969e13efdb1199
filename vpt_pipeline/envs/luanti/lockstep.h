/* lockstep.h: an LD_PRELOAD shim that makes a stock Minetest 5.6 client (Irrlicht on X11/GLX) wait for its driver.
 *
 *   clock   (lockstep_time.c) The process sees a virtual clock. Only a driver's command advances it, so nothing depends
 *           on real time; threads are brought to rest, and the server thread gets one round, before each advance.
 *   input   (lockstep_input.c) Keys, buttons and mouse motion are synthetic X events and the pointer is virtual: the X
 *           server sees none of it. The game shows its cursor exactly while a menu is open, so that is what tells us.
 *   frame   (lockstep_frame.c) glXSwapBuffers is the frame boundary: come to rest, copy the pixels into shared memory,
 *           report, and block until the next command.
 *
 * Environment: LOCKSTEP_COMMANDS, LOCKSTEP_REPLIES (pipe descriptors), LOCKSTEP_FRAME (file for W*H*3 bytes of RGB).
 * Only a C compiler is needed: the few X11 declarations in use are written out below (LP64 layouts).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* ---------------------------------------------------------------- shared between the parts, hidden from the game */
#pragma GCC visibility push(hidden)
extern int active;             /* 0 in a process that no driver started */
extern int in_lockstep;        /* from the first frame on */
extern long frames;
extern double settle_s, server_s;
extern _Atomic int64_t clock_us;
extern _Atomic int free_running; /* after LET_GO: real time again, for a clean shutdown */
extern int screen_w, screen_h, pointer_x, pointer_y, gui_open;

void start_once(void);         /* reads the environment; each function that hides another calls it first */
void run_freely(void);
void rest_and_run_server(void);
void advance_clock(int64_t us);

void attach_input(Display *display);
XID game_window(void);
void key(unsigned long symbol, int down);
void button(unsigned number, int down);
void move(int dx, int dy);
#pragma GCC visibility pop
