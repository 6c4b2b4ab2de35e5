// Fences for two that one pays for. Who publishes stores, and then looks whether somebody sleeps; who goes to sleep
// says so, and then looks for news. Both need a fence in between, or each may miss the other's store. Who publishes can
// leave it out: who goes to sleep, which is seldom and slow anyway, has the kernel run a fence on every processor that
// such a process runs on (membarrier, some microseconds).
#pragma once

namespace penstock::shm {

// Whether this process may leave its fences out: from now on the kernel counts it among those that fence_others()
// reaches. False: an old kernel, or a sandbox. For each process, also after a fork; the first time in a process of
// several threads it can take some ten milliseconds.
bool may_leave_fences_out();

// Every thread of such a process has passed a fence between the call and its return. False: it is not to be had here,
// and nothing may rely on it.
bool fence_others();

}  // namespace penstock::shm
