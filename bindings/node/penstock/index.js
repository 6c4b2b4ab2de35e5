'use strict';
/**
 * Penstock: events between the processes of one Linux host, through shared memory.
 *
 *     const { Bus } = require('penstock');
 *     const bus = Bus.open('/var/lib/shop');
 *     for await (const event of bus.consumer('fulfillment', ['payment.*'])) { ... }
 *
 * Offsets are bigints, durations milliseconds, payloads Buffers that are the program's own. Nothing that waits blocks the
 * event loop. index.d.ts tells the whole of it.
 */
const { Bus } = require('./lib/bus.js');
const { Consumer, Delivery, Event, Reader } = require('./lib/stream.js');
const { Producer } = require('./lib/producer.js');
const errors = require('./lib/errors.js');
const native = require('./penstock.node');

module.exports = {
  Bus,
  Consumer,
  Delivery,
  Event,
  Producer,
  Reader,
  PenstockError: errors.PenstockError,
  AlreadyExistsError: errors.AlreadyExistsError,
  BusyError: errors.BusyError,
  ClosedError: errors.ClosedError,
  CorruptError: errors.CorruptError,
  DiskError: errors.DiskError,
  DuplicateError: errors.DuplicateError,
  ForkedError: errors.ForkedError,
  FullError: errors.FullError,
  InvalidArgumentError: errors.InvalidArgumentError,
  NoDaemonError: errors.NoDaemonError,
  NoSpaceError: errors.NoSpaceError,
  NotFoundError: errors.NotFoundError,
  PermissionError: errors.PermissionError,
  StaleError: errors.StaleError,
  TimedOutError: errors.TimedOutError,
  TooLargeError: errors.TooLargeError,
  TooManyError: errors.TooManyError,
  UnsupportedError: errors.UnsupportedError,
  version: native.version(),
};
