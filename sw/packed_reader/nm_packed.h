/*
 * Reader of packed N:M sparse streams.  C99, header only, no allocation, nothing but <stdint.h> and
 * <stddef.h>.
 *
 * N of every M lanes of a group are kept.  A group is metadata, which names the kept lanes, and n
 * values, which are plain bit patterns here: nm_signed() makes integers of them, a float format
 * keeps its bits.
 *
 * Bit b of a stream is bit b % 8 of its byte b / 8, counted from the lowest.  Groups follow each
 * other without gaps.  A token is some groups; it begins with a byte of its own, and zeros fill its
 * last byte.  All functions below work on one token.
 *
 *   interleaved  one stream:   metadata of group 0, values of group 0, metadata of group 1, ...
 *   split        two streams:  values of group 0, values of group 1, ...
 *                              metadata of group 0, metadata of group 1, ...
 *
 * Values are in slot order, slot 0 first, which is the order of rising lanes.
 *
 * Worked example: 2:4, int8 (8 bits a value), NM_BITMAP, interleaved.
 *
 *   dense lanes   group 0:  1  -3   0   0       group 1:  0   0   5  -7
 *   kept          lanes 0, 1: bitmap 0011       lanes 2, 3: bitmap 1100
 *   20 bits each  0xFD 0x01 0x3 = 0xFD013       0xF9 0x05 0xC = 0xF905C
 *   together      0xF905CFD013, lowest byte first:  13 D0 CF 05 F9
 *
 *   static const uint8_t bytes[] = {0x13, 0xD0, 0xCF, 0x05, 0xF9};
 *   const struct nm_format format = {2, 4, 8, NM_BITMAP};
 *   const struct nm_stream stream = {bytes, sizeof bytes};
 *   uint8_t lanes[2];
 *   uint32_t values[2], dense[4];
 *
 *   nm_unpack_interleaved(&format, stream, 1, lanes, values);  returns NM_OK
 *       lanes 2, 3    values 0x05, 0xF9    nm_signed(values[1], 8) is -7
 *   nm_expand(&format, lanes, values, dense);
 *       dense 0, 0, 0x05, 0xF9
 *
 * The same with NM_ENUMERATIVE takes 3 bits for the rank: 08 E8 6F 41 3E, of which the last 2 bits
 * are the zeros at the end of the token.
 */

#ifndef NM_PACKED_H
#define NM_PACKED_H

#include <stddef.h>
#include <stdint.h>

/* Limits of a format. */
enum { NM_MAX_M = 64, NM_MAX_VALUE_BITS = 32 };

/* Codes of the metadata; bits of one group behind each. */
enum nm_code {
    NM_BITMAP,         /* m: bit j is 1 if lane j is kept */
    NM_BITMAP_IMPLIED, /* m - 1: the same without the last lane, which follows from the others */
    NM_INDEX,          /* n * ceil(log2 m): the kept lanes, rising, the first in the lowest bits */
    NM_ENUMERATIVE     /* ceil(log2 C(m, n)): the sum of C(lane of slot k, k + 1) over all slots */
};

/* What functions return that can fail. */
enum nm_status {
    NM_OK = 0,
    NM_ILLEGAL_CODE = -1,   /* metadata that names no n lanes; nothing that was written counts */
    NM_TOO_SHORT = -2,      /* the stream ends before the group does */
    NM_ILLEGAL_FORMAT = -3  /* n, m, value_bits or code is out of its range */
};

/* What the bits of a stream are. */
struct nm_format {
    unsigned n;          /* lanes kept, 1 .. m */
    unsigned m;          /* lanes of a group, 2 .. NM_MAX_M */
    unsigned value_bits; /* bits of one value, 1 .. NM_MAX_VALUE_BITS */
    enum nm_code code;
};

/* The bytes of one token. */
struct nm_stream {
    const uint8_t *bytes;
    size_t size;
};

/* NM_OK or NM_ILLEGAL_FORMAT.  The functions that return no status trust the format. */
static inline int nm_check_format(const struct nm_format *format)
{
    if (format->m < 2 || format->m > NM_MAX_M || format->n < 1 || format->n > format->m)
        return NM_ILLEGAL_FORMAT;
    if (format->value_bits < 1 || format->value_bits > NM_MAX_VALUE_BITS)
        return NM_ILLEGAL_FORMAT;
    switch (format->code) {
    case NM_BITMAP:
    case NM_BITMAP_IMPLIED:
    case NM_INDEX:
    case NM_ENUMERATIVE:
        return NM_OK;
    }
    return NM_ILLEGAL_FORMAT;
}

