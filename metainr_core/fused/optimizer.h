// Adam and Muon on one network: the arithmetic of metainr_core/optim.py.
#pragma once

#include <cmath>

#include "siren.h"

// What varies from minibatch to minibatch: a row of optim.py's schedule.
struct Rates {
  float adam_step, adam_correction, muon_step, muon_shrink;
};

struct Settings {
  int muon;  // else Adam on every tensor
  int hidden;  // whether hidden matrices are fitted, or kept
  float beta_1, beta_2, momentum;
};

// The nearest semi-orthogonal matrix, roughly, in place; by the Newton–Schulz iteration.
template <class Format>
class Orthogonalizer {
 public:
  explicit Orthogonalizer(int columns)
      : columns_(columns), x_(columns, columns), gram_(columns, columns), step_(columns, columns) {}

  // ``x``: width × width in rows of ``columns`` floats, zeros behind.
  void run(float* x, int width) {
    const size_t size = size_t(columns_) * columns_;
    Vec squares{};
    for (size_t i = 0; i < size; i += LANES) squares += load(x + i) * load(x + i);
    const float scale = 1 / (std::sqrt(sum(squares)) + 1e-12f);
    for (size_t i = 0; i < size; i += LANES) store(x + i, scale * load(x + i));

    const int rows = padded(width, 8);
    const int units = padded(width, Format::PER_UNIT) / Format::PER_UNIT;
    const auto zero = [](int, int) { return Vec{}; };
    for (int iteration = 0; iteration < ITERATIONS; iteration++) {
      for (int r = 0; r < rows; r += 2)
        for (int c = 0; c < columns_; c += LANES)
          x_.put(r, c, load(x + r * columns_ + c), load(x + (r + 1) * columns_ + c));
      product(transposed(x_), x_, rows, units, zero,
              [&](int r, int c, Vec v, Vec w) { gram_.put(r, c, v, w); });
      product(rows_of(gram_), gram_, rows, units, zero, [&](int r, int c, Vec v, Vec w) {
        step_.put(r, c, C * v + B * gram_.get(r, c), C * w + B * gram_.get(r + 1, c));
      });
      product(
          rows_of(x_), step_, rows, units,
          [&](int r, int c) { return A * load(x + r * columns_ + c); },
          [&](int r, int c, Vec v, Vec w) {
            store(x + r * columns_ + c, v);
            store(x + (r + 1) * columns_ + c, w);
          });
    }
  }

 private:
  // NEWTON_SCHULZ and ITERATIONS of optim.py.
  static constexpr float A = 3.4445f, B = -4.7750f, C = 2.0315f;
  static constexpr int ITERATIONS = 4;

  int columns_;
  Matrix<Format> x_, gram_, step_;
};

template <class Format>
class Optimizer {
 public:
  Optimizer(const Network<Format>& network, const Settings& settings)
      : net_(network),
        settings_(settings),
        orthogonalizer_(network.columns),
        direction_(size_t(network.columns) * network.columns) {}

  // Updates a network's weights and moments, arrays of ``Shape::parameters()``.
  void step(float* weights, float* first, float* second, const Gradients<Format>& gradients,
            const Rates& rates) {
    const Shape& s = net_.shape;
    const float omega = s.omega_0;  // in which the gradients' layers were evaluated
    for (int l = 0; l < s.layers(); l++) {
      const size_t at = s.offset(l), bias = at + size_t(s.inputs(l)) * s.outputs(l);
      const bool output = l + 1 == s.layers();
      const auto adam_row = [&](size_t i, const float* gradient, int count, float scale) {
        adam(weights + i, first + i, second + i, gradient, count, scale, rates);
      };
      if (output) {
        output_layer_ = Buffer<float>(size_t(s.width) * s.components);
        for (int i = 0; i < s.width; i++)
          for (int o = 0; o < s.components; o++)
            output_layer_[i * s.components + o] = gradients.last[o * net_.columns + i];
        adam_row(at, output_layer_, s.width * s.components, 1);
        adam_row(bias, gradients.last_bias, s.components, 1);
        continue;
      }
      adam_row(bias, gradients.bias(l), s.width, omega);
      if (l && !settings_.hidden) continue;
      const float* gradient = l ? gradients.matrix(l) : gradients.first;
      if (l && settings_.muon) {
        muon(weights + at, first + at, gradient, rates);
        continue;
      }
      for (int r = 0; r < s.inputs(l); r++)
        adam_row(at + size_t(r) * s.width, gradient + r * net_.columns, s.width, omega);
    }
  }

 private:
  const Network<Format>& net_;
  Settings settings_;
  Orthogonalizer<Format> orthogonalizer_;
  Buffer<float> direction_, output_layer_;

  void adam(float* weights, float* first, float* second, const float* gradient, int count,
            float scale, const Rates& rates) const {
    const float keep_1 = settings_.beta_1, keep_2 = settings_.beta_2;
    const float correction = 1 / rates.adam_correction;
    for (int i = 0; i < count; i++) {
      const float g = scale * gradient[i];
      first[i] += (1 - keep_1) * (g - first[i]);
      second[i] = keep_2 * second[i] + (1 - keep_2) * g * g;
      weights[i] -= rates.adam_step * first[i] / (std::sqrt(second[i]) * correction + 1e-8f);
    }
  }

  void muon(float* weights, float* moment, const float* gradient, const Rates& rates) {
    const int width = net_.shape.width, columns = net_.columns;
    const float keep = settings_.momentum;
    const float omega = net_.shape.omega_0;
    // The padding too: a network that diverged leaves NaN there.
    std::memset(direction_, 0, sizeof(float) * columns * columns);
    for (int r = 0; r < width; r++)
      for (int c = 0; c < width; c++) {
        const float g = omega * gradient[r * columns + c];
        float& m = moment[r * width + c];
        m += (1 - keep) * (g - m);
        direction_[r * columns + c] = g + keep * (m - g);
      }
    orthogonalizer_.run(direction_, width);
    for (int r = 0; r < width; r++)
      for (int c = 0; c < width; c++) {
        float& w = weights[r * width + c];
        w = rates.muon_shrink * w - rates.muon_step * direction_[r * columns + c];
      }
  }
};
