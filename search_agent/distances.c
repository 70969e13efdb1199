/* Distances between float32 queries and every row of a float16 store: one pass over memory, nothing kept but the distances.
 *
 * A row of 1024 numbers is 2 kB, and memory brings about 15 rows a microsecond to one core, which is as fast as it can
 * compute with 16 lanes. Giving rows up half-way, once they are farther than the best so far, was measured: it computes a
 * third as much and takes twice as long, because the jumps defeat the hardware's prefetching.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
typedef uint16_t half;
#else
typedef _Float16 half;
#endif

typedef float vec __attribute__((vector_size(64), aligned(4), may_alias));
typedef int ivec __attribute__((vector_size(64), aligned(4), may_alias));
enum { LANES = 16, SUMS = 4 };
enum { L1, L2, COSINE };

static inline __attribute__((always_inline)) vec
widen(const half *h)
{
#if defined(__AVX512F__)
    return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)h));
#elif defined(__F16C__)
    vec v;
    __m256 low = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)h));
    __m256 high = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(h + 8)));
    memcpy(&v, &low, 32);
    memcpy((char *)&v + 32, &high, 32);
    return v;
#else
    vec v;
    for (int lane = 0; lane < LANES; lane++)
        v[lane] = (float)h[lane];
    return v;
#endif
}

/* Adds 16 products or differences to `sum`; for the cosine also the row's own squares to `own`. */
static inline __attribute__((always_inline)) void
step(vec row, vec query, int metric, vec *sum, vec *own)
{
    vec apart = row - query;
    if (metric == L1) {
        *sum += (vec)((ivec)apart & 0x7fffffff);
    } else if (metric == L2) {
        *sum += apart * apart;
    } else {
        *sum += row * query;
        *own += row * row;
    }
}

static inline __attribute__((always_inline)) float
total(const vec sums[SUMS])
{
    vec all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++)
        sum += all[lane];
    return sum;
}

static inline __attribute__((always_inline)) float
distance(const half *row, const float *query, ptrdiff_t dims, int metric)
{
    vec sums[SUMS] = {{0}}, own[SUMS] = {{0}};
    ptrdiff_t i = 0;
    for (; i + SUMS * LANES <= dims; i += SUMS * LANES)
        for (int s = 0; s < SUMS; s++)
            step(widen(row + i + s * LANES), *(const vec *)(query + i + s * LANES), metric, &sums[s], &own[s]);
    for (; i < dims; i += LANES) { /* what is missing of the last 16 is zero in both, which changes no metric */
        ptrdiff_t left = dims - i < LANES ? dims - i : LANES;
        half h[LANES] = {0};
        float q[LANES] = {0};
        memcpy(h, row + i, left * sizeof *h);
        memcpy(q, query + i, left * sizeof *q);
        step(widen(h), *(const vec *)q, metric, &sums[0], &own[0]);
    }
    if (metric == L1)
        return total(sums) / dims;
    if (metric == L2)
        return sqrtf(total(sums));
    float squares = total(own);
    return squares == 0 ? 1 : 1 - total(sums) / sqrtf(squares);
}

static inline __attribute__((always_inline)) void
over_rows(const half *const *segments, const int64_t *offsets, int64_t first, int64_t last, ptrdiff_t dims,
    const float *queries, ptrdiff_t count, int metric, float *out)
{
    ptrdiff_t segment = 0;
    for (int64_t flat = first; flat < last; flat++) {
        while (flat >= offsets[segment + 1])
            segment++;
        const half *row = segments[segment] + (flat - offsets[segment]) * dims;
        for (ptrdiff_t q = 0; q < count; q++)
            out[q * (last - first) + flat - first] = distance(row, queries + q * dims, dims, metric);
    }
}

/* Flat rows first..last of a store -> out (count, last - first). Segment s holds the flat rows offsets[s]..offsets[s + 1],
 * (rows, dims) at segments[s]. queries: (count, dims); for the cosine each of length one. */
void
vpt_distances(const void *const *segments, const int64_t *offsets, int64_t first, int64_t last, ptrdiff_t dims,
    const float *queries, ptrdiff_t count, int metric, float *out)
{
    const half *const *rows = (const half *const *)segments;
    if (metric == L1)
        over_rows(rows, offsets, first, last, dims, queries, count, L1, out);
    else if (metric == L2)
        over_rows(rows, offsets, first, last, dims, queries, count, L2, out);
    else
        over_rows(rows, offsets, first, last, dims, queries, count, COSINE, out);
}
