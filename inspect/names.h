// Names of the kernel's numbers, as its manual pages have them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cprewind::inspect {

std::string signal_name(uint32_t signal);                     // "SIGHUP", "SIGRTMIN+3", "signal 99"
std::vector<std::string> signal_names(uint64_t mask);         // bit n - 1: signal n
std::string signal_code_name(uint32_t signal, int32_t code);  // "SI_USER", "CLD_EXITED", "3"
std::vector<std::string> action_flag_names(uint64_t flags);   // "SA_RESTART", …
std::string clock_name(uint32_t clock);                       // "CLOCK_MONOTONIC"
std::string notify_name(uint32_t notify);                     // "SIGEV_SIGNAL"
const char* capability_name(unsigned number);                 // "CAP_CHOWN"; null when it has none
std::vector<std::string> capability_names(uint64_t set);
std::string limit_name(size_t resource);       // "NOFILE", "limit 20"
std::string policy_name(uint32_t policy);      // "SCHED_OTHER"
std::string seccomp_mode_name(uint32_t mode);  // "disabled", "strict", "filter"
std::vector<std::string> epoll_event_names(uint32_t events);
std::vector<std::string> watch_event_names(uint32_t mask);
std::vector<std::string> mount_flag_names(uint64_t flags);
std::vector<std::string> device_flag_names(uint32_t flags);
std::string family_name(uint32_t family);     // "inet", "unix", …
std::string socket_type_name(uint32_t type);  // "stream", …
std::string netlink_name(uint32_t protocol);  // "route", …

}  // namespace cprewind::inspect
