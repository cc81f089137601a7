// One SIREN on blocks of points: evaluation, and gradients by backpropagation.
//
// The layout of the weights, one network after the other in one array of floats, layer by layer:
// W (inputs × outputs, row by row), then b. h = sin(omega_0 (x W + b)), the last layer linear.
#pragma once

#include <vector>

#include "matrix.h"

constexpr int POINTS = 64;  // of a block: its activations stay in the first two caches

inline int padded(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

struct Shape {
  int width, hidden_layers, components;
  float omega_0;

  int layers() const { return hidden_layers + 2; }
  int inputs(int layer) const { return layer ? width : 3; }
  int outputs(int layer) const { return layer + 1 < layers() ? width : components; }
  size_t parameters() const { return offset(layers()); }
  // Of the layer's matrix; its bias follows.
  size_t offset(int layer) const {
    size_t total = 0;
    for (int l = 0; l < layer; l++) total += size_t(inputs(l) + 1) * outputs(l);
    return total;
  }
};

// 16 columns from c on of a row of ``columns`` floats, zeros behind its end.
inline Vec load_padded(const float* row, int c, int columns) {
  if (c + LANES <= columns) return load(row + c);
  Vec v{};
  for (int i = 0; c + i < columns; i++) v[i] = row[c + i];
  return v;
}
inline void store_padded(float* row, int c, int columns, Vec v) {
  if (c + LANES <= columns) return store(row + c, v);
  for (int i = 0; c + i < columns; i++) row[c + i] = v[i];
}

// A network's weights as the products want them: omega_0 folded in, columns padded with zeros.
// A padded unit has phase 0 and no outgoing weight: it adds nothing, forward or backward.
template <class Format>
class Network {
 public:
  const Shape shape;
  const int columns;  // the width, padded
  Buffer<float> first, last, biases;  // 3 × columns; components × columns; layers × columns
  std::vector<Matrix<Format>> hidden, hidden_transposed;

  Network(Shape s, bool backward)
      : shape(s),
        columns(padded(s.width, LANES)),
        first(size_t(3) * columns),
        last(size_t(s.components) * columns),
        biases(size_t(s.layers()) * padded(std::max(s.components, s.width), LANES)) {
    for (int l = 0; l < s.hidden_layers; l++) {
      hidden.emplace_back(columns, columns);
      if (backward) hidden_transposed.emplace_back(columns, columns);
    }
  }

  float* bias(int layer) const { return biases + size_t(layer) * columns; }
  // Units that a product over the hidden width goes through.
  int units() const { return padded(shape.width, Format::PER_UNIT) / Format::PER_UNIT; }

  void set(const float* weights) {
    const int width = shape.width, last_layer = shape.layers() - 1;
    const float omega = shape.omega_0;
    for (int l = 0; l < last_layer; l++) {
      const float* w = weights + shape.offset(l);
      const float* b = w + size_t(shape.inputs(l)) * width;
      for (int c = 0; c < columns; c += LANES) {
        store(bias(l) + c, omega * load_padded(b, c, width));
        if (l == 0)
          for (int i = 0; i < 3; i++)
            store(first + i * columns + c, omega * load_padded(w + i * width, c, width));
        else
          for (int r = 0; r < width; r += 2)
            hidden[l - 1].put(r, c, omega * load_padded(w + r * width, c, width),
                              r + 1 < width ? omega * load_padded(w + (r + 1) * width, c, width)
                                            : Vec{});
      }
      if (l > 0 && !hidden_transposed.empty()) hidden_transposed[l - 1].set_transposed(hidden[l - 1]);
    }
    const float* w = weights + shape.offset(last_layer);
    for (int i = 0; i < width; i++)
      for (int o = 0; o < shape.components; o++) last[o * columns + i] = w[i * shape.components + o];
    for (int o = 0; o < shape.components; o++)
      bias(last_layer)[o] = w[size_t(width) * shape.components + o];
  }
};

// The activations of one block, layer after layer.
template <class Format>
class Block {
 public:
  explicit Block(const Network<Format>& network, bool backward) : net(network) {
    const int layers = network.shape.hidden_layers + 1;
    // Without backpropagation two layers take turns.
    for (int l = 0; l < (backward ? layers : std::min(layers, 2)); l++) {
      sines.emplace_back(POINTS, network.columns);
      if (backward) cosines.emplace_back(POINTS, network.columns);
    }
    if (backward) delta = Matrix<Format>(POINTS, network.columns);
  }

  const Network<Format>& net;
  std::vector<Matrix<Format>> sines;
  std::vector<Rows<Format>> cosines;
  Matrix<Format> delta;

  Matrix<Format>& sine(int layer) { return sines[layer % sines.size()]; }

  // The phases of points p and p + 1, 16 units from c on, to activations.
  void activate(int layer, int p, int c, Vec first, Vec second) {
    const Phase a(first), b(second);
    sine(layer).put(p, c, a.sine(), b.sine());
    if (cosines.empty()) return;
    cosines[layer].put(p, c, a.cosine());
    cosines[layer].put(p + 1, c, b.cosine());
  }

  // All layers from the second on.
  void propagate() {
    for (int l = 1; l <= net.shape.hidden_layers; l++) {
      const float* bias = net.bias(l);
      product(
          rows_of(sine(l - 1)), net.hidden[l - 1], POINTS, net.units(),
          [&](int, int c) { return load(bias + c); },
          [&](int p, int c, Vec v, Vec w) { activate(l, p, c, v, w); });
    }
  }

  // The network's output at point p.
  float output(int p, int component) {
    const Matrix<Format>& top = sine(net.shape.hidden_layers);
    const float* weights = net.last + size_t(component) * net.columns;
    Vec total{};
    for (int c = 0; c < net.columns; c += LANES) total += top.get(p, c) * load(weights + c);
    return sum(total) + net.bias(net.shape.layers() - 1)[component];
  }
};

// Gradients of one network, padded like its weights.
template <class Format>
class Gradients {
 public:
  explicit Gradients(const Network<Format>& network)
      : net(network),
        first(size_t(3) * net.columns),
        last(size_t(net.shape.components) * net.columns),
        last_bias(net.shape.components),
        biases(size_t(net.shape.hidden_layers + 1) * net.columns),
        hidden(hidden_size()) {}

  const Network<Format>& net;
  Buffer<float> first, last, last_bias, biases, hidden;

  size_t hidden_size() const {
    return size_t(net.shape.hidden_layers) * net.columns * net.columns;
  }
  float* matrix(int layer) const { return hidden + size_t(layer - 1) * net.columns * net.columns; }
  float* bias(int layer) const { return biases + size_t(layer) * net.columns; }

  void clear() {
    const Shape& s = net.shape;
    std::memset(first, 0, sizeof(float) * 3 * net.columns);
    std::memset(last, 0, sizeof(float) * s.components * net.columns);
    std::memset(last_bias, 0, sizeof(float) * s.components);
    std::memset(biases, 0, sizeof(float) * (s.hidden_layers + 1) * net.columns);
    std::memset(hidden, 0, sizeof(float) * hidden_size());
  }

  // Adds a block's: ``error`` [components × POINTS] is the derivative by the outputs, 0 for
  // points that are none; ``points`` [POINTS × 3] the coordinates.
  void add(Block<Format>& block, const float* error, const float* points) {
    const int top = net.shape.hidden_layers, columns = net.columns;
    add_output_layer(block, error);
    for (int l = top; l >= 1; l--) {
      float* gradient = matrix(l);
      product(
          transposed(block.sine(l - 1)), block.delta, columns, POINTS / Format::PER_UNIT,
          [&](int r, int c) { return load(gradient + r * columns + c); },
          [&](int r, int c, Vec v, Vec w) {
            store(gradient + r * columns + c, v);
            store(gradient + (r + 1) * columns + c, w);
          });
      // The product reads all of delta before the activations of a tile replace it only if it goes
      // to a matrix of its own.
      product(
          rows_of(block.delta), net.hidden_transposed[l - 1], POINTS, net.units(),
          [](int, int) { return Vec{}; },
          [&](int p, int c, Vec v, Vec w) {
            const Rows<Format>& cosine = block.cosines[l - 1];
            take(next_, l - 1, p, c, v * cosine.get(p, c), w * cosine.get(p + 1, c));
          });
      std::swap(block.delta, next_);
    }
    add_first_layer(block, points);
  }

 private:
  Matrix<Format> next_{POINTS, net.columns};

  void take(Matrix<Format>& delta, int layer, int p, int c, Vec v, Vec w) {
    store(bias(layer) + c, load(bias(layer) + c) + v + w);
    delta.put(p, c, v, w);
  }

  void add_output_layer(Block<Format>& block, const float* error) {
    const int top = net.shape.hidden_layers;
    for (int o = 0; o < net.shape.components; o++)
      for (int p = 0; p < POINTS; p++) last_bias[o] += error[o * POINTS + p];
    for (int c = 0; c < net.columns; c += LANES)
      for (int p = 0; p < POINTS; p += 2) {
        Vec v{}, w{};
        for (int o = 0; o < net.shape.components; o++) {
          const float e = error[o * POINTS + p], f = error[o * POINTS + p + 1];
          const Vec weight = load(net.last + o * net.columns + c);
          float* gradient = last + o * net.columns + c;
          store(gradient, load(gradient) + e * block.sine(top).get(p, c) +
                              f * block.sine(top).get(p + 1, c));
          v += e * weight;
          w += f * weight;
        }
        const Rows<Format>& cosine = block.cosines[top];
        take(block.delta, top, p, c, v * cosine.get(p, c), w * cosine.get(p + 1, c));
      }
  }

  void add_first_layer(const Block<Format>& block, const float* points) {
    for (int c = 0; c < net.columns; c += LANES) {
      Vec x{}, y{}, z{};
      for (int p = 0; p < POINTS; p++) {
        const Vec d = block.delta.get(p, c);
        x += points[3 * p] * d;
        y += points[3 * p + 1] * d;
        z += points[3 * p + 2] * d;
      }
      for (auto [i, v] : {std::pair{0, x}, {1, y}, {2, z}}) {
        float* gradient = first + i * net.columns + c;
        store(gradient, load(gradient) + v);
      }
    }
  }
};
