/* The two ends of a Winograd convolution F(4x4, 3x3): pixels of a patch to its 36 products, and 36 sums to the pixels of a
 * tile. Between them lie 36 matrix products, which torch's library does. Everything that would otherwise be a pass over
 * memory of its own is done on the way: the affine map of the norm before, the padding, the ReLU and the skip path after.
 *
 * Arrays are channels-last: x (N, H, W, C). Tiles are counted along width, then height, then frames; products and sums
 * are (36, tiles, C), in float32 or, if `half`, in bfloat16. C is a multiple of 16. H and W are multiples of 4.
 *
 * The method evaluates polynomials at the points 0, +-a, +-b and infinity. The usual 1 and 2 lose twice as many bits as
 * 5/8 and 3/2 do (of which every power below is exact in float32), too many for bfloat16. prior/nn/packed.py has the third
 * matrix, for the weights.
 */
#include <math.h>
#include <stddef.h>

typedef float vec __attribute__((vector_size(64), aligned(4), may_alias));
typedef int ivec __attribute__((vector_size(64), aligned(4), may_alias));
typedef unsigned uvec __attribute__((vector_size(64), aligned(4), may_alias));
typedef unsigned short hvec __attribute__((vector_size(32), aligned(2), may_alias));
enum { LANES = 16 };

#define A 0.625f
#define B 1.5f
#define AA (A * A)
#define BB (B * B)

static inline __attribute__((always_inline)) vec
load(const void *from, ptrdiff_t at, int half)
{
    if (!half)
        return *(const vec *)((const float *)from + at);
    hvec h = *(const hvec *)((const unsigned short *)from + at);
    return (vec)(__builtin_convertvector(h, uvec) << 16);
}

static inline __attribute__((always_inline)) void
store(void *to, ptrdiff_t at, vec v, int half)
{
    if (!half) {
        *(vec *)((float *)to + at) = v;
        return;
    }
    uvec bits = (uvec)v, rounded = bits + 0x7fff + (bits >> 16 & 1); /* to nearest, ties to even */
    uvec number = (uvec)(v == v);
    rounded = (rounded & number) | (0x7fc00000 & ~number);
    *(hvec *)((unsigned short *)to + at) = __builtin_convertvector(rounded >> 16, hvec);
}

static inline __attribute__((always_inline)) void
into(const vec d[6], vec out[6])
{
    vec p = d[4] - BB * d[2], q = A * (d[3] - BB * d[1]), r = d[4] - AA * d[2], s = B * (d[3] - AA * d[1]);
    out[0] = AA * BB * d[0] - (AA + BB) * d[2] + d[4];
    out[1] = p + q;
    out[2] = p - q;
    out[3] = r + s;
    out[4] = r - s;
    out[5] = AA * BB * d[1] - (AA + BB) * d[3] + d[5];
}

static inline __attribute__((always_inline)) void
back(const vec m[6], vec out[4])
{
    vec s = m[1] + m[2], t = A * (m[1] - m[2]), u = m[3] + m[4], v = B * (m[3] - m[4]);
    out[0] = m[0] + s + u;
    out[1] = t + v;
    out[2] = AA * s + BB * u;
    out[3] = AA * t + BB * v + m[5];
}

/* A norm over all of a frame's numbers as an affine map a channel: scale and shift (N, C) such that the normed pixel is
 * scale * pixel + shift. gamma, beta: (C). */
void
vpt_norm(const float *x, ptrdiff_t frames, ptrdiff_t pixels, ptrdiff_t channels, const float *gamma, const float *beta,
    double epsilon, float *scale, float *shift)
{
    enum { BLOCK = 4096 };
    ptrdiff_t count = pixels * channels, blocks = (count + BLOCK - 1) / BLOCK;
    for (ptrdiff_t n = 0; n < frames; n++) {
        /* Fixed blocks, added in order: the result does not depend on the number of threads. */
        double part[blocks][2], total = 0, squares = 0;
#pragma omp parallel for schedule(static)
        for (ptrdiff_t b = 0; b < blocks; b++) {
            const float *p = x + n * count + b * BLOCK;
            ptrdiff_t here = b == blocks - 1 ? count - b * BLOCK : BLOCK;
            vec s = {0}, q = {0};
            for (ptrdiff_t i = 0; i < here; i += LANES) {
                vec v = *(const vec *)(p + i);
                s += v;
                q += v * v;
            }
            part[b][0] = part[b][1] = 0;
            for (int lane = 0; lane < LANES; lane++) {
                part[b][0] += s[lane];
                part[b][1] += q[lane];
            }
        }
        for (ptrdiff_t b = 0; b < blocks; b++) {
            total += part[b][0];
            squares += part[b][1];
        }
        double mean = total / count, variance = squares / count - mean * mean;
        double inverse = 1 / sqrt((variance > 0 ? variance : 0) + epsilon);
        for (ptrdiff_t c = 0; c < channels; c++) {
            scale[n * channels + c] = inverse * gamma[c];
            shift[n * channels + c] = beta[c] - mean * inverse * gamma[c];
        }
    }
}

