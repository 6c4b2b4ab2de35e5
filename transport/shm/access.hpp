// Who may do what with the files of a bus: one user, or, with [access], the owner and two Unix groups. DESIGN.md
// ("Access") tells what each mode is for. Plain values, any thread.
#pragma once

#include <sys/types.h>

namespace penstock::shm {

struct Access {
  bool shared = false;  // [access] is set
  gid_t producers = 0;
  gid_t consumers = 0;

  // Whoever may pass here is the owner or one of the consumers' group, in which producers are too: so inside, what
  // "others" may do is what consumers may do.
  mode_t gate() const { return shared ? 0750 : 0700; }
  // Made by producers or the owner; files in it inherit the producers' group.
  mode_t topic_directory() const { return shared ? 02775 : 0700; }
  mode_t topic_file() const { return shared ? 0664 : 0600; }
  // Who can open a file can hold a lock on it: consumers can't.
  mode_t lock_file() const { return shared ? 0660 : 0600; }
  // Consumers make entries here and can't touch each other's; files inherit the owner's own group.
  mode_t groups_directory() const { return shared ? 03777 : 0700; }
  mode_t guests_directory() const { return 01777; }
  mode_t group_directory() const { return shared ? 0775 : 0700; }
  mode_t group_file() const { return shared ? 0664 : 0600; }
  mode_t handle_file() const { return shared ? 0644 : 0600; }  // written by its user alone
  mode_t wake_file() const { return shared ? 0666 : 0600; }    // written by all
  mode_t told_file() const { return shared ? 0644 : 0600; }    // read by all
};

}  // namespace penstock::shm
