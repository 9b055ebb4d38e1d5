# Everything comes from the distribution's packages (hack/install-deps names them).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(GTest REQUIRED)
find_program(PROTOC protoc REQUIRED)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
find_program(BPFTOOL bpftool PATHS /usr/sbin REQUIRED)
find_program(BPF_CLANG NAMES clang-16 clang-19 clang-18 clang REQUIRED)

function(skiff_pkg target module)
  pkg_check_modules(PC_${target} REQUIRED IMPORTED_TARGET ${module})
  add_library(dep_${target} INTERFACE)
  if(SKIFF_STATIC)
    # Static archives of this module and of everything it needs; what a package ships no archive of stays shared.
    set(flags)
    foreach(lib IN LISTS PC_${target}_STATIC_LIBRARIES)
      find_library(A_${lib} NAMES lib${lib}.a)
      if(A_${lib} AND NOT lib MATCHES "^(dl|m|rt|pthread|c)$")
        list(APPEND flags ${A_${lib}})
      else()
        list(APPEND flags -l${lib})
      endif()
    endforeach()
    target_link_libraries(dep_${target} INTERFACE -Wl,--start-group ${flags} -Wl,--end-group)
    target_include_directories(dep_${target} SYSTEM INTERFACE ${PC_${target}_INCLUDE_DIRS})
  else()
    target_link_libraries(dep_${target} INTERFACE PkgConfig::PC_${target})
  endif()
endfunction()

skiff_pkg(protobuf protobuf)
skiff_pkg(grpc grpc++_unsecure)  # tests only: the peer of base/grpc_channel.h
if(SKIFF_STATIC)
  # What its .pc file does not name and its archive needs.
  target_link_libraries(dep_grpc INTERFACE -Wl,--start-group -l:libgrpc_unsecure.a -l:libgpr.a -l:libupb.a -l:libaddress_sorting.a -l:libre2.a
                        -l:libcares.a -lz -Wl,--end-group)
endif()
skiff_pkg(nghttp2 libnghttp2)
skiff_pkg(nl libnl-route-3.0)
skiff_pkg(bpf libbpf)
skiff_pkg(sqlite sqlite3)
skiff_pkg(yaml yaml-cpp)
# Not by its .pc file, whose compiler flags would not fit the precompiled headers.
add_library(dep_re2 INTERFACE)
target_link_libraries(dep_re2 INTERFACE $<IF:$<BOOL:${SKIFF_STATIC}>,-l:libre2.a,re2>)

add_library(dep_absl INTERFACE)
foreach(lib statusor status cord cord_internal cordz_info cordz_handle cordz_functions exponential_biased strings
        strings_internal str_format_internal int128 time time_zone civil_time base spinlock_wait raw_logging_internal
        throw_delegate strerror synchronization graphcycles_internal malloc_internal stacktrace symbolize debugging_internal
        demangle_internal log_severity bad_optional_access bad_variant_access hash city low_level_hash raw_hash_set
        hashtablez_sampler)
  if(SKIFF_STATIC)
    list(APPEND absl_libs /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/libabsl_${lib}.a)
  else()
    list(APPEND absl_libs absl_${lib})
  endif()
endforeach()
target_link_libraries(dep_absl INTERFACE -Wl,--start-group ${absl_libs} -Wl,--end-group)

if(SKIFF_STATIC)
  add_link_options(-static-libstdc++ -static-libgcc)
endif()