static inline __attribute__((always_inline)) void
tiles_into(const float *x, const float *scale, const float *shift, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels,
    ptrdiff_t first, ptrdiff_t last, void *products, int half)
{
    ptrdiff_t rows = height / 4, columns = width / 4, tiles = last - first;
#pragma omp parallel for schedule(static)
    for (ptrdiff_t tile = 0; tile < tiles; tile++) {
        ptrdiff_t at = first + tile, column = at % columns, row = at / columns % rows, frame = at / columns / rows;
        const float *picture = x + frame * height * width * channels;
        ptrdiff_t top = 4 * row - 1, left = 4 * column - 1;
        for (ptrdiff_t c = 0; c < channels; c += LANES) {
            vec k = *(const vec *)(scale + frame * channels + c), o = *(const vec *)(shift + frame * channels + c);
            vec down[6][6]; /* [column][transformed row] */
            for (int j = 0; j < 6; j++) {
                vec d[6];
                for (int i = 0; i < 6; i++) {
                    ptrdiff_t y = top + i, z = left + j;
                    if (y < 0 || y >= height || z < 0 || z >= width)
                        d[i] = (vec){0};
                    else
                        d[i] = *(const vec *)(picture + (y * width + z) * channels + c) * k + o;
                }
                into(d, down[j]);
            }
            for (int i = 0; i < 6; i++) {
                vec across[6] = {down[0][i], down[1][i], down[2][i], down[3][i], down[4][i], down[5][i]}, v[6];
                into(across, v);
                for (int j = 0; j < 6; j++)
                    store(products, ((6 * i + j) * tiles + tile) * channels + c, v[j], half);
            }
        }
    }
}

/* Tiles first..last of x -> products (36, last - first, C). scale, shift: (N, C), applied to pixels inside the frame. */
void
vpt_into(const float *x, const float *scale, const float *shift, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels,
    ptrdiff_t first, ptrdiff_t last, void *products, int half)
{
    if (half)
        tiles_into(x, scale, shift, height, width, channels, first, last, products, 1);
    else
        tiles_into(x, scale, shift, height, width, channels, first, last, products, 0);
}

static inline __attribute__((always_inline)) void
tiles_back(const void *sums, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, ptrdiff_t first, ptrdiff_t last,
    const float *skip, float *y, int half)
{
    ptrdiff_t rows = height / 4, columns = width / 4, tiles = last - first;
#pragma omp parallel for schedule(static)
    for (ptrdiff_t tile = 0; tile < tiles; tile++) {
        ptrdiff_t at = first + tile, column = at % columns, row = at / columns % rows, frame = at / columns / rows;
        ptrdiff_t corner = ((frame * height + 4 * row) * width + 4 * column) * channels;
        for (ptrdiff_t c = 0; c < channels; c += LANES) {
            vec up[6][4]; /* [column][pixel row] */
            for (int j = 0; j < 6; j++) {
                vec m[6];
                for (int i = 0; i < 6; i++)
                    m[i] = load(sums, ((6 * i + j) * tiles + tile) * channels + c, half);
                back(m, up[j]);
            }
            for (int i = 0; i < 4; i++) {
                vec across[6] = {up[0][i], up[1][i], up[2][i], up[3][i], up[4][i], up[5][i]}, out[4];
                back(across, out);
                for (int j = 0; j < 4; j++) {
                    ptrdiff_t place = corner + (i * width + j) * channels + c;
                    vec v = (vec)((ivec)out[j] & ~(out[j] <= 0)); /* not-a-number stays, as it should */
                    if (skip)
                        v += *(const vec *)(skip + place);
                    *(vec *)(y + place) = v;
                }
            }
        }
    }
}

/* Sums (36, last - first, O) -> tiles first..last of y (N, H, W, O): ReLU, then plus skip (like y, or NULL). */
void
vpt_back(const void *sums, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, ptrdiff_t first, ptrdiff_t last,
    const float *skip, float *y, int half)
{
    if (half)
        tiles_back(sums, height, width, channels, first, last, skip, y, 1);
    else
        tiles_back(sums, height, width, channels, first, last, skip, y, 0);
}

/* Max-pooling 3x3, stride 2, padding 1 of x (N, H, W, C), none of which is negative -> y (N, H/2, W/2, C). */
void
vpt_pool(const float *x, ptrdiff_t frames, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, float *y)
{
    ptrdiff_t rows = height / 2, columns = width / 2;
#pragma omp parallel for schedule(static)
    for (ptrdiff_t line = 0; line < frames * rows; line++) {
        const float *picture = x + line / rows * height * width * channels;
        ptrdiff_t top = line % rows * 2 - 1;
        for (ptrdiff_t column = 0; column < columns; column++) {
            ptrdiff_t left = 2 * column - 1;
            for (ptrdiff_t c = 0; c < channels; c += LANES) {
                vec most = {0};
                for (ptrdiff_t i = top < 0 ? 0 : top; i < top + 3; i++) {
                    for (ptrdiff_t j = left < 0 ? 0 : left; j < left + 3; j++) {
                        vec v = *(const vec *)(picture + (i * width + j) * channels + c);
                        ivec more = ~(v <= most);
                        most = (vec)(((ivec)v & more) | ((ivec)most & ~more));
                    }
                }
                *(vec *)(y + (line * columns + column) * channels + c) = most;
            }
        }
    }
}
