// The kernels are compiled once per instruction set, each time in a namespace of that name, so that the linker never
// takes a function compiled for one set where another is meant. Kernel headers use nothing of the standard library but
// integer types.
#pragma once

#ifndef FIRSTSPIKE_EMULATOR_ISA
#define FIRSTSPIKE_EMULATOR_ISA generic
#endif
