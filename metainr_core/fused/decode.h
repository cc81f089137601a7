// Evaluation of bricks' networks on a grid, by threads that work while the caller does other things.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#if defined(__linux__)
#include <sys/resource.h>
#endif

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

  // In the ``background`` its threads leave the processor to all others.
  Decoding(const DecodeJob& job, int bfloat16, int threads, int background)
      : job_(job), bfloat16_(bfloat16), runs_(runs(job_)) {
    for (const auto& turn : runs_)
      for (const Run& run : turn) points_ += run.count;
    try {
      for (int t = 0; t < threads; t++)
        threads_.emplace_back([=] {
#if defined(__linux__)
          if (background) setpriority(PRIO_PROCESS, 0, 10);  // there, of this thread
#endif
          work(Clock::now() + std::chrono::hours(100000));
        });
    } catch (const std::exception&) {
      // The system gives no more threads: fewer do the work, and the one that waits.
    }
  }

  ~Decoding() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopped_ = true;
      changed_.notify_all();
    }
    for (std::thread& t : threads_) t.join();
  }

  // Takes part, until it is finished or the time is over; then ``fraction`` is done. Threads in the
  // background may not get the processor; that nobody waits for them alone, the caller works too.
  State wait(int milliseconds, double* fraction) {
    if (milliseconds) work(Clock::now() + std::chrono::milliseconds(milliseconds));
    const std::lock_guard<std::mutex> lock(mutex_);
    *fraction = points_ ? double(done_) / points_ : 1.0;
    return state_;
  }

 private:
  using Clock = std::chrono::steady_clock;

  const DecodeJob job_;
  const int bfloat16_;
  const std::vector<std::vector<Run>> runs_;
  int64_t points_ = 0;
  std::vector<std::thread> threads_;

  std::mutex mutex_;
  std::condition_variable changed_;
  // All that follows is guarded by the mutex.
  State state_ = RUNNING;
  bool stopped_ = false;
  size_t turn_ = 0, next_ = 0;  // the run that is handed out next
  int busy_ = 0;                // threads at a run of this turn
  int64_t done_ = 0;            // points

  void work(Clock::time_point end) {
    try {
#ifdef METAINR_BF16
      if (bfloat16_) return work<Bfloat>(end);
#endif
      work<Float>(end);
    } catch (const std::bad_alloc&) {
      const std::lock_guard<std::mutex> lock(mutex_);
      state_ = NO_MEMORY;
      changed_.notify_all();
    }
  }

  template <class Format>
  void work(Clock::time_point end) {
    Evaluator<Format> evaluate(job_);
    while (const Run* run = take(end)) {
      evaluate(*run);
      const std::lock_guard<std::mutex> lock(mutex_);
      done_ += run->count;
      if (!--busy_) changed_.notify_all();
    }
  }

  // Null when there is none left, or no time.
  const Run* take(Clock::time_point end) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (state_ == RUNNING && !stopped_ && Clock::now() < end) {
      if (turn_ < runs_.size() && next_ < runs_[turn_].size()) {
        busy_++;
        return &runs_[turn_][next_++];
      }
      if (busy_) {
        changed_.wait_until(lock, end);
        continue;
      }
      next_ = 0;
      if (++turn_ >= runs_.size()) state_ = FINISHED;
      changed_.notify_all();
    }
    return nullptr;
  }
};
