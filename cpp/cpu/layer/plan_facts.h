// A plan in words and numbers, for `firstspike.explain` and FIRSTSPIKE_VERBOSE.
#pragma once

#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

#include "plan.h"

namespace firstspike {

using Fact = std::pair<const char*, std::variant<bool, int64_t, const char*>>;
std::vector<Fact> facts(const ForwardPlan&);
std::vector<Fact> facts(const InputGradientPlan&);
std::vector<Fact> facts(const WeightGradientPlan&);

// Writes a pass that runs, and its plan, to stderr if the environment variable FIRSTSPIKE_VERBOSE is 1.
void announce(const char* pass, const std::vector<Fact>&);
bool verbose();
template <class Pass>
void announce(const char* pass, const Pass& plan) {
    if (verbose()) announce(pass, facts(plan));
}

}  // namespace firstspike
