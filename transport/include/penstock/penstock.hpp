// The front door: everything a program needs to publish and consume. The daemon is in <penstock/daemon.hpp>.
#pragma once

#include <penstock/bus.hpp>
#include <penstock/error.hpp>
#include <penstock/event.hpp>
#include <penstock/log.hpp>
#include <penstock/options.hpp>
#include <penstock/version.hpp>
