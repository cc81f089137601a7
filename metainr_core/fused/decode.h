// Evaluation of bricks' networks on a grid, by threads that work while the caller does other things.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__linux__)
#include <sys/resource.h>
#endif

#include "parallel.h"
#include "siren.h"

extern "C" {

// The bricks along one axis. A brick's values lie at positions first … first + count - 1.
struct Axis {
  int bricks, positions;          // of the grid along the axis
  const int32_t *first, *count;   // bricks
  const int32_t* turn;            // bricks; those of one turn share no position
  int longest;                    // largest count
  const float *local, *share;     // bricks × longest: coordinate, and share in the value
};

struct DecodeJob {
  Shape shape;
  Axis axes[3];          // x, y, z
  const float* weights;  // bricks, x fastest, × parameters
  float* values;         // z × y × x × components: the sum of the bricks' shares is added to it
};
}

// A run of points of one brick, x fastest.
struct Run {
  int32_t brick[3];
  int64_t from, count;
};

constexpr int64_t RUN = 16 * POINTS;  // points that one thread takes at a time

// By turn: bricks that share positions must not write at once, and always add up in one order.
inline std::vector<std::vector<Run>> runs(const DecodeJob& job) {
  std::vector<std::vector<Run>> result;
  const auto [x, y, z] = job.axes;
  for (int k = 0; k < z.bricks; k++)
    for (int j = 0; j < y.bricks; j++)
      for (int i = 0; i < x.bricks; i++) {
        const int64_t points = int64_t(x.count[i]) * y.count[j] * z.count[k];
        if (!points) continue;
        const size_t turn = x.turn[i] + x.bricks * (y.turn[j] + size_t(y.bricks) * z.turn[k]);
        if (turn >= result.size()) result.resize(turn + 1);
        for (int64_t from = 0; from < points; from += RUN)
          result[turn].push_back({{i, j, k}, from, std::min(RUN, points - from)});
      }
  return result;
}

template <class Format>
class Evaluator {
 public:
  explicit Evaluator(const DecodeJob& job)
      : job_(job),
        network_(job.shape, false),
        block_(network_, false),
        row_(network_.columns),
        phases_(size_t(POINTS) * network_.columns) {}

  void operator()(const Run& run) {
    const auto [i, j, k] = run.brick;
    const int64_t brick = i + job_.axes[0].bricks * (j + int64_t(job_.axes[1].bricks) * k);
    if (brick != loaded_) {
      loaded_ = brick;
      network_.set(job_.weights + brick * job_.shape.parameters());
    }
    for (int64_t p = 0; p < run.count; p += POINTS)
      evaluate(run, run.from + p, int(std::min<int64_t>(POINTS, run.count - p)));
  }

 private:
  const DecodeJob& job_;
  Network<Format> network_;
  Block<Format> block_;
  Buffer<float> row_, phases_;
  int64_t loaded_ = -1;

  // On a tensor grid the first phase is a sum of three: those of y and z are made once a row.
  void set_row(float y, float z) {
    const int columns = network_.columns;
    for (int c = 0; c < columns; c += LANES)
      store(row_ + c, load(network_.bias(0) + c) + y * load(network_.first + columns + c) +
                          z * load(network_.first + 2 * columns + c));
  }

  void evaluate(const Run& run, int64_t from, int count) {
    const Axis &x = job_.axes[0], &y = job_.axes[1], &z = job_.axes[2];
    const auto [i, j, k] = run.brick;
    const int columns = network_.columns, components = job_.shape.components;
    const int64_t nx = x.count[i], ny = y.count[j];
    float* target[POINTS];
    float share[POINTS];
    int64_t at = -1;
    for (int p = 0; p < count; p++) {
      const int64_t row = (from + p) / nx;
      const size_t px = size_t(i) * x.longest + (from + p) % nx,
                   py = size_t(j) * y.longest + row % ny, pz = size_t(k) * z.longest + row / ny;
      if (row != at) set_row(y.local[py], z.local[pz]);
      at = row;
      for (int c = 0; c < columns; c += LANES)
        store(phases_ + p * columns + c, load(row_ + c) + x.local[px] * load(network_.first + c));
      const int64_t line = (z.first[k] + row / ny) * y.positions + y.first[j] + row % ny;
      target[p] = job_.values + (line * x.positions + x.first[i] + (from + p) % nx) * components;
      share[p] = x.share[px] * y.share[py] * z.share[pz];
    }
    for (int p = 0; p < POINTS; p += 2)
      for (int c = 0; c < columns; c += LANES)
        block_.activate(0, p, c, load(phases_ + p * columns + c),
                        load(phases_ + (p + 1) * columns + c));
    block_.propagate();
    for (int p = 0; p < count; p++)
      for (int o = 0; o < components; o++) target[p][o] += share[p] * block_.output(p, o);
  }
};

// A job under way. The arrays that it names must live until it is deleted, which stops it.
class Decoding {
 public:
  enum State { RUNNING, FINISHED, NO_MEMORY };

  // In the ``background`` it leaves the processor to those who are waited for.
  Decoding(const DecodeJob& job, int bfloat16, int threads, int background)
      : job_(job), runs_(runs(job_)) {
    for (const auto& turn : runs_)
      for (const Run& run : turn) points_ += run.count;
    thread_ = std::thread([=] {
#if defined(__linux__)
      // Of this thread, and those that it starts.
      if (background) setpriority(PRIO_PROCESS, 0, 10);
#endif
      const State state = work(bfloat16, threads);
      const std::lock_guard<std::mutex> lock(mutex_);
      state_ = state;
      changed_.notify_all();
    });
  }

  ~Decoding() {
    stop_ = true;
    thread_.join();
  }

  // Until it is finished or the time is over; then ``fraction`` is done.
  State wait(int milliseconds, double* fraction) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(milliseconds),
                      [&] { return state_ != RUNNING; });
    *fraction = points_ ? double(done_) / points_ : 1.0;
    return state_;
  }

 private:
  const DecodeJob job_;
  const std::vector<std::vector<Run>> runs_;
  int64_t points_ = 0;
  std::atomic<int64_t> done_{0};
  std::atomic<bool> stop_{false};
  State state_ = RUNNING;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;

  State work(int bfloat16, int threads) {
#ifdef METAINR_BF16
    if (bfloat16) return work<Bfloat>(threads);
#endif
    return work<Float>(threads);
  }

  template <class Format>
  State work(int threads) {
    for (const auto& turn : runs_) {
      const auto make = [&] {
        return [&, evaluate = Evaluator<Format>(job_)](int64_t i) mutable {
          evaluate(turn[i]);
          done_ += turn[i].count;
        };
      };
      if (!parallel(turn.size(), threads, make, stop_)) return NO_MEMORY;
    }
    return FINISHED;
  }
};