/*
 * The field of `width` bits, at most 64, that begins at a bit position.  Only bytes that hold bits
 * of the field are read.
 */
static inline uint64_t nm_get_bits(const uint8_t *bytes, uint64_t position, unsigned width)
{
    uint64_t field = 0;
    unsigned done = 0;

    while (done < width) {
        const unsigned skipped = (unsigned)((position + done) % 8);
        const unsigned left = width - done;
        const unsigned taken = left < 8 - skipped ? left : 8 - skipped;
        const unsigned byte = bytes[(size_t)((position + done) / 8)];

        field |= (uint64_t)((byte >> skipped) & ((1u << taken) - 1)) << done;
        done += taken;
    }
    return field;
}

/* Bits that number so many things: the least w with 2^w >= count. */
static inline unsigned nm_bits_for(uint64_t count)
{
    unsigned bits = 0;

    while (bits < 64 && (count - 1) >> bits)
        bits++;
    return bits;
}

/* c * a / d where d divides c * a, without the product: it may not fit. */
static inline uint64_t nm_scale(uint64_t c, unsigned a, unsigned d)
{
    return c / d * a + c % d * a / d;
}

/* C(m, n), m <= 64: the number of masks. */
static inline uint64_t nm_binomial(unsigned m, unsigned n)
{
    uint64_t count = 1;
    unsigned k;

    if (n > m)
        return 0;
    for (k = 1; k <= n; k++)
        count = nm_scale(count, m - n + k, k);
    return count;
}

/* Bits of the values of a group. */
static inline unsigned nm_group_value_bits(const struct nm_format *format)
{
    return format->n * format->value_bits;
}

/* Bits of the metadata of a group; 0 where there is one mask and the code is enumerative. */
static inline unsigned nm_group_metadata_bits(const struct nm_format *format)
{
    switch (format->code) {
    case NM_BITMAP:
        return format->m;
    case NM_BITMAP_IMPLIED:
        return format->m - 1;
    case NM_INDEX:
        return format->n * nm_bits_for(format->m);
    case NM_ENUMERATIVE:
        return nm_bits_for(nm_binomial(format->m, format->n));
    }
    return 0;
}

/*
 * Bytes of one token in a stream that has so many bits for each group: the sum of the two above in
 * an interleaved stream, one of them in a split one.
 */
static inline size_t nm_token_bytes(size_t groups, unsigned group_bits)
{
    return (size_t)(((uint64_t)groups * group_bits + 7) / 8);
}

/* Whether a stream with so many bits for each group holds this group. */
static inline int nm_holds(struct nm_stream stream, size_t group, unsigned group_bits)
{
    return group_bits == 0 || (uint64_t)group < (uint64_t)stream.size * 8 / group_bits;
}

/* Lanes of a bitmap; the last `implied` lanes (0 or 1) have no bit. */
static inline int nm_decode_bitmap(const struct nm_format *format, const uint8_t *bytes,
                                   uint64_t position, unsigned implied, uint8_t *lanes)
{
    unsigned found = 0;
    unsigned lane;

    for (lane = 0; lane < format->m - implied; lane++) {
        if (!nm_get_bits(bytes, position + lane, 1))
            continue;
        if (found == format->n)
            return NM_ILLEGAL_CODE;
        lanes[found++] = (uint8_t)lane;
    }
    if (implied && found + 1 == format->n)
        lanes[found++] = (uint8_t)lane;
    return found == format->n ? NM_OK : NM_ILLEGAL_CODE;
}

static inline int nm_decode_index(const struct nm_format *format, const uint8_t *bytes,
                                  uint64_t position, uint8_t *lanes)
{
    const unsigned width = nm_bits_for(format->m);
    unsigned slot;

    for (slot = 0; slot < format->n; slot++) {
        const unsigned lane = (unsigned)nm_get_bits(bytes, position + slot * width, width);

        if (lane >= format->m || (slot > 0 && lane <= lanes[slot - 1]))
            return NM_ILLEGAL_CODE;
        lanes[slot] = (uint8_t)lane;
    }
    return NM_OK;
}

static inline int nm_decode_rank(const struct nm_format *format, uint64_t rank, uint8_t *lanes)
{
    const uint64_t masks = nm_binomial(format->m, format->n);
    /* `term` is C(lane, left): what the rank holds if the slot left - 1 is from this lane. */
    uint64_t term = nm_scale(masks, format->m - format->n, format->m);
    unsigned left = format->n;
    unsigned lane = format->m - 1;

    if (rank >= masks)
        return NM_ILLEGAL_CODE;
    for (;;) {
        if (rank >= term) {
            rank -= term;
            lanes[left - 1] = (uint8_t)lane;
            if (left == 1)
                return NM_OK;
            term = nm_scale(term, left, lane);
            left--;
        } else {
            term = nm_scale(term, lane - left, lane);
        }
        lane--;
    }
}

