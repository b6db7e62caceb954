// Runs the steps of a file through a tile in Verilator, and writes its results to another.
//
//   tile STEPS RESULTS SEED
//
// STEPS has for each step the bytes of i_data, of w_weights and one of i_last, RESULTS for each
// result those of o_sum and of o_error, the lowest bits first.  With SEED 0 nothing stalls;
// otherwise all three streams do, at random.  On standard output: now and then the steps that have
// been taken, and at last the cycles from the first transfer to the last one.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "Vtile.h"
#include "verilated.h"

namespace {

// Bytes of the ports.
constexpr size_t kData = DATA_BYTES, kWeights = WEIGHTS_BYTES;
constexpr size_t kSum = SUM_BYTES, kError = ERROR_BYTES;
constexpr size_t kStep = kData + kWeights + 1;

// Cycles without a transfer after which none will come any more.
constexpr uint64_t kQuiet = 1000;
// Steps between two reports.
constexpr size_t kReport = 64;

// A port of any width lies in memory as its words do, the lowest bits first.
template <class Port>
void put(Port& port, const uint8_t* bytes, size_t count) {
  static_assert(sizeof(Port) > 0, "a port has bits");
  std::memset(static_cast<void*>(&port), 0, sizeof port);
  std::memcpy(static_cast<void*>(&port), bytes, count);
}

template <class Port>
void get(const Port& port, std::vector<uint8_t>& bytes, size_t count) {
  const auto* first = reinterpret_cast<const uint8_t*>(&port);
  bytes.insert(bytes.end(), first, first + count);
}

// Whether a stream stalls: xorshift, a quarter of the cycles.
class Stalls {
 public:
  Stalls(uint64_t seed, uint64_t stream) : state_(seed ? seed * 3 + stream : 0) {}
  bool next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ != 0 && (state_ >> 32) % 4 == 0;
  }

 private:
  uint64_t state_;
};

int fail(const char* message, const char* subject) {
  std::fprintf(stderr, "%s: %s\n", subject, message);
  return 1;
}

}  // namespace

int main(int count, char** words) {
  if (count != 4) return fail("needs STEPS, RESULTS and SEED", words[0]);
  std::vector<uint8_t> steps, results;
  FILE* file = std::fopen(words[1], "rb");
  if (!file) return fail("cannot be read", words[1]);
  uint8_t buffer[65536];
  for (size_t got; (got = std::fread(buffer, 1, sizeof buffer, file)) > 0;)
    steps.insert(steps.end(), buffer, buffer + got);
  std::fclose(file);
  if (steps.size() % kStep) return fail("is not a whole number of steps", words[1]);
  const size_t total = steps.size() / kStep;
  size_t expected = 0;
  for (size_t step = 0; step < total; ++step) expected += steps[(step + 1) * kStep - 1] != 0;

  const uint64_t seed = std::strtoull(words[3], nullptr, 10);
  Stalls into_rows(seed, 1), into_columns(seed, 2), out(seed, 3);
  VerilatedContext context;
  Vtile tile(&context, "");
  tile.i_valid = tile.w_valid = tile.o_ready = 0;
  tile.rst = 1;
  for (int cycle = 0; cycle < 3; ++cycle) {
    tile.clk = 0;
    tile.eval();
    tile.clk = 1;
    tile.eval();
  }
  tile.rst = 0;

  size_t activations = 0, weights = 0, taken = 0;
  uint64_t cycle = 0, first = 0, latest = 0;
  bool begun = false;
  while (taken < expected || activations < total || weights < total) {
    // What is offered stays until it is taken.
    if (!tile.i_valid && activations < total && !into_rows.next()) {
      const uint8_t* step = &steps[activations * kStep];
      tile.i_valid = 1;
      put(tile.i_data, step, kData);
      tile.i_last = step[kStep - 1];
    }
    if (!tile.w_valid && weights < total && !into_columns.next()) {
      tile.w_valid = 1;
      put(tile.w_weights, &steps[weights * kStep + kData], kWeights);
    }
    tile.o_ready = !out.next();
    tile.clk = 0;
    tile.eval();
    const bool takes_row = tile.i_valid && tile.i_ready;
    const bool takes_column = tile.w_valid && tile.w_ready;
    const bool gives = tile.o_valid && tile.o_ready;
    if (gives) {
      get(tile.o_sum, results, kSum);
      get(tile.o_error, results, kError);
    }
    tile.clk = 1;
    tile.eval();
    if (takes_row) tile.i_valid = 0;
    if (takes_column) tile.w_valid = 0;
    activations += takes_row;
    weights += takes_column;
    taken += gives;
    if (takes_row || takes_column || gives) {
      if (!begun) first = cycle;
      begun = true;
      latest = cycle;
    }
    if (takes_row && activations % kReport == 0) {
      std::printf("%zu\n", activations);
      std::fflush(stdout);
    }
    if (++cycle - latest > kQuiet) return fail("the tile stands still", words[1]);
  }
  file = std::fopen(words[2], "wb");
  if (!file || std::fwrite(results.data(), 1, results.size(), file) != results.size() ||
      std::fclose(file))
    return fail("cannot be written", words[2]);
  std::printf("cycles %llu\n", static_cast<unsigned long long>(begun ? latest - first + 1 : 0));
  return 0;
}
