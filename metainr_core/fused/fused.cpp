// Training and evaluation of many SIRENs on a CPU, each network on one thread.
//
// A network's weights, its moments and the activations of a block of points stay in the caches of
// the core that works on it; nothing is synchronised until a call ends. Called by
// metainr_core/fused/__init__.py, which describes the arrays; compiled by it when first used.
#include <atomic>
#include <exception>
#include <thread>

#include "decode.h"
#include "optimizer.h"

extern "C" {

// What weights are rounded to for the gradients: reference + k × steps with whole k. Both arrays
// are networks × parameters; null: no rounding. After a minibatch a weight is pulled toward its
// reference by ``pull`` steps per unit of Muon's step.
struct Grid {
  const float *reference, *steps;
  float pull;
};

struct FitJob {
  Shape shape;
  Settings settings;
  int networks, minibatches, batch;
  int64_t samples;            // of each network
  const float* values;        // networks × samples × components
  const int32_t* points;      // networks × samples: voxel numbers; null: sample i is voxel i
  const int32_t* index;       // (networks ×) minibatches × batch: sample numbers
  int64_t index_stride;       // between networks; 0: one index for all
  int32_t box[3];             // voxels along x, y, z
  const Rates* rates;         // minibatches
  float *weights, *first, *second;  // networks × parameters
  float* losses;              // minibatches × networks
  Grid grid;                  // of the weights
};
}

namespace {

// Calls make()(i) for i in 0 … count - 1 on up to ``threads`` threads; make() is called on each.
// False when memory ran out: no exception may leave a thread or the library.
template <class Make>
bool parallel(int64_t count, int threads, const Make& make) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  const auto work = [&] {
    try {
      auto task = make();
      for (int64_t i; !failed && (i = next++) < count;) task(i);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  };
  std::vector<std::thread> others;
  try {
    for (int t = 1; t < std::min<int64_t>(threads, count); t++) others.emplace_back(work);
  } catch (const std::exception&) {
    // The system gives no more threads: fewer do the work.
  }
  work();
  for (std::thread& t : others) t.join();
  return !failed;
}

template <class Format>
class Fitter {
 public:
  explicit Fitter(const FitJob& job)
      : job_(job),
        network_(job.shape, true),
        block_(network_, true),
        gradients_(network_),
        optimizer_(network_, job.settings),
        error_(size_t(job.shape.components) * POINTS),
        rounded_(job.grid.steps ? job.shape.parameters() : 0) {
    for (int a = 0; a < 3; a++) scale_[a] = job.box[a] > 1 ? 2.0f / (job.box[a] - 1) : 0.0f;
  }

  void operator()(int64_t n) {
    const size_t parameters = job_.shape.parameters();
    float* weights = job_.weights + n * parameters;
    for (int m = 0; m < job_.minibatches; m++) {
      network_.set(job_.grid.steps ? round(n, weights) : weights);
      gradients_.clear();
      const int32_t* index = job_.index + n * job_.index_stride + size_t(m) * job_.batch;
      double squares = 0;
      for (int p = 0; p < job_.batch; p += POINTS)
        squares += add_block(n, index + p, std::min(POINTS, job_.batch - p));
      job_.losses[size_t(m) * job_.networks + n] =
          float(squares / (double(job_.batch) * job_.shape.components));
      optimizer_.step(weights, job_.first + n * parameters, job_.second + n * parameters,
                      gradients_, job_.rates[m]);
      if (job_.grid.steps) pull(n, weights, job_.grid.pull * job_.rates[m].muon_step);
    }
  }

 private:
  const FitJob& job_;
  Network<Format> network_;
  Block<Format> block_;
  Gradients<Format> gradients_;
  Optimizer<Format> optimizer_;
  Buffer<float> error_, rounded_;
  float points_[POINTS * 3] = {}, scale_[3];
  const float* wanted_[POINTS] = {};  // where the samples' values are

