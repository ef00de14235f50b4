#include "plan.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace firstspike {

std::vector<Fact> facts(const ForwardPlan& plan) {
    const char* lists[] = {"by_sample", "by_field", "by_line"};
    std::vector<Fact> all{{"lists", lists[static_cast<int>(plan.lists)]},
                          {"compare_steps", plan.compare_steps},
                          {"pack_whole", plan.pack_whole},
                          {"lines_per_task", plan.lines_per_task},
                          {"tasks", plan.tasks}};
    if (plan.lists == SpikeLists::by_line) {
        all.emplace_back("sites_in_l2", plan.sums.positions_of(plan.sums.widest));
        all.emplace_back("taps_together", plan.sums.taps_of(plan.sums.widest));
    }
    return all;
}

std::vector<Fact> facts(const InputGradientPlan& plan) {
    if (const auto* linear = std::get_if<LinearInputPlan>(&plan))
        return {{"algorithm", "linear"},
                {"join_tiles", linear->join_tiles},
                {"samples_per_task", linear->most_samples},
                {"tasks", linear->fewest_tasks}};
    const auto& [lines, tasks, sums] = std::get<ConvolutionInputPlan>(plan);
    return {{"algorithm", "convolution"},
            {"lines_per_task", lines},
            {"tasks", tasks},
            {"cells_in_l2", sums.positions_of(sums.widest)},
            {"taps_together", sums.taps_of(sums.widest)}};
}

std::vector<Fact> facts(const WeightGradientPlan& plan) {
    const char* sums[] = {"linear", "convolution", "small_field"};
    std::vector<Fact> all{{"algorithm", sums[static_cast<int>(plan.sums)]}};
    if (plan.sums == WeightSums::linear) { all.emplace_back("samples_per_table", plan.samples_per_table); }
    if (plan.sums != WeightSums::small_field) all.emplace_back("channels_per_block", plan.channels_per_block);
    if (plan.sums == WeightSums::convolution) all.emplace_back("kernel_rows", plan.kernel_rows);
    all.emplace_back("parts", plan.parts);
    all.emplace_back("tasks", plan.tasks);
    return all;
}

bool verbose() {
    static const bool wanted = [] {
        const char* const value = std::getenv("FIRSTSPIKE_VERBOSE");
        return value != nullptr && std::strcmp(value, "1") == 0;
    }();
    return wanted;
}

void announce(const char* pass, const std::vector<Fact>& plan) {
    std::string line = std::string("firstspike,cpu,") + pass;
    for (const auto& [name, value] : plan) {
        line += std::string(",") + name + "=";
        if (const bool* flag = std::get_if<bool>(&value))
            line += *flag ? "true" : "false";
        else if (const int64_t* number = std::get_if<int64_t>(&value))
            line += std::to_string(*number);
        else
            line += std::get<const char*>(value);
    }
    std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace firstspike
