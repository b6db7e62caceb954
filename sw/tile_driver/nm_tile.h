/*
 * Registers of a tile behind AXI4-Lite.  C99, nothing needed but <stdint.h>.
 *
 * Made from hw/registers.py by python -m hw.register_files.
 *
 * NM_TILE_<REGISTER>                 offset in bytes
 * NM_TILE_<REGISTER>_COUNT           how many there are, 4 bytes apart, where it is more than one
 * NM_TILE_<REGISTER>_<FIELD>_SHIFT   lowest bit of a field
 * NM_TILE_<REGISTER>_<FIELD>_MASK    its bits
 */

#ifndef NM_TILE_H
#define NM_TILE_H

#include <stdint.h>

/* what this is */
#define NM_TILE_ID 0x000u
#define NM_TILE_ID_VERSION_SHIFT 0u /* of this map: 1; ro */
#define NM_TILE_ID_VERSION_MASK 0x0000FFFFu
#define NM_TILE_ID_MAGIC_SHIFT 16u /* 0x4E4D, NM in ASCII; ro */
#define NM_TILE_ID_MAGIC_MASK 0xFFFF0000u

/* the pattern */
#define NM_TILE_PATTERN_SHAPE 0x004u
#define NM_TILE_PATTERN_SHAPE_N_SHIFT 0u /* lanes kept of each group; M in a dense tile; ro */
#define NM_TILE_PATTERN_SHAPE_N_MASK 0x000000FFu
#define NM_TILE_PATTERN_SHAPE_M_SHIFT 8u /* lanes of a group; ro */
#define NM_TILE_PATTERN_SHAPE_M_MASK 0x0000FF00u
#define NM_TILE_PATTERN_SHAPE_PATTERNS_SHIFT 16u /* number of patterns to choose from; 1: none; ro */
#define NM_TILE_PATTERN_SHAPE_PATTERNS_MASK 0x00FF0000u

/* the tile */
#define NM_TILE_TILE_SHAPE 0x008u
#define NM_TILE_TILE_SHAPE_ROWS_SHIFT 0u /* rows of activations; ro */
#define NM_TILE_TILE_SHAPE_ROWS_MASK 0x0000FFFFu
#define NM_TILE_TILE_SHAPE_COLS_SHIFT 16u /* columns of weights; ro */
#define NM_TILE_TILE_SHAPE_COLS_MASK 0xFFFF0000u

/* number formats */
#define NM_TILE_FORMATS 0x00Cu
#define NM_TILE_FORMATS_DATA_WIDTH_SHIFT 0u /* bits of an activation; ro */
#define NM_TILE_FORMATS_DATA_WIDTH_MASK 0x000000FFu
#define NM_TILE_FORMATS_WEIGHT_WIDTH_SHIFT 8u /* bits of a weight; ro */
#define NM_TILE_FORMATS_WEIGHT_WIDTH_MASK 0x0000FF00u
#define NM_TILE_FORMATS_SUM_WIDTH_SHIFT 16u /* bits of a sum in the stream of results; ro */
#define NM_TILE_FORMATS_SUM_WIDTH_MASK 0x00FF0000u
#define NM_TILE_FORMATS_SCALE_WIDTH_SHIFT 24u /* bits of a scale; 0: no scales; ro */
#define NM_TILE_FORMATS_SCALE_WIDTH_MASK 0xFF000000u

/* what the tile shall do */
#define NM_TILE_CONTROL 0x010u
#define NM_TILE_CONTROL_ENABLE_SHIFT 0u /* take activations and weights; rw */
#define NM_TILE_CONTROL_ENABLE_MASK 0x00000001u
#define NM_TILE_CONTROL_RESET_SHIFT 1u /* empty the tile and the scales, clear the counters; wo */
#define NM_TILE_CONTROL_RESET_MASK 0x00000002u