/*
 * The kept lanes that metadata at a bit position names: n of them, rising.
 *
 * Returns NM_OK, NM_ILLEGAL_CODE or NM_ILLEGAL_FORMAT.  Illegal are a bitmap without exactly n ones
 * (bitmap-implied: without n or n - 1), an index of m or more, indices that do not rise, and a rank
 * of C(m, n) or more.
 */
static inline int nm_decode(const struct nm_format *format, const uint8_t *bytes,
                            uint64_t position, uint8_t *lanes)
{
    if (nm_check_format(format) != NM_OK)
        return NM_ILLEGAL_FORMAT;
    switch (format->code) {
    case NM_BITMAP:
        return nm_decode_bitmap(format, bytes, position, 0, lanes);
    case NM_BITMAP_IMPLIED:
        return nm_decode_bitmap(format, bytes, position, 1, lanes);
    case NM_INDEX:
        return nm_decode_index(format, bytes, position, lanes);
    case NM_ENUMERATIVE:
        return nm_decode_rank(
            format, nm_get_bits(bytes, position, nm_group_metadata_bits(format)), lanes);
    }
    return NM_ILLEGAL_FORMAT;
}

/* The n values that begin at a bit position, slot 0 first. */
static inline void nm_get_values(const struct nm_format *format, const uint8_t *bytes,
                                 uint64_t position, uint32_t *values)
{
    unsigned slot;

    for (slot = 0; slot < format->n; slot++)
        values[slot] = (uint32_t)nm_get_bits(
            bytes, position + slot * format->value_bits, format->value_bits);
}

/*
 * Lanes and values, n of each, of a group of an interleaved token.
 *
 * Returns NM_OK, NM_ILLEGAL_CODE, NM_TOO_SHORT or NM_ILLEGAL_FORMAT.
 */
static inline int nm_unpack_interleaved(const struct nm_format *format, struct nm_stream stream,
                                        size_t group, uint8_t *lanes, uint32_t *values)
{
    unsigned metadata_bits, group_bits;
    uint64_t position;
    int status;

    if (nm_check_format(format) != NM_OK)
        return NM_ILLEGAL_FORMAT;
    metadata_bits = nm_group_metadata_bits(format);
    group_bits = metadata_bits + nm_group_value_bits(format);
    if (!nm_holds(stream, group, group_bits))
        return NM_TOO_SHORT;
    position = (uint64_t)group * group_bits;
    status = nm_decode(format, stream.bytes, position, lanes);
    if (status == NM_OK)
        nm_get_values(format, stream.bytes, position + metadata_bits, values);
    return status;
}

/* The same of a split token. */
static inline int nm_unpack_split(const struct nm_format *format, struct nm_stream value_stream,
                                  struct nm_stream metadata_stream, size_t group, uint8_t *lanes,
                                  uint32_t *values)
{
    unsigned metadata_bits, value_bits;
    int status;

    if (nm_check_format(format) != NM_OK)
        return NM_ILLEGAL_FORMAT;
    metadata_bits = nm_group_metadata_bits(format);
    value_bits = nm_group_value_bits(format);
    if (!nm_holds(value_stream, group, value_bits) ||
        !nm_holds(metadata_stream, group, metadata_bits))
        return NM_TOO_SHORT;
    status = nm_decode(format, metadata_stream.bytes, (uint64_t)group * metadata_bits, lanes);
    if (status == NM_OK)
        nm_get_values(format, value_stream.bytes, (uint64_t)group * value_bits, values);
    return status;
}

/* All m lanes of a group whose lanes were decoded; 0 where a lane was dropped. */
static inline void nm_expand(const struct nm_format *format, const uint8_t *lanes,
                             const uint32_t *values, uint32_t *dense)
{
    unsigned lane, slot;

    for (lane = 0; lane < format->m; lane++)
        dense[lane] = 0;
    for (slot = 0; slot < format->n; slot++)
        dense[lanes[slot]] = values[slot];
}

/* The two's complement integer whose lowest `bits` bits, 1 .. 32, are a value. */
static inline int32_t nm_signed(uint32_t value, unsigned bits)
{
    const uint32_t sign = (uint32_t)1 << (bits - 1);
    const int32_t low = (int32_t)(value & (sign - 1));

    return value & sign ? low - (int32_t)(sign - 1) - 1 : low;
}

#endif
