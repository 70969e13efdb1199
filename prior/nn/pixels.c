/* What motion stems see of a frame: its pixels and how they differ from its neighbour's, beside each other in memory.

   Levels are looked up in tables (of 256 levels and 511 differences) that the caller has computed in whatever arithmetic it
   likes, so that nothing is rounded here, and one pass over memory takes the place of about ten.

   shown, neighbour: `pixels` pixels of 8-bit channels, each `stride` bytes after the one before; three channels are read.
   out: six values a pixel: the levels of shown, then of shown - neighbour (or, ahead, of neighbour - shown). */

#include <stddef.h>
#include <stdint.h>

#define MANY 100000 /* pixels, for which it pays to wake other threads: not one frame of a game */

#define PAIRED(NAME, VALUE)                                                                                              \
    void NAME(const uint8_t *shown, const uint8_t *neighbour, ptrdiff_t pixels, ptrdiff_t stride_s, ptrdiff_t stride_n,  \
              int ahead, const VALUE *level, const VALUE *change, VALUE *out)                                            \
    {                                                                                                                    \
        const int sign = ahead ? -1 : 1;                                                                                 \
        _Pragma("omp parallel for schedule(static) if (pixels > MANY)")                                                  \
        for (ptrdiff_t i = 0; i < pixels; i++)                                                                           \
        {                                                                                                                \
            const uint8_t *s = shown + i * stride_s, *n = neighbour + i * stride_n;                                      \
            VALUE *o = out + 6 * i;                                                                                      \
            for (int c = 0; c < 3; c++) {                                                                                \
                o[c] = level[s[c]];                                                                                      \
                o[3 + c] = change[255 + sign * (s[c] - n[c])];                                                           \
            }                                                                                                            \
        }                                                                                                                \
    }

PAIRED(vpt_pairs_16, uint16_t)
PAIRED(vpt_pairs_32, uint32_t)
