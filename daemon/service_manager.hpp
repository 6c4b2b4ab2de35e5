// The service manager that started the program, systemd for one: what it is told, and how its journal takes a log.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::daemon {

// One datagram to the socket that NOTIFY_SOCKET names, if it does; a name that begins with @ is abstract. Nothing when
// it was sent or nobody wants to know, else why it could not be.
std::string tell_manager(const std::string& state);
// What is told when the settings are being read again: systemd wants to know since when.
std::string reloading();

// True when this descriptor leads to the journal, by JOURNAL_STREAM. Then a line begins with its priority.
bool is_journal(int fd);
// "<6>" and so on. level: 0 info, 1 warning, 2 error.
std::string_view priority_prefix(int level);

}  // namespace penstock::daemon
