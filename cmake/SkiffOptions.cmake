# Compiler settings, the same for every target (a precompiled header is only shared between equal settings).
option(SKIFF_STATIC "Link gRPC, Protobuf, Abseil and libstdc++ statically" OFF)
option(SKIFF_FUZZ "Build the libFuzzer targets" OFF)
set(SKIFF_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)  # -std=c++20: with GNU extensions `linux` is a macro, and a field of core/v1
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG")

add_compile_options(-Wall -Wextra -Werror -Wno-missing-field-initializers -ffunction-sections -fdata-sections
                    -fno-omit-frame-pointer -fvisibility=hidden)
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wthread-safety> "SHELL:-Xclang -fno-pch-timestamp")
  # CMake 3.25 writes its PCH wrapper with absolute paths; this keeps ccache hits across checkouts.
  set(CMAKE_PCH_INSTANTIATE_TEMPLATES ON)
endif()
add_compile_definitions(BOOST_ASIO_DISABLE_BOOST_DATE_TIME BOOST_ASIO_NO_DEPRECATED)
add_link_options(-Wl,--gc-sections -Wl,--as-needed)
# mold links fastest; lld takes from static archives only what is needed (mold 1.10 takes whole groups), which is what
# release binaries are measured by.
find_program(SKIFF_MOLD mold)
if(SKIFF_STATIC)
  add_link_options(-fuse-ld=lld -Wl,--icf=safe -Wl,-O2 -Wl,-s)
elseif(SKIFF_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
if(SKIFF_SANITIZE)
  add_compile_options(-fsanitize=${SKIFF_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SKIFF_SANITIZE})
endif()
# Coverage for libFuzzer in every build with AddressSanitizer: asan and fuzz have the same objects, which ccache compiles
# once; fuzz only links more programs.
if(SKIFF_SANITIZE MATCHES address)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_program(SKIFF_CCACHE ccache)
if(SKIFF_CCACHE)
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${SKIFF_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()
