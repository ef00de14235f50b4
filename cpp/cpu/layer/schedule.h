// Hands every tile of every site, with its events, to the threads, in an order that keeps the weights in use in cache.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "../runtime/parallel.h"
#include "event_lines.h"
#include "packed_weights.h"

namespace firstspike {

class Schedule {
 public:
    Schedule(const Layer& layer, int threads) : layer_(layer), threads_(threads), lines_(EventLines::lines(layer)) {
        const int64_t wanted = 4 * static_cast<int64_t>(threads);
        if (layer.single_site()) {
            lines_per_task_ = std::max<int64_t>(1, std::min<int64_t>(lines_, 2));  // the samples that share a tile of weights
            tasks_ = Tiles{layer.outputs}.number() * ((lines_ + lines_per_task_ - 1) / lines_per_task_);
        } else {
            lines_per_task_ = layer.batch >= 2 * threads ? layer.out_height() : std::max<int64_t>(1, lines_ / wanted);
            tasks_ = (lines_ + lines_per_task_ - 1) / lines_per_task_;
        }
    }

    int64_t tasks() const { return tasks_; }
    // Whether a tile of a layer with one site is in a single task, that of all samples.
    bool one_task_a_tile() const { return layer_.single_site() && lines_per_task_ >= lines_; }

    // Calls run(task, lines), where lines(f) calls f(line) for each line of the task.
    template <class Run>
    void each_task(Run&& run) const {
        parallel_for(tasks_, threads_, [&](int64_t task) { run(task, [&](auto&& f) { each_line(task, f); }); });
    }

    // Calls run(task, site, tile, weights, events) for each; calls with the same `task` come one after another. The weights are
    // what weights_of(tile) returns, which is called as seldom as the order allows.
    template <class WeightsOf, class Run>
    void each_tile(const uint8_t* times, WeightsOf&& weights_of, Run&& run) const {
        const int64_t tiles = Tiles{layer_.outputs}.number();
        if (!layer_.single_site()) {
            parallel_for(tasks_, threads_, [&](int64_t task) {
                EventLines events(layer_, times);
                each_line(task, [&](int64_t line) {
                    events.build(line);
                    for (int64_t tile = 0; tile < tiles; ++tile) {
                        const auto weights = weights_of(tile);
                        each_site(line, events, [&](int64_t site, EventList list) { run(task, site, tile, weights, list); });
                    }
                });
            });
            return;
        }
        std::vector<std::unique_ptr<EventLines>> events(static_cast<size_t>(lines_));
        parallel_for(lines_, threads_, [&](int64_t line) {
            events[static_cast<size_t>(line)] = std::make_unique<EventLines>(layer_, times);
            events[static_cast<size_t>(line)]->build(line);
        });
        // Tile by tile: a thread goes through the samples with one tile of weights in its cache.
        const int64_t blocks = tasks_ / tiles;
        parallel_for(tasks_, threads_, [&](int64_t task) {
            const int64_t tile = task / blocks;
            const auto weights = weights_of(tile);
            each_line(task % blocks, [&](int64_t line) {
                each_site(line, *events[static_cast<size_t>(line)],
                          [&](int64_t site, EventList list) { run(task, site, tile, weights, list); });
            });
        });
    }

 private:
    template <class F>
    void each_line(int64_t block, F&& f) const {
        const int64_t end = std::min((block + 1) * lines_per_task_, lines_);
        for (int64_t line = block * lines_per_task_; line < end; ++line) f(line);
    }
    template <class F>
    void each_site(int64_t line, const EventLines& events, F&& f) const {
        const int64_t first = EventLines::first_site(layer_, line);
        for (int64_t i = 0; i < EventLines::sites(layer_, line); ++i) f(first + i, events.site(i));
    }

    Layer layer_;
    int threads_;
    int64_t lines_, lines_per_task_, tasks_;
};

}  // namespace firstspike
