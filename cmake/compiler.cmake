# Refuses compilers that cannot build the kernels, before anything is compiled. Expects the variables that project() sets.
# Run alone by tests/cpp/test_build.py: cmake -DCMAKE_CXX_COMPILER_ID=MSVC -P cmake/compiler.cmake
set(needed "firstspike needs GCC 11, clang 14, Apple clang 14 or newer")
if(MSVC OR CMAKE_CXX_COMPILER_ID STREQUAL "MSVC")
  message(FATAL_ERROR "${needed}: its kernels use their vector extensions, which Microsoft's compiler does not have. "
    "On Windows, install it in WSL (Ubuntu: apt install g++).")
endif()
foreach(least "GNU;11" "Clang;14" "AppleClang;14")
  list(GET least 0 id)
  list(GET least 1 version)
  if(CMAKE_CXX_COMPILER_ID STREQUAL id AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS version)
    message(FATAL_ERROR "${needed}, and found ${id} ${CMAKE_CXX_COMPILER_VERSION}. Name another one with CXX=...")
  endif()
endforeach()