/* what the tile does */
#define NM_TILE_STATUS 0x014u
#define NM_TILE_STATUS_BUSY_SHIFT 0u /* something is inside, or a result has not left; ro */
#define NM_TILE_STATUS_BUSY_MASK 0x00000001u
#define NM_TILE_STATUS_SCALE_READY_SHIFT 1u /* there is room for a word of scales; ro */
#define NM_TILE_STATUS_SCALE_READY_MASK 0x00000002u
#define NM_TILE_STATUS_PATTERN_ERROR_SHIFT 8u /* a row was given a pattern that does not exist; w1c */
#define NM_TILE_STATUS_PATTERN_ERROR_MASK 0x00000100u
#define NM_TILE_STATUS_LAST_ERROR_SHIFT 9u /* TLAST inside a step, or inside a reduction that has a length; w1c */
#define NM_TILE_STATUS_LAST_ERROR_MASK 0x00000200u
#define NM_TILE_STATUS_SCALE_ERROR_SHIFT 10u /* the table of scales was not as long as the reduction; w1c */
#define NM_TILE_STATUS_SCALE_ERROR_MASK 0x00000400u
#define NM_TILE_STATUS_SCALE_LOST_SHIFT 11u /* a word of scales came without room for it; w1c */
#define NM_TILE_STATUS_SCALE_LOST_MASK 0x00000800u

/* pattern of all rows, from the next reduction on */
#define NM_TILE_PATTERN 0x018u
#define NM_TILE_PATTERN_VALUE_SHIFT 0u /* its number in the list; rw */
#define NM_TILE_PATTERN_VALUE_MASK 0xFFFFFFFFu

/* length of a reduction, from the next one on */
#define NM_TILE_LENGTH 0x01Cu
#define NM_TILE_LENGTH_VALUE_SHIFT 0u /* steps; 0: TLAST of the activations ends it; rw */
#define NM_TILE_LENGTH_VALUE_MASK 0xFFFFFFFFu

/* what is subtracted from all activations */
#define NM_TILE_SHIFT 0x020u
#define NM_TILE_SHIFT_VALUE_SHIFT 0u /* code in the activations' format, in the lowest bits; rw */
#define NM_TILE_SHIFT_VALUE_MASK 0xFFFFFFFFu

/* steps taken since reset */
#define NM_TILE_STEPS 0x024u
#define NM_TILE_STEPS_VALUE_SHIFT 0u /* modulo 2^32; ro */
#define NM_TILE_STEPS_VALUE_MASK 0xFFFFFFFFu

/* results sent since reset */
#define NM_TILE_RESULTS 0x028u
#define NM_TILE_RESULTS_VALUE_SHIFT 0u /* modulo 2^32; ro */
#define NM_TILE_RESULTS_VALUE_MASK 0xFFFFFFFFu

/* cycles in which the tile was busy, since reset */
#define NM_TILE_CYCLES 0x02Cu
#define NM_TILE_CYCLES_VALUE_SHIFT 0u /* modulo 2^32; ro */
#define NM_TILE_CYCLES_VALUE_MASK 0xFFFFFFFFu

/* for how many reductions the table of scales serves */
#define NM_TILE_SCALE_TOKENS 0x030u
#define NM_TILE_SCALE_TOKENS_VALUE_SHIFT 0u /* looked at with its last word; rw */
#define NM_TILE_SCALE_TOKENS_VALUE_MASK 0xFFFFFFFFu

/* take scale_word as the next word of the table */
#define NM_TILE_SCALE_PUSH 0x034u
#define NM_TILE_SCALE_PUSH_PUSH_SHIFT 0u /* 1: take it; wo */
#define NM_TILE_SCALE_PUSH_PUSH_MASK 0x00000001u
#define NM_TILE_SCALE_PUSH_LAST_SHIFT 1u /* 1: it is the last word of the table; wo */
#define NM_TILE_SCALE_PUSH_LAST_MASK 0x00000002u

/* scales of one group, those of lane 0 lowest */
#define NM_TILE_SCALE_WORD 0x100u
#define NM_TILE_SCALE_WORD_COUNT 64u
#define NM_TILE_SCALE_WORD_VALUE_SHIFT 0u /* bits 32 k to 32 k + 31; rw */
#define NM_TILE_SCALE_WORD_VALUE_MASK 0xFFFFFFFFu

/* A field of what was read, and a value as a field to be written. */
#define NM_TILE_GET(word, field) (((uint32_t)(word) & field##_MASK) >> field##_SHIFT)
#define NM_TILE_PUT(value, field) (((uint32_t)(value) << field##_SHIFT) & field##_MASK)

#endif