  const float* round(int64_t n, const float* weights) {
    const size_t parameters = job_.shape.parameters();
    const float* reference = job_.grid.reference + n * parameters;
    const float* steps = job_.grid.steps + n * parameters;
    for (size_t i = 0; i < parameters; i++)
      rounded_[i] = reference[i] + steps[i] * std::nearbyint((weights[i] - reference[i]) / steps[i]);
    return rounded_;
  }

  void pull(int64_t n, float* weights, float amount) {
    const size_t parameters = job_.shape.parameters();
    const float* reference = job_.grid.reference + n * parameters;
    const float* steps = job_.grid.steps + n * parameters;
    for (size_t i = 0; i < parameters; i++) {
      const float d = weights[i] - reference[i], most = amount * steps[i];
      weights[i] -= std::min(std::max(d, -most), most);
    }
  }

  // Gradients of ``count`` points, and the sum of their squared errors.
  double add_block(int64_t n, const int32_t* index, int count) {
    place(n, index, count);
    for (int c = 0; c < network_.columns; c += LANES) {
      const Vec x = load(network_.first + c), y = load(network_.first + network_.columns + c),
                z = load(network_.first + 2 * network_.columns + c), b = load(network_.bias(0) + c);
      const auto phase = [&](int p) {
        return b + points_[3 * p] * x + points_[3 * p + 1] * y + points_[3 * p + 2] * z;
      };
      for (int p = 0; p < POINTS; p += 2) block_.activate(0, p, c, phase(p), phase(p + 1));
    }
    block_.propagate();

    const int components = job_.shape.components;
    const float factor = 2.0f / (float(job_.batch) * components);
    float squares = 0;
    for (int o = 0; o < components; o++)
      for (int p = 0; p < POINTS; p++) {
        float e = 0;
        if (p < count) e = block_.output(p, o) - wanted_[p][o];
        squares += e * e;
        error_[o * POINTS + p] = factor * e;
      }
    gradients_.add(block_, error_, points_);
    return squares;
  }

  // Coordinates of the samples; of the places behind them nothing comes.
  void place(int64_t n, const int32_t* index, int count) {
    const int32_t nx = job_.box[0], ny = job_.box[1];
    const int32_t* numbers = job_.points ? job_.points + n * job_.samples : nullptr;
    const int components = job_.shape.components;
    const float* values = job_.values + n * job_.samples * components;
    for (int p = 0; p < count; p++) {
      wanted_[p] = values + size_t(index[p]) * components;
      __builtin_prefetch(wanted_[p]);  // the voxels lie anywhere in memory
      const int32_t voxel = numbers ? numbers[index[p]] : index[p];
      const int32_t row = voxel / nx, at[3] = {voxel - row * nx, row % ny, row / ny};
      for (int a = 0; a < 3; a++)
        points_[3 * p + a] = job_.box[a] > 1 ? float(at[a]) * scale_[a] - 1 : 0;
    }
  }
};
}  // namespace

extern "C" {

int metainr_bfloat16() {
#ifdef METAINR_BF16
  return 1;
#else
  return 0;
#endif
}

int metainr_fit(const FitJob* job, int bfloat16, int threads) {
  const auto run = [&](auto format) {
    return parallel(job->networks, threads, [&] { return Fitter<decltype(format)>(*job); });
  };
#ifdef METAINR_BF16
  if (bfloat16) return run(Bfloat{});
#endif
  return run(Float{});
}

// Null where memory is short.
Decoding* metainr_decode_start(const DecodeJob* job, int bfloat16, int threads, int background) {
  try {
    return new Decoding(*job, bfloat16, threads, background);
  } catch (const std::exception&) {
    return nullptr;
  }
}

int metainr_decode_wait(Decoding* decoding, int milliseconds, double* fraction) {
  return decoding->wait(milliseconds, fraction);
}

void metainr_decode_end(Decoding* decoding) { delete decoding; }
}
