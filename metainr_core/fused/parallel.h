// Work for several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <new>
#include <thread>
#include <vector>

// Calls make()(i) for i in 0 … count - 1 on up to ``threads`` threads; make() is called on each.
// False when it was stopped, or stopped itself because memory ran out: no exception may leave a
// thread or the library.
template <class Make>
bool parallel(int64_t count, int threads, const Make& make, std::atomic<bool>& stop) {
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    try {
      auto task = make();
      for (int64_t i; !stop && (i = next++) < count;) task(i);
    } catch (const std::bad_alloc&) {
      stop = true;
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
  return !stop;
}
