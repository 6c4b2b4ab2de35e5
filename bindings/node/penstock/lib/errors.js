'use strict';
// What fails: a class for each errno that penstock.h tells of.
const { constants } = require('node:os');
const native = require('../penstock.node');

/** What Penstock failed with. `code` is the errno's name, as in errors of Node's own; the message says what to do. */
class PenstockError extends Error {
  constructor(errno, message) {
    super(message);
    this.code = names.get(-errno) ?? `errno ${-errno}`;
    this.errno = errno;
  }
  get name() {
    return this.constructor.name;
  }
}

const named = {
  ClosedError: 'EBADF',
  AlreadyExistsError: 'EEXIST',
  BusyError: 'EBUSY',
  CorruptError: 'EPROTO',
  DiskError: 'EIO',
  DuplicateError: 'EALREADY',
  ForkedError: 'ECHILD',
  FullError: 'ENOBUFS',
  InvalidArgumentError: 'EINVAL',
  NoDaemonError: 'ENETDOWN',
  NoSpaceError: 'ENOSPC',
  NotFoundError: 'ENOENT',
  PermissionError: 'EACCES',
  StaleError: 'ESTALE',
  TimedOutError: 'ETIMEDOUT',
  TooLargeError: 'EMSGSIZE',
  TooManyError: 'EMFILE',
  UnsupportedError: 'EOPNOTSUPP',
};

const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
const classes = new Map();
const exported = { PenstockError, errorOf };
for (const [name, code] of Object.entries(named)) {
  const made = { [name]: class extends PenstockError {} }[name];
  names.set(constants.errno[code], code); // of several names for a number, penstock.h's
  classes.set(constants.errno[code], made);
  exported[name] = made;
}

/** The error for a negative errno. */
function errorOf(errno, message) {
  return new (classes.get(-errno) ?? PenstockError)(errno, message);
}

/** What a call on a closed handle fails with. */
exported.closedError = (what) => errorOf(-constants.errno.EBADF, `the ${what} is closed`);
exported.ETIMEDOUT = -constants.errno.ETIMEDOUT;
exported.ENETDOWN = -constants.errno.ENETDOWN;

native.setMakeError(errorOf);
module.exports = exported;
