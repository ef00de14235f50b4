// The plan of a layer, as the kernels follow it.
#include "../cpu/layer/plan.h"

#include "arguments.h"
#include "subjects.h"

namespace firstspike::bindings {

namespace {

py::dict dict_of(const std::vector<Fact>& facts) {
    py::dict all;
    for (const auto& [name, value] : facts) std::visit([&, key = name](auto v) { all[key] = v; }, value);
    return all;
}

py::dict plan(const Geometry& geometry, int threads) {
    const Plan plan = plan_layer(layer_from(geometry), threads_from(threads));
    py::dict all;
    all["forward"] = dict_of(facts(plan.forward));
    all["input_gradient"] = dict_of(facts(plan.input_gradient));
    all["weight_gradient"] = dict_of(facts(plan.weight_gradient));
    return all;
}

}  // namespace

void bind_plan(py::module_& m) {
    m.def("plan_layer", &plan, py::arg("geometry"), py::arg("threads"),
          "The algorithm, block sizes and number of tasks of each pass of a layer.");
}

}  // namespace firstspike::bindings
