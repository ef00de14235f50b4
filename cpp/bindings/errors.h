// Exceptions of the standard library as Python's, translated by the module that throws them.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <new>
#include <stdexcept>

namespace firstspike::bindings {

// pybind11's own translator belongs to the extension module that was loaded first. Where each module has a standard library
// inside it (tools/zig_cxx.py), that one does not know the exceptions of another: "Caught an unknown exception!".
inline void translate_errors() {
    namespace py = pybind11;
    py::register_local_exception_translator([](std::exception_ptr thrown) {
        try {
            if (thrown) std::rethrow_exception(thrown);
        } catch (const py::builtin_exception&) {
            throw;  // pybind11's own
        } catch (const std::bad_alloc& e) { py::set_error(PyExc_MemoryError, e.what()); } catch (const std::logic_error& e) {
            py::set_error(PyExc_ValueError, e.what());
        } catch (const std::exception& e) { py::set_error(PyExc_RuntimeError, e.what()); }
    });
}

}  // namespace firstspike::bindings
