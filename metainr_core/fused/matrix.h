// Matrices in the two layouts that products read, and the product itself.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <new>

#include "simd.h"

// Zeroed, aligned memory.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t count) {
    const size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
    data_ = static_cast<T*>(std::aligned_alloc(64, std::max<size_t>(bytes, 64)));
    if (!data_) throw std::bad_alloc();
    std::memset(static_cast<void*>(data_), 0, bytes);
  }
  Buffer(Buffer&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~Buffer() { std::free(data_); }
  operator T*() const { return data_; }

 private:
  T* data_ = nullptr;
};

// rows × columns, columns a multiple of LANES.
template <class Format>
class Rows {
 public:
  Rows(int rows, int columns) : columns_(columns), elements_(size_t(rows) * columns) {}

  Vec get(int r, int c) const { return Format::get(elements_ + size_t(r) * columns_ + c); }
  void put(int r, int c, Vec v) { Format::put(elements_ + size_t(r) * columns_ + c, v); }

 private:
  int columns_;
  Buffer<typename Format::Element> elements_;
};

// The same as a factor of products; the number of rows is even. In bfloat16 it is kept twice: ``rows``
// holds neighbouring columns in one unit, ``pairs`` neighbouring rows. Floats need no pairs.
template <class Format>
class Matrix {
 public:
  using Element = typename Format::Element;
  static constexpr bool PAIRED = Format::PER_UNIT == 2;

  Matrix() = default;
  Matrix(int rows, int columns)
      : columns_(columns),
        rows_(size_t(rows) * columns),
        pairs_(PAIRED ? size_t(rows) / 2 * columns : 0) {}

  Element* row(int r) const { return rows_ + size_t(r) * columns_; }
  Vec get(int r, int c) const { return Format::get(row(r) + c); }
  // 16 columns from c on of rows r (even) and r + 1.
  void put(int r, int c, Vec first, Vec second) {
    Format::put(row(r) + c, first);
    Format::put(row(r + 1) + c, second);
    if constexpr (PAIRED) Format::put_pairs(pairs_ + size_t(r) / 2 * columns_ + c, first, second);
  }

  // Of a square matrix, for use as ``B`` only.
  void set_transposed(const Matrix& source) {
    const int units = columns_ / Format::PER_UNIT;
    auto* to = const_cast<uint32_t*>(column_units());
    const uint32_t* from = source.row_units();
    for (int u = 0; u < units; u++)
      for (int c = 0; c < columns_; c++) to[size_t(u) * columns_ + c] = from[size_t(c) * units + u];
  }

  int columns() const { return columns_; }
  // Units along a row, for ``A`` of ``A B``.
  const uint32_t* row_units() const { return reinterpret_cast<const uint32_t*>(&rows_[0]); }
  // Units down the columns, for ``A`` of ``A' B`` and for ``B``.
  const uint32_t* column_units() const {
    if constexpr (PAIRED) return pairs_;
    return row_units();
  }

 private:
  int columns_ = 0;
  Buffer<Element> rows_;
  Buffer<uint32_t> pairs_;
};

// The left factor of a product: where the unit of row r and unit number u lies.
struct Left {
  const uint32_t* units;
  size_t row_stride, unit_stride;
};

template <class Format>
Left rows_of(const Matrix<Format>& m) {
  return {m.row_units(), size_t(m.columns()) / Format::PER_UNIT, 1};
}
template <class Format>
Left transposed(const Matrix<Format>& m) {
  return {m.column_units(), 1, size_t(m.columns())};
}

// R × (16 J) entries of a product, in registers.
template <class Format, int R, int J, class Begin, class End>
inline __attribute__((always_inline)) void tile(const Left& left, const uint32_t* right,
                                                size_t columns, int units, int row, int column,
                                                const Begin& begin, const End& end) {
  Vec sums[R][J];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int j = 0; j < J; j++) sums[r][j] = begin(row + r, column + j * LANES);
  const uint32_t* a = left.units + row * left.row_stride;
  const uint32_t* b = right + column;
  for (int u = 0; u < units; u++, a += left.unit_stride, b += columns) {
    Bits factors[J];
#pragma GCC unroll 4
    for (int j = 0; j < J; j++) factors[j] = *reinterpret_cast<const Bits*>(b + j * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
      for (int j = 0; j < J; j++)
        sums[r][j] = Format::dot(sums[r][j], a[r * left.row_stride], factors[j]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r += 2)
#pragma GCC unroll 4
    for (int j = 0; j < J; j++)
      end(row + r, column + j * LANES, sums[r][j], sums[r + 1][j]);
}

// left · right, ``rows`` (a multiple of 8) × ``right.columns()``, over ``units`` units.
// ``begin(r, c)``: what 16 sums start from. ``end(r, c, v, w)``: takes those of rows r and r + 1.
template <class Format, class Begin, class End>
inline void product(const Left& left, const Matrix<Format>& right, int rows, int units,
                    const Begin& begin, const End& end) {
  const uint32_t* b = right.column_units();
  const int columns = right.columns();
  for (int c = 0; c < columns;) {
    const int j = std::min((columns - c) / LANES, 4);
    for (int r = 0; r < rows;) {
      if (j == 4) tile<Format, 4, 4>(left, b, columns, units, r, c, begin, end), r += 4;
      else if (j == 3) tile<Format, 4, 3>(left, b, columns, units, r, c, begin, end), r += 4;
      else if (j == 2) tile<Format, 8, 2>(left, b, columns, units, r, c, begin, end), r += 8;
      else tile<Format, 8, 1>(left, b, columns, units, r, c, begin, end), r += 8;
    }
    c += j * LANES;
  }
}
